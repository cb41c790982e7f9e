"""gc removes what the policy no longer keeps, whole, and never what somebody needs."""

import json
import os
import shutil
import sqlite3
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from project_folder import ProjectFolder, Ran
from registry_records import (
    DEAD,
    NAME,
    epoch_record,
    flow_run_info,
    store_history,
    trial_result,
    trial_spec,
)

from flows.records import ledger
from flows.records.ledger import LedgerAction
from flows.records.trial_store import STORE, stored_trials
from flows.runtime import scratch
from flows.runtime.scratch import TRASH, abandoned_scratch, discard, scratch_folder
from flows.tracking.events import JOURNALS
from flows.tracking.mirror import Mirror
from flows.tracking.reconcile import sync_runs
from flows.tracking.store import Tracking
from flows.upkeep import retention
from flows.upkeep.retention import Cleaning, RequiredRecords, leftovers, remove, retrainings, trials
from models.config import RetentionParams
from models.trials import TrialFiles, TrialSpec

pytest_plugins = ["registry_fixtures"]

LONG_AGO = time.time() - 400 * 86_400
NOTHING_NEEDED = RequiredRecords({}, frozenset())
AT_ONCE = RetentionParams(keep_best=0)


def store_trial(learning_rate: float, *, old: bool = True) -> TrialSpec:
    """Put a finished trial into the store, last written long ago."""
    spec = trial_spec(learning_rate)
    directory = STORE / spec.key
    store_history(STORE, spec, 2)
    (directory / TrialFiles.SPEC).write_text(spec.model_dump_json())
    (directory / TrialFiles.RESULT).write_text(trial_result(spec).model_dump_json())
    (directory / "epoch-0002.ckpt").write_bytes(b"weights")
    if old:
        age(directory)
    return spec


def age(path: Path) -> None:
    """Make a file, or all in a folder, look as if written long ago."""
    for one in (path, *path.rglob("*")):
        os.utime(one, (LONG_AGO, LONG_AGO))


def shown_retraining(tracking: Tracking, *specs: TrialSpec, old: bool = True) -> str:
    """Show a retraining of these trials in MLflow, with an artifact; return its parent run."""
    at = int(LONG_AGO * 1000) if old else int(time.time() * 1000)
    info = flow_run_info().model_copy(update={"at": at})
    mirror = Mirror(tracking, info)
    for spec in specs:
        mirror.trial_started(spec, {"learning_rate": "1"}, cached=False)
        mirror.epoch(spec.key, epoch_record(1))
        mirror.trial_finished(trial_result(spec))
    folder = Path("shown")
    folder.mkdir(exist_ok=True)
    (folder / "report.html").write_text("report")
    mirror.log_artifacts(folder, under="report")
    mirror.finish("FINISHED")
    assert mirror.parent_run_id is not None
    if old:
        age(JOURNALS / NAME / f"{info.id}.jsonl")
        with closing(sqlite3.connect("mlruns/mlflow.db")) as connection, connection:
            connection.execute("update runs set start_time = ?, end_time = ?", (at, at))
    return mirror.parent_run_id


def make_version(tracking: Tracking, spec: TrialSpec, run_id: str) -> None:
    """Register a version of a trial, as far as its facts go: exporting a network takes seconds."""
    client = tracking.client
    model = client.create_logged_model(tracking.experiment_id, name="network", source_run_id=run_id)
    client.create_registered_model(NAME)
    client.create_model_version(
        NAME,
        source=f"models:/{model.model_id}",
        run_id=run_id,
        tags={"trial.key": spec.key},
        model_id=model.model_id,
    )


def removed(cleaning: Cleaning) -> list[str]:
    return [item.name for item in cleaning.removed]


