"""sync: MLflow filled again from what is on disk, whole, and whatever interrupts it."""

import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from mlflow.tracking import MlflowClient
from registry_records import (
    DEAD,
    NAME,
    epoch_record,
    flow_run_info,
    store_history,
    trial_failure,
    trial_result,
    trial_spec,
)

from flows.tracking.events import (
    JOURNALS,
    Ended,
    FlowRunInfo,
    Journal,
    Scored,
    TrialFinished,
    TrialStarted,
)
from flows.tracking.mirror import Mirror
from flows.tracking.reconcile import sync_runs
from flows.tracking.runs import Runs
from flows.tracking.store import Tracking, open_tracking

pytest_plugins = ["registry_fixtures"]

TRIALS = Path("mlruns/trials")
WRITES = ("create_run", "log_batch", "log_inputs", "set_terminated", "update_run")
CONTENTS = {
    "runs": "select name, status, start_time, end_time from runs order by 1, 2",
    "params": "select name, key, value from params join runs using (run_uuid) order by 1, 2",
    "metrics": "select name, key, step, value, timestamp from metrics join runs using (run_uuid) "
    "order by 1, 2, 3",
    "tags": "select name, key, value from tags join runs using (run_uuid) "
    "where key not in ('mlflow.parentRunId') order by 1, 2",
    "nesting": "select r.name, p.name from tags t join runs r on r.run_uuid = t.run_uuid "
    "join runs p on p.run_uuid = t.value where t.key = 'mlflow.parentRunId' order by 1",
}


class Killed(BaseException):
    """The process died here."""


def contents() -> dict[str, list[Any]]:
    """All that MLflow's database says, without ids."""
    with closing(sqlite3.connect("mlruns/mlflow.db")) as connection:
        return {name: connection.execute(query).fetchall() for name, query in CONTENTS.items()}


def journalled(name: str = "2026-11-23 06:40 digits", *, ended: bool = True) -> FlowRunInfo:
    """A retraining in its journal: a trial of three epochs, and one that failed after one."""
    info = flow_run_info(name).model_copy(update={"owner": DEAD, "at": 1_000})
    journal = Journal(info, JOURNALS / NAME)
    journal.write(info)
    whole, failed = trial_spec(0.1), trial_spec(0.2)
    store_history(TRIALS, whole, 3)
    store_history(TRIALS, failed, 1)
    for number, spec in enumerate((whole, failed)):
        rate = {"learning_rate": str(number)}
        journal.write(TrialStarted(at=2_000, spec=spec, differences=rate, cached=False))
    journal.write(TrialFinished(at=3_000, outcome=trial_result(whole, 3)))
    journal.write(TrialFinished(at=4_000, outcome=trial_failure(failed)))
    journal.write(Scored(at=5_000, metrics={"test/accuracy": 0.9}))
    if ended:
        journal.write(Ended(at=6_000, status="FINISHED", verdict="PROMOTE"))
    return info


def test_a_lost_database_is_filled_again_with_the_runs_of_trials_and_their_curves(
    tracking: Tracking,
) -> None:
    """Parent, children below it, a point an epoch, params, how each ended."""
    journalled()

    sync_runs(tracking)

    shown = contents()
    parent = "2026-11-23 06:40 digits · PROMOTE"
    first, second = "lr=0 · 2026-11-23 06:40", "lr=1 · 2026-11-23 06:40"
    assert [run[:2] for run in shown["runs"]] == [
        (parent, "FINISHED"),
        (first, "FINISHED"),
        (second, "FAILED"),
    ]
    assert shown["nesting"] == [(first, parent), (second, parent)]
    curve = [row[2] for row in shown["metrics"] if row[:2] == (first, "train/loss")]
    assert curve == [1, 2, 3]
    assert (first, "optimizer.learning_rate", "0.1") in shown["params"]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("at", [0, 5, 11, 16, 18, 19])
def test_a_kill_in_the_middle_of_sync_is_harmless(
    tracking: Tracking, monkeypatch: pytest.MonkeyPatch, at: int, *, after: bool
) -> None:
    """Before or after any write: the next sync ends in what one that nobody touched ends in."""
    journalled()
    calls = 0

    def dying(write: Callable[..., Any]) -> Callable[..., Any]:
        def instead(*arguments: Any, **options: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls > at and not after:
                raise Killed
            done = write(*arguments, **options)
            if calls > at:
                raise Killed
            return done

        return instead

    with monkeypatch.context() as patch:
        for name in WRITES:
            patch.setattr(MlflowClient, name, dying(getattr(MlflowClient, name)))
        with suppress(Killed):
            sync_runs(tracking)
    sync_runs(tracking)

    again = contents()
    assert [run[1] for run in again["runs"]] == ["FINISHED", "FINISHED", "FAILED"]
    assert len(again["nesting"]) == 2
    points = [row[:3] for row in again["metrics"]]
    assert len(points) == len(set(points)) == 3 * 7 + 5 + 1 * 7 + 1
    assert sync_runs(tracking).told == ()


def test_what_a_killed_retraining_told_live_is_not_told_twice(tracking: Tracking) -> None:
    """Its curve has one point an epoch, though the time of telling is another."""
    info = flow_run_info().model_copy(update={"owner": DEAD})
    spec = trial_spec(0.1)
    mirror = Mirror(tracking, info)
    mirror.trial_started(spec, {"learning_rate": "0"}, cached=False)
    for epoch in (1, 2):
        mirror.epoch(spec.key, epoch_record(epoch))
    assert mirror.flush()
    mirror._writer.stop()  # killed: what follows is in the journal alone
    store_history(TRIALS, spec, 3)
    Journal(info, JOURNALS / NAME).write(TrialFinished(outcome=trial_result(spec, 3)))

    sync_runs(tracking)

    steps = [row[2] for row in contents()["metrics"] if row[1] == "validation/loss"]
    assert steps == [1, 2, 3]
    (child,) = Runs(tracking).search("tags.`trial.key` != ''")
    assert child.info.status == "FINISHED"


def test_a_database_moved_away_is_made_again(tracking: Tracking) -> None:
    """Open it anew, sync, and it shows what it showed."""
    journalled()
    sync_runs(tracking)
    before = contents()
    tracking.client._tracking_client.store.engine.dispose()
    for path in Path("mlruns").glob("mlflow.db*"):
        path.unlink()
    fresh = open_tracking(NAME)
    assert sync_runs(fresh).told != ()

    assert contents() == before
