"""Why page: champion against challenger on the same test images, image by image."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.evaluation.outcomes import Floats, Integers, Outcomes, outcomes_of
from models.evaluation.report.pictures import Card, Picture, picture_of
from models.evaluation.report.templates import render
from models.evaluation.slices.membership import Slice
from models.files import write_text
from models.gate.inputs import GateInput
from models.gate.records import GateDecision

MOST_ROWS = 30
"""Most classes of the table."""


@dataclass(frozen=True, slots=True)
class _Kind:
    """A kind of images: where both or one of the two have them right."""

    name: str
    heading: str
    advice: str
    most: int
    """Images shown."""


_KINDS = (
    _Kind(
        name="fixed",
        heading="Fixed",
        advice="Only the challenger has these right; the champion's greatest errors first. Look "
        "whether they are of the kind that the new data or network was meant for.",
        most=24,
    ),
    _Kind(
        name="broken",
        heading="Broken",
        advice="Only the champion has these right: what a promotion costs; the challenger's "
        "greatest errors first. Where one kind recurs, add images of it; where a label is wrong, "
        "correct it.",
        most=24,
    ),
    _Kind(
        name="both_wrong",
        heading="Both wrong",
        advice="Neither has these right; first those that the challenger is further from. Check "
        "their labels before anything else: a wrong one costs every version.",
        most=12,
    ),
    _Kind(
        name="both_right",
        heading="Both right",
        advice="Both have these right; first those that the challenger is less sure of than the "
        "champion. They are the next to break.",
        most=12,
    ),
)


@dataclass(frozen=True, slots=True)
class WhyInput:
    """Two versions on the same n test images."""

    title: str
    challenger: GateInput
    champion: GateInput
    images: npt.NDArray[np.uint8]
    """(n, C, H, W) with C 1 or 3, in the order of both; only those shown are read."""
    names: tuple[str, str] = ("challenger", "champion")
    """Of the two, in that order."""
    decision: GateDecision | None = None
    """The gate's, where it compared them for this page."""
    recorded: Sequence[str] = ()
    """What the ledger has about the two, in sentences, where there is no decision for this page."""
    maps: Mapping[int, tuple[Picture, ...]] = field(default_factory=dict)
    """Row -> attribution maps of both, in that order."""
    without_maps: str | None = None
    """Why there are none."""
    slices: Sequence[Slice] = ()
    """Of the images, by what is known of them without either version."""


@dataclass(frozen=True, slots=True)
class ChangedClass:
    """Images of one class or slice, by which of the two has them right."""

    name: str
    images: int
    fixed: int
    broken: int
    both_wrong: int
    both_right: int

    @property
    def net(self) -> int:
        """Images won."""
        return self.fixed - self.broken


@dataclass(frozen=True, slots=True)
class Changes:
    """Rows of the test split by which of the two has them right; each sorted by surprise."""

    fixed: Integers
    broken: Integers
    both_wrong: Integers
    both_right: Integers

    @property
    def images(self) -> int:
        """Images compared."""
        groups = (self.fixed, self.broken, self.both_wrong, self.both_right)
        return sum(map(len, groups))


@dataclass(frozen=True, slots=True)
class _Group:
    """A section of the page."""

    kind: _Kind
    images: int
    cards: Sequence[Card]


def write_why(path: Path, why: WhyInput) -> None:
    """Write the page. Raises ValueError where the two were not scored on the same images."""
    write_text(path, render_why(why))


def render_why(why: WhyInput) -> str:
    """Render the page; raises as `write_why`."""
    pair, changes = _sorted(why)
    challenger, _ = pair
    classes = changed_classes(changes, challenger.labels, why.challenger.classes)
    found = [(kind, getattr(changes, kind.name)) for kind in _KINDS]
    groups = [
        _Group(kind, len(rows), [_card(why, int(row), pair) for row in rows[: kind.most]])
        for kind, rows in found
    ]
    return render(
        "why.html.j2",
        why=why,
        changes=changes,
        groups=groups,
        classes=classes[:MOST_ROWS],
        more=max(len(classes) - MOST_ROWS, 0),
        slices=changed_slices(changes, why.slices)[:MOST_ROWS],
        more_slices=max(len(why.slices) - MOST_ROWS, 0),
        left_out=len(challenger.labels) - changes.images,
    )


