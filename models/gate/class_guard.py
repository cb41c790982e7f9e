"""Guard of each class's recall: significantly worse, or not shown to be kept.

That a class is kept is to be shown: the lower bound of its change lies above minus the margin. Each
class must show it, so each is asked at the full level: a challenger that is worse by more than the
margin in any class passes at most that often (intersection-union test; Berger, 1982, Technometrics
24:295). A correction for many classes would only hold back more.

A class with too few images cannot show it, however good the challenger. Such a class holds back
only where the loss observed exceeds the margin and luck seldom brings as much; what could have
passed is said.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from models.config.policies import GateParams
from models.gate.comparison import Pair
from models.gate.paired import POWER, holm, tango_interval, tango_z
from models.gate.records import RuleResult

_MOST_NAMED = 5


@dataclass(frozen=True, slots=True)
class ClassChange:
    """What the images of a class say of its recall under the challenger."""

    name: str
    images: int
    gained: int
    """Images that only the challenger has right."""
    lost: int
    """Images that only the champion has right."""

    @property
    def change(self) -> float:
        """Difference of recalls, observed."""
        return (self.gained - self.lost) / self.images

    def worse_p(self, margin: float) -> float:
        """One-sided p-value of "recall is at most margin worse" (Tango's score test)."""
        z = tango_z(self.gained, self.lost, self.images, difference=-margin)
        return float(stats.norm.cdf(z))

    def lowest(self, significance: float) -> float:
        """Lower end of Tango's interval of the change."""
        return tango_interval(self.gained, self.lost, self.images, significance=significance)[0]

    @property
    def luck(self) -> float:
        """Probability that an equal challenger loses as many of the images that differ, or more."""
        return float(stats.binom.sf(self.lost - 1, self.gained + self.lost, 0.5))


def class_changes(pair: Pair) -> tuple[ClassChange, ...]:
    """Count for each class with images, in the order of the classes."""
    gained = pair.only_right(pair.challenger, pair.champion)
    lost = pair.only_right(pair.champion, pair.challenger)
    support = np.bincount(pair.labels, minlength=pair.classes)
    return tuple(
        ClassChange(pair.names[label], int(support[label]), int(gained[label]), int(lost[label]))
        for label in np.flatnonzero(support)
    )


def images_to_guard(*, classes: int, gained: float, margin: float, significance: float) -> float:
    """Images of a class from which on it is to show that its recall is kept; may be infinite.

    With these an equal challenger, which loses as many images as it gains, is shown to keep all of
    the classes with a power of 80 %. gained: share of all images that the challenger alone has
    right. Identical predictions show it on fewer images, but for a single one that differs.
    """
    if margin == 0:
        return math.inf
    reach = float(stats.norm.isf(significance / 2))
    power = float(stats.norm.ppf(POWER ** (1 / classes)))
    differing = ((reach + power) / margin) ** 2 * 2 * gained
    identical = reach**2 * (1 - margin) / margin
    return math.ceil(max(differing, identical))


def check_classes_not_worse(pair: Pair, gate: GateParams) -> RuleResult:
    """Tango's score test of each class against the margin, with Holm's correction over classes."""
    changes, margin = class_changes(pair), gate.class_recall_margin
    p_values = [one.worse_p(margin) for one in changes]
    worse = [changes[index].name for index in holm(p_values, gate.significance / 2)]
    return RuleResult(
        rule="class_recall_not_worse",
        passed=not worse,
        value=min(p_values),
        threshold=gate.significance / 2 / len(changes),
        text=f"Recall is significantly more than {100 * margin:g} points worse in "
        f"{named(worse) if worse else 'no class'} (score tests of {len(changes)} classes, Holm's "
        f"correction, lowest p = {min(p_values):.2g}).",
    )


def check_classes_kept(pair: Pair, gate: GateParams) -> RuleResult:
    """Require of each class with images enough that its recall is shown to be kept."""
    changes, margin = class_changes(pair), gate.class_recall_margin
    needed = images_to_guard(
        classes=len(changes),
        gained=sum(one.gained for one in changes) / len(pair.labels),
        margin=margin,
        significance=gate.significance,
    )
    lowest = [one.lowest(gate.significance) for one in changes]
    lost = [
        one.name
        for one, low in zip(changes, lowest, strict=True)
        if low < -margin and (one.images >= needed or _is_suspect(one, margin, len(changes)))
    ]
    worst = int(np.argmin(lowest))
    few = [one for one in changes if one.images < needed]
    sentences = (
        _shown(lost, margin, guarded=len(changes) - len(few), classes=len(changes)),
        _too_few(few, needed, len(changes)),
        _could_have_passed(changes[worst], lowest[worst]),
    )
    return RuleResult(
        rule="class_recall_kept",
        passed=not lost,
        value=lowest[worst],
        threshold=-margin,
        text=" ".join(filter(None, sentences)),
    )


def _is_suspect(one: ClassChange, margin: float, classes: int) -> bool:
    """Whether a loss beyond the margin is observed that luck seldom brings.

    Of equal challengers 20 % at most are held back for any of the classes, however many.
    """
    return one.change < -margin and one.luck <= 1 - POWER ** (1 / classes)


def _shown(lost: list[str], margin: float, *, guarded: int, classes: int) -> str:
    most = f"at most {100 * margin:g} points worse"
    if lost:
        return f"Recall is not shown to be {most} in {named(lost)}."
    if guarded:
        return f"Recall is shown to be {most} in {guarded} of {classes} classes."
    return ""


def _too_few(few: list[ClassChange], needed: float, classes: int) -> str:
    if not few:
        return ""
    fewest = min(few, key=lambda one: one.images)
    needs = "no number is enough" if math.isinf(needed) else f"{needed:,} are needed"
    return (
        f"Too few images to guard {len(few)} of {classes} classes ({named([fewest.name])} has "
        f"{fewest.images:,}; {needs})."
    )


def _could_have_passed(one: ClassChange, low: float) -> str:
    if low >= 0:
        return "A loss in any class is excluded."
    return (
        f"A loss of {-100 * low:.1f} points in {named([one.name])} ({100 * one.change:+.1f} on "
        f"{one.images:,} images) could have passed."
    )


def named(names: Sequence[str]) -> str:
    """Name some classes in a sentence, the first five of many."""
    shown = ", ".join(names[:_MOST_NAMED])
    more = f" and {len(names) - _MOST_NAMED:,} more" if len(names) > _MOST_NAMED else ""
    return f"class {shown}{more}"
