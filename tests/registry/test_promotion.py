"""Moves of the champion: compared and swapped, remembered, repaired, undone."""

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from multiprocessing.context import ForkServerContext
from multiprocessing.queues import Queue
from pathlib import Path

import pytest
from made_once import made_once
from project_folder import REPOSITORY
from registry_records import NAME, registration

from flows.records import ledger
from flows.records.promotion import Judgement, Move
from flows.registry.listing import aliases
from flows.registry.promotion.aliases import HandMovedError, NothingToMoveError, StaleVerdictError
from flows.registry.promotion.audit import audit_ledger
from flows.registry.promotion.commands import (
    adopt_champion,
    approve_version,
    force_promotion,
    hand_moved,
    reject_version,
    roll_back,
    settle,
)
from flows.registry.registering import register
from flows.tracking.runs import Runs
from flows.tracking.store import Tracking, open_tracking
from models.config.policies import GateParams
from models.errors import ConfigError, IntegrityError
from models.gate.records import GateDecision, RuleResult
from models.processes import children_context

pytest_plugins = ["registry_fixtures"]

AUTOMATIC, MANUAL = GateParams(), GateParams(approval="manual")


def judgement(version: int, champion: int | None, verdict: str = "PROMOTE") -> Judgement:
    """What the gate might say."""
    reason = RuleResult(rule="better", passed=verdict == "PROMOTE", text=f"so said for {version}")
    decision = GateDecision.model_validate({"verdict": verdict, "rules": (reason,)})
    return Judgement(version=version, champion=champion, decision=decision)


@pytest.fixture(scope="session")
def three_versions(tmp_path_factory: pytest.TempPathFactory, migrated_database: Path) -> Path:
    """A project with three versions; exporting is slow, so it is done once and copied."""
    return made_once(tmp_path_factory, "three", partial(_register_three, migrated_database))


def _register_three(migrated_database: Path, root: Path) -> None:
    shutil.copytree(migrated_database, root / "mlruns")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlruns/mlflow.db")
        tracking = open_tracking(NAME)
        run_id = Runs(tracking).create("a retraining", tags={}, at=1)
        for seed in range(3):
            register(tracking, registration(run_id, seed=seed))


