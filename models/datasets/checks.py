"""Checks of images before anything is trained on them; `data.checks` sets their levels."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.config.data import CheckParams, DataParams, Level, Resize
from models.datasets.labelled_images import SPLITS
from models.datasets.near_duplicates import near_duplicates
from models.datasets.prepared import Finding
from models.datasets.scanning import Scanned
from models.datasets.split_assignment import NO_LABEL, Assignment, Pictures
from models.datasets.splits import Indices, group_copies, has_two_labels

MIN_SIDE = 4
"""Pixels: below, an image shows nothing that can be classified."""
ENLARGEMENT = 4
"""Factor by which images are enlarged before that is reported: the digits, 8x8, become 28x28."""
MAX_NAMED = 5
"""Images or classes that a message names."""


@dataclass(frozen=True, slots=True)
class Report:
    """What the checks found, by level."""

    errors: tuple[Finding, ...]
    warnings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Examined:
    """What the checks judge."""

    scanned: Scanned
    classes: tuple[str, ...]
    assignment: Assignment
    known: Mapping[str, int]
    """Images of each class that the dataset has already; empty where it is examined whole."""


def examine(examined: Examined, data: DataParams) -> Report:
    """Run every check that data.checks does not turn off."""
    found = [(_level(data, f.code), f) for check in _CHECKS for f in check(examined, data)]
    return Report(
        errors=tuple(finding for level, finding in found if level == "error"),
        warnings=tuple(finding for level, finding in found if level == "warning"),
    )


def describe(findings: Sequence[Finding], *, most: int = 10) -> str:
    """Format findings as one message, the first ones in full."""
    lines = [f"{f.where}: {f.message}" if f.where else f.message for f in findings[:most]]
    more = [f"and {len(findings) - most} more"] if len(findings) > most else []
    return "\n".join([*lines, *more])


def _level(data: DataParams, code: str) -> Level:
    if code == "conflicts":
        return "error" if data.conflicts == "refuse" else "warning"
    level: Level = getattr(data.checks, code)
    return level


def _check_classes(examined: Examined, data: DataParams) -> Iterator[Finding]:
    """one_class, empty_class, few_images, imbalance, new_classes."""
    checks: CheckParams = data.checks
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
    labels = examined.scanned.pictures.labels[first]
    numbers = np.bincount(labels[labels != NO_LABEL], minlength=len(examined.classes))
    added = dict(zip(examined.classes, numbers.tolist(), strict=True))
    names = dict.fromkeys([*examined.known, *added])
    counts = {name: examined.known.get(name, 0) + added.get(name, 0) for name in names}
    return counts, added


def _check_copies(examined: Examined, data: DataParams) -> Iterator[Finding]:
    """duplicates, across_splits, conflicts."""
    del data
    dropped, pictures = examined.assignment.dropped, examined.scanned.pictures
    copies = group_copies(pictures.ids)
    conflicting = np.repeat(has_two_labels(copies, pictures.labels), copies.lengths)
    if dropped.duplicates + dropped.alike:
        more = f", and {dropped.alike:,} that resizing makes equal" if dropped.alike else ""
        again = np.setdiff1d(copies.order[~conflicting], copies.first)
        yield _finding(
            "duplicates",
            f"{dropped.duplicates:,} images are exact copies{more}; one of each is kept"
            + _names(examined, again),
        )
    if dropped.across_splits:
        first = dropped.evictions[0]
        evicted = {bytes.fromhex(eviction.id) for eviction in dropped.evictions[:MAX_NAMED]}
        rows = [row for row, identity in enumerate(pictures.ids) if identity.tobytes() in evicted]
        yield _finding(
            "across_splits",
            f"{dropped.across_splits:,} pictures have copies{_or_groups(pictures)} in two splits; "
            "each is kept in one, "
            f"such as {first.id[:12]} in {first.kept}, not {first.split}"
            + _names(examined, np.array(rows, np.int64)),
        )
    if dropped.conflicts:
        yield _finding(
            "conflicts",
            f"{dropped.conflicts:,} images show a picture that has copies under another label; "
            "correct them (data.conflicts: drop leaves them out, refuse stops)"
            + _names(examined, copies.order[conflicting]),
        )


def _or_groups(pictures: Pictures) -> str:
    return "" if pictures.groups is None else ", or others of their group,"


def _check_groups(examined: Examined, data: DataParams) -> Iterator[Finding]:
    """Ungrouped."""
    del data
    groups = examined.scanned.pictures.groups
    alone = np.flatnonzero(~groups.any(axis=1)) if groups is not None else np.empty(0, np.int64)
    if len(alone):
        yield _finding(
            "ungrouped",
            f"{len(alone):,} images have no group and are split each by itself; name one in the "
            f"column group, or by data.group{_names(examined, alone)}",
        )


def _check_near_duplicates(examined: Examined, data: DataParams) -> Iterator[Finding]:
    """near_duplicates, among the images that are kept."""
    if data.checks.near_duplicates == "off":
        return
    yield from _clusters(examined)
    rows, splits = _kept_rows(examined)
    near = near_duplicates(
        examined.scanned.statistics.take(rows), splits, max_comparisons=data.checks.near_pairs
    )
    if not near.pairs:
        return
    names = [
        f"{examined.scanned.name_of(int(rows[place]))} of {SPLITS[splits[place]]}"
        for place in near.pairs[0]
    ]
    images = sorted({held_out for held_out, _ in near.pairs})
    yield _finding(
        "near_duplicates",
        f"{len(images):,} of {near.compared:,} held-out images compared (of {near.held_out:,}) are "
        f"nearly an image of another split, such as {names[0]} and {names[1]}"
        + _names(examined, rows[images]),
    )


def _clusters(examined: Examined) -> Iterator[Finding]:
    """near_duplicates that are kept together."""
    pictures = examined.scanned.pictures
    if pictures.roots is None:
        return
    once = group_copies(pictures.ids).first
    joined = once[np.any(pictures.roots[once] != pictures.ids[once], axis=1)]
    if len(joined):
        lengths = group_copies(pictures.roots[once]).lengths
        yield _finding(
            "near_duplicates",
            f"{len(joined):,} images are near copies of {np.count_nonzero(lengths > 1):,} others "
            f"and share their splits; the largest cluster has {lengths.max():,} images"
            + _names(examined, joined),
        )


def _kept_rows(examined: Examined) -> tuple[Indices, NDArray[np.int8]]:
    """Return the rows that are kept, in the order of their ids, and their splits."""
    parts = examined.assignment.rows
    rows = np.concatenate(parts)
    splits = np.repeat(np.arange(len(parts), dtype=np.int8), [len(part) for part in parts])
    order = np.argsort(examined.scanned.pictures.ids[rows][:, :8].copy().view(">u8").reshape(-1))
    return rows[order], splits[order]


def _check_absent(examined: Examined, data: DataParams) -> Iterator[Finding]:
    """absent_in_split."""
    del data
    counts, _ = _class_counts(examined)
    effects = ("cannot be learned", "do not count in the choice of trials", "are never scored")
    for split, rows, effect in zip(SPLITS, examined.assignment.rows, effects, strict=True):
        present = set(np.unique(examined.scanned.pictures.labels[rows]).tolist())
        absent = [name for label, name in enumerate(examined.classes) if label not in present]
        if absent:
            named = ", ".join(f"{name!r} (of {counts[name]:,} images)" for name in absent[:20])
            more = f" and {len(absent) - 20} more" if absent[20:] else ""
            yield _finding(
                "absent_in_split",
                f"{len(absent)} classes have no image here and {effect}: {named}{more}; "
                "add images of them",
                split,
            )


def _check_pixels(examined: Examined, data: DataParams) -> Iterator[Finding]:
    """constant, tiny, small, sizes, brightness."""
    statistics = examined.scanned.statistics
    sides, brightness = statistics.sizes.min(axis=1), statistics.brightness
    allowed = data.checks.brightness_deviations * max(1.0, float(brightness.std()))
    enlarged = (sides * ENLARGEMENT < data.image_size) & (sides >= MIN_SIDE)
    size = data.image_size
    for code, rows, what in (
        ("constant", statistics.contrasts == 0, "are of one colour all over"),
        ("tiny", sides < MIN_SIDE, f"have a side of fewer than {MIN_SIDE} pixels; leave them out"),
        ("small", enlarged, f"are enlarged more than {ENLARGEMENT} times to {size} pixels a side"),
        (
            "sizes",
            statistics.sizes[:, 0] != statistics.sizes[:, 1],
            f"are not square and {_UNSQUARE[data.resize]}",
        ),
        ("sizes", *_unusual_size(statistics.sizes)),
        (
            "brightness",
            np.abs(brightness - brightness.mean()) > allowed,
            "are far brighter or darker than the rest",
        ),
    ):
        count = int(np.count_nonzero(rows))
        if count:
            named = _names(examined, np.flatnonzero(rows))
            yield _finding(code, f"{count:,} images {what}{named}")


_UNSQUARE: dict[Resize, str] = {
    "squeeze": "will be stretched",
    "letterbox": "will have black bars",
    "centre_crop": "will lose two of their edges",
}


def _unusual_size(sizes: NDArray[np.int32]) -> tuple[NDArray[np.bool_], str]:
    """Rows of another size than nine in ten images have, and what to say of them."""
    different, counts = np.unique(sizes, axis=0, return_counts=True)
    height, width = different[int(np.argmax(counts))]
    usual = counts.max() >= 0.9 * len(sizes)
    rows: NDArray[np.bool_] = usual & np.any(sizes != (height, width), axis=1)
    return rows, f"are not {width} x {height} as the others are"


_CHECKS: tuple[Callable[[Examined, DataParams], Iterator[Finding]], ...] = (
    _check_classes,
    _check_copies,
    _check_groups,
    _check_near_duplicates,
    _check_absent,
    _check_pixels,
)


def _finding(code: str, message: str, where: str | None = None) -> Finding:
    return Finding(code=code, message=message, where=where)


def _names(examined: Examined, rows: Indices) -> str:
    """Name the first images of some rows; nothing where there are none."""
    names = [examined.scanned.name_of(int(row)) for row in rows[:MAX_NAMED]]
    more = ", ..." if len(rows) > MAX_NAMED else ""
    return f": {', '.join(names)}{more}" if names else ""
