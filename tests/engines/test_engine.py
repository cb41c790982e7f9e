"""The local engine: children that die are replaced, and the parent's death ends them."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from project_folder import REPOSITORY

from flows.datasets.current import ensure_ingested
from flows.engines.local import InterruptedTrialError, LocalEngine, warm_up
from flows.records.trial_store import cached, directory_of, find_trial, stored_trials
from models.config import DataParams, TrialConfig
from models.datasets.prepare import prepare
from models.datasets.prepared import read_manifest
from models.errors import ConfigError, PitchpipeError
from models.networks import CnnConfig
from models.optimizers import SgdConfig
from models.training.source import package_versions, training_source_digest
from models.training.worker import TrialJob
from models.trials import (
    EpochRecord,
    TrialFailure,
    TrialResult,
    TrialSpec,
    read_history,
    read_outcome,
)

PREPARED = Path("data/prepared")
SMALL = TrialConfig(network=CnnConfig(channels=(4,), hidden_units=8))


@pytest.fixture(scope="module", autouse=True)
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A folder with prepared digits, as working directory; the fork server is started in it."""
    root = tmp_path_factory.mktemp("engine")
    before = Path.cwd()
    os.chdir(root)
    ensure_ingested(DataParams())
    prepare(Path("data/raw/digits"), PREPARED, DataParams())
    warm_up()
    yield
    os.chdir(before)


def job(config: TrialConfig, *, budget: int = 2) -> TrialJob:
    spec = TrialSpec(
        config=config,
        dataset=read_manifest(PREPARED).digest,
        source=training_source_digest(),
        versions=package_versions(),
    )
    return TrialJob(
        spec=spec,
        directory=directory_of(spec.key),
        prepared=PREPARED,
        budget=budget,
        label="a trial",
    )


def test_a_trial_is_trained_in_a_child_and_each_epoch_is_told() -> None:
    """The outcome is what the trial's directory says; the second time it is cached."""
    work = job(SMALL)
    epochs: list[EpochRecord] = []

    outcome = LocalEngine().train(work, epochs.append)

    assert isinstance(outcome, TrialResult)
    assert [record.epoch for record in epochs] == [1, 2]
    assert tuple(epochs) == read_history(work.directory)
    assert cached(work.spec, budget=2) == outcome
    assert cached(work.spec, budget=3) is None


def only_child() -> psutil.Process:
    """The one process that trains: a child of this process's fork server, not of a command's."""
    servers = [one for one in psutil.Process().children() if "forkserver" in str(one.cmdline())]
    (trainer,) = [trainer for server in servers for trainer in server.children()]
    return trainer


def test_code_edited_since_the_retraining_began_is_refused() -> None:
    """The child has the old code: its results must not be kept under the key of the new."""
    work = job(SMALL)
    spec = work.spec.model_copy(update={"source": "0" * 64})
    edited = work.model_copy(update={"spec": spec})

    with pytest.raises(PitchpipeError, match="was changed since this retraining began; run again"):
        LocalEngine().train(edited, lambda _: None)


def test_trials_that_start_together_get_gpus_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counting GPUs takes a while; threads that ask meanwhile count on the same."""
    begin, given = threading.Barrier(4), list[str]()

    def slowly() -> tuple[str, ...]:
        psutil.Process().cpu_percent(interval=0.1)
        return ("0", "1", "2", "3")

    monkeypatch.setattr("flows.engines.local.cuda_devices", slowly)
    engine, together = LocalEngine(), threading.Barrier(4)

    def take() -> None:
        begin.wait()
        with engine._gpus().hold(1) as (gpu,):
            given.append(gpu)
            together.wait()

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(given) == ["0", "1", "2", "3"]


def test_a_killed_worker_is_replaced_and_the_trial_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Killed after its first epoch, the trial ends as if nothing had happened."""
    work = job(SMALL.model_copy(update={"seed": 1}), budget=3)
    elsewhere = work.model_copy(update={"directory": work.directory.with_name("uninterrupted")})
    epochs: list[int] = []

    def kill_once(record: EpochRecord) -> None:
        epochs.append(record.epoch)
        if record.epoch == 1:
            only_child().kill()

    outcome = LocalEngine().train(work, kill_once)

    assert isinstance(outcome, TrialResult)
    assert outcome.epochs == 3
    assert epochs[0] == 1
    assert epochs[-1] == 3
    assert "ended with -9; replaced" in caplog.text
    alone = LocalEngine().train(elsewhere, lambda _: None)
    assert isinstance(alone, TrialResult)
    assert (outcome.weights_digest, outcome.scores) == (alone.weights_digest, alone.scores)


