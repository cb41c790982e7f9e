"""A retraining end to end: real images, real Prefect, MLflow, DVC; killed, moved, asked twice."""

import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from numpy.typing import NDArray
from project_folder import (
    QUICK,
    ProjectFolder,
    Ran,
    clean_environment,
    make_project,
    overrides,
    users_prefect,
    users_prefect_environment,
)

from flows.runtime.servers import answers, free_port
from flows.tracking.runs import as_shown
from models.datasets.by_id import prints_of
from models.datasets.prepared import open_split, read_manifest
from models.training.checkpoint import load_serving
from models.trials import TrialResult, read_outcome

Retrained = tuple[ProjectFolder, Ran]
SLOWER = ("search.epochs=40", *QUICK[1:])
"""Enough epochs to be killed in the middle of."""


def rows(database: Path, query: str) -> list[Any]:
    """Ask a SQLite database."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        return connection.execute(query).fetchall()


def open_runs(root: Path) -> list[Any]:
    """Runs that MLflow or Prefect shows as going on."""
    prefect = root / ".prefect/prefect.db"
    going_on = "state_type not in ('COMPLETED', 'FAILED', 'CRASHED', 'CANCELLED')"
    return [
        *rows(root / "mlruns/mlflow.db", "select name from runs where status = 'RUNNING'"),
        *rows(prefect, f"select name from flow_run where {going_on}"),
        *rows(prefect, f"select name from task_run where {going_on}"),
    ]


def test_a_first_run_ends_in_a_promoted_champion(retrained: Retrained) -> None:
    """Exit 0, the verdict, the version, the scores: all in one JSON document."""
    _, ran = retrained
    assert ran.code == 0, ran.err

    document = ran.document

    assert document["decision"]["retrain"] is True
    assert (document["verdict"], document["version"], document["champion"]) == ("PROMOTE", 1, 1)
    assert document["trials"] == {"total": 2, "trained": 2, "cached": 0, "pruned": 0, "failed": 0}
    assert document["test"]["accuracy"] > 0.8
    assert document["best"]["scores"]["accuracy"] > 0.8
    assert document["dataset"]["name"] == "digits"


def test_plain_lines_tell_of_progress_where_there_is_no_terminal(retrained: Retrained) -> None:
    """A line a trial: how many are done, what differs, its scores."""
    _, ran = retrained

    lines = [line for line in ran.err.splitlines() if re.match(r"\d/2 ", line)]

    assert len(lines) == 2
    assert all("lr=" in line and "accuracy" in line for line in lines)
    assert "Traceback" not in ran.err
    assert "Error" not in ran.err


def test_a_second_run_does_nothing_and_says_why(retrained: Retrained) -> None:
    """Nothing changed: no trial, no server, exit 0."""
    folder, first = retrained
    log = folder.root / ".prefect/server.log"
    before = log.stat().st_mtime_ns

    second = folder.pitchpipe("run", "--json", *overrides(*QUICK))

    assert second.code == 0, second.err
    assert second.document["decision"]["retrain"] is False
    assert "nothing changed" in second.document["decision"]["reason"]
    assert second.document["trials"]["trained"] == 0
    assert set(second.document) == set(first.document)
    assert log.stat().st_mtime_ns == before


def test_a_no_op_imports_neither_torch_nor_mlflow_nor_prefect(retrained: Retrained) -> None:
    """That is what makes it a matter of a second."""
    folder, _ = retrained
    script = textwrap.dedent(f"""
        import sys
        from flows.records.retraining import Request
        from flows.run import run_retraining
        assert not run_retraining(Request(overrides={list(QUICK)!r})).decision.retrain
        print([name for name in ("torch", "mlflow", "prefect", "sklearn") if name in sys.modules])
    """)

    ran = subprocess.run(
        [sys.executable, "-c", script],
        cwd=folder.root,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=True,
    )

    assert ran.stdout.strip() == "[]"


def test_prefect_has_every_task_run_as_completed_with_its_score(retrained: Retrained) -> None:
    """Trials are task runs named by what differs; the flow run ends with its artifacts."""
    folder, _ = retrained
    database = folder.root / ".prefect/prefect.db"

    flow_runs = rows(
        database,
        "select r.state_type from flow_run r join flow f on f.id = r.flow_id "
        "where f.name = 'retrain'",
    )
    tasks = dict(rows(database, "select name, state_type from task_run"))
    messages = rows(
        database,
        "select s.message from task_run t join task_run_state s on s.id = t.state_id "
        "where t.name like 'lr=%'",
    )
    artifacts = {key for (key,) in rows(database, "select key from artifact")}
    verdict = rows(database, "select data from artifact where key = 'verdict'")[0][0]

    assert flow_runs == [("COMPLETED",)]
    assert set(tasks.values()) == {"COMPLETED"}
    assert {"lr=0.001", "lr=0.003"} <= set(tasks)
    assert all("accuracy" in message for (message,) in messages)
    assert {"leaderboard", "mlflow-run", "verdict", "trial"} <= artifacts
    assert "without it" in verdict
    assert "distinguishable from the best" in verdict or "told apart from the best" in verdict


def test_mlflow_has_a_parent_run_with_a_child_for_each_trial(retrained: Retrained) -> None:
    """Params, a metric an epoch, tags and the dataset are there; nothing is left running."""
    folder, ran = retrained
    database = folder.root / "mlruns/mlflow.db"
    parent = ran.document["mlflow_run"]

    children = rows(
        database,
        f"select run_uuid from tags where key = 'mlflow.parentRunId' and value = '{parent}'",
    )
    epochs = rows(
        database,
        "select count(*) from metrics where key = 'validation/accuracy' group by run_uuid",
    )
    datasets = rows(database, "select name from datasets")
    doubts = dict(
        rows(
            database,
            f"select key, value from metrics where run_uuid = '{parent}' "
            "and key in ('validation/optimism', 'validation/not_distinguishable')",
        )
    )

    told = dict(
        rows(
            database,
            f"select key, value from tags where run_uuid = '{parent}' "
            "and key in ('verdict', 'version', 'champion', 'trigger')",
        )
    )

    assert told == {"verdict": "PROMOTE", "version": "1", "champion": "1", "trigger": "manual"}
    assert len(children) == 2
    assert epochs == [(2,), (2,)]
    assert datasets == [("digits",)]
    assert doubts == {
        "validation/optimism": as_shown(ran.document["optimism"]["excess"]),
        "validation/not_distinguishable": ran.document["distinction"]["alike"],
    }
    assert open_runs(folder.root) == []


LOAD = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("flows", "models"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
import mlflow, numpy as np
mlflow.set_tracking_uri("sqlite:///mlruns/mlflow.db")
champion = mlflow.pyfunc.load_model("models:/digits-classifier@champion")
images = np.load("data/prepared/test/images.npy")
for n in (1, 3, len(images)):
    np.save(f"loaded-{n}.npy", np.asarray(champion.predict(images[:n])))
print(len(images))
"""


