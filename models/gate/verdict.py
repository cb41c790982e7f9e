"""The decision: floors first, then whether comparing is fair, then the comparison."""

import numpy as np

from models.config.policies import GateParams, Verdict
from models.evaluation.outcomes import Outcomes, canonical, outcomes_of
from models.evaluation.scores import score
from models.gate.comparison import Pair, better, compare, not_worse, pair_of
from models.gate.floors import floors
from models.gate.records import ChampionUnusable, GateDecision, GateInput, Reason

_WAY_OUT = "decide by hand: pitchpipe promote VERSION --force --reason WHY."
BINS = 15
"""Confidence bins of the calibration floor (Guo et al., 2017)."""


def decide(
    challenger: GateInput, champion: GateInput | ChampionUnusable | None, gate: GateParams
) -> GateDecision:
    """Decide whether the challenger may replace the champion; None: there is none.

    REJECT: below a floor, or shown to be worse. HOLD: no evidence that it is better, or no fair
    comparison; ties stay. PROMOTE: above the floors and, where there is a champion, shown to be
    better by the minimum effect or more, and nothing shown to be worse than its margin.
    The same inputs, in any order of the images, give the same decision.
    """
    try:
        outcomes = _outcomes(challenger)
    except ValueError as error:
        return _reject_unscorable(error)
    scores = score(canonical(outcomes), classes=challenger.classes, bins=BINS)
    asked = floors(scores, challenger, gate)
    if not all(reason.passed for reason in asked):
        return GateDecision(verdict="REJECT", reasons=asked)
    if champion is None:
        text = "There is no champion yet: the floors decide."
        first = Reason(rule="no_champion", passed=True, text=text)
        return GateDecision(verdict="PROMOTE", reasons=(*asked, first))
    unfair = _why_not_comparable(challenger, champion)
    if unfair is not None:
        return GateDecision(verdict="HOLD", reasons=(*asked, unfair))
    assert isinstance(champion, GateInput)
    pair = pair_of(outcomes, _outcomes(champion), names=challenger.classes)
    return _decide_by_comparison(pair, asked, gate)


def _decide_by_comparison(pair: Pair, asked: tuple[Reason, ...], gate: GateParams) -> GateDecision:
    found = compare(pair, gate)
    harm, lead = not_worse(pair, found, gate), better(found, gate)
    verdict: Verdict
    if not all(reason.passed for reason in harm):
        verdict = "REJECT"
    else:
        verdict = "PROMOTE" if all(reason.passed for reason in lead) else "HOLD"
    return GateDecision(verdict=verdict, reasons=(*asked, *harm, *lead), comparison=found)


def _why_not_comparable(
    challenger: GateInput, champion: GateInput | ChampionUnusable
) -> Reason | None:
    """Say why the two cannot be compared fairly; None where they can."""
    if isinstance(champion, ChampionUnusable):
        return _hold("champion_usable", f"The champion cannot be scored: {champion.reason}")
    for rule, ours, theirs, what in (
        ("same_classes", challenger.classes, champion.classes, "classes"),
        ("same_image_shape", challenger.image_shape, champion.image_shape, "an image shape"),
        ("same_test_images", challenger.test_digest, champion.test_digest, "a test digest"),
    ):
        if ours != theirs:
            return _hold(rule, f"The champion has {what} of {theirs}, the challenger of {ours}")
    if not np.array_equal(challenger.labels, champion.labels):
        return _hold("same_test_images", "The two were scored against different labels")
    return _why_champion_is_not_fair(champion)


def _why_champion_is_not_fair(champion: GateInput) -> Reason | None:
    seen = champion.trained_on_test
    if seen is None:
        return _hold("champion_unseen", "It is not known which images the champion was trained on")
    if seen > 0:
        text = f"The champion was trained on {seen} of today's test images, so it seems too good"
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


def _hold(rule: str, text: str) -> Reason:
    return Reason(rule=rule, passed=False, text=f"{text}; {_WAY_OUT}")


def _reject_unscorable(error: ValueError) -> GateDecision:
    text = f"The challenger's probabilities cannot be scored: {error}"
    return GateDecision(
        verdict="REJECT", reasons=(Reason(rule="scorable", passed=False, text=text),)
    )
