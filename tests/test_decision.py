"""The one decision, the retraining lock, and knowing whether a process is alive."""

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.retraining_lock import holder, only_retraining
from models.decision import Completed, Fingerprint, should_retrain
from models.errors import BusyError
from models.processes import ProcessIdentity, this_process

NOW = Fingerprint(data="d", params="p", source="s", environment="e")


def completed(fingerprint: Fingerprint) -> Completed:
    return Completed(
        fingerprint=fingerprint,
        finished=datetime(2026, 1, 2, 3, 4, tzinfo=UTC),
        verdict="HOLD",
        version=2,
        champion=1,
    )


def test_the_first_retraining_has_a_reason() -> None:
    """Nothing was completed before: yes."""
    assert should_retrain(NOW, None).retrain


def test_nothing_changed_is_no_whatever_the_verdict_was_then() -> None:
    """A HOLD is a completed retraining too; the answer says when it was."""
    decision = should_retrain(NOW, completed(NOW))

    assert not decision.retrain
    assert "nothing changed since the retraining of 2026-01-02 03:04 (HOLD)" in decision.reason


@given(st.sets(st.sampled_from(list(Fingerprint.model_fields)), min_size=1))
def test_whatever_changed_is_named(changed: set[str]) -> None:
    """Each of data, params, source and environment is a reason."""
    before = NOW.model_copy(update=dict.fromkeys(changed, "other"))

    decision = should_retrain(NOW, completed(before))

    assert decision.retrain
    assert set(decision.reason.removeprefix("changed: ").split(", ")) == changed


def test_force_retrains_although_nothing_changed() -> None:
    """--force is a reason."""
    assert should_retrain(NOW, completed(NOW), force=True).retrain


HOLD_THE_LOCK = """
import sys
from flows.retraining_lock import only_retraining
with only_retraining():
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_retraining_is_refused_and_names_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One at a time; a kill releases the lock at once."""
    monkeypatch.chdir(tmp_path)
    with subprocess.Popen(
        [sys.executable, "-c", HOLD_THE_LOCK],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"

        with pytest.raises(BusyError, match=f"process {other.pid} "), only_retraining():
            pass
        owner = holder()
        assert owner is not None
        assert owner.process.pid == other.pid

        other.kill()
        other.wait()

    with only_retraining():
        pass
    assert holder() is None


def test_a_process_may_enter_its_own_lock_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command takes the lock early; the flow inside it takes it again."""
    monkeypatch.chdir(tmp_path)
    with only_retraining(), only_retraining():
        pass

    assert holder() is None


def test_a_process_is_alive_and_a_later_one_of_its_number_is_another() -> None:
    """Numbers are used again; start times tell."""
    me = this_process()

    assert me.alive
    assert not me.model_copy(update={"started": me.started - 1000}).alive


def test_a_dead_process_is_dead_and_one_elsewhere_counts_as_alive() -> None:
    """What we cannot know we do not clean up."""
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        child.wait()
        pid = child.pid

    assert not ProcessIdentity(pid=pid, started=0.0, host=this_process().host).alive
    assert ProcessIdentity(pid=pid, started=0.0, host="another.example").alive