def test_old_trials_go_and_the_ones_that_versions_and_ledger_name_stay(
    tracking: Tracking,
) -> None:
    """One is a version's, one is in the ledger, one is young, one is being trained."""
    served, named, young, training, old = (
        store_trial(rate, old=rate != 0.3) for rate in (0.001, 0.2, 0.3, 0.4, 0.5)
    )
    make_version(tracking, served, shown_retraining(tracking, served))
    ledger.append(LedgerAction(action="decision", name=NAME, reasons=(f"trial {named.key}",)))
    lock = STORE / training.key / ".lock"
    lock.touch()
    age(STORE / training.key)

    with FileLock(lock):
        cleaning = remove([*trials(AT_ONCE, RequiredRecords.read(tracking))], dry_run=False)

    assert removed(cleaning) == [old.key]
    assert cleaning.bytes > 0
    why = {item.name: item.why for item in cleaning.kept}
    assert why[served.key] == f"needed by version 1 of {NAME}"
    assert why[named.key] == "needed by the ledger"
    assert why[training.key] == "needed by a running process"
    assert why[young.key] == "not older than 90 days"
    assert {trial.key for trial in stored_trials()} == {served.key, named.key, young.key} | {
        training.key
    }


def test_a_dry_run_removes_nothing_and_says_what_would_go(mlflow_project: Path) -> None:
    """Every file stays as it is."""
    spec = store_trial(0.5)
    before = sorted(mlflow_project.rglob("*"))

    cleaning = remove([*trials(AT_ONCE, NOTHING_NEEDED)], dry_run=True)

    assert removed(cleaning) == [spec.key]
    assert sorted(mlflow_project.rglob("*")) == before