def load_champion(root: Path, tmp_path: Path) -> int:
    """Load and ask the champion as a stranger would, without flows and models."""
    script = tmp_path / "load.py"
    script.write_text(LOAD)
    ran = subprocess.run(
        [sys.executable, str(script)],
        cwd=root,
        env={**clean_environment(), "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return int(ran.stdout.splitlines()[-1])


def test_the_champion_predicts_in_a_process_without_pitchpipe_as_the_trial_did(
    retrained: Retrained, tmp_path: Path
) -> None:
    """Raw uint8 images, any number of them, equal bits; nothing is unpickled."""
    folder, ran = retrained
    expected = np.load((folder.root / ran.document["report"]).parent / "probabilities.npy")

    count = load_champion(folder.root, tmp_path)

    for n in (1, 3, count):
        loaded = np.load(folder.root / f"loaded-{n}.npy")
        assert np.array_equal(loaded, trial_predicts(folder.root, ran, images=n))
        assert np.allclose(loaded, expected[:n], rtol=1e-5)
    assert np.array_equal(np.load(folder.root / f"loaded-{count}.npy"), expected)


def trial_predicts(root: Path, ran: Ran, *, images: int) -> NDArray[np.float32]:
    """Ask the trial's own network, for as many images at once: shapes decide the last bit."""
    directory = root / "mlruns/trials" / ran.document["best"]["key"]
    result = read_outcome(directory)
    assert isinstance(result, TrialResult)
    serving = load_serving(directory, result, read_manifest(root / "data/prepared"))
    test = open_split(root / "data/prepared", "test", verify=True)
    with torch.inference_mode():
        return np.asarray(serving(torch.from_numpy(np.array(test.images[:images]))).numpy())


def test_a_project_moved_to_another_folder_works_on(retrained: Retrained, tmp_path: Path) -> None:
    """The champion loads, the registry lists, and there is nothing to retrain."""
    folder, _ = retrained
    moved = ProjectFolder(tmp_path / "elsewhere" / "moved")
    shutil.copytree(folder.root, moved.root)

    load_champion(moved.root, tmp_path)
    versions = moved.pitchpipe("versions", "--json")
    again = moved.pitchpipe("run", "--json", *overrides(*QUICK))

    assert "champion" in versions.document[0]["aliases"]
    assert again.document["decision"]["retrain"] is False, again.err


def test_a_dry_run_says_what_would_be_trained_and_trains_nothing(retrained: Retrained) -> None:
    """One more value on an axis: two trials are cached, one is new."""
    folder, _ = retrained
    wider = "search.axes={optimizer.learning_rate: [0.001, 0.003, 0.01]}"

    ran = folder.pitchpipe("run", "--dry-run", "--json", *overrides(*QUICK, wider))

    assert ran.code == 0, ran.err
    assert ran.document["trials"]["cached"] == 2
    assert ran.document["labels"] == ["lr=0.01"]
    assert ran.document["verdict"] is None
    assert set(retrained[1].document) <= set(ran.document)
    assert ran.document["seconds"] > 0
    assert len(list((folder.root / "mlruns/trials").iterdir())) == 2


def test_trials_lists_the_store_best_first(retrained: Retrained) -> None:
    """The same leaderboard as the run ended with, and each trial's curve."""
    folder, ran = retrained

    listed = folder.pitchpipe("trials", "--json").document
    shown = folder.pitchpipe("trials", "show", listed[0]["key"][:10], "--json").document
    table = folder.pitchpipe("trials")

    assert [row["key"] for row in listed] == [row["key"] for row in ran.document["leaderboard"]]
    assert [record["epoch"] for record in shown["history"]] == [1, 2]
    assert listed[0]["key"][:8] in table.out


def test_the_report_is_one_file_linked_from_the_version(retrained: Retrained) -> None:
    """It lies under the parent run's artifacts and loads nothing from elsewhere."""
    folder, ran = retrained
    run = ran.document["mlflow_run"]
    (artifact,) = (folder.root / "mlruns/artifacts").glob(f"*/{run}/artifacts/report/report.html")
    text = artifact.read_text(encoding="utf-8")

    described = rows(folder.root / "mlruns/mlflow.db", "select description from model_versions")

    assert run in described[0][0]
    assert not re.search(r"(src|href)=[\"']https?://", text)


def test_the_version_tells_what_it_was_trained_on_from_what_it_was_selected_on(
    retrained: Retrained,
) -> None:
    """Ids of train, then so many of validation: drift is measured against the latter."""
    folder, _ = retrained
    (extras,) = (folder.root / "mlruns/artifacts").glob("*/models/*/artifacts/pitchpipe")
    ids, lineage = np.load(extras / "trained_ids.npy"), (extras / "lineage.json").read_text()
    validation = open_split(folder.root / "data/prepared", "validation", verify=True)

    count = json.loads(lineage)["validation_images"]

    assert 0 < count < len(ids)
    assert np.array_equal(ids[-count:], validation.ids)
    prints = np.load(extras / "trained_prints.npy")
    assert prints.shape == ids.shape
    assert np.array_equal(prints[-count:], prints_of(validation.images))


def wait_for_line(process: subprocess.Popen[str], pattern: str) -> str:
    """Read standard error until a line matches; fail with what was read where it ends first."""
    assert process.stderr is not None
    read: list[str] = []
    for line in process.stderr:
        read.append(line)
        if re.search(pattern, line):
            return line
    raise AssertionError("".join(read))


@pytest.fixture
def prepared_project(retrained: Retrained, tmp_path: Path) -> ProjectFolder:
    """A project with data and migrated databases, and nothing trained."""
    folder, _ = retrained
    fresh = make_project(tmp_path / "project")
    for name in ("data", ".dvc", "dvc.lock", ".prefect"):
        source = folder.root / name
        if source.is_dir():
            shutil.copytree(source, fresh.root / name, dirs_exist_ok=True)
        elif source.exists():
            shutil.copy(source, fresh.root / name)
    return fresh


def wait_for_epoch(root: Path, process: subprocess.Popen[str]) -> None:
    """Return once some trial has finished an epoch."""
    while process.poll() is None:
        if any(path.stat().st_size for path in root.glob("mlruns/trials/*/history.jsonl")):
            return
        psutil.Process().cpu_percent(interval=0.05)
    raise AssertionError(process.communicate())


@pytest.mark.slow
def test_killed_at_any_moment_it_goes_on_to_the_same_leaderboard(
    prepared_project: ProjectFolder, tmp_path: Path
) -> None:
    """kill -9 in the middle, run again: bit-equal scores and weights, nothing left running."""
    command = ["run", "--json", *overrides(*SLOWER)]
    process = prepared_project.start(*command)
    wait_for_epoch(prepared_project.root, process)
    family = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.communicate()
    _, alive = psutil.wait_procs(family, timeout=10)
    assert alive == []

    resumed = prepared_project.pitchpipe(*command)
    straight = make_project(tmp_path / "straight")
    shutil.copytree(prepared_project.root / "data", straight.root / "data", dirs_exist_ok=True)
    uninterrupted = straight.pitchpipe(*command)

    assert resumed.code == 0, resumed.err
    assert open_runs(prepared_project.root) == []
    assert board(resumed) == board(uninterrupted)
    assert weights(prepared_project.root) == weights(straight.root)


def board(ran: Ran) -> list[tuple[str, dict[str, float]]]:
    """Keys and scores, best first: no times."""
    return [(row["key"], row["scores"]) for row in ran.document["leaderboard"]]


def weights(root: Path) -> dict[str, str]:
    """Trial -> digest of its best weights."""
    return {
        path.parent.name: json.loads(path.read_text())["weights_digest"]
        for path in root.glob("mlruns/trials/*/result.json")
    }


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stopped_by_a_signal_it_ends_cleanly_and_goes_on_next_time(
    prepared_project: ProjectFolder, number: signal.Signals, code: int
) -> None:
    """Ctrl-C and SIGTERM: their exit codes, no traceback, nothing left running."""
    process = prepared_project.start("run", *overrides(*SLOWER))
    wait_for_epoch(prepared_project.root, process)
    os.kill(process.pid, number)
    _, err = process.communicate(timeout=60)

    assert process.returncode == code, err
    assert "Traceback" not in err
    assert ("interrupted; finished work is kept" in err) is (code == 130)
    assert open_runs(prepared_project.root) == []
    assert list(prepared_project.root.glob("mlruns/trials/*/history.jsonl"))


def test_a_second_run_at_once_is_refused_and_names_the_first(
    prepared_project: ProjectFolder,
) -> None:
    """Exit 1 with the process to wait for or to stop."""
    process = prepared_project.start("run", *overrides(*SLOWER))
    wait_for_epoch(prepared_project.root, process)

    second = prepared_project.pitchpipe("run", *overrides(*SLOWER))
    os.kill(process.pid, signal.SIGINT)
    process.communicate(timeout=60)

    assert second.code == 1
    assert f"process {process.pid} " in second.err
    assert "Traceback" not in second.err


def test_the_server_of_prefect_api_url_is_used(
    prepared_project: ProjectFolder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """No server of our own is started where the user names one."""
    monkeypatch.chdir(tmp_path)
    server = users_prefect(free_port(0))
    environment = users_prefect_environment(server)
    with server.start(environment):
        server.wait_ready()
        ran = prepared_project.pitchpipe(
            "tune", "--json", *overrides(*QUICK), PREFECT_API_URL=f"{server.url}/api"
        )
        assert answers(f"{server.url}/api/health")

    assert ran.code == 0, ran.err
    runs = rows(tmp_path / ".prefect/prefect.db", "select state_type from flow_run")
    assert runs == [("COMPLETED",)]


def test_an_api_url_where_nothing_answers_is_named(prepared_project: ProjectFolder) -> None:
    """Exit 1 with the address and the way out, before anything is trained."""
    ran = prepared_project.pitchpipe(
        "tune", *overrides(*QUICK), PREFECT_API_URL="http://127.0.0.1:9/api"
    )

    assert ran.code == 1
    assert "http://127.0.0.1:9/api" in ran.err
    assert "unset" in ran.err
