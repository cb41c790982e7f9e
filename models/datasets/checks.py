"""Checks: what is wrong with images before anything is trained on them; levels are params."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.config.data import CheckParams, DataParams, Level
from models.datasets.labelled_images import SPLITS
from models.datasets.near_duplicates import near_duplicates
from models.datasets.prepared import Finding
from models.datasets.scanning import Scanned
from models.datasets.split_assignment import Assignment
from models.datasets.splits import Indices, group_copies


@dataclass(frozen=True, slots=True)
class Report:
    """What the checks found, by level."""

    errors: tuple[Finding, ...]
    warnings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Examined:
    """What the checks look at."""

    scanned: Scanned
    classes: tuple[str, ...]
    assignment: Assignment
    known: Mapping[str, int]
    """Images of each class that the dataset has already; empty where it is examined whole."""


def examine(examined: Examined, data: DataParams) -> Report:
    """Run every check that data.checks does not turn off."""
    found = [(_level(data, f.code), f) for check in _CHECKS for f in check(examined, data.checks)]
    return Report(
        errors=tuple(finding for level, finding in found if level == "error"),
        warnings=tuple(finding for level, finding in found if level == "warning"),
    )


def described(findings: Sequence[Finding], *, most: int = 10) -> str:
    """Put findings into one message, the first ones in full."""
    lines = [f"{f.where}: {f.message}" if f.where else f.message for f in findings[:most]]
    more = [f"and {len(findings) - most} more"] if len(findings) > most else []
    return "\n".join([*lines, *more])


def _level(data: DataParams, code: str) -> Level:
    if code == "conflicts":
        return "error" if data.conflicts == "refuse" else "warning"
    level: Level = getattr(data.checks, code)
    return level


def _classes(examined: Examined, checks: CheckParams) -> Iterator[Finding]:
    """one_class, empty_class, few_images, imbalance, new_classes."""
    counts, added = _class_counts(examined)
    present = {name: count for name, count in counts.items() if count}
    if len(present) < 2:
        yield _finding(
            "one_class", "there are images of one class only; add others", next(iter(present), None)
        )
    for name in counts.keys() - present.keys():
        yield _finding("empty_class", "the class has a name and no image; add some", name)
    for name, count in present.items():
        if count < checks.few_images_below:
            yield _finding(
                "few_images",
                f"the class has {count} different images, fewer than {checks.few_images_below} "
                "(data.checks.few_images_below); add more",
                name,
            )
    most, least = max(present, key=lambda name: counts[name]), min(present, key=lambda n: counts[n])
    if counts[most] > checks.imbalance_ratio * counts[least]:
        ratio = f"{counts[most]:,} of {most!r} to {counts[least]:,} of {least!r}"
        yield _finding("imbalance", f"classes are far from equal: {ratio} images", least)
    for name in added if examined.known else ():
        if added[name] and name not in examined.known:
            yield _finding("new_classes", "the dataset did not have this class before", name)


def _class_counts(examined: Examined) -> tuple[dict[str, int], dict[str, int]]:
    """Count the different images of each class: with those known before, and of these alone."""
    first = group_copies(examined.scanned.pictures.ids).first
    labels = np.bincount(examined.scanned.pictures.labels[first], minlength=len(examined.classes))
    added = dict(zip(examined.classes, labels.tolist(), strict=True))
    names = dict.fromkeys([*examined.known, *added])
    counts = {name: examined.known.get(name, 0) + added.get(name, 0) for name in names}
    return counts, added


def _copies(examined: Examined, checks: CheckParams) -> Iterator[Finding]:
    """duplicates, across_splits, conflicts."""
    del checks
    dropped = examined.assignment.dropped
    if dropped.duplicates + dropped.alike:
        more = f", and {dropped.alike:,} that resizing makes equal" if dropped.alike else ""
        yield _finding(
            "duplicates",
            f"{dropped.duplicates:,} images are exact copies{more}; one of each is kept",
        )
    if dropped.across_splits:
        first = dropped.evictions[0]
        yield _finding(
            "across_splits",
            f"{dropped.across_splits:,} pictures have copies in two splits; each is kept in one, "
            f"such as {first.id[:12]} in {first.kept}, not {first.split}",
        )
    if dropped.conflicts:
        yield _finding(
            "conflicts",
            f"{dropped.conflicts:,} images show a picture that stands under two labels; "
            "correct them (data.conflicts: drop leaves them out, refuse stops)",
        )


def _near(examined: Examined, checks: CheckParams) -> Iterator[Finding]:
    """near_duplicates, among the images that are kept."""
    if checks.near_duplicates == "off":
        return
    rows, splits = _kept(examined)
    near = near_duplicates(
        examined.scanned.looks.take(rows), splits, max_comparisons=checks.near_pairs
    )
    if not near.pairs:
        return
    ids = examined.scanned.pictures.ids[rows]
    named = [f"{_short(ids[place])} of {SPLITS[splits[place]]}" for place in near.pairs[0]]
    images = len({held_out for held_out, _ in near.pairs})
    yield _finding(
        "near_duplicates",
        f"{images:,} of {near.compared:,} held-out images compared (of {near.held_out:,}) are "
        f"nearly an image of another split, such as {named[0]} and {named[1]}",
    )


def _kept(examined: Examined) -> tuple[Indices, NDArray[np.int8]]:
    """Return the rows that are kept, in the order of their ids, and their splits."""
    parts = examined.assignment.rows
    rows = np.concatenate(parts)
    splits = np.repeat(np.arange(len(parts), dtype=np.int8), [len(part) for part in parts])
    order = np.argsort(examined.scanned.pictures.ids[rows][:, :8].copy().view(">u8").reshape(-1))
    return rows[order], splits[order]


def _absent(examined: Examined, checks: CheckParams) -> Iterator[Finding]:
    """absent_in_split."""
    del checks
    for split, rows in zip(SPLITS, examined.assignment.rows, strict=True):
        present = set(np.unique(examined.scanned.pictures.labels[rows]).tolist())
        absent = [name for label, name in enumerate(examined.classes) if label not in present]
        if absent:
            named = ", ".join(map(repr, absent[:3]))
            yield _finding(
                "absent_in_split", f"{len(absent)} classes have no image: {named}", split
            )


def _pixels(examined: Examined, checks: CheckParams) -> Iterator[Finding]:
    """constant, sizes, brightness."""
    looks = examined.scanned.looks
    constant = int(np.count_nonzero(looks.spans == 0))
    if constant:
        yield _finding("constant", f"{constant:,} images are of one colour all over")
    stretched = int(np.count_nonzero(looks.sizes[:, 0] != looks.sizes[:, 1]))
    if stretched:
        yield _finding("sizes", f"{stretched:,} images are not square and will be stretched")
    sizes, counts = np.unique(looks.sizes, axis=0, return_counts=True)
    usual = int(np.argmax(counts))
    if len(sizes) > 1 and counts[usual] >= 0.9 * len(looks.sizes):
        height, width = sizes[usual]
        odd = len(looks.sizes) - int(counts[usual])
        yield _finding("sizes", f"{odd:,} images are not {width} x {height} as the others are")
    brightness = looks.brightness
    allowed = checks.brightness_deviations * max(1.0, float(brightness.std()))
    outliers = int(np.count_nonzero(np.abs(brightness - brightness.mean()) > allowed))
    if outliers:
        yield _finding(
            "brightness", f"{outliers:,} images are far brighter or darker than the rest"
        )


_CHECKS: tuple[Callable[[Examined, CheckParams], Iterator[Finding]], ...] = (
    _classes,
    _copies,
    _near,
    _absent,
    _pixels,
)


def _finding(code: str, message: str, where: str | None = None) -> Finding:
    return Finding(code=code, message=message, where=where)


def _short(identity: NDArray[np.uint8]) -> str:
    return identity.tobytes().hex()[:12]