def mapped_rows(why: WhyInput) -> Integers:
    """Rows of the fixed and the broken images that the page shows; raises as `write_why`."""
    _, changes = _sorted(why)
    shown = [getattr(changes, kind.name)[: kind.most] for kind in _KINDS[:2]]
    return np.concatenate(shown)


def _sorted(why: WhyInput) -> tuple[tuple[Outcomes, Outcomes], Changes]:
    """Return what challenger and champion said, and the images by which of them has them right."""
    challenger, champion = (_outcomes(one, why.images) for one in (why.challenger, why.champion))
    if not np.array_equal(challenger.labels, champion.labels):
        raise ValueError("the two were scored against different labels: nothing can be compared")
    changes = changes_of(challenger, champion, compared=_compared(why, challenger.labels))
    return (challenger, champion), changes


def changes_of(
    challenger: Outcomes, champion: Outcomes, *, compared: npt.NDArray[np.bool_]
) -> Changes:
    """Sort the compared images, (n,), into the four groups, whose sizes are the gate's counts.

    Surprise: loss of the challenger minus the champion's. Fixed ones begin with the lowest, the
    others with the highest; of equal ones the first counts.
    """
    excess = challenger.losses - champion.losses
    ours, theirs = challenger.right, champion.right

    def rows(chosen: npt.NDArray[np.bool_], surprise: Floats) -> Integers:
        at = np.flatnonzero(chosen & compared)
        return at[np.argsort(-surprise[at], kind="stable")]

    return Changes(
        fixed=rows(ours & ~theirs, -excess),
        broken=rows(~ours & theirs, excess),
        both_wrong=rows(~ours & ~theirs, excess),
        both_right=rows(ours & theirs, excess),
    )


def changed_classes(changes: Changes, labels: Integers, names: Sequence[str]) -> list[ChangedClass]:
    """Count the groups for each class with images, most changes first."""
    fixed, broken, wrong, right = (
        np.bincount(labels[rows], minlength=len(names))
        for rows in (changes.fixed, changes.broken, changes.both_wrong, changes.both_right)
    )
    counted = [
        ChangedClass(name, sum(counts), *counts)
        for name, *counts in zip(
            names, *(one.tolist() for one in (fixed, broken, wrong, right)), strict=True
        )
        if sum(counts)
    ]
    return sorted(counted, key=lambda one: (-(one.fixed + one.broken), one.net, one.name))


def changed_slices(changes: Changes, slices: Sequence[Slice]) -> list[ChangedClass]:
    """Count the groups for each slice, most changes first; an image may be in several slices."""
    groups = (changes.fixed, changes.broken, changes.both_wrong, changes.both_right)
    counted: list[ChangedClass] = []
    for one in slices:
        fixed, broken, wrong, right = (int(np.isin(rows, one.rows).sum()) for rows in groups)
        images = fixed + broken + wrong + right
        counted.append(ChangedClass(one.label, images, fixed, broken, wrong, right))
    return sorted(counted, key=lambda one: (-(one.fixed + one.broken), one.net, one.name))


def _outcomes(version: GateInput, images: npt.NDArray[np.uint8]) -> Outcomes:
    if len(images) != len(version.labels):
        raise ValueError(f"{len(images)} images and {len(version.labels)} labels: not one for each")
    return outcomes_of(version.probabilities, version.labels)


def _compared(why: WhyInput, labels: Integers) -> npt.NDArray[np.bool_]:
    """Images of classes that both know, as at the gate."""
    unknown = {*why.challenger.unknown, *why.champion.unknown}
    known = [at for at, name in enumerate(why.challenger.classes) if name not in unknown]
    return np.isin(labels, known)


def _card(why: WhyInput, row: int, outcomes: tuple[Outcomes, Outcomes]) -> Card:
    classes = why.challenger.classes
    said = tuple(
        f"{name}: {classes[one.predicted[row]]} ({100 * one.confidence[row]:.0f}\u00a0%)"
        for name, one in zip(why.names, outcomes, strict=True)
    )
    true = classes[outcomes[0].labels[row]]
    maps = why.maps.get(row, ())
    return Card(picture=picture_of(why.images[row]), true=true, said=said, maps=maps)
