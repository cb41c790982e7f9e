"""The drift report: five two-sample tests, and whether any of them shifted by enough to act on."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from models.config import DriftParams
from models.errors import InputError
from models.evaluation.outcomes import Integers
from models.monitoring.accuracy import estimate_accuracy
from models.monitoring.records import ClassShare, DriftReport, DriftTest, TestName, threshold_of
from models.monitoring.sample import Sample
from models.monitoring.two_sample_tests import count_shift, distribution_shift, domain_shift


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What a test found."""

    name: TestName
    found: tuple[float, float]
    """Statistic and p-value."""
    effect: float
    words: str


def compare(
    reference: Sample,
    batch: Sample,
    params: DriftParams,
    *,
    classes: Sequence[str],
    look: int = 1,
) -> DriftReport:
    """Compare images with a reference; the same images, in any order, give the same report.

    look: number of this report among those about the version, from 1. Each test is held to a fifth
    of the look's level (Bonferroni); Holm's step-down would call the same reports drift.
    Raises InputError where either has fewer than params.minimum_images.
    """
    _require_enough(reference, batch, params)
    counts = [np.bincount(side.predicted, minlength=len(classes)) for side in (reference, batch)]
    threshold = threshold_of(look, params)
    tests = tuple(
        _judged(one, threshold, params.minimum_effect)
        for one in _run_tests(reference, batch, params, counts, threshold)
    )
    return DriftReport(
        drift=any(test.drifted for test in tests),
        tests=tests,
        classes=_shares(counts, classes),
        reference_images=len(reference),
        batch_images=len(batch),
        batch_copies=batch.copies,
        look=look,
        expected=estimate_accuracy(
            reference,
            batch,
            classes=tuple(classes),
            generator=np.random.default_rng([params.seed, int(batch.digest[:16], 16), 1]),
        ),
    )


def _judged(one: _Outcome, threshold: float, minimum_effect: float) -> DriftTest:
    return DriftTest(
        name=one.name,
        statistic=one.found[0],
        p_value=one.found[1],
        threshold=threshold,
        shifted=one.found[1] <= threshold,
        effect=one.effect,
        small=one.effect < minimum_effect,
        words=one.words,
    )


def _run_tests(
    reference: Sample,
    batch: Sample,
    params: DriftParams,
    counts: Sequence[Integers],
    threshold: float,
) -> Iterator[_Outcome]:
    for name, what in (("brightness", "mean grey level"), ("contrast", "spread of grey levels")):
        yield _compare_values(reference, batch, name, what)  # type: ignore[arg-type]
    generator = np.random.default_rng([params.seed, int(batch.digest[:16], 16)])
    auc, p_value = domain_shift(reference.embeddings, batch.embeddings, generator=generator)
    words = f"a classifier tells them apart with an AUC of {auc:.3f}; 0.5 is chance"
    yield _Outcome("embedding", (auc, p_value), max(2 * auc - 1, 0.0), words)
    shift = count_shift(
        counts[0],
        counts[1],
        permutations=params.permutations,
        threshold=threshold,
        generator=generator,
    )
    moved = float(np.abs(np.subtract(*(side / side.sum() for side in counts))).sum() / 2)
    yield _Outcome("classes", shift, moved, "shares of the predicted classes")
    yield _compare_values(reference, batch, "confidence", "mean confidence")


def _compare_values(reference: Sample, batch: Sample, name: TestName, what: str) -> _Outcome:
    before, now = getattr(reference, name), getattr(batch, name)
    digits = 3 if name == "confidence" else 1
    words = f"{what} {before.mean():.{digits}f} -> {now.mean():.{digits}f}"
    found = distribution_shift(before, now)
    return _Outcome(name, found, found[0], words)


def _shares(counts: Sequence[Integers], classes: Sequence[str]) -> tuple[ClassShare, ...]:
    before, now = (side / side.sum() for side in counts)
    return tuple(
        ClassShare(name=name, reference=float(old), batch=float(new))
        for name, old, new in zip(classes, before, now, strict=True)
    )


def _require_enough(reference: Sample, batch: Sample, params: DriftParams) -> None:
    for side, whose in ((batch, "to compare"), (reference, "in the reference")):
        if len(side) < params.minimum_images:
            copies = f" ({side.copies} copies of them left out)" if side.copies else ""
            raise InputError(
                f"{len(side)} different images {whose}{copies}; fewer than {params.minimum_images} "
                "(drift.minimum_images) say nothing reliable: gather more"
            )
