"""kill -9 at random moments, again and again: the search ends as if nobody had touched it."""

import contextlib
import json
import logging
import random
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from made_once import put_databases
from project_folder import (
    ProjectFolder,
    Ran,
    make_project,
    overrides,
    users_prefect,
    users_prefect_environment,
)

from flows.runtime.servers import free_port
from flows.tracking.reconcile import sync_runs
from flows.tracking.store import open_tracking

log = logging.getLogger(__name__)

SMALL = (
    "data.image_size=8",
    "data.limit=400",
    "search.epochs=3",
    "search.axes={optimizer.learning_rate: [0.001, 0.003, 0.01]}",
    "trial.network={name: mlp, hidden_units: 16}",
    "trial.minibatch_size=4",
)
"""Three trials of three epochs: seconds of training after the seconds that starting takes."""
COMMAND = ["tune", "--json", *overrides(*SMALL)]
NAME = "digits-classifier"
OURS = ("trial.key", "trial.budget", "trial.epochs", "trial.pruned", "pitchpipe.weights")
"""Tags of a trial's run that no kill may change."""
OF_TIME = ("seconds", "epoch/seconds")
OF_THE_RUN = ("trials", "flow_runs", "searches", "artifacts")
"""Folders of mlruns/ that a template has not."""


@dataclass(frozen=True, slots=True)
class Bench:
    """Where kills are tried: one Prefect server, and what the search comes to when left alone."""

    template: Path
    """A project with its data prepared and an empty MLflow database."""
    api: str
    prefect: Path
    """Database of the server."""
    seconds: float
    """From start to end."""
    board: list[tuple[str, dict[str, float]]]
    weights: dict[str, str]
    shown: "dict[str, TrialRun]"

    def project(self, root: Path, *, databases: bool) -> ProjectFolder:
        """A project in which nothing is trained yet; databases: with MLflow's schema made."""
        shutil.copytree(self.template, root)
        if not databases:
            shutil.rmtree(root / "mlruns")
        return ProjectFolder(root, {"PREFECT_API_URL": self.api})


@dataclass(frozen=True, slots=True)
class TrialRun:
    """A trial as MLflow shows it, without times."""

    status: str
    params: dict[str, str]
    tags: dict[str, str]
    metrics: dict[str, list[tuple[int, float]]]
    """Name -> step and value of each point."""


@dataclass(slots=True)
class Kills:
    """Which processes were killed, by target."""

    parent: int = 0
    workers: int = 0
    both: int = 0
    rounds: int = 0

    @property
    def total(self) -> int:
        return self.parent + self.workers + self.both


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, databases: Path) -> Iterator[Bench]:
    """Run the search once without a kill; make a template of its project without its trials."""
    home = tmp_path_factory.mktemp("prefect")
    straight = make_project(tmp_path_factory.mktemp("straight") / "project")
    for root in (home, straight.root):
        put_databases(databases, root)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        server = users_prefect(free_port(0))
        running = server.start(users_prefect_environment(server))
    with running:
        server.wait_ready()
        api = f"{server.url}/api"
        began = time.monotonic()
        ran = straight.pitchpipe(*COMMAND, PREFECT_API_URL=api)
        seconds = time.monotonic() - began
        assert ran.code == 0, ran.err
        shown = shown_trials(straight.root, ran.document["mlflow_run"])
        template = tmp_path_factory.mktemp("template") / "project"
        shutil.copytree(straight.root, template, ignore=shutil.ignore_patterns(*OF_THE_RUN))
        forget_runs(template / "mlruns/mlflow.db")
        yield Bench(
            template=template,
            api=api,
            prefect=home / ".prefect/prefect.db",
            seconds=seconds,
            board=board(ran),
            weights=weights(straight.root),
            shown=shown,
        )


def forget_runs(database: Path) -> None:
    """Empty MLflow's tables of runs, keeping its schema and experiments."""
    of_runs = ("metrics", "latest_metrics", "params", "tags", "inputs", "input_tags", "datasets")
    with closing(sqlite3.connect(database)) as connection, connection:
        for table in (*of_runs, "runs"):
            connection.execute(f"DELETE FROM {table}")  # names of our own


