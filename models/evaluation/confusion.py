"""The confusion matrix as its cells that hold images: 2,000 classes have 4,000,000 cells."""

from collections.abc import Mapping, Sequence
from typing import Self

from pydantic import ConfigDict, Field, JsonValue, TypeAdapter, model_serializer, model_validator

from models.record import Record

MOST_WHOLE = 100
"""Most classes whose matrix is written as a table of rows."""

Rows = tuple[tuple[int, ...], ...]
_ROWS: TypeAdapter[Rows] = TypeAdapter(Rows)


class ConfusionMatrix(Record):
    """Images by true and by predicted class.

    JSON: a table, row by row; of more than MOST_WHOLE classes the fields below, so that its size
    grows with the images and not with the square of the classes. Both are read.
    """

    model_config = ConfigDict(strict=False)  # what is read from a table comes as lists

    classes: int = Field(ge=1)
    """Number of classes."""
    cells: tuple[tuple[int, int, int], ...]
    """True class, predicted class and images (at least one) of each, in the order of the table."""

    @model_validator(mode="before")
    @classmethod
    def _of_table(cls, value: object) -> object:
        if not isinstance(value, Sequence):
            return value
        rows = _ROWS.validate_python(value)
        if any(len(row) != len(rows) for row in rows):
            raise ValueError("is no square table")
        cells = [
            (true, predicted, images)
            for true, row in enumerate(rows)
            for predicted, images in enumerate(row)
            if images
        ]
        return {"classes": len(rows), "cells": cells}

    @model_validator(mode="after")
    def _cells_are_within(self) -> Self:
        for true, predicted, images in self.cells:
            if not (0 <= true < self.classes and 0 <= predicted < self.classes and images > 0):
                raise ValueError(
                    f"{images} images of class {true} predicted as class {predicted}: there are "
                    f"{self.classes} classes, counted from 0"
                )
        return self

    @model_serializer
    def _written(self) -> Rows | Mapping[str, JsonValue]:
        if self.classes <= MOST_WHOLE:
            return self.rows
        return {"classes": self.classes, "cells": [list(cell) for cell in self.cells]}

    @property
    def rows(self) -> Rows:
        """The whole table: images of class [row] predicted as class [column]."""
        table = [[0] * self.classes for _ in range(self.classes)]
        for true, predicted, images in self.cells:
            table[true][predicted] = images
        return tuple(map(tuple, table))

    @property
    def right(self) -> tuple[int, ...]:
        """Images of each class predicted as that class."""
        diagonal = {true: images for true, predicted, images in self.cells if true == predicted}
        return tuple(diagonal.get(label, 0) for label in range(self.classes))

    @property
    def wrong(self) -> int:
        """Images predicted as another class than theirs."""
        return sum(images for true, predicted, images in self.cells if true != predicted)
