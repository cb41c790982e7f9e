"""The gate's verdict: floors first, then whether a comparison is fair, then the comparison."""

import numpy as np

from models.config.policies import GateParams, Verdict
from models.evaluation.outcomes import Outcomes, canonical, outcomes_of
from models.evaluation.scores import score
from models.gate.comparison import Pair, compare, pair_of
from models.gate.floors import check_enough_images, check_floors
from models.gate.guards import check_harm, check_kept
from models.gate.inputs import ChampionUnusable, GateInput
from models.gate.lead import check_lead
from models.gate.new_classes import check_new_classes
from models.gate.records import Comparison, GateDecision, RuleResult

_WAY_OUT = "decide by hand: pitchpipe promote VERSION --force --reason WHY."
BINS = 15
"""Confidence bins of the calibration floor (Guo et al., 2017)."""


def decide(
    challenger: GateInput,
    champion: GateInput | ChampionUnusable | None,
    gate: GateParams,
    *,
    looks: int = 0,
) -> GateDecision:
    """Decide whether the challenger may replace the champion; None: there is no champion.

    REJECT: not shown to be above a floor, or significantly worse. HOLD: too few test images, not
    significantly better, something not kept, or no fair comparison; a tie holds. PROMOTE: above
    the floors and, where there is a champion, significantly better by the minimum effect or more,
    nothing worse than its margin, and no class unless its images are too few to show it. Against a
    champion that lacks classes, no lead is asked for, but that the new ones are found.
    looks: comparisons on these test images before this one (models.gate.budget.looks_taken).
    The same inputs, in any order of the images, give the same decision.
    """
    try:
        outcomes = _outcomes(challenger)
    except ValueError as error:
        return _reject_unscorable(error)
    floors = _check_floors(outcomes, challenger, gate, champion=champion)
    if not all(result.passed for result in floors):
        only_few = all(result.passed for result in floors[1:])
        return GateDecision(verdict="HOLD" if only_few else "REJECT", rules=floors)
    if champion is None:
        text = "There is no champion yet: the floors decide."
        first = RuleResult(rule="no_champion", passed=True, text=text)
        return GateDecision(verdict="PROMOTE", rules=(*floors, first))
    unfair = _why_not_comparable(challenger, champion)
    if unfair is not None:
        return GateDecision(verdict="HOLD", rules=(*floors, unfair))
    assert isinstance(champion, GateInput)
    pair = pair_of(outcomes, _outcomes(champion), names=challenger.classes)
    pair = pair.without(champion.unknown)
    comparison = compare(pair, gate, look=looks + 1)
    better = _check_better(outcomes, champion, comparison, gate, look=looks + 1)
    decision = _decide_by_comparison(pair, comparison, gate, floors=floors, better=better)
    facts = {"test_digest": challenger.test_digest, "look": looks + 1}
    return decision.model_copy(update=facts)


def _check_floors(
    outcomes: Outcomes,
    challenger: GateInput,
    gate: GateParams,
    *,
    champion: GateInput | ChampionUnusable | None,
) -> tuple[RuleResult, ...]:
    """Every floor, and before them whether there are images enough."""
    ordered = canonical(outcomes)
    scores = score(ordered, classes=challenger.classes, bins=BINS)
    floors = check_floors(scores, ordered, challenger, gate, champion=champion)
    return (check_enough_images(scores, gate), *floors)


def _check_better(
    outcomes: Outcomes,
    champion: GateInput,
    comparison: Comparison,
    gate: GateParams,
    *,
    look: int,
) -> tuple[RuleResult, ...]:
    """What speaks for the challenger, whose outcomes are given: a lead, or that it knows more."""
    if not champion.unknown:
        return check_lead(comparison, gate, look=look)
    names = {"classes": champion.classes, "unknown": champion.unknown}
    return check_new_classes(outcomes, comparison, gate, **names)


def _decide_by_comparison(
    pair: Pair,
    comparison: Comparison,
    gate: GateParams,
    *,
    floors: tuple[RuleResult, ...],
    better: tuple[RuleResult, ...],
) -> GateDecision:
    harm = check_harm(pair, comparison, gate)
    if not all(result.passed for result in harm):
        rules = (*floors, *harm, *better)
        return GateDecision(verdict="REJECT", rules=rules, comparison=comparison)
    needed = (*check_kept(pair, comparison, gate), *better)
    verdict: Verdict = "PROMOTE" if all(result.passed for result in needed) else "HOLD"
    return GateDecision(verdict=verdict, rules=(*floors, *harm, *needed), comparison=comparison)


def _why_not_comparable(
    challenger: GateInput, champion: GateInput | ChampionUnusable
) -> RuleResult | None:
    """Return the rule by which a comparison would be unfair; None: it is fair."""
    if isinstance(champion, ChampionUnusable):
        return _hold("champion_usable", f"The champion cannot be scored: {champion.reason}")
    for rule, ours, theirs, what in (
        ("same_classes", challenger.classes, champion.classes, "classes"),
        ("same_test_images", challenger.test_digest, champion.test_digest, "test images"),
    ):
        if ours != theirs:
            return _hold(rule, f"The champion has the {what} {theirs}, the challenger {ours}")
    if not np.array_equal(challenger.labels, champion.labels):
        return _hold("same_test_images", "The two were scored against different labels")
    if not np.isin(challenger.labels, _known(champion)).any():
        return _hold("shared_classes", "No test image is of a class that the champion knows")
    return _why_champion_is_not_fair(champion)


def _known(version: GateInput) -> list[int]:
    return [at for at, name in enumerate(version.classes) if name not in version.unknown]


def _why_champion_is_not_fair(champion: GateInput) -> RuleResult | None:
    seen = champion.trained_on_test
    if seen is None:
        return _hold("champion_unseen", "Which images the champion was trained on is unknown")
    if seen > 0:
        text = (
            f"The champion was trained on {seen} of today's test images, which makes its scores "
            "too good"
        )
        return _hold("champion_unseen", text)
    try:
        _outcomes(champion)
    except ValueError as error:
        return _hold("champion_usable", f"The champion's probabilities cannot be scored: {error}")
    return None


def _outcomes(version: GateInput) -> Outcomes:
    outcomes = outcomes_of(version.probabilities, version.labels)
    columns = outcomes.probabilities.shape[1]
    if columns != len(version.classes):
        raise ValueError(f"{len(version.classes)} classes for {columns} columns of probabilities")
    return outcomes


def _hold(rule: str, text: str) -> RuleResult:
    return RuleResult(rule=rule, passed=False, text=f"{text}; {_WAY_OUT}")


def _reject_unscorable(error: ValueError) -> GateDecision:
    text = f"The challenger's probabilities cannot be scored: {error}"
    return GateDecision(
        verdict="REJECT", rules=(RuleResult(rule="scorable", passed=False, text=text),)
    )