@pytest.fixture
def tracking(three_versions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tracking:
    """The project with three versions, the third the challenger; nobody is champion."""
    shutil.copytree(three_versions, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlruns/mlflow.db")
    return open_tracking(NAME)


def promote(tracking: Tracking, version: int) -> Move:
    return settle(tracking, judgement(version, aliases(tracking).get("champion")), AUTOMATIC)


def test_promoting_moves_champion_and_previous_and_is_remembered(tracking: Tracking) -> None:
    """Aliases, ledger, evidence and tags all say the same."""
    first = promote(tracking, 1)
    assert (first.action, first.before, first.after, first.verdict) == (
        "promote",
        None,
        1,
        "PROMOTE",
    )
    assert aliases(tracking) == {"challenger": 3, "champion": 1}
    promote(tracking, 3)
    assert aliases(tracking) == {"champion": 3, "previous": 1}
    entries = audit_ledger(tracking).entries
    assert [entry.action for entry in entries] == ["intent", "promote", "intent", "promote"]
    assert entries[-1].reasons == ("so said for 3",)
    evidence = json.loads(Path(f"mlruns/evidence/{entries[-1].evidence}.json").read_text())
    assert evidence["verdict"] == "PROMOTE"
    tags = tracking.client.get_model_version(NAME, "3").tags
    assert tags["verdict"] == "PROMOTE"
    assert "so said for 3" in tags["ledger.promote"]


def test_holding_and_rejecting_leave_the_champion(tracking: Tracking) -> None:
    """A version held stays the challenger; one rejected does not."""
    promote(tracking, 1)
    held = settle(tracking, judgement(3, 1, "HOLD"), AUTOMATIC)
    assert (held.action, held.before, held.after, held.verdict) == ("hold", 1, 1, "HOLD")
    assert aliases(tracking)["challenger"] == 3
    rejected = settle(tracking, judgement(3, 1, "REJECT"), AUTOMATIC)
    assert rejected.verdict == "REJECT"
    assert aliases(tracking) == {"champion": 1}


@pytest.mark.parametrize(("gate", "verdict"), [(AUTOMATIC, "HOLD"), (MANUAL, "PROMOTE")])
def test_the_version_judged_last_is_the_challenger(
    tracking: Tracking, gate: GateParams, verdict: str
) -> None:
    """An older version that was registered again, judged, and neither promoted nor rejected."""
    promote(tracking, 1)
    settle(tracking, judgement(2, 1, verdict), gate)
    assert aliases(tracking) == {"champion": 1, "challenger": 2}


def test_registering_the_champion_again_leaves_the_challenger(tracking: Tracking) -> None:
    """A search that ends in the champion's trial once more: a gate edited, say, and all cached."""
    promote(tracking, 1)
    run_id = Runs(tracking).create("another retraining", tags={}, at=2)
    assert register(tracking, registration(run_id, seed=0)) == 1
    assert promote(tracking, 1).action == "none"
    assert aliases(tracking) == {"champion": 1, "challenger": 3}


def test_promoting_the_champion_again_does_nothing(tracking: Tracking) -> None:
    """A command repeated after a crash finds its work done."""
    promote(tracking, 1)
    again = promote(tracking, 1)
    assert (again.action, again.before, again.after, again.entry) == ("none", 1, 1, None)


def test_a_verdict_against_another_champion_is_stale(tracking: Tracking) -> None:
    """The loser of a race learns who won, and what to do."""
    promote(tracking, 1)
    with pytest.raises(StaleVerdictError, match=r"judged against no champion.* is 1 by now"):
        settle(tracking, judgement(2, None), AUTOMATIC)
    assert aliases(tracking)["champion"] == 1


def test_rollback_goes_back_step_by_step(tracking: Tracking) -> None:
    """Three champions: back, back again, and then there is none before."""
    for version in (1, 2, 3):
        promote(tracking, version)
    assert roll_back(tracking, reason="worse in service").after == 2
    assert aliases(tracking) == {"champion": 2, "previous": 1}
    assert roll_back(tracking).after == 1
    assert aliases(tracking) == {"champion": 1}
    with pytest.raises(NothingToMoveError, match="--to N"):
        roll_back(tracking)
    assert roll_back(tracking, to=3).after == 3
    assert audit_ledger(tracking).valid


def test_rollback_passes_over_deleted_versions(tracking: Tracking) -> None:
    """A version that is gone cannot serve."""
    for version in (1, 2, 3):
        promote(tracking, version)
    tracking.client.delete_model_version(NAME, "2")
    assert roll_back(tracking).after == 1


def test_rollback_to_damaged_files_is_refused(tracking: Tracking) -> None:
    """Digests are checked before an alias moves."""
    promote(tracking, 1)
    promote(tracking, 2)
    for weights in Path("mlruns/artifacts").rglob("model.pt2"):
        weights.write_bytes(b"")
    with pytest.raises(IntegrityError):
        roll_back(tracking)
    assert aliases(tracking)["champion"] == 2


def test_forcing_needs_a_reason_and_is_marked(tracking: Tracking) -> None:
    """The ledger tells a forced promotion from one the gate allowed."""
    with pytest.raises(ConfigError, match="--reason"):
        force_promotion(tracking, 2, reason=" ")
    moved = force_promotion(tracking, 2, reason="demonstration")
    assert (moved.after, moved.verdict) == (2, None)
    assert moved.reasons == ("forced, without the gate: demonstration",)


def test_rejecting_by_hand(tracking: Tracking) -> None:
    """A challenger can be turned down; the champion cannot."""
    promote(tracking, 1)
    assert reject_version(tracking, 3, reason="smells").verdict == "REJECT"
    assert aliases(tracking) == {"champion": 1}
    with pytest.raises(ConfigError, match="rollback"):
        reject_version(tracking, 1)


def test_manual_approval_waits_and_then_promotes(tracking: Tracking) -> None:
    """What passed the gate serves only once somebody said so."""
    waiting = settle(tracking, judgement(3, None), MANUAL)
    assert (waiting.action, waiting.after, waiting.verdict) == ("await", None, "PROMOTE")
    assert "champion" not in aliases(tracking)
    moved = approve_version(tracking, 3, reason="looks good")
    assert (moved.action, moved.after, moved.verdict) == ("promote", 3, "PROMOTE")
    assert moved.reasons == ("approved: looks good", "so said for 3")
    with pytest.raises(NothingToMoveError, match="does not await"):
        approve_version(tracking, 3)


def test_a_version_held_later_waits_no_longer(tracking: Tracking) -> None:
    """Judged again, on newer data, it was held: the older verdict cannot be approved."""
    settle(tracking, judgement(3, None), MANUAL)
    settle(tracking, judgement(3, None, "HOLD"), MANUAL)
    with pytest.raises(NothingToMoveError, match="does not await"):
        approve_version(tracking, 3)
    assert "champion" not in aliases(tracking)


def test_approval_of_a_verdict_against_a_former_champion_is_stale(tracking: Tracking) -> None:
    """While it waited the champion changed: it must be judged again."""
    settle(tracking, judgement(3, None), MANUAL)
    promote(tracking, 1)
    with pytest.raises(StaleVerdictError):
        approve_version(tracking, 3)


def test_an_alias_moved_by_hand_is_named_and_can_be_adopted(tracking: Tracking) -> None:
    """Until then no command moves it, except back."""
    promote(tracking, 1)
    assert hand_moved(tracking) is None
    tracking.client.set_registered_model_alias(NAME, "champion", "2")
    named = "points to version 2, but the ledger last saw version 1"
    assert named in (hand_moved(tracking) or "")
    assert any(named in problem for problem in audit_ledger(tracking).problems)
    with pytest.raises(HandMovedError, match="pitchpipe adopt"):
        promote(tracking, 3)
    with pytest.raises(HandMovedError):
        roll_back(tracking)
    moved = adopt_champion(tracking, reason="an emergency")
    assert (moved.before, moved.after) == (1, 2)
    assert aliases(tracking) == {"champion": 2, "previous": 1, "challenger": 3}
    assert audit_ledger(tracking).valid
    assert adopt_champion(tracking).action == "none"


def test_an_alias_moved_by_hand_can_be_moved_back(tracking: Tracking) -> None:
    """rollback --to puts right what somebody did."""
    promote(tracking, 1)
    tracking.client.set_registered_model_alias(NAME, "champion", "2")
    assert roll_back(tracking, to=1).after == 1
    assert audit_ledger(tracking).valid


def test_an_alias_deleted_by_hand_is_named_too(tracking: Tracking) -> None:
    """No champion where the ledger knows one; adopted, the next goes on from none."""
    promote(tracking, 1)
    tracking.client.delete_registered_model_alias(NAME, "champion")
    assert "points to no version" in (hand_moved(tracking) or "")
    adopt_champion(tracking)
    assert audit_ledger(tracking).valid
    assert roll_back(tracking).after == 1


class Died(BaseException):
    """The process was killed here."""


STEPS = [
    (lambda _: (ledger, "append"), 0),
    (lambda t: (t.client, "set_registered_model_alias"), 0),
    (lambda t: (t.client, "set_registered_model_alias"), 1),
    (lambda _: (ledger, "append"), 1),
    (lambda t: (t.client, "set_registered_model_tag"), 0),
    (lambda t: (t.client, "set_model_version_tag"), 0),
]


@pytest.mark.parametrize(("target", "after"), STEPS)
def test_a_promotion_killed_anywhere_is_settled_by_the_next_command(
    tracking: Tracking,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    target: Callable[[Tracking], tuple[object, str]],
    after: int,
) -> None:
    """Whatever call it died before: alias and ledger agree afterwards, and both tell one story."""
    promote(tracking, 1)
    owner, name = target(tracking)
    real, calls = getattr(owner, name), 0

    def dying(*args: object, **kwargs: object) -> object:
        nonlocal calls
        calls += 1
        if calls > after:
            raise Died
        return real(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, dying)
        with pytest.raises(Died):
            promote(tracking, 2)
    with caplog.at_level(logging.WARNING):
        found = audit_ledger(tracking)
    assert found.valid, found.problems
    champion = aliases(tracking)["champion"]
    assert [entry.after for entry in found.entries if entry.action == "promote"][-1] == champion
    assert (champion == 2) == (aliases(tracking).get("previous") == 1)
    if found.entries[-1].action == "abandon" or "completed" in str(found.entries[-1].reasons):
        assert "settled what a crash had left" in caplog.text
    assert promote(tracking, 3).after == 3


KILLED = """
import os, signal
from test_promotion import AUTOMATIC, NAME, judgement
from flows.records import ledger
from flows.records.promotion import Judgement, Move
from flows.registry.promotion.commands import settle
from flows.tracking.store import open_tracking

append = ledger.append
def dying(deed, *, seen):
    if deed.action == "promote":
        os.kill(os.getpid(), signal.SIGKILL)
    return append(deed, seen=seen)
ledger.append = dying
settle(open_tracking(NAME), judgement(2, 1), AUTOMATIC)
"""


def test_a_promotion_ended_by_kill_9_is_completed(
    tracking: Tracking, caplog: pytest.LogCaptureFixture
) -> None:
    """The alias had moved, the ledger not yet: the next command writes the entry and says so."""
    promote(tracking, 1)
    path = os.pathsep.join(
        str(REPOSITORY / part) for part in (".", "tests/registry", "tests/support")
    )
    ended = subprocess.run(
        [sys.executable, "-c", KILLED], env={**os.environ, "PYTHONPATH": path}, check=False
    )
    assert ended.returncode == -signal.SIGKILL
    found = audit_ledger(tracking)
    assert "settled what a crash had left" in caplog.text
    assert found.valid
    assert found.entries[-1].reasons == ("so said for 2", "completed after a crash")
    assert aliases(tracking) == {"champion": 2, "previous": 1, "challenger": 3}


def test_changed_evidence_is_a_problem_of_the_audit(tracking: Tracking) -> None:
    """Its name is the digest of what it said when it was judged."""
    settle(tracking, judgement(1, None), GateParams())
    [path] = Path("mlruns/evidence").glob("*.json")
    path.write_text(path.read_text().replace("PROMOTE", "REJECT"))
    assert audit_ledger(tracking).problems == (
        f"{path}: does not have the digest in its name: it was changed",
    )


def test_a_cut_ledger_is_found_and_stays_found(tracking: Tracking) -> None:
    """MLflow remembers the head; new entries do not cover the cut up."""
    promote(tracking, 1)
    promote(tracking, 2)
    path = Path("mlruns/ledger.jsonl")
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:2]))
    assert any("cut" in problem for problem in audit_ledger(tracking).problems)
    adopt_champion(tracking, reason="after the loss")
    promote(tracking, 3)
    assert any("rewritten" in problem for problem in audit_ledger(tracking).problems)


