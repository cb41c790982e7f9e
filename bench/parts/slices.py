"""Slices: how often any is called worse where none is, and how often a worse one is found.

Splits are drawn: embeddings of ten classes (16 features), images that are wrong with one chance,
whatever they are. Slices by class, brightness, contrast and four batches, and clusters that are
sought on as many validation images and tested on test. Beside that rate: without Holm's correction,
and with clusters that are sought on the test images themselves.

Power. One class in ten has a corner, 8 % of all images, in which more are wrong; it is in no name,
and not in brightness, contrast or batch. Found: any cluster is called worse. Inside: of the images
of that cluster with the lowest accuracy, the share that is of the corner.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.evaluation.slices.clusters import find_clusters
from models.evaluation.slices.membership import Slice, slices_by_name, slices_by_quantiles
from models.evaluation.slices.scoring import score_slices

CLASSES = tuple("0123456789")
CENTRES = 3 * np.random.default_rng(0).normal(size=(10, 16))
REPEATS = 800
"""Simulated splits."""
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Drawn:
    """Images of a split, as a network sees and names them."""

    embeddings: npt.NDArray[np.float32]
    labels: Integers
    named: Integers
    corner: npt.NDArray[np.bool_]


def draw(images: int, source: np.random.Generator, *, error: float, excess: float = 0.0) -> Drawn:
    """Draw a split; excess: how much more often an image of the corner is wrong."""
    labels = source.integers(0, 10, images)
    embeddings = CENTRES[labels] + source.normal(size=(images, 16))
    corner = source.random(images) < 0.08
    labels = np.where(corner, 9, labels)
    embeddings[corner] = CENTRES[9] + 4 + source.normal(size=(int(corner.sum()), 16))
    wrong = source.random(images) < error + excess * corner
    named = np.where(wrong, (labels + 1 + source.integers(0, 9, images)) % 10, labels)
    return Drawn(embeddings.astype(np.float32), labels, named, corner)


def clusters_of(sought: Drawn, test: Drawn) -> list[Slice]:
    """Find clusters in one split, and cut the other by them."""
    found = find_clusters(sought.embeddings, sought.labels, sought.named, classes=CLASSES)
    if found is None:
        return []
    places = found.place(test.embeddings)
    members = [np.flatnonzero(places == part) for part in found.chosen]
    return [Slice("cluster", str(at), rows) for at, rows in enumerate(members) if len(rows)]


def facts_of(test: Drawn, source: np.random.Generator) -> list[Slice]:
    """Slices by class and by facts that have nothing to do with mistakes."""
    images = len(test.labels)
    return [
        *slices_by_name("class", [CLASSES[label] for label in test.labels]),
        *slices_by_quantiles("brightness", source.random(images)),
        *slices_by_quantiles("contrast", source.random(images)),
        *slices_by_name("batch", source.choice(list("abcd"), images).tolist()),
    ]


def false_alarms(images: int, error: float, splits: int) -> str:
    """Format the rates of false alarms of one size of split and one rate of mistakes."""
    source, alarms = np.random.default_rng([images, round(1000 * error)]), np.zeros(4)
    for _ in range(splits):
        validation, test = (draw(images, source, error=error) for _ in range(2))
        right, facts = test.labels == test.named, facts_of(test, source)
        honest = clusters_of(validation, test)
        report = score_slices(right, [*facts, *honest])
        same = score_slices(right, clusters_of(test, test))
        alarms += [
            bool(report.distinct),
            any(one.p_value <= 0.05 for one in report.slices),
            bool(score_slices(right, honest).distinct),
            bool(same.distinct),
        ]
    rates = 100 * alarms / splits
    return f"  {images:>6,} {100 * error:7.0f} %" + "".join(f"{rate:14.1f} %" for rate in rates)


def power(images: int, excess: float, splits: int) -> str:
    """Format how often the corner is found, and how much of what is found is of the corner."""
    source, found, inside = np.random.default_rng([images, round(100 * excess)]), 0, 0.0
    for _ in range(splits):
        validation, test = (draw(images, source, error=0.08, excess=excess) for _ in range(2))
        clusters = {one.name: one for one in clusters_of(validation, test)}
        cut = [*facts_of(test, source), *clusters.values()]
        report = score_slices(test.labels == test.named, cut)
        worst = [one for one in report.distinct if one.kind == "cluster"]
        if worst:
            found += 1
            inside += float(test.corner[clusters[worst[0].name].rows].mean())
    share = f"{100 * inside / found:8.0f} %" if found else "         -"
    return f"  {images:>6,} {100 * excess:9.0f} {100 * found / splits:9.1f} % {share}"


def measure() -> Iterator[str]:
    """Both tables; power from a fifth of the repeats."""
    repeats = REPEATS
    reach = 196 * np.sqrt(0.05 * 0.95 / repeats)
    yield from (
        f"False alarms: splits, of {repeats:,} without any difference, in which any slice is",
        f"called worse; at most 5 % is promised, and a rate of 5 % is known to +- {reach:.1f}.",
        "All: some 26 slices, clusters found on validation. Not corrected: each at 5 %.",
        "Clusters: these alone. Same images: these, found where they are tested.",
        "  images   wrong           all   not corrected      clusters    same images",
        *(
            false_alarms(images, error, repeats)
            for images, error in ((300, 0.1), (1000, 0.1), (1000, 0.2))
        ),
        "",
        f"Power: {repeats // 5} splits; of all images 8 % are wrong, and in a corner, 8 % of them,",
        "so many points more.",
        "  images     points       found     inside",
        *(
            power(images, excess, repeats // 5)
            for images in (500, 2000)
            for excess in (0.1, 0.2, 0.3)
        ),
        f"numpy {np.__version__}",
    )
