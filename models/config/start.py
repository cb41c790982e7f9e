"""`trial.start`: weights that training begins with, in place of new ones drawn by the seed."""

import re
from dataclasses import dataclass
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, JsonValue, field_validator, model_validator

from models.record import Record

_VERSION = re.compile(r"(?:(?P<name>[^/@:]+)/)?(?P<version>\d{1,9})")
_ALIAS = re.compile(r"(?:(?P<name>[^/@:]+)@)?(?P<alias>[A-Za-z][A-Za-z0-9_-]*)")
_FILE = ".safetensors"
PRETRAINED = "pretrained"
"""In place of an alias: the weights that came with the network."""

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


@dataclass(frozen=True, slots=True)
class Origin:
    """What `from` names: a file, or a version of a registered name."""

    file: str | None = None
    """Path, from the project's root; None: it is a version."""
    name: str | None = None
    """Registered name; None: the one that versions are registered under now."""
    version: str = ""
    """Number or alias."""

    @property
    def follows(self) -> bool:
        """Whether it is an alias, which may name another version tomorrow."""
        return self.file is None and not self.version.isdecimal()


class StartConfig(Record):
    """Weights that training begins with. What is null is filled in before the first trial."""

    # `from` is a word of Python's own.
    model_config = ConfigDict(serialize_by_alias=True, validate_by_name=True)

    origin: str | int = Field("champion", alias="from")
    """Alias (champion) or number of a version, of another registered name as NAME@champion or
    NAME/3; the path of a .safetensors file; or pretrained: what timm has of its model."""
    layers: Literal["all", "backbone", "none"] = "all"
    """Layers that begin with these weights. backbone: all but the head, those whose shapes depend
    on the number of classes; all: the head too, where the classes are the same; none: no layer, so
    that an axis `start.layers` can compare with training from nothing."""
    weights: Sha256 | None = None
    """SHA-256 over names, types, shapes and bytes of the weights, as `trace` shows it of a version:
    where given, others are refused."""
    mean: tuple[float, ...] | None = None
    """Per channel, by which the parent's images were normalised: these are, too. Of a file without
    `mean` and `std`: those of the train split."""
    std: tuple[Annotated[float, Field(gt=0)], ...] | None = None
    """Per channel, likewise."""
    head_fits: bool | None = None
    """Whether the classes are the parent's, in its order; else the head is new with `all`, too."""

    @property
    def where(self) -> Origin:
        """What `from` names."""
        text = str(self.origin)
        if text.endswith(_FILE):
            return Origin(file=text)
        found = _VERSION.fullmatch(text) or _ALIAS.fullmatch(text)
        assert found is not None, text  # validated
        return Origin(name=found["name"], version=found[found.lastgroup or ""])

    @property
    def kept(self) -> Literal["all", "backbone", "none"]:
        """Layers that keep the weights, by the classes too."""
        return "backbone" if self.layers == "all" and self.head_fits is False else self.layers

    @property
    def identity(self) -> dict[str, JsonValue] | None:
        """What of it decides a trial's bits, whatever the weights were called; None: nothing."""
        if self.layers == "none":
            return None
        facts = self.model_dump(mode="json", include={"weights", "mean", "std"})
        return {"layers": self.kept, **facts}

    @field_validator("origin")
    @classmethod
    def _names_something(cls, value: str | int) -> str | int:
        text = str(value)
        if text.endswith(_FILE) or _VERSION.fullmatch(text) or _ALIAS.fullmatch(text):
            return value
        raise ValueError(
            f"{text[:80]!r} names no weights; write champion, a version's number, NAME@champion, "
            f"NAME/3, or the path of a {_FILE} file"
        )

    @model_validator(mode="after")
    def _normalises_whole(self) -> Self:
        if (self.mean is None) != (self.std is None) or len(self.mean or ()) != len(self.std or ()):
            raise ValueError("mean and std belong together: give both, a number a channel, or none")
        return self
