"""Dask and Ray: real local clusters train what one machine does, to the bit, and survive kills."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from project_folder import REPOSITORY, ProjectFolder, overrides

from flows.datasets.current import ensure_ingested
from flows.engines.cluster_head import running_head
from flows.engines.local import LocalEngine, warm_up
from flows.engines.opening import OpenEngine, open_engine
from flows.records.retraining import Request
from models.config import DataParams, Params, TrialConfig
from models.datasets.prepare import prepare
from models.datasets.prepared import read_manifest
from models.errors import PitchpipeError
from models.networks import CnnConfig
from models.training.source import package_versions, training_source_digest
from models.training.worker import TrialJob
from models.trials import (
    EpochRecord,
    Outcome,
    TrialFailure,
    TrialResult,
    TrialSpec,
    read_history,
)

PREPARED = Path("data/prepared")
DATA = DataParams(limit=200)
SMALL = TrialConfig(network=CnnConfig(channels=(4,), hidden_units=8))
WITHIN = 30
"""Seconds in which processes must have ended."""


@pytest.fixture(scope="module", autouse=True)
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A folder with prepared digits, as working directory."""
    root = tmp_path_factory.mktemp("engines")
    with contextlib.chdir(root):
        ensure_ingested(DATA)
        prepare(Path("data/raw/digits"), PREPARED, DATA)
        warm_up()
        yield


@pytest.fixture(scope="module", params=["dask", "ray"])
def opened(request: pytest.FixtureRequest) -> Iterator[OpenEngine]:
    """An engine on a Dask cluster that was there before, then one on a Ray cluster of its own."""
    opening = existing_dask() if request.param == "dask" else own_ray()
    with opening as engine:
        yield engine


@contextlib.contextmanager
def existing_dask() -> Iterator[OpenEngine]:
    with running_head("flows.engines.dask_head", ["2", "0"], environment={}) as address:
        with open_engine(Params(), Request(engine="dask", engine_address=address)) as engine:
            yield engine
        assert family("dask_head"), "the cluster was there before, and is not ours to end"


@contextlib.contextmanager
def own_ray() -> Iterator[OpenEngine]:
    with open_engine(Params(), Request(engine="ray", workers=2)) as engine:
        heads = family("ray_head")
        yield engine
    _, alive = psutil.wait_procs(heads, timeout=WITHIN)
    assert (bool(heads), alive) == (True, [])


def family(word: str) -> list[psutil.Process]:
    """Our descendants whose command line has a word."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if any(word in part for part in process.cmdline()):
                found.append(process)
    return found


def job(config: TrialConfig, store: Path, *, budget: int = 2) -> TrialJob:
    spec = TrialSpec(
        config=config,
        dataset=read_manifest(PREPARED).digest,
        source=training_source_digest(),
        versions=package_versions(),
    )
    return TrialJob(
        spec=spec,
        directory=store / spec.key,
        prepared=PREPARED,
        budget=budget,
        label="a trial",
    )


def trained(opened: OpenEngine, jobs: list[TrialJob]) -> list[Outcome]:
    """Outcomes of jobs that are trained at once."""
    with ThreadPoolExecutor(len(jobs)) as threads:
        return list(threads.map(lambda one: opened.engine.train(one, lambda _: None), jobs))


def facts(outcome: Outcome) -> tuple[object, ...]:
    """All of a result but the time it took."""
    assert isinstance(outcome, TrialResult)
    return tuple(value for name, value in outcome if name != "seconds")


def records(directory: Path) -> list[EpochRecord]:
    return [record.model_copy(update={"seconds": 0.0}) for record in read_history(directory)]


def test_a_cluster_trains_what_processes_do(opened: OpenEngine, tmp_path: Path) -> None:
    """Scores, history and weights are the same to the bit; two trials are trained at once."""
    grid = [SMALL.model_copy(update={"seed": seed}) for seed in range(2)]
    here = [job(config, tmp_path / "here") for config in grid]
    there = [job(config, tmp_path / "there") for config in grid]
    local = [LocalEngine().train(one, lambda _: None) for one in here]

    remote = trained(opened, there)

    assert opened.workers == 2
    assert [facts(one) for one in remote] == [facts(one) for one in local]
    for one, other in zip(here, there, strict=True):
        assert records(one.directory) == records(other.directory)


def busy_worker() -> psutil.Process:
    """The cluster's worker beside which a trial is being trained."""
    for agent in family("flows.engines.worker_agent"):
        for server in agent.children():
            if server.children():
                worker = agent.parent()
                assert worker is not None
                return worker
    raise AssertionError("no trial is being trained")


