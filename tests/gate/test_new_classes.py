"""A challenger that knows classes which the champion lacks: compared on what both know."""

from dataclasses import replace

import numpy as np
import pytest
from gate_fixtures import QUICK, grown

from models.datasets.class_order import widen_columns
from models.errors import InputError
from models.gate.records import GateDecision
from models.gate.verdict import decide

# A class more takes probability from the others: mistakes at 0.05 instead of at 0.1.
GATE = QUICK.model_copy(update={"cross_entropy_margin": 1.0})


def failed(decision: GateDecision) -> list[str]:
    return [one.rule for one in decision.rules if not one.passed]


def test_a_class_more_and_nothing_lost_is_promoted_without_a_lead() -> None:
    """It was held for ever; the verdict says what was compared, and that the new one is found."""
    decision = decide(*grown(), GATE)

    assert decision.verdict == "PROMOTE"
    assert decision.comparison is not None
    assert (decision.comparison.images, decision.comparison.accuracy) == (800, 0.0)
    said = " ".join(decision.reasons)
    assert "The champion does not know class class 2: the two are compared on the 800 test" in said
    assert "Accuracy on these is shown to be at most 5 points worse: +0.0000" in said
    assert "class class 2 is 0.9000 on 100 images, at least 0.8256 (95 %); the minimum" in said


def test_what_the_old_classes_lose_rejects() -> None:
    """30 of 400 images each are lost to gain a class."""
    decision = decide(*grown(lost=30), GATE)
    assert decision.verdict == "REJECT"
    assert "accuracy_not_worse" in failed(decision)


def test_old_classes_must_be_shown_to_be_kept() -> None:
    """60 lost and 40 gained of 400 each: 5 points lost, not significantly by the margin."""
    gate = GATE.model_copy(update={"significance": 0.001, "f1_macro_margin": 1.0})
    decision = decide(*grown(lost=60, gained=40), gate)
    assert decision.verdict == "HOLD"
    assert "shared_accuracy_kept" in failed(decision)


@pytest.mark.parametrize(
    ("images", "found", "verdict"),
    [(100, 61, "PROMOTE"), (100, 59, "HOLD"), (29, 15, "PROMOTE"), (29, 14, "HOLD")],
)
def test_a_new_class_must_be_found(images: int, found: int, verdict: str) -> None:
    """61 of 100 show 0.512 (Wilson), 59 show 0.492; with few images half is enough."""
    decision = decide(*grown(images=images, found=found), GATE)
    assert decision.verdict == verdict
    assert failed(decision) == ([] if verdict == "PROMOTE" else ["new_class_recall"])


def test_a_new_class_without_test_images_is_named() -> None:
    """Nothing can be asked of it."""
    decision = decide(*grown(images=0), GATE)
    assert decision.verdict == "PROMOTE"
    assert "The test split has no images of the new class class 2." in decision.reasons


def test_without_a_limit_new_classes_are_not_asked() -> None:
    gate = GATE.model_copy(update={"new_class_recall": None, "class_recall": None})
    assert decide(*grown(found=0), gate).verdict == "PROMOTE"


def test_a_champion_that_knows_no_class_of_the_test_images_stays() -> None:
    """There is nothing to compare on."""
    challenger, champion = grown()
    unknown = replace(champion, unknown=("class 0", "class 1", "class 2"))
    decision = decide(challenger, unknown, GATE)
    assert (decision.verdict, failed(decision)) == ("HOLD", ["shared_classes"])


def test_columns_of_fewer_classes_are_widened_by_name() -> None:
    """What is not known has the probability 0; other differences are refused as ever."""
    table = np.array([[0.7, 0.3], [0.1, 0.9]], np.float32)
    widened, lacking = widen_columns(table, ("cat", "ape"), ("ape", "bee", "cat"))
    assert widened.tolist() == [[table[0, 1], 0, table[0, 0]], [table[1, 1], 0, table[1, 0]]]
    assert lacking == ("bee",)
    same, none = widen_columns(table, ("cat", "ape"), ("ape", "cat"))
    assert (same.tolist(), none) == (table[:, ::-1].tolist(), ())
    for theirs in (("cat", "dog"), ("dog", "emu")):
        with pytest.raises(InputError, match="does not know class"):
            widen_columns(table, theirs, ("ape", "bee", "cat"))
