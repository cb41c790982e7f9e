"""Challenger against champion on labelled disagreements of a shadow, look by look.

Images on which both name the same class say nothing of which is better: McNemar's test looks at the
others alone, as the gate's does. There is a look after each further `every` labelled images, at the
levels of the gate's budget, so that whoever asks after each label finds no more by luck.
"""

from collections.abc import Sequence
from typing import Literal

from models.config.policies import GateParams
from models.gate.budget import level_of
from models.gate.paired import mcnemar_p
from models.record import Record

EVERY = 20
"""Labelled disagreements between two looks, where `gate.shadow` asks for no other number."""


class ShadowTest(Record):
    """What labelled disagreements show."""

    labelled: int
    tested: int
    """Of these, as many as the last look has seen: the oldest."""
    challenger_only: int
    """Images of the last look that only the challenger names rightly."""
    champion_only: int
    look: int
    """Number of the last look; 0: too few are labelled for one."""
    p_value: float | None = None
    """Of the exact McNemar test at that look, two-sided."""
    threshold: float | None = None
    shown: Literal["better", "worse", "neither"] = "neither"
    """What is shown of the challenger."""

    @property
    def sentence(self) -> str:
        """The same in words."""
        if self.p_value is None or self.threshold is None:
            return f"{self.labelled:,} disagreements are labelled: too few for a test."
        word = "not shown to differ" if self.shown == "neither" else f"{self.shown} than"
        return (
            f"Of the first {self.tested:,} of {self.labelled:,} labelled disagreements the "
            f"challenger alone is right on "
            f"{self.challenger_only:,}, the champion alone on {self.champion_only:,}: it is "
            f"{word}{' from' if self.shown == 'neither' else ''} the champion (exact McNemar test, "
            f"p = {self.p_value:.2g}; the maximum is {self.threshold:.2g} at look {self.look:,})."
        )


def judge_disagreements(
    right: Sequence[tuple[bool, bool]], gate: GateParams, *, every: int
) -> ShadowTest:
    """Test labelled disagreements, oldest first: whether champion and challenger are right.

    Only the images up to the last look count. Each side of the two-sided test is held to the look's
    level, so that the probability of a wrong "better" over all `gate.looks` is at most
    `gate.significance`, and of a wrong "worse" too.
    """
    look = len(right) // every
    seen = right[: look * every]
    ahead = sum(challenger and not champion for champion, challenger in seen)
    behind = sum(champion and not challenger for champion, challenger in seen)
    test = ShadowTest(
        labelled=len(right),
        tested=len(seen),
        challenger_only=ahead,
        champion_only=behind,
        look=look,
    )
    if look == 0:
        return test
    p_value, most = mcnemar_p(ahead, behind), 2 * level_of(look, gate)
    shown = ("better" if ahead > behind else "worse") if p_value <= most else "neither"
    return test.model_copy(update={"p_value": p_value, "threshold": most, "shown": shown})
