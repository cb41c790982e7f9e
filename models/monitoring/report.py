"""The drift report: five two-sample tests, and whether any of them shifted."""

from collections.abc import Iterator, Sequence

import numpy as np

from models.config import DriftParams
from models.config.policies import DRIFT_TESTS
from models.errors import InputError
from models.evaluation.outcomes import Integers
from models.monitoring.records import ClassShare, DriftReport, DriftTest, TestName
from models.monitoring.sample import Sample
from models.monitoring.two_sample_tests import count_shift, distribution_shift, domain_shift

TestOutcome = tuple[TestName, tuple[float, float], str]
"""Name, (statistic, p-value), change in words."""


def compare(
    reference: Sample, batch: Sample, params: DriftParams, *, classes: Sequence[str]
) -> DriftReport:
    """Compare images with a reference; the same images, in any order, give the same report.

    Each test is held to significance / 5 (Bonferroni), so that the rate of false alarms of a report
    is at most the significance; Holm's step-down would call the same reports drift.
    Raises InputError where either has fewer than params.minimum_images.
    """
    _require_enough(reference, batch, params)
    counts = [np.bincount(side.predicted, minlength=len(classes)) for side in (reference, batch)]
    threshold = params.significance / DRIFT_TESTS
    tests = tuple(
        DriftTest(
            name=name,
            statistic=statistic,
            p_value=p_value,
            threshold=threshold,
            shifted=p_value <= threshold,
            words=words,
        )
        for name, (statistic, p_value), words in _run_tests(reference, batch, params, counts)
    )
    return DriftReport(
        drift=any(test.shifted for test in tests),
        tests=tests,
        classes=_shares(counts, classes),
        reference_images=len(reference),
        batch_images=len(batch),
        batch_copies=batch.copies,
    )


def _run_tests(
    reference: Sample, batch: Sample, params: DriftParams, counts: Sequence[Integers]
) -> Iterator[TestOutcome]:
    for name, what in (("brightness", "mean grey level"), ("contrast", "spread of grey levels")):
        yield _compare_values(reference, batch, name, what)  # type: ignore[arg-type]
    generator = np.random.default_rng([params.seed, int(batch.digest[:16], 16)])
    drawing = {"permutations": params.permutations}
    auc = domain_shift(reference.embeddings, batch.embeddings, generator=generator, **drawing)
    yield (
        "embedding",
        auc,
        f"a classifier tells them apart with an AUC of {auc[0]:.3f}; 0.5 is chance",
    )
    yield (
        "classes",
        count_shift(counts[0], counts[1], generator=generator, **drawing),
        "shares of the predicted classes",
    )
    yield _compare_values(reference, batch, "confidence", "mean confidence")


def _compare_values(reference: Sample, batch: Sample, name: TestName, what: str) -> TestOutcome:
    before, now = getattr(reference, name), getattr(batch, name)
    digits = 3 if name == "confidence" else 1
    words = f"{what} {before.mean():.{digits}f} -> {now.mean():.{digits}f}"
    return name, distribution_shift(before, now), words


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
