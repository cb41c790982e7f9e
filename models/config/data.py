"""`data:` in params.yaml: which images, how they are shaped, split and checked."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from models.config.base import Record

DatasetName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
SplitName = Literal["train", "validation", "test"]


class Fractions(Record):
    """Shares of the images for which no split is declared; train gets the rest.

    Where train is declared and validation is not, validation's share is of the declared train.
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


class DataParams(Record):
    """Which images, and how they become arrays."""

    name: DatasetName = "digits"
    """Dataset: its batches live in data/raw/<name>/. digits and fashion-mnist ingest themselves."""
    image_size: int = Field(28, ge=4, le=512)
    """Pixels a side of the prepared, square images."""
    channels: Literal[1, 3] = 1
    """1: grey; 3: red, green, blue."""
    limit: int | None = Field(None, ge=1)
    """At most this many images per split, chosen by content hash; a declared test split is whole."""
    fractions: Fractions = Fractions()
    """Shares of validation and test where no split is declared."""
    conflicts: Literal["drop", "refuse"] = "drop"
    """One image under two labels: drop all its copies, or refuse to prepare."""