@pytest.mark.timeout(900)
def test_three_kills_change_nothing(bench: Bench, tmp_path: Path) -> None:
    """Parent, workers and both are killed; the end is that of the search left alone."""
    kills = Campaign(bench, tmp_path, seed=5, while_training=1.0).run(3)

    assert kills.total == 3


@pytest.mark.slow
@pytest.mark.timeout(14_400)
def test_a_hundred_kills_change_nothing(bench: Bench, tmp_path: Path) -> None:
    """The same a hundred times, also before training; in some rounds MLflow has no schema yet."""
    kills = Campaign(bench, tmp_path, seed=100, while_training=0.6, fresh=True).run(100)

    assert kills.total == 100


class Campaign:
    """Kills searches at random moments; checks what each comes to that was let end."""

    def __init__(
        self, bench: Bench, folder: Path, *, seed: int, while_training: float, fresh: bool = False
    ) -> None:
        """while_training: share of kills after an epoch, of the others some come before any;
        fresh: begin some rounds without MLflow's schema.
        """
        self.bench, self.folder, self.fresh = bench, folder, fresh
        self.while_training = while_training
        self.random = random.Random(seed)
        self.kills = Kills()

    def run(self, most: int) -> Kills:
        """Go on until there were so many kills."""
        while self.kills.total < most:
            self.kills.rounds += 1
            databases = not (self.fresh and self.kills.rounds % 4 == 0)
            root = self.folder / f"round-{self.kills.rounds}"
            project = self.bench.project(root, databases=databases)
            ended = None
            while ended is None:
                ended = self.attempt(project, most)
            assert_untouched(self.bench, project, ended)
            log.info("round %d ended whole after %s", self.kills.rounds, self.kills)
            shutil.rmtree(root)
        return self.kills

    def attempt(self, project: ProjectFolder, most: int) -> Ran | None:
        """Start the search and kill in it; return what it came to, None if it was killed."""
        process = project.start(*COMMAND, PYTHONFAULTHANDLER="1")
        survived = 0
        while self.kills.total < most and self.wait(project.root, process):
            targets = ("parent", "parent", "workers", "both")
            # A trial whose worker is killed three times has failed: that is another test's.
            target = strike(process, self.random.choice(targets) if survived < 2 else "both")
            setattr(self.kills, target, getattr(self.kills, target) + 1)
            if target != "workers":
                process.communicate()
                return None
            survived += 1
        return finish(process)

    def wait(self, root: Path, process: subprocess.Popen[str]) -> bool:
        """Wait until a random moment; False where the search ended before."""
        if self.random.random() < self.while_training:
            before = epochs(root)
            while process.poll() is None and epochs(root) == before:
                psutil.Process().cpu_percent(interval=0.05)
            moment = self.random.uniform(0, 1.5)
        else:
            moment = self.random.uniform(0, self.bench.seconds)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(moment)
        return process.poll() is None


def finish(process: subprocess.Popen[str], *, seconds: float = 400) -> Ran:
    """Let the search end; one that hangs fails the test with what its threads are doing."""
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGABRT)
        out, err = process.communicate()
        raise AssertionError(err) from None
    return Ran(process.returncode, out, err)


def epochs(root: Path) -> int:
    """Bytes of all histories: they grow with each epoch."""
    return sum(path.stat().st_size for path in root.glob("mlruns/trials/*/history.jsonl"))


def strike(process: subprocess.Popen[str], target: str) -> str:
    """Kill the search's process, the processes that train its trials, or both; return which.

    Where no trial is being trained it is the search's process.
    """
    family = psutil.Process(process.pid).children(recursive=True)
    workers = [one for one in family if is_worker(one)] if target != "parent" else []
    for worker in workers:
        with contextlib.suppress(psutil.NoSuchProcess):
            worker.kill()
    if workers and target == "workers":
        return target
    process.kill()
    _, alive = psutil.wait_procs(family, timeout=60)
    assert [one.cmdline() for one in alive] == []
    return "both" if workers else "parent"


