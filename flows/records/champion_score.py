"""The champion's test accuracy without the luck that made it champion; light to import.

A champion is the challenger whose lead was large enough, so that its published score is too good on
average: the winner's curse. Best is its accuracy on images that selected nothing; where there are
too few, its lead is shrunk by empirical Bayes, whose estimate needs no correction for selection
(Efron, 2011, JASA 106:1602, "Tweedie's formula and selection bias").
"""

from collections.abc import Sequence
from statistics import NormalDist

from flows.records.ledger import Entry
from flows.records.looks import compared_pairs
from flows.records.promotion import read_decision
from models.config import Record
from models.evaluation.records import Interval
from models.gate.records import Comparison, UnseenImages

FEWEST = 50
"""Unseen images, from which an accuracy is estimated."""
_REACH = NormalDist().inv_cdf(0.975)


class ChampionScore(Record):
    """An estimate of the champion's accuracy that its selection does not make too good."""

    accuracy: float
    interval: Interval | None
    """95 %; null where it is the published score, shrunk."""
    published: float
    """On the test split, when it was registered."""
    basis: str
    """What the estimate rests on, in words."""

    @property
    def sentence(self) -> str:
        """The same in words."""
        bounds = f" [{self.interval.low:.4f}, {self.interval.high:.4f}]" if self.interval else ""
        return f"de-biased accuracy {self.accuracy:.4f}{bounds}: {self.basis}"


def champion_score(
    entries: Sequence[Entry], version: int, *, published: float
) -> ChampionScore | None:
    """Estimate the accuracy of a version in service.

    entries: of the ledger, about its name. None where no comparison led to it: then its test score
    selected nothing, as the test split scored it once.
    """
    unseen = _newest_unseen(entries, version)
    if unseen is not None:
        return ChampionScore(
            accuracy=unseen.right / unseen.images,
            interval=_wilson(unseen),
            published=published,
            basis=f"on {unseen.images:,} images that came after it was trained",
        )
    luck = lucky_part(entries, version)
    if luck is None:
        return None
    return ChampionScore(
        accuracy=min(max(published - luck, 0.0), 1.0),
        interval=None,
        published=published,
        basis=f"its lead shrunk by {100 * luck:.2f} points, as fewer than {FEWEST} images came "
        "after it was trained",
    )


def lucky_part(entries: Sequence[Entry], version: int) -> float | None:
    """How much of a champion's test accuracy is expected to be luck, 0..1; None: never compared.

    The leads of those before it at the same test images count, too: their luck is in them.
    """
    pairs = compared_pairs(entries)
    spread = prior_variance([comparison for _, comparison in pairs])
    led = {look.challenger: (look, found) for look, found in pairs if look.champion is not None}
    if version not in led:
        return None
    luck, at, digest = 0.0, version, led[version][0].test_digest
    while at in led and led[at][0].test_digest == digest:
        look, comparison = led.pop(at)
        luck += (1 - shrinkage(comparison, spread)) * comparison.accuracy
        at = look.champion or 0
    return luck


def prior_variance(comparisons: Sequence[Comparison]) -> float:
    """Variance of true leads about 0, by moments, from all comparisons, won and lost."""
    excess = [one.accuracy**2 - _variance(one) for one in comparisons]
    return max(sum(excess) / len(excess), 0.0) if excess else 0.0


def shrinkage(comparison: Comparison, spread: float) -> float:
    """Share of a lead that is expected to be true, 0..1: spread / (spread + its variance)."""
    variance = _variance(comparison)
    return spread / (spread + variance) if spread + variance > 0 else 1.0


def _variance(comparison: Comparison) -> float:
    """Sampling variance of the difference of two accuracies on the same images."""
    differing = comparison.challenger_only + comparison.champion_only
    lead = comparison.challenger_only - comparison.champion_only
    return (differing - lead**2 / comparison.images) / comparison.images**2


def _newest_unseen(entries: Sequence[Entry], version: int) -> UnseenImages | None:
    judged = (one.evidence for one in reversed(entries) if one.before == version and one.evidence)
    found = (decision.champion_unseen for one in judged if (decision := read_decision(one)))
    return next((one for one in found if one is not None and one.images >= FEWEST), None)


def _wilson(unseen: UnseenImages) -> Interval:
    """Wilson's 95 % interval, as models.evaluation.uncertainty.intervals.wilson, without scipy."""
    n, share, square = unseen.images, unseen.right / unseen.images, _REACH**2
    centre = (share + square / (2 * n)) / (1 + square / n)
    half = _REACH * (share * (1 - share) / n + square / (4 * n * n)) ** 0.5 / (1 + square / n)
    return Interval(low=max(centre - half, 0.0), high=min(centre + half, 1.0))