def test_a_worker_that_always_dies_is_a_failed_trial_with_its_reason() -> None:
    """Three starts, then the search goes on without it; another run tries again."""
    work = job(SMALL.model_copy(update={"seed": 2}), budget=50)

    outcome = LocalEngine().train(work, lambda _: only_child().kill())

    assert isinstance(outcome, TrialFailure)
    assert outcome.kind == "killed"
    assert "SIGKILL" in outcome.reason
    assert cached(work.spec, budget=50) is None


def test_divergence_is_recorded_and_never_tried_again() -> None:
    """Weights that grow by 99 times a step are data, not a crash."""
    wild = SgdConfig(learning_rate=100.0, weight_decay=1.0)
    work = job(SMALL.model_copy(update={"optimizer": wild, "seed": 3}), budget=30)

    outcome = LocalEngine().train(work, lambda _: None)

    assert isinstance(outcome, TrialFailure)
    assert outcome.kind == "diverged"
    assert cached(work.spec, budget=30) == outcome


def test_stop_ends_a_trial_whose_epochs_are_kept() -> None:
    """What was trained is there for the next run; nothing new is started after stop."""
    engine = LocalEngine()
    work = job(SMALL.model_copy(update={"seed": 4}), budget=500)
    stopper = threading.Event()

    with pytest.raises(InterruptedTrialError):
        engine.train(work, lambda _: engine.stop())
    with pytest.raises(InterruptedTrialError):
        engine.train(work, lambda _: stopper.set())

    assert len(read_history(work.directory)) >= 1
    assert not stopper.is_set()


IMPORTABLE = [str(REPOSITORY / "tests/engines"), str(REPOSITORY / "tests/support")]
ORPHAN = """
import os, sys
from dataclasses import replace
from pathlib import Path
sys.path[:0] = {paths!r}
from test_engine import SMALL, job
from flows.engines.local import LocalEngine, warm_up
if __name__ == "__main__":
    warm_up()
    work = job(SMALL.model_copy(update={{"seed": 5}}), budget=5000)
    LocalEngine().train(work, lambda record: print("epoch", record.epoch, flush=True))
"""


def test_workers_die_with_their_parent(tmp_path: Path) -> None:
    """After kill -9 of the parent no trainer is left within seconds."""
    script = tmp_path / "orphan.py"
    script.write_text(ORPHAN.format(paths=IMPORTABLE))
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True) as it:
        assert it.stdout is not None
        assert it.stdout.readline().startswith("epoch")
        family = psutil.Process(it.pid).children(recursive=True)

        os.kill(it.pid, signal.SIGKILL)
        it.wait()
        _, alive = psutil.wait_procs(family, timeout=10)

    assert family
    assert alive == []


def test_the_store_lists_and_finds_trials_by_the_beginning_of_their_key() -> None:
    """A prefix that fits none, or several, is refused with the way out."""
    work = job(SMALL)
    LocalEngine().train(work, lambda _: None)

    assert work.spec.key in {trial.key for trial in stored_trials()}
    assert find_trial(work.spec.key[:16]).spec == work.spec
    with pytest.raises(ConfigError, match="no trial's key begins with 'xyz'"):
        find_trial("xyz")
    with pytest.raises(ConfigError, match="write more digits"):
        find_trial("")
    for odd in ("/etc", "*", "**x", "[", ".."):
        with pytest.raises(ConfigError, match="no trial's key begins"):
            find_trial(odd)


def test_an_error_that_is_no_trials_fault_is_raised_and_not_tried_again() -> None:
    """Altered data stops the search with its message, rather than failing trial after trial."""
    work = job(SMALL.model_copy(update={"seed": 6}))
    other = work.spec.model_copy(update={"dataset": "0" * 64})

    with pytest.raises(PitchpipeError, match="prepare that one again"):
        LocalEngine().train(work.model_copy(update={"spec": other}), lambda _: None)

    assert read_outcome(work.directory, 2) is None
