"""The gate's budget: how often a test split may be asked, and how strictly, over its life.

Every challenger that is compared on the same test images is another chance to be better by luck.
Levels are set beforehand, look by look, and sum to the significance: by Bonferroni's inequality the
probability that any of the looks promotes a challenger that is no better is at most that, however
the looks depend on one another (alpha spending; Lan & DeMets, 1983, Biometrika 70:659).
"""

from collections.abc import Sequence

from models.config.policies import GateParams
from models.record import Record


class Look(Record):
    """A comparison of a challenger with a champion on a test split."""

    test_digest: str | None
    """Digest of the test images' ids; None: made before looks were counted."""
    images: int
    """Test images."""
    challenger: int
    champion: int | None
    labels: str | None = None
    """Digest of the names of their classes; None: an earlier release made it."""


def looks_taken(looks: Sequence[Look], *, test_digest: str, images: int) -> int:
    """Count the looks that today's test split has had, as far as its images are the same.

    looks: earlier ones, oldest first. The same pair on the same images with the same labels gives
    the same result and is counted once. When a test split grows, looks at it are forgotten in
    proportion to the share of its images that are new; a look without digest is counted in full.
    """
    taken, before, seen = 0.0, 0, set[tuple[str | None, int, int | None, str | None]]()
    digest: str | None = None
    for look in looks:
        pair = (look.test_digest, look.challenger, look.champion, look.labels)
        if pair in seen:
            continue
        seen.add(pair)
        if look.test_digest != digest:
            taken *= _old_share(before, look.images)
        digest, before = look.test_digest, look.images
        taken += 1
    if digest not in (None, test_digest):
        taken *= _old_share(before, images)
    return round(taken)


def _old_share(before: int, now: int) -> float:
    """Share of a split's images that were in it before; splits only grow."""
    return min(before / now, 1.0) if now else 1.0


def level_of(look: int, gate: GateParams) -> float:
    """Significance, one-sided, at which look number `look`, from 1, may find a challenger better.

    Half of the budget goes to the first looks, as 1 / (k (k + 1)), half is divided evenly between
    `gate.looks`; after these there is none.
    """
    return spent_level(look, significance=gate.significance, looks=gate.looks)


def spent_level(look: int, *, significance: float, looks: int) -> float:
    """Level of look number `look`, from 1; those of all `looks` sum to the significance at most."""
    if look > looks:
        return 0.0
    early, even = 1 / (look * (look + 1)), 1 / looks
    return significance * (early + even) / 2
