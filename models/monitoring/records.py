"""The result of a drift test, and the report of all of them."""

from typing import Literal

from models.config import DriftParams, Record
from models.config.policies import DRIFT_TESTS
from models.gate.budget import spent_level

TestName = Literal["brightness", "contrast", "embedding", "classes", "confidence"]


class DriftTest(Record):
    """Result of one two-sample test."""

    name: TestName
    statistic: float
    """embedding: AUC of the domain classifier, 0.5 by chance; classes: chi-square; else the
    Kolmogorov-Smirnov distance, 0..1. More is further apart."""
    p_value: float
    """Probability of a statistic this large between images of one kind."""
    threshold: float
    """p-value at or below which the images have shifted: the level of the look, divided among the
    tests (Bonferroni)."""
    shifted: bool
    effect: float | None = None
    """Size of the shift, 0..1, in shares of images: Kolmogorov-Smirnov distance; of embedding 2 AUC
    - 1, of classes half the sum of the changes of their shares. Null: an earlier release's."""
    small: bool = False
    """Whether it is smaller than drift.minimum_effect."""
    words: str
    """The change, such as `mean grey level 72.9 -> 110.3`."""

    @property
    def drifted(self) -> bool:
        """Whether the images have shifted by enough to act on."""
        return self.shifted and not self.small

    @property
    def answer(self) -> str:
        """`yes`, `too small` or nothing, for a table."""
        return "too small" if self.shifted and self.small else "yes" if self.shifted else ""


class ClassShare(Record):
    """Shares of the images for which a class was predicted."""

    name: str
    reference: float
    """Among the reference, 0..1."""
    batch: float
    """Among the batch, 0..1."""


class DriftReport(Record):
    """A batch of images compared with validation images, both as one version sees them."""

    drift: bool
    """Whether any test shifted by enough to act on."""
    tests: tuple[DriftTest, ...]
    classes: tuple[ClassShare, ...]
    reference_images: int
    batch_images: int
    """Distinct images that were compared."""
    batch_copies: int = 0
    """Copies of these, left out."""
    look: int | None = None
    """Number of this report among those about the version, from 1, which fixes the thresholds;
    null: an earlier release's."""

    @property
    def shifted(self) -> tuple[str, ...]:
        """Names of the tests that shifted by enough to act on; else of those that shifted."""
        return tuple(test.name for test in self.tests if test.drifted) or tuple(
            test.name for test in self.tests if test.shifted
        )

    @property
    def answer(self) -> str:
        """Answer in words."""
        if self.drift:
            return "drift"
        return "shift seen, too small to act on" if self.shifted else "no drift"


def threshold_of(look: int, params: DriftParams) -> float:
    """p-value at or below which a test of report number `look`, from 1, shows a shift.

    The thresholds of the reports sum to the significance (Bonferroni's inequality), so that it
    bounds the probability of any false alarm however the reports depend on one another: on one
    reference, or on pools that grow (alpha spending; Lan & DeMets, 1983, Biometrika 70:659).
    """
    place = (look - 1) % params.looks + 1
    level = spent_level(place, significance=params.significance, looks=params.looks)
    return level / DRIFT_TESTS
