"""The result of a drift test, and the report of all of them."""

from typing import Literal

from models.config import DriftParams, Record
from models.config.policies import DRIFT_TESTS
from models.evaluation.records import Interval
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


_ASSUMPTIONS = {
    "ATC": "as many images are right as are at least as sure as on validation; it fails where the "
    "network is sure of what it has wrong",
    "BBSE": "only the shares of the classes have changed, not how the images of a class look",
}


class AccuracyEstimate(Record):
    """Accuracy on images without labels, by one method."""

    method: Literal["ATC", "BBSE"]
    """Average thresholded confidence (Garg et al., 2022); black box shift estimation (Lipton et
    al., 2018)."""
    accuracy: float
    interval: Interval
    """95 %, by bootstrap of both samples; it does not know of a wrong assumption."""

    @property
    def assumption(self) -> str:
        """What makes it right, in words."""
        return _ASSUMPTIONS[self.method]

    @property
    def sentence(self) -> str:
        """The same in words."""
        low, high = self.interval.low, self.interval.high
        return f"{self.method} {self.accuracy:.3f} [{low:.3f}, {high:.3f}], if {self.assumption}"


class ClassProportion(Record):
    """Estimated share of the images that are of a class, by BBSE."""

    name: str
    share: float
    interval: Interval


class UnlabelledAccuracy(Record):
    """Estimates of the accuracy on images without labels."""

    reference: float
    """Accuracy on the labelled images of the reference; a little too good, as the version was
    selected on them."""
    reference_images: int
    """Of these."""
    estimates: tuple[AccuracyEstimate, ...]
    """By ATC; by BBSE, where the confusion matrix tells each class from the others."""
    proportions: tuple[ClassProportion, ...] = ()
    """By BBSE."""

    @property
    def sentence(self) -> str:
        """All of it in words."""
        found = "; ".join(one.sentence for one in self.estimates)
        return (
            f"expected accuracy, estimated without labels: {found}. On {self.reference_images:,} "
            f"labelled images of the reference it is {self.reference:.3f}"
        )


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

    expected: UnlabelledAccuracy | None = None
    """Null: no reference images with labels, or an earlier release."""

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