def test_a_killed_worker_is_replaced_and_the_trial_goes_on(
    opened: OpenEngine, tmp_path: Path
) -> None:
    """Killed in mid-trial, the worker is replaced; weights are those of an uninterrupted trial."""
    config = SMALL.model_copy(update={"seed": 7})
    interrupted, whole = (job(config, tmp_path / name, budget=40) for name in ("cut", "whole"))
    heard: list[int] = []

    def kill_once(record: EpochRecord) -> None:
        if not heard:
            busy_worker().kill()
        heard.append(record.epoch)

    outcome = opened.engine.train(interrupted, kill_once)

    assert facts(outcome) == facts(LocalEngine().train(whole, lambda _: None))
    assert records(interrupted.directory) == records(whole.directory)
    assert sorted(set(heard)) == list(range(1, 41))


def test_a_trial_without_an_epoch_in_time_has_failed(opened: OpenEngine, tmp_path: Path) -> None:
    """The agent beside the worker kills it; the worker trains the next one."""
    config = SMALL.model_copy(update={"seed": 8})
    hurried = job(config, tmp_path / "hurried").model_copy(update={"timeout_minutes": 1e-6})

    outcome = opened.engine.train(hurried, lambda _: None)

    assert isinstance(outcome, TrialFailure)
    assert (outcome.kind, outcome.limit_minutes) == ("timed out", 1e-6)
    assert isinstance(opened.engine.train(job(config, tmp_path), lambda _: None), TrialResult)


def test_what_is_no_trials_fault_is_raised_with_its_message(
    opened: OpenEngine, tmp_path: Path
) -> None:
    """Altered data stops the search, as it does on one machine."""
    work = job(SMALL, tmp_path)
    other = work.spec.model_copy(update={"dataset": "0" * 64})

    with pytest.raises(PitchpipeError, match="prepare that one again"):
        opened.engine.train(work.model_copy(update={"spec": other}), lambda _: None)


def test_a_worker_with_other_code_is_refused(opened: OpenEngine, tmp_path: Path) -> None:
    """A worker looks again before each trial: it may have come, or changed, since the start."""
    engine = opened.engine
    contract = engine._contract  # type: ignore[attr-defined]
    engine._contract = contract.model_copy(  # type: ignore[attr-defined]
        update={"versions": contract.versions | {"torch": "0.1"}}
    )
    try:
        with pytest.raises(PitchpipeError, match=r"we have 0\.1; install the same versions"):
            engine.train(job(SMALL, tmp_path), lambda _: None)
    finally:
        engine._contract = contract  # type: ignore[attr-defined]


def test_two_workers_in_one_trial_are_harmless(opened: OpenEngine, tmp_path: Path) -> None:
    """A scheduler may give a trial out twice: the second waits, and has the first one's outcome."""
    config = SMALL.model_copy(update={"seed": 9})

    first, second = trained(opened, [job(config, tmp_path, budget=5)] * 2)

    assert first == second
    assert [record.epoch for record in records(job(config, tmp_path).directory)] == [1, 2, 3, 4, 5]


