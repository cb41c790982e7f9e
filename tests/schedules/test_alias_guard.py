"""`pitchpipe up` notices an alias moved by hand, says so once, and puts it back where asked."""

import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from registry_records import BARS

from flows.records import ledger
from flows.records.ledger import Entry, alias_seen, recorded_champion
from flows.registry.listing import aliases
from flows.registry.promotion.aliases import edit_aliases
from flows.registry.promotion.audit import audit_ledger
from flows.registry.promotion.commands import adopt_champion, force_promotion
from flows.registry.promotion.foreign import NotRestoredError, note_foreign_move, restore_champion
from flows.schedules import alias_guard
from flows.schedules.alias_guard import AliasGuard
from flows.schedules.status import read_status
from flows.tracking.store import Tracking
from models.config import load_params

pytest_plugins = ["registry_fixtures", "registry_project"]

NOW = datetime.now(UTC)


@pytest.fixture
def guarded(bars_tracking: Tracking) -> Tracking:
    """A registry of two versions, of which the first is champion."""
    force_promotion(bars_tracking, 1, reason="the first")
    return bars_tracking


def move_by_hand(tracking: Tracking, version: int) -> None:
    tracking.client.set_registered_model_alias(BARS, "champion", str(version))


def actions() -> Sequence[str]:
    """Of the ledger, without the first promotion."""
    return [entry.action for entry in ledger.read().entries][2:]


def restoring(times: int = 3) -> None:
    with Path("params.yaml").open("a") as file:
        file.write(f"guard: {{restore: true, restores_per_day: {times}}}\n")


def test_a_foreign_move_is_told_once_everywhere(
    guarded: Tracking, capsys: pytest.CaptureFixture[str]
) -> None:
    """A line, an event, the ledger and the status; by default the alias stays."""
    events: list[Entry] = []
    guard = AliasGuard(event=events.append)
    guard.step()
    assert (capsys.readouterr().out, events, actions()) == ("", [], [])

    move_by_hand(guarded, 2)
    guard.step()
    guard.step()

    said = capsys.readouterr().out
    assert said.startswith("guard: alias champion of bars-classifier points to version 2")
    assert said.count("\n") == 1
    assert [(one.action, one.before, one.after) for one in events] == [("foreign", 1, 2)]
    assert actions() == ["foreign"]
    assert "points to version 2" in (
        read_status(load_params(), ask_servers=False).foreign_move or ""
    )
    assert aliases(guarded)["champion"] == 2
    assert recorded_champion(ledger.read().of(BARS)) == 1


def test_moved_back_by_hand_is_told_too_and_a_second_move_again(guarded: Tracking) -> None:
    """The ledger has the whole story; an adopted move is none any more."""
    guard = AliasGuard(event=lambda _: None)
    for version in (2, 1, 2):
        move_by_hand(guarded, version)
        guard.step()
    assert [one.after for one in ledger.read().entries if one.action == "foreign"] == [2, 1, 2]
    adopt_champion(guarded, reason="agreed")
    guard.step()
    assert actions() == ["foreign"] * 3 + ["intent", "adopt"]
    assert audit_ledger(guarded).valid


def test_the_ledgers_champion_is_put_back_where_asked(guarded: Tracking) -> None:
    """Recorded as a foreign move first; rollback knows the same versions as before."""
    restoring()
    events: list[Entry] = []
    guard = AliasGuard(event=events.append)
    move_by_hand(guarded, 2)
    guard.step()
    assert aliases(guarded)["champion"] == 1
    assert actions() == ["foreign", "intent", "restore"]
    assert [one.action for one in events] == ["foreign", "restore"]
    assert read_status(load_params(), ask_servers=False).foreign_move is None
    assert audit_ledger(guarded).valid
    guarded.client.delete_registered_model_alias(BARS, "champion")
    guard.step()
    assert aliases(guarded)["champion"] == 1


def test_who_insists_is_left_alone(guarded: Tracking, capsys: pytest.CaptureFixture[str]) -> None:
    """Two programs would otherwise move it to and fro for ever; after a day it counts anew."""
    restoring(times=1)
    guard = AliasGuard(event=lambda _: None)
    for _ in range(2):
        move_by_hand(guarded, 2)
        guard.step()
        guard.step()
    assert aliases(guarded)["champion"] == 2
    assert capsys.readouterr().out.count("guard.restores_per_day allows") == 1
    with pytest.raises(NotRestoredError):
        restore_champion(guarded, now=NOW + timedelta(hours=23), most_a_day=1)
    assert restore_champion(guarded, now=NOW + timedelta(hours=25), most_a_day=1) is not None


def test_a_name_without_champion_has_none_put_back(guarded: Tracking) -> None:
    """A version that MLflow lost cannot serve; the alias stays where somebody put it."""
    guarded.client.delete_model_version(BARS, "1")
    move_by_hand(guarded, 2)
    assert note_foreign_move(guarded) is not None
    with pytest.raises(NotRestoredError, match="MLflow does not know"):
        restore_champion(guarded, now=NOW, most_a_day=3)
    assert aliases(guarded)["champion"] == 2


def test_a_promotion_in_progress_is_no_foreign_move(guarded: Tracking) -> None:
    """The alias is ahead of the ledger for a moment: the guard waits for the lock, then agrees."""
    restoring()
    guard, looked = AliasGuard(event=lambda _: None), threading.Event()

    def look() -> None:
        guard.step()
        looked.set()

    with edit_aliases(guarded) as editor:
        action = editor.action("promote", 2, "so")
        ledger.append(action.model_copy(update={"action": "intent", "intends": "promote"}))
        move_by_hand(guarded, 2)
        threading.Thread(target=look, daemon=True).start()
        assert not looked.wait(0.3)
        ledger.append(action)
    assert looked.wait(20)
    assert actions() == ["intent", "promote"]
    assert aliases(guarded)["champion"] == 2


def test_a_look_that_fails_is_said_once_and_tried_again(
    guarded: Tracking, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A receiver of events that fails is no reason to tell nobody else."""

    def refused(_: Entry) -> None:
        raise ConnectionError

    guard = AliasGuard(event=refused)
    move_by_hand(guarded, 2)
    with monkeypatch.context() as patch:
        patch.setattr(alias_guard, "read_champion", lambda _: 1 / 0)
        guard.step()
        guard.step()
    assert capsys.readouterr().out == (
        "guard: alias champion of bars-classifier: ZeroDivisionError: division by zero\n"
    )
    guard.step()
    assert "points to version 2" in capsys.readouterr().out


def test_where_the_alias_was_last_seen_follows_moves_of_both_kinds() -> None:
    """A foreign move is no champion; whatever pitchpipe moved counts from then on."""
    entries: list[Entry] = []
    story = [("promote", 1, 1, 1), ("foreign", 2, 2, 1), ("hold", 3, 2, 1), ("restore", 1, 1, 1)]
    for number, (action, after, seen, champion) in enumerate(story, start=1):
        facts = {"action": action, "name": "n", "to": after, "number": number, "time": "t"}
        entries.append(Entry.model_validate(facts | {"who": "w", "previous": "p", "digest": "d"}))
        assert (alias_seen(entries), recorded_champion(entries)) == (seen, champion)
    assert alias_seen([]) is None