@pytest.mark.parametrize("head", [None, "", "2", "²:abc", "two:abc"])
def test_a_missing_or_malformed_head_is_a_problem(tracking: Tracking, head: str | None) -> None:
    """Without MLflow's memory a cut could not be seen; before the first entry there is none."""
    assert audit_ledger(tracking).valid
    promote(tracking, 1)
    if head is None:
        tracking.client.delete_registered_model_tag(NAME, "ledger.head")
    else:
        tracking.client.set_registered_model_tag(NAME, "ledger.head", head)
    assert any(
        "no readable tag ledger.head" in problem for problem in audit_ledger(tracking).problems
    )
    promote(tracking, 2)
    assert audit_ledger(tracking).valid


def race(uri: str, version: int, barrier: object, answers: "Queue[str]") -> None:
    # The fork server may have been started where another store was open.
    os.environ["MLFLOW_TRACKING_URI"] = uri
    tracking = open_tracking(NAME)
    barrier.wait()  # type: ignore[attr-defined]  # multiprocessing's Barrier has no public type
    try:
        answers.put(f"won {settle(tracking, judgement(version, None), AUTOMATIC).after}")
    except StaleVerdictError as error:
        answers.put(f"lost {error}")


@pytest.mark.parametrize("count", [4, pytest.param(16, marks=pytest.mark.slow)])
def test_promotions_at_once_leave_one_champion(tracking: Tracking, count: int) -> None:
    """Every process judged its version against no champion: one wins, the rest are told so."""
    context = children_context()
    if isinstance(context, ForkServerContext):
        context.set_forkserver_preload(["flows.registry.promotion.commands"])
    barrier, answers = context.Barrier(count), context.Queue()
    racers = [
        context.Process(target=race, args=(tracking.uri, number % 3 + 1, barrier, answers))
        for number in range(count)
    ]
    for process in racers:
        process.start()
    said = [answers.get(timeout=120) for _ in racers]
    for process in racers:
        process.join()
    champion = aliases(tracking)["champion"]
    won = [answer for answer in said if answer.startswith("won")]
    assert set(won) == {f"won {champion}"}
    lost = [answer for answer in said if answer.startswith("lost")]
    assert all("judged against no champion" in answer for answer in lost)
    assert len(won) + len(lost) == count
    found = audit_ledger(tracking)
    assert found.valid
    assert [entry.action for entry in found.entries].count("promote") == 1