@pytest.mark.parametrize("at", range(9))
def test_killed_at_any_file_call_no_trial_is_half(
    mlflow_project: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    """Each trial is whole in the store or not in it, and the next gc empties the trash."""
    assert Path.cwd() == mlflow_project
    keys = [store_trial(rate).key for rate in (0.1, 0.2)]
    files = {key: sorted((STORE / key).rglob("*")) for key in keys}
    calls = 0

    class Killed(BaseException):
        """The process died here."""

    def dying(call: Any) -> Any:
        def instead(*arguments: Any, **options: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls > at:
                raise Killed
            return call(*arguments, **options)

        return instead

    with monkeypatch.context() as patch:
        patch.setattr(Path, "mkdir", dying(Path.mkdir))
        patch.setattr(Path, "rename", dying(Path.rename))
        for name in ("unlink", "rmdir"):
            patch.setattr(os, name, dying(getattr(os, name)))
        with suppress(Killed):
            remove([*trials(AT_ONCE, NOTHING_NEEDED)], dry_run=False)

    for path in STORE.iterdir():
        assert sorted(path.rglob("*")) == files[path.name]
    remove([*leftovers(), *trials(AT_ONCE, NOTHING_NEEDED)], dry_run=False)
    assert list(STORE.iterdir()) == []
    assert list(TRASH.iterdir()) == []


def test_what_cannot_be_removed_stays_with_the_reason(
    mlflow_project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest goes."""
    assert Path.cwd() == mlflow_project
    first, second = sorted(store_trial(rate).key for rate in (0.1, 0.2))

    def refusing(path: Path) -> None:
        if path.name == first:
            raise PermissionError("no")
        discard(path)

    monkeypatch.setattr(retention, "discard", refusing)

    cleaning = remove([*trials(AT_ONCE, NOTHING_NEEDED)], dry_run=False)

    assert removed(cleaning) == [second]
    assert "could not be removed" in cleaning.kept[0].why


def test_an_old_retraining_leaves_mlflow_whole_with_artifacts_and_journal(
    tracking: Tracking, mlflow_project: Path
) -> None:
    """Its runs, metrics and files are gone for good, and `sync` does not bring them back."""
    shown_retraining(tracking, trial_spec(0.1), trial_spec(0.2))
    (journal,) = (path.stat().st_size for path in (JOURNALS / NAME).glob("*.jsonl"))
    young = shown_retraining(tracking, trial_spec(0.3), old=False)

    cleaning = remove(
        [*retrainings(tracking, RetentionParams(), RequiredRecords.read(tracking))], dry_run=False
    )

    assert len(removed(cleaning)) == 1
    assert cleaning.bytes == len("report") + journal
    with closing(sqlite3.connect("mlruns/mlflow.db")) as connection:
        left = connection.execute("select run_uuid from runs").fetchall()
        of_others = "select count(*) from metrics where run_uuid not in (select run_uuid from runs)"
        assert connection.execute(of_others).fetchall() == [(0,)]
    assert len(left) == 2
    assert (young,) in left
    assert len(list((mlflow_project / "mlruns").rglob("report.html"))) == 1
    assert sync_runs(tracking).told == ()


def test_a_retraining_that_a_version_comes_from_stays(tracking: Tracking) -> None:
    """However old: its run, its network, its artifacts."""
    spec = trial_spec(0.1)
    make_version(tracking, spec, shown_retraining(tracking, spec))
    with closing(sqlite3.connect("mlruns/mlflow.db")) as connection, connection:
        connection.execute("update runs set end_time = 1")

    cleaning = remove(
        [*retrainings(tracking, RetentionParams(), RequiredRecords.read(tracking))], dry_run=False
    )

    assert removed(cleaning) == []
    assert cleaning.kept[0].why == f"needed by version 1 of {NAME}"


def test_runs_that_are_not_ours_stay(tracking: Tracking) -> None:
    """A run somebody logged by hand into the experiment, without tags of pitchpipe."""
    tracking.client.create_run(tracking.experiment_id, start_time=1)

    assert list(retrainings(tracking, RetentionParams(), NOTHING_NEEDED)) == []


def test_scratch_of_the_dead_goes_and_that_of_the_living_stays(mlflow_project: Path) -> None:
    """A folder is held by a lock of the kernel, which ends with its holder however it dies."""
    with scratch_folder(".reproducing-") as held:
        dead = mlflow_project / "mlruns/.reproducing-dead"
        dead.mkdir()
        (dead / scratch._HELD).touch()
        (dead / "raw").write_bytes(b"x" * 100)
        begun = mlflow_project / f"mlruns/.ledger.jsonl.{DEAD.pid}.ab.tmp"
        begun.touch()
        os.utime(begun, (LONG_AGO, LONG_AGO))

        cleaning = remove([*leftovers()], dry_run=False)

        assert sorted(Path(name).name for name in removed(cleaning)) == [begun.name, dead.name]
        assert held.is_dir()
    assert list(mlflow_project.glob("mlruns/.reproducing-*")) == []
    assert abandoned_scratch() == []


def test_gc_is_a_flow_with_its_record_and_its_json(
    retrained: tuple[ProjectFolder, Ran], tmp_path: Path
) -> None:
    """What the champion rests on stays; the dry run lists the same without flow and server."""
    ran = retrained[1]
    folder = ProjectFolder(shutil.copytree(retrained[0].root, tmp_path / "project", symlinks=True))
    policy = ("--set", "retention={trials_days: 0.000001, keep_best: 0, flow_runs_days: 0.000001}")

    listed = folder.pitchpipe("gc", "--dry-run", "--json", *policy)
    cleaned = folder.pitchpipe("gc", "--json", *policy)

    assert (listed.code, cleaned.code) == (0, 0), (listed.err, cleaned.err)
    assert listed.document["dry_run"] is True
    assert listed.document["note"].startswith("flow runs in Prefect are not listed")
    document = cleaned.document
    in_both = [item for item in document["removed"] if item["kind"] != "flow run"]
    assert [item["name"] for item in listed.document["removed"]] == [one["name"] for one in in_both]
    assert (document["dry_run"], document["note"]) == (False, None)
    best = ran.document["best"]["key"]
    kept = {item["name"]: item["why"] for item in document["kept"]}
    assert kept[best].startswith("needed by version 1")
    gone = {item["kind"] for item in document["removed"]}
    assert gone == {"trial", "flow run"}
    assert document["bytes"] == sum(item["bytes"] for item in document["removed"])
    with closing(sqlite3.connect(folder.root / ".prefect/prefect.db")) as connection:
        query = "select name, state_type from flow_run where name like 'gc%'"
        assert connection.execute(query).fetchall() == [("gc, manual", "COMPLETED")]
    assert json.loads((folder.root / "mlruns/trials" / best / "result.json").read_text())
