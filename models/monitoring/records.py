"""The result of a drift test, and the report of all of them."""

from typing import Literal

from models.config import Record

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
    """p-value at or below which the images have shifted; divided among the tests (Bonferroni)."""
    shifted: bool
    words: str
    """The change, such as `mean grey level 72.9 -> 110.3`."""


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
    """Whether any test shifted."""
    tests: tuple[DriftTest, ...]
    classes: tuple[ClassShare, ...]
    reference_images: int
    batch_images: int
    """Distinct images that were compared."""
    batch_copies: int = 0
    """Copies of these, left out."""
