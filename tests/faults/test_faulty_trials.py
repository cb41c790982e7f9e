"""Trials that hang, take all memory, are killed or diverge: each fails alone, with its reason."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import faulty_trials
import pytest
from dying_command import Fate
from faulty_trials import ATE_MEMORY, DIVERGED, HANGS, KILLED, LINGERS
from invariants import broken_invariants
from project_folder import overrides
from pydantic import ValidationError
from stored_project import copied
from training_fixtures import SMALL_CNN, spec_of, write_prepared
from warm_commands import WarmCommands

from flows.engines.local import LocalEngine, warm_up
from flows.engines.stall_watch import StalledTrialError, StallWatch
from flows.records.trial_store import cached, directory_of
from models.config import SearchParams, TrialConfig
from models.datasets.prepared import read_manifest
from models.training.source import training_source_digest
from models.training.worker import TrialJob
from models.trials import Outcome, TrialFailure, TrialFiles, TrialResult

pytest_plugins = ["faults_fixtures"]

PREPARED = Path("data/prepared")
MINUTES = 1.0
"""A limit that only a trial that hangs reaches."""
SHORT = 0.005
"""0.3 seconds."""


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A folder with a few prepared images, as working directory."""
    with contextlib.chdir(tmp_path_factory.mktemp("faulty")):
        write_prepared(PREPARED)
        warm_up()
        yield


def job(seed: int, minutes: float | None) -> TrialJob:
    manifest = read_manifest(PREPARED)
    config = TrialConfig(network=SMALL_CNN, seed=seed)
    spec = spec_of(config, manifest).model_copy(update={"source": training_source_digest()})
    return TrialJob(
        spec=spec,
        directory=directory_of(spec.key),
        prepared=PREPARED,
        budget=1,
        label="a trial",
        timeout_minutes=minutes,
    )


def train(work: TrialJob, monkeypatch: pytest.MonkeyPatch) -> Outcome:
    """Train with the fault of the trial's seed."""
    monkeypatch.setattr("flows.engines.local.run", faulty_trials.run)
    return LocalEngine().train(work, lambda _: None)


@pytest.mark.usefixtures("workplace")
def test_a_trial_that_hangs_is_killed_and_has_failed_with_its_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The reason names field and value; it is known within that limit, not within a longer one."""
    work = job(HANGS, SHORT)

    outcome = train(work, monkeypatch)

    assert isinstance(outcome, TrialFailure)
    assert (outcome.kind, outcome.epochs) == ("timed out", 0)
    assert outcome.reason.startswith("search.trial_timeout_minutes 0.005: no epoch ended within it")
    written = json.loads((work.directory / TrialFiles.FAILURE).read_text())
    assert written == outcome.model_dump(mode="json")
    known = [cached(work.spec, budget=1, limit_minutes=m) for m in (SHORT, 0.001, 0.01, None)]
    assert known == [outcome, outcome, None, None]
    assert isinstance(train(job(0, MINUTES), monkeypatch), TrialResult)


@pytest.mark.usefixtures("workplace")
@pytest.mark.parametrize(
    ("seed", "kind", "said"),
    [
        (ATE_MEMORY, "out of memory", "RuntimeError: "),
        (KILLED, "killed", "its worker died 3 times, last by SIGKILL; is memory short?"),
        (DIVERGED, "diverged", "the loss is nan in epoch 1"),
    ],
)
def test_what_befalls_a_trial_is_its_reason(
    monkeypatch: pytest.MonkeyPatch, seed: int, kind: str, said: str
) -> None:
    """In one line, which failure.json has, too."""
    work = job(seed, None)

    outcome = train(work, monkeypatch)

    assert isinstance(outcome, TrialFailure)
    assert outcome.kind == kind
    assert outcome.reason.startswith(said)
    assert "\n" not in outcome.reason
    written = json.loads((work.directory / TrialFiles.FAILURE).read_text())
    assert written == outcome.model_dump(mode="json")


@pytest.mark.slow
@pytest.mark.chaos
@pytest.mark.usefixtures("workplace")
def test_a_process_that_does_not_end_has_its_result_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A thread of a library keeps it alive after the last epoch; it is killed."""
    assert isinstance(train(job(LINGERS, 0.2), monkeypatch), TrialResult)


class Clock:
    """Seconds that a test moves on."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.usefixtures("workplace")
def test_progress_is_an_epoch_of_whoever_trains(tmp_path: Path) -> None:
    """A line of the history, or of a shorter training below it, counts anew; silence does not."""
    clock = Clock()
    work = job(0, MINUTES).model_copy(update={"directory": tmp_path})
    watch = StallWatch(work, clock=clock)
    assert watch.seconds_left == 60
    for name in (TrialFiles.HISTORY, f"shorter-0003/{TrialFiles.HISTORY}"):
        clock.now += 60
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{}\n")
        assert watch.seconds_left == 0
        watch.check()
        assert watch.seconds_left == 60
    clock.now += 59
    watch.check()
    watch.note_progress()
    clock.now += 61

    assert watch.seconds_left == 0
    with pytest.raises(StalledTrialError):
        watch.check()


@pytest.mark.usefixtures("workplace")
def test_without_a_limit_nothing_takes_too_long() -> None:
    """Null is the default of the params."""
    assert SearchParams().trial_timeout_minutes is None
    assert StallWatch(job(0, None)).seconds_left is None


@pytest.mark.parametrize("minutes", [0, -1, 10_081, float("inf"), float("nan")])
def test_a_limit_is_up_to_a_week(minutes: float) -> None:
    """The system's own timers take no more than 24 days."""
    with pytest.raises(ValidationError, match="trial_timeout_minutes"):
        SearchParams(trial_timeout_minutes=minutes)


SEARCH = (
    "search.epochs=1",
    "search.axes={seed: [0, 101, 102, 103, 104, 1]}",
    "search.trial_timeout_minutes=0.25",
    "trial.network={name: mlp, hidden_units: 8}",
)


@pytest.mark.slow
@pytest.mark.chaos
@pytest.mark.timeout(900)
@pytest.mark.parametrize("pruner", ["none", "asha"])
def test_faulty_trials_hold_up_no_search(
    warm: WarmCommands, stored: Path, tmp_path: Path, pruner: str
) -> None:
    """Others go on; the search again repeats what may go better, `run --force` the hanging one."""
    root = copied(stored, tmp_path / "project")
    words = ("--json", *overrides(*SEARCH, f"search.pruner={pruner}"))

    first, again = (searched(warm, root, "tune", *words) for _ in range(2))
    forced = searched(warm, root, "run", "--force", *words, codes=(0, 3))

    assert trained(first) == (2, 4)
    assert trained(again) == trained(forced) == (0, 4)
    assert broken_invariants(root, at_rest=True) == []
    listed = warm.run(root, "trials", "--json").document
    reasons = {row["reason"].split(":")[0] for row in listed if row["state"] == "failed"}
    assert "search.trial_timeout_minutes 0.25" in reasons
    assert len(reasons) == 4


def searched(warm: WarmCommands, root: Path, *words: str, codes: tuple[int, ...] = (0,)) -> Any:
    """Document of a search whose trials are faulty."""
    ran = warm.run(root, *words, fate=Fate(faulty_trials=True), seconds=300)
    assert ran.code in codes, ran.err
    assert "Traceback" not in ran.err
    return ran.document


def trained(document: Any) -> tuple[int, int]:
    """How many trials were trained, and how many have failed."""
    return document["trials"]["trained"], document["trials"]["failed"]
