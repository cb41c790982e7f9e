"""`drift:` in params.yaml: when images are said to have become others than those of validation."""

from typing import Self

from pydantic import Field, model_validator

from models.config.base import Record

DRIFT_TESTS = 5
"""Tests of a report, among which `significance` is divided."""


class DriftParams(Record):
    """How images are compared with the validation split."""

    significance: float = Field(0.05, gt=0, le=0.5)
    """Share of the reports on unchanged images that may say drift, all their tests together."""
    minimum_images: int = Field(50, ge=20)
    """Fewest images that are compared, of either side."""
    most_images: int = Field(10_000, ge=100)
    """Most images that are compared, of either side; of more, a sample chosen by their content."""
    permutations: int = Field(999, ge=99, le=100_000)
    """Shuffles behind a p-value whose test has no exact one; the smallest is 1 / (these + 1)."""
    seed: int = Field(0, ge=0)
    """Of the shuffles, together with the content of the images."""

    @model_validator(mode="after")
    def _can_alarm(self) -> Self:
        if self.significance / DRIFT_TESTS * (self.permutations + 1) < 1:
            raise ValueError(
                f"{self.permutations} permutations give no p-value below significance / "
                f"{DRIFT_TESTS}, so that nothing would ever be drift: raise permutations"
            )
        return self
