"""How a retraining ended, as people read it at the terminal, in Prefect and in MLflow."""

from types import SimpleNamespace
from typing import Any

import pytest
from registry_records import ended_retraining

from flows.cli.display.retraining import print_retraining
from flows.records.retraining import Retraining
from flows.retraining.summary_markdown import Links, headline, retraining_note

ENDED = [
    (ended_retraining(), 0, "version 2 is the champion", None),
    (
        ended_retraining(action="await", champion=None),
        3,
        "version 2 passed the gate and awaits `pitchpipe approve 2`",
        "there is no champion yet",
    ),
    (
        ended_retraining(action="await", champion=1),
        3,
        "version 2 passed the gate and awaits `pitchpipe approve 2`",
        "the champion is version 1",
    ),
    (
        ended_retraining(action=None, champion=1),
        0,
        "version 2 passed the gate; `pitchpipe promote 2` puts it into service",
        "the champion is version 1",
    ),
    (ended_retraining("HOLD", action="hold", champion=1), 3, "version 2 is held", "version 1"),
    (ended_retraining("HOLD", action="hold", champion=2), 0, "version 2 is the champion", None),
    (
        ended_retraining("REJECT", action="reject", champion=1),
        3,
        "version 2 is rejected",
        "version 1",
    ),
]


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal that breaks no sentence."""
    monkeypatch.setenv("COLUMNS", "200")


@pytest.mark.parametrize(("ended", "code", "outcome", "champion"), ENDED)
def test_the_outcome_is_said_in_the_same_words_everywhere(
    capsys: pytest.CaptureFixture[str],
    ended: Retraining,
    code: int,
    outcome: str,
    champion: str | None,
) -> None:
    """What awaits approval is no promotion yet, and a champion that is none has no number."""
    print_retraining(ended)
    printed = capsys.readouterr().out
    note = retraining_note(ended, Links("1", run="abc")).replace("[", "").partition("\n")[0]
    assert ended.exit_code == code
    assert outcome in printed
    assert outcome in headline(ended)
    assert outcome.removeprefix("version 2") in note
    if champion is not None:
        assert champion in printed
        assert champion in note
    assert "None" not in printed + note + headline(ended)


def test_the_lead_is_the_accuracy_less_the_champions_where_one_was_compared_with() -> None:
    """The first version is compared with none."""
    first = ended_retraining().promotion
    assert first is not None
    compared: Any = SimpleNamespace(accuracy=-0.25)
    decision = first.judgement.decision.model_copy(update={"comparison": compared})
    judgement = first.judgement.model_copy(update={"decision": decision})

    assert first.lead is None
    assert first.model_copy(update={"judgement": judgement}).lead == -0.25


def test_the_document_of_a_search_has_the_keys_of_a_verdict() -> None:
    """Null, or empty, where nothing was judged; with a verdict they tell every rule."""
    searched = ended_retraining().model_copy(update={"promotion": None})
    judged: dict[str, Any] = ended_retraining().document()
    assert list(searched.document()) == list(judged)
    assert [searched.document()[key] for key in ("verdict", "version", "champion")] == [None] * 3
    assert (searched.document()["reasons"], searched.document()["awaits_approval"]) == ([], False)
    assert (judged["verdict"], judged["version"], judged["champion"]) == ("PROMOTE", 2, 2)
    [rule] = judged["rules"]
    assert (rule["rule"], rule["passed"], rule["text"]) == ("better", True, "better by 1 %")