IMPORTABLE = [str(REPOSITORY / "tests/engines"), str(REPOSITORY / "tests/support")]
STOPPING = """
import os, sys
from pathlib import Path
sys.path[:0] = {paths!r}
from test_engines import SMALL, job
from flows.engines.opening import open_engine
from flows.engines.local import InterruptedTrialError
from flows.records.retraining import Request
from models.config import Params
if __name__ == "__main__":
    with open_engine(Params(), Request(engine={engine!r}, workers=2)) as opened:
        work = job(SMALL, Path("mlruns/trials"), budget=100_000)
        try:
            opened.engine.train(work, lambda record: print("epoch", record.epoch, flush=True)
                or ({stops} and opened.engine.stop()))
        except InterruptedTrialError:
            pass
"""


def started(engine: str, script: Path, *, stops: bool) -> subprocess.Popen[str]:
    script.write_text(STOPPING.format(paths=IMPORTABLE, engine=engine, stops=stops))
    return subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["dask", "ray"])
def test_a_cluster_of_ours_ends_with_us(engine: str, tmp_path: Path) -> None:
    """After kill -9 of the parent neither scheduler, worker, worker agent nor trainer is left."""
    with started(engine, tmp_path / "orphan.py", stops=False) as it:
        assert it.stdout is not None
        assert it.stdout.readline().startswith("epoch")
        everyone = psutil.Process(it.pid).children(recursive=True)

        os.kill(it.pid, signal.SIGKILL)
        it.wait()
        _, alive = psutil.wait_procs(everyone, timeout=WITHIN)

    assert len(everyone) > 5
    assert alive == []


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["dask", "ray"])
def test_stop_ends_trials_and_the_cluster(engine: str, tmp_path: Path) -> None:
    """Told to stop in mid-trial, the process ends by itself and nothing of it is left."""
    with started(engine, tmp_path / "stop.py", stops=True) as it:
        assert it.stdout is not None
        assert it.stdout.readline().startswith("epoch")
        everyone = psutil.Process(it.pid).children(recursive=True)

        assert it.wait(WITHIN) == 0
        _, alive = psutil.wait_procs(everyone, timeout=WITHIN)

    assert alive == []


GRID = (
    "search.epochs=2",
    "data.limit=200",
    "trial.network.channels=[4]",
    "search.axes={optimizer.learning_rate: [0.001, 0.003], minibatch_size: [16, 32]}",
)


def leaderboard(project: ProjectFolder, engine: str, workers: int) -> list[object]:
    """Keys, scores and weights of a grid that is trained anew, best first."""
    for path in project.root.glob("mlruns/trials/*/*.json*"):
        path.unlink()
    tuned = project.pitchpipe(
        "tune", "--json", "--engine", engine, "--workers", str(workers), *overrides(*GRID)
    )
    assert tuned.code == 0, tuned.err
    assert tuned.document["trials"]["trained"] == 4
    weights = {
        path.parent.name: TrialResult.model_validate_json(path.read_bytes()).weights_digest
        for path in project.root.glob("mlruns/trials/*/result.json")
    }
    return [
        (entry["key"], entry["scores"], weights[entry["key"]])
        for entry in tuned.document["leaderboard"]
    ]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_grid_is_the_same_on_every_engine_and_number_of_workers(project: ProjectFolder) -> None:
    """1, 2 and 4 workers on processes, Dask and Ray: the same leaderboard bit for bit."""
    boards = {
        (engine, workers): leaderboard(project, engine, workers)
        for engine in ("processes", "dask", "ray")
        for workers in (1, 2, 4)
    }
    first = boards["processes", 1]

    assert len(first) == 4
    assert {key: board == first for key, board in boards.items()} == dict.fromkeys(boards, True)


def test_a_dry_run_on_a_cluster_starts_none(project: ProjectFolder) -> None:
    """What would be trained is the same wherever; the forecast is given at once."""
    said = project.pitchpipe("run", "--dry-run", "--json", "--engine", "ray")

    assert said.code == 0, said.err
    assert not (project.root / "mlruns/cluster.log").exists()