def is_worker(process: psutil.Process) -> bool:
    """Whether it trains a trial: the fork server made it, or, without one, it was spawned."""
    with contextlib.suppress(psutil.NoSuchProcess):
        parent, spawned = process.parent(), "multiprocessing.spawn" in " ".join(process.cmdline())
        forks = parent is not None and "multiprocessing.forkserver" in " ".join(parent.cmdline())
        return spawned or forks
    return False


def assert_untouched(bench: Bench, project: ProjectFolder, ended: Ran) -> None:
    """The search came to what it comes to alone; MLflow and Prefect show that, and no more."""
    assert ended.code == 0, ended.err
    assert board(ended) == bench.board
    assert weights(project.root) == bench.weights
    database = project.root / "mlruns/mlflow.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project.root)
        patch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlruns/mlflow.db")
        report = sync_runs(open_tracking(NAME))
    assert report.refused == ()
    # One that was killed after its retraining had ended has shown it all; then there is no run.
    parent = ended.document["mlflow_run"] or last_finished(database)
    assert shown_trials(project.root, parent) == bench.shown
    assert rows(database, "select name, status from runs where status = 'RUNNING'") == []
    assert doubled(database) == []
    going_on = "state_type not in ('COMPLETED', 'FAILED', 'CRASHED', 'CANCELLED')"
    assert rows(bench.prefect, f"select name from flow_run where {going_on}") == []
    assert rows(bench.prefect, f"select name from task_run where {going_on}") == []


def last_finished(database: Path) -> str:
    """The newest retraining that MLflow shows as finished."""
    children = "select run_uuid from tags where key = 'mlflow.parentRunId'"
    finished = f"status = 'FINISHED' and run_uuid not in ({children})"
    [(run,)] = rows(
        database, f"select run_uuid from runs where {finished} order by start_time desc limit 1"
    )
    return str(run)


def doubled(database: Path) -> list[Any]:
    """Trials shown twice below one retraining, and points shown twice in one curve."""
    twice = """
        select p.value, k.value, count(*) from tags p join tags k on k.run_uuid = p.run_uuid
        where p.key = 'mlflow.parentRunId' and k.key = 'trial.key'
        group by p.value, k.value having count(*) > 1
    """
    points = "select run_uuid, key, step from metrics group by 1, 2, 3 having count(*) > 1"
    return [*rows(database, twice), *rows(database, points)]


def board(ran: Ran) -> list[tuple[str, dict[str, float]]]:
    """Keys and scores, best first: no times."""
    return [(row["key"], row["scores"]) for row in ran.document["leaderboard"]]


def weights(root: Path) -> dict[str, str]:
    """Trial -> digest of its best weights."""
    return {
        path.parent.name: json.loads(path.read_text())["weights_digest"]
        for path in root.glob("mlruns/trials/*/result.json")
    }


def shown_trials(root: Path, parent: str) -> dict[str, TrialRun]:
    """Trial -> its run below a retraining, as MLflow's database has it."""
    database = root / "mlruns/mlflow.db"
    children = rows(
        database,
        "select r.run_uuid, r.status from runs r join tags t on t.run_uuid = r.run_uuid "
        f"where t.key = 'mlflow.parentRunId' and t.value = '{parent}'",
    )
    runs = [trial_run(database, run, status) for run, status in children]
    return {run.tags["trial.key"]: run for run in runs}


def trial_run(database: Path, run: str, status: str) -> TrialRun:
    """Read a trial's run."""
    of_run = f"where run_uuid = '{run}'"
    tags: Mapping[str, str] = dict(rows(database, f"select key, value from tags {of_run}"))
    points = rows(database, f"select key, step, value from metrics {of_run} order by key, step")
    metrics: dict[str, list[tuple[int, float]]] = {}
    for key, step, value in points:
        if key not in OF_TIME:
            metrics.setdefault(key, []).append((step, value))
    return TrialRun(
        status=status,
        params=dict(rows(database, f"select key, value from params {of_run}")),
        tags={name: tags[name] for name in OURS if name in tags},
        metrics=metrics,
    )


def rows(database: Path, query: str) -> list[Any]:
    """Ask a SQLite database."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        return connection.execute(query).fetchall()
