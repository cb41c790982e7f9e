"""Lineage of a version: records of its data, code and environment, shown by `trace`."""

import subprocess
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Self

from pydantic import BaseModel, Field, JsonValue

from models.config import Record
from models.config.data import ImageForm, Interpolation, Resize
from models.config.policies import Flips
from models.errors import InputError
from models.evaluation.records import Calibration
from models.record import leaves
from models.trials import TrialResult, TrialSpec


class DatasetFacts(Record):
    """Identity of a dataset version, by the names that each system gives it."""

    name: str
    digest: str
    """Of the raw batches."""
    prepared_digest: str
    """Of the arrays that trials read."""
    dvc_md5: str | None = None
    """DVC's hash of the raw folder; null where DVC is not in use."""
    remote: str | None = None
    """URL of the DVC remote that holds it."""

    @property
    def mlflow_digest(self) -> str:
        """Digest within the 36 characters of MLflow's column, which DVC's for a folder has."""
        return self.dvc_md5 if self.dvc_md5 and len(self.dvc_md5) <= 36 else self.digest[:36]


class CodeFacts(Record):
    """Commit that was checked out, and whether files differed from it."""

    commit: str | None = None
    """Null outside git."""
    dirty: bool | None = None
    """Whether tracked files had been changed; null outside git."""

    @classmethod
    def read(cls, root: Path = Path()) -> Self:
        """Read both from git; null outside a work tree, or without git."""
        commit = _git(root, "rev-parse", "HEAD")
        if not commit:
            return cls()
        changed = _git(root, "status", "--porcelain", "--untracked-files=no")
        return cls(commit=commit, dirty=None if changed is None else changed != "")


class Parent(Record):
    """Whose weights the training of a version began with."""

    origin: str
    """As `trial.start.from` named it."""
    name: str | None
    """Registered name; null: the weights of a file that no version had."""
    version: int | None
    weights: str
    """SHA-256 over names, types, shapes and bytes, by which the parent is found anywhere."""

    @property
    def called(self) -> str:
        """Its name in messages."""
        if self.name is None:
            return f"{self.origin}, of which nothing is known"
        return f"version {self.version} of {self.name}"


class Lineage(Record):
    """All that a version was made from; kept in it as lineage.json, and moved with it."""

    spec: TrialSpec
    result: TrialResult
    dataset: DatasetFacts
    code: CodeFacts
    params: dict[str, JsonValue]
    """The resolved params. Kept as JSON: later releases may have other keys."""
    classes: tuple[str, ...]
    image_shape: tuple[int, int, int]
    """Channels, height, width of one image."""
    resize: Resize = "squeeze"
    """data.resize; earlier releases squeezed."""
    interpolation: Interpolation = "bilinear"
    """data.interpolation."""
    environment: dict[str, str]
    """Package -> version, python included."""
    trained_images: int
    """Rows of trained_ids.npy: ids of images that the gate seeks in later test splits; first those
    that only its parents saw. trained_prints.npy has these images' prints, where they are known."""
    validation_images: int | None = Field(None, ge=0)
    """Number of the last of these rows, images selected on; null in earlier releases."""
    calibration: Calibration | None = None
    """By what the version divides its logits; null: as they are, and in earlier releases."""
    flips: Flips = "none"
    """evaluation.flips; earlier releases flipped nothing."""
    parent: Parent | None = None
    """Whose weights its training began with; null: with new ones."""
    created: str
    """When it was registered, ISO 8601 in UTC."""

    @property
    def image_form(self) -> ImageForm:
        """How pictures become its images. Raises InputError where these are not square."""
        channels, height, width = self.image_shape
        if height != width:
            raise InputError(
                f"images of {height} x {width} pixels cannot be made: height and width differ"
            )
        return ImageForm(
            image_size=height,
            channels=channels,
            resize=self.resize,
            interpolation=self.interpolation,
        )


def environment_facts(packages: Mapping[str, str]) -> dict[str, str]:
    """Return the versions of the packages of a trial, of python and of what serves a version."""
    import platform  # noqa: PLC0415 - reads files at import

    served = {name: metadata.version(name) for name in ("mlflow", "scikit-learn")}
    return {"python": platform.python_version(), **served, **packages}


def flattened(record: BaseModel) -> dict[str, str]:
    """Map the dotted path of every leaf to its value as text, as MLflow keeps params."""
    return {path: "" if leaf is None else str(leaf) for path, leaf in leaves(record).items()}


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(  # noqa: S603 - fixed arguments
            ["git", "-C", str(root), *arguments],  # noqa: S607 - the user's git
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
