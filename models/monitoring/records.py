"""What a comparison of images came to."""

from typing import Literal

from models.config import Record

TestName = Literal["brightness", "contrast", "embedding", "classes", "confidence"]


class DriftTest(Record):
    """One way in which images may have changed."""

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
    """What was compared, such as `mean grey level 72.9 -> 110.3`."""


class ClassShare(Record):
    """How often a class was predicted."""

    name: str
    reference: float
    """Share of the reference, 0..1."""
    batch: float
    """Share of the images asked about."""


class DriftReport(Record):
    """Images compared with those of the validation split, as one version sees them."""

    drift: bool
    """Whether any test says so."""
    tests: tuple[DriftTest, ...]
    classes: tuple[ClassShare, ...]
    reference_images: int
    batch_images: int
    """Different ones: what was compared."""
    batch_copies: int = 0
    """Copies of these, which were left out."""
