"""`data:` of the params: which images, and how they are converted, split and checked."""

import re
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from models.record import Record

DatasetName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
SplitName = Literal["train", "validation", "test"]
MAX_WILDCARDS = 8
"""Of data.group."""


class Fractions(Record):
    """Shares of the images for which no split is declared; train gets the rest.

    Where train is declared and validation is not, validation is that share of declared train.
    """

    validation: float = Field(0.15, gt=0, lt=1)
    """Share of validation."""
    test: float = Field(0.2, gt=0, lt=1)
    """Share of test."""

    @model_validator(mode="after")
    def _leave_some_for_train(self) -> Self:
        if self.validation + self.test > 0.9:
            raise ValueError("validation + test must leave at least 0.1 for train")
        return self


def _off(level: object) -> object:
    return "off" if level is False else level


# YAML 1.1 reads `off` as false.
Level = Annotated[Literal["error", "warning", "off"], BeforeValidator(_off)]
"""error: nothing is added or prepared. warning: reported, and kept in the manifest."""


class CheckParams(Record):
    """Level of each check of images; damaged files are always errors."""

    one_class: Level = "error"
    """All images are of one class."""
    empty_class: Level = "error"
    """A class has a name and no image."""
    few_images: Level = "error"
    """A class has fewer different images than `few_images_below`."""
    few_images_below: int = Field(2, ge=1)
    """Different images that a class needs."""
    imbalance: Level = "warning"
    """The largest class has more than `imbalance_ratio` times the images of the smallest."""
    imbalance_ratio: float = Field(20.0, gt=1)
    """Images of the largest class to those of the smallest that count as imbalance."""
    duplicates: Level = "warning"
    """Exact copies; each image is kept once in any case."""
    across_splits: Level = "warning"
    """Copies in two splits; one is kept in any case: test before validation before train."""
    near_duplicates: Level = "warning"
    """Images of validation or test that are nearly one of another split; they are kept."""
    near_pairs: int = Field(200_000_000, ge=0)
    """Pairs compared at most for that; beyond, a sample of the held-out images is compared."""
    absent_in_split: Level = "warning"
    """A class has no image in one of the splits."""
    constant: Level = "warning"
    """Images of one colour."""
    tiny: Level = "error"
    """Images with a side of fewer than 4 pixels."""
    small: Level = "warning"
    """Images that are enlarged more than four times to `image_size`."""
    sizes: Level = "warning"
    """Images that are not square, of which `resize` makes squares, or not of the usual size."""
    brightness: Level = "warning"
    """Mean brightness further from the mean of all than `brightness_deviations`."""
    brightness_deviations: float = Field(6.0, gt=0)
    """In standard deviations."""
    ungrouped: Level = "warning"
    """Pictures without a group where others have one, or `group` is set: each is by itself."""
    new_classes: Level = "warning"
    """Classes of added images that the dataset did not have before."""


Resize = Literal["squeeze", "letterbox", "centre_crop"]
Interpolation = Literal["bilinear", "bicubic", "lanczos"]


class ImageForm(Record):
    """How pictures of any size become images of one."""

    image_size: int = Field(ge=1)
    """Pixels a side."""
    channels: int = Field(ge=1)
    resize: Resize = "squeeze"
    """As of DataParams."""
    interpolation: Interpolation = "bilinear"
    """As of DataParams."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        return self.channels, self.image_size, self.image_size


class DataParams(Record):
    """Which images, and how they are converted to arrays."""

    name: DatasetName = "digits"
    """Dataset, with its batches in data/raw/<name>/; digits and fashion-mnist are built in."""
    image_size: int = Field(28, ge=4, le=512)
    """Pixels a side of the prepared, square images."""
    channels: Literal[1, 3] = 1
    """1: grey; 3: red, green, blue."""
    resize: Resize = "squeeze"
    """What becomes of pictures that are not square. squeeze: they are stretched; letterbox: they
    are whole, between black bars; centre_crop: the square in their middle is left."""
    interpolation: Interpolation = "bilinear"
    """How pixels of another size are made; each averages over what it shrinks (antialiasing)."""
    limit: int | None = Field(None, ge=1)
    """At most this many images of each split, by content hash; declared test is never limited."""
    fractions: Fractions = Fractions()
    """Shares of validation and test where no split is declared."""
    group: str | None = Field(None, max_length=200)
    """Which pictures share a split for life, by their files' paths: `{group}_*` is what stands
    before the first _ of a file's name, `{group}/*/*` the folder above the class. * stands for any
    characters but /. A column `group` goes before; null: each picture is by itself."""
    near_copies: Literal["report", "together"] = "report"
    """Near copies in different splits: a warning, or they share a split for life. For pictures of
    48 pixels a side and more."""
    conflicts: Literal["drop", "refuse"] = "drop"
    """An image under two labels: drop all its copies, or refuse to prepare."""
    checks: CheckParams = CheckParams()
    """Level of each check."""

    @field_validator("group")
    @classmethod
    def _is_a_pattern(cls, pattern: str | None) -> str | None:
        if pattern is None:
            return None
        if pattern.count("{group}") != 1:
            raise ValueError("must hold {group} once, such as {group}_* or {group}/*/*")
        if re.search(r"\*\*|\*\{|\}\*", pattern):
            raise ValueError("wildcards need something between them: {group}_*, not {group}*")
        if pattern.count("*") > MAX_WILDCARDS:
            raise ValueError(f"must hold at most {MAX_WILDCARDS} wildcards *")
        return pattern

    @property
    def form(self) -> ImageForm:
        """How pictures become images."""
        return ImageForm(
            image_size=self.image_size,
            channels=self.channels,
            resize=self.resize,
            interpolation=self.interpolation,
        )
