"""One trial trained asynchronously: processes step on shared weights, none waiting for another."""

import math
import multiprocessing
import os
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from pydantic import ValidationError
from training_fixtures import SMALL_CNN, Trials, spec_of

from flows.engines.opening import check_devices
from flows.records.retraining import Request
from models.config import DataParams, Params, SearchParams, TrialConfig
from models.datasets.batches import write_batch
from models.datasets.prepare import prepare
from models.datasets.prepared import open_split, read_manifest
from models.datasets.sources.builtin import digits
from models.errors import ConfigError
from models.networks import CnnConfig
from models.optimizers import (
    AdagradConfig,
    AdamConfig,
    AdamWConfig,
    GdConfig,
    MuonConfig,
    OptimizerConfig,
    RmspropConfig,
    SgdConfig,
)
from models.processes import LINUX
from models.training import fit
from models.training.asynchronous import AsynchronousClassifier, Turns, share_memory
from models.training.checkpoint import load_serving, load_state
from models.trials import EpochRecord, TrialFailure, TrialFiles, TrialResult, read_history

FORKED = pytest.mark.skipif(not LINUX, reason="trials on several devices are refused elsewhere")
ENDED_SECONDS = 20

ONE = TrialConfig(network=SMALL_CNN, optimizer=AdamConfig(learning_rate=0.01), minibatch_size=8)


def asynchronous(config: TrialConfig) -> TrialConfig:
    """The same trial by two processes that do not wait for each other."""
    return TrialConfig.model_validate(config.model_dump() | {"devices": 2, "strategy": "async"})


@pytest.fixture(scope="module")
def trials(tmp_path_factory: pytest.TempPathFactory) -> Trials:
    return Trials.of(tmp_path_factory.mktemp("asynchronous") / "prepared")


@FORKED
def test_it_learns_the_digits(tmp_path: Path) -> None:
    """Two epochs by two processes: far above chance on validation, every image seen once each."""
    source = digits()
    (tmp_path / "raw").mkdir()
    write_batch(tmp_path / "raw" / "batch.parquet", source.classes, source.rows())
    prepare(tmp_path / "raw", tmp_path / "prepared", DataParams())
    on_digits = Trials(tmp_path / "prepared", read_manifest(tmp_path / "prepared"))
    network = CnnConfig(channels=(8,), hidden_units=32, normalisation="batch")
    config = asynchronous(TrialConfig(network=network, ema_decay=0.9, optimizer=AdamConfig()))

    result = on_digits.result(tmp_path / "trial", config, 2)

    assert result.scores.accuracy >= 0.7
    images = on_digits.manifest.splits["train"].images
    for record in on_digits.history(tmp_path / "trial"):
        assert math.isclose(record.train_accuracy * images, round(record.train_accuracy * images))


@pytest.mark.parametrize(
    "optimizer",
    [
        SgdConfig(momentum=0.5, nesterov=True, weight_decay=0.1),
        AdamConfig(learning_rate=0.01),
        AdamWConfig(learning_rate=0.01),
        RmspropConfig(momentum=0.5),
        AdagradConfig(weight_decay=0.1),
    ],
)
def test_one_process_alone_trains_what_an_ordinary_one_does(
    trials: Trials, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, optimizer: OptimizerConfig
) -> None:
    """To the bit, resumed as well: only the order in which processes step is lost."""
    network = SMALL_CNN.model_copy(update={"dropout": 0.3, "normalisation": "batch"})
    changes = {"network": network, "optimizer": optimizer, "ema_decay": 0.5}
    config = ONE.model_copy(update=changes)
    ordinary = trials.result(tmp_path / "ordinary", config, 2)
    monkeypatch.setattr(fit, "Classifier", AsynchronousClassifier)

    trials.result(tmp_path / "alone", config, 1)
    alone = trials.result(tmp_path / "alone", config, 2)

    assert alone.weights_digest == ordinary.weights_digest


def test_each_turn_is_given_once_and_none_when_closed() -> None:
    """Below the limit asked for, in order."""
    turns = Turns(3)
    assert [turns.take(below=5) for _ in range(3)] == [3, 4, None]
    assert turns.take(below=6) == 5
    turns.close()
    assert turns.take(below=100) is None


def test_shared_tensors_keep_values_layout_and_identity() -> None:
    """Channels innermost stay so; a scalar is shared as well."""
    kernel = torch.nn.Parameter(torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last))
    count = torch.tensor(7)
    before, stride = kernel.detach().clone(), kernel.stride()
    share_memory([kernel, count])
    assert torch.equal(kernel, before)
    assert kernel.stride() == stride
    child = multiprocessing.get_context("fork").Process(target=count.add_, args=(1,))
    child.start()
    child.join(ENDED_SECONDS)
    assert int(count) == 8


def siblings() -> list[psutil.Process]:
    """The other processes of the trial: forked from the same parent, hence of the same command."""
    me = psutil.Process()
    parent = me.parent()
    assert parent is not None
    return [one for one in parent.children() if one != me and one.cmdline() == me.cmdline()]


def kill_the_first(record: EpochRecord) -> None:
    """Called in the first process, which writes."""
    if record.epoch == 1:
        os.kill(os.getpid(), signal.SIGKILL)


def kill_the_second(record: EpochRecord) -> None:
    """Called in the first process."""
    if record.epoch == 1:
        for one in siblings():
            one.kill()


@FORKED
@pytest.mark.parametrize("strategy", ["async", "ddp"])
@pytest.mark.parametrize(
    ("number", "kill"),
    [
        pytest.param(1, kill_the_first, marks=pytest.mark.slow, id="first"),
        pytest.param(2, kill_the_second, id="second"),
    ],
)
def test_a_process_that_is_killed_ends_the_trial_and_no_epoch_is_lost(
    trials: Trials,
    tmp_path: Path,
    strategy: str,
    number: int,
    kill: Callable[[EpochRecord], None],
) -> None:
    """The failure names the process; none stays; the next attempt goes on after the epoch kept."""
    config = asynchronous(ONE).model_copy(update={"strategy": strategy})
    before = {one.pid for one in psutil.Process().children(recursive=True)}

    failure = trials.outcome(tmp_path, config, 3, on_epoch=kill)

    assert isinstance(failure, TrialFailure)
    assert (failure.kind, failure.epochs) == ("killed", 1)
    assert failure.reason == f"process {number} of 2 was ended by SIGKILL; is memory short?"
    assert {one.pid for one in psutil.Process().children(recursive=True)} <= before
    [kept] = read_history(tmp_path)
    assert trials.result(tmp_path, config, 3).epochs == 3
    assert read_history(tmp_path)[0] == kept


def train_and_tell(trials: Trials, directory: Path, sender: Connection) -> None:
    """Train in a process of its own; tell each epoch and the processes that train."""

    def tell(record: EpochRecord) -> None:
        sender.send((record.epoch, [os.getpid(), *(one.pid for one in siblings())]))

    trials.outcome(directory, asynchronous(ONE), 1000, on_epoch=tell)


@FORKED
def test_killed_with_9_within_an_epoch_it_ends_whole_and_loses_no_finished_epoch(
    trials: Trials, tmp_path: Path
) -> None:
    """The parent's death ends both processes, and every epoch that was told is kept."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    parent = context.Process(target=train_and_tell, args=(trials, tmp_path, sender))
    parent.start()
    sender.close()
    receiver.recv()
    told, pids = receiver.recv()
    training = [psutil.Process(pid) for pid in pids]
    parent.kill()
    parent.join(ENDED_SECONDS)

    assert len(training) == 2
    assert psutil.wait_procs(training, timeout=ENDED_SECONDS)[1] == []
    state = load_state(tmp_path / TrialFiles.LAST)
    assert state is not None
    assert state.epoch >= told == 2
    kept = read_history(tmp_path)[: state.epoch]
    more = trials.result(tmp_path, asynchronous(ONE), state.epoch + 1)
    assert more.epochs == state.epoch + 1
    assert read_history(tmp_path)[: state.epoch] == kept


@FORKED
def test_divergence_in_any_process_is_the_trial_s(trials: Trials, tmp_path: Path) -> None:
    """All processes end alike, and the failure says why."""
    optimizer = SgdConfig(learning_rate=100, weight_decay=1.0)
    config = asynchronous(ONE.model_copy(update={"optimizer": optimizer}))
    failure = trials.outcome(tmp_path, config, 30)
    assert isinstance(failure, TrialFailure)
    assert failure.kind == "diverged"


@FORKED
def test_scores_of_a_shorter_budget_are_of_its_own_weights(trials: Trials, tmp_path: Path) -> None:
    """Trained anew it is another training: its result speaks of what it found, not of history."""
    config = asynchronous(ONE)
    trials.result(tmp_path, config, 3)
    shorter = trials.result(tmp_path, config, 1)
    split = open_split(trials.prepared, "validation", verify=False)
    network = load_serving(tmp_path, shorter, trials.manifest)
    with torch.inference_mode():
        found = network(torch.from_numpy(np.array(split.images))).argmax(1).numpy()
    assert shorter.epochs == 1
    assert shorter.scores.accuracy == pytest.approx(float((found == split.labels).mean()))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"devices": 1}, "strategy: async and devices 1: one process waits for none; set devices"),
        ({"optimizer": GdConfig()}, "async and optimizer.name: gd: gd takes one step an epoch"),
        ({"optimizer": MuonConfig()}, "async and optimizer.name: muon: .* choose sgd, adam"),
    ],
)
def test_what_cannot_be_asynchronous_is_refused(changes: dict[str, object], said: str) -> None:
    """One message: value, rule, way out."""
    given = {"devices": 2, "strategy": "async"} | changes
    with pytest.raises(ValidationError, match=said) as refused:
        TrialConfig.model_validate(given)
    assert refused.value.error_count() == 1


def test_a_whole_minibatch_a_process_bears_batch_norm_and_small_minibatches() -> None:
    """Both are refused where processes share each minibatch."""
    network = SMALL_CNN.model_copy(update={"normalisation": "batch"})
    for strategy in ("async", "ddp"):
        given = {"devices": 4, "strategy": strategy, "minibatch_size": 2, "network": network}
        if strategy == "async":
            assert TrialConfig.model_validate(given).is_asynchronous
        else:
            with pytest.raises(ValidationError, match="devices 4"):
                TrialConfig.model_validate(given)


def test_gpus_are_refused_before_anything_runs() -> None:
    """By the params or by an axis; on CPUs it is allowed."""
    gpus = Request(engine="dask", engine_address="there:8786", device="cuda")
    axes = SearchParams.model_validate({"axes": {"strategy": ["ddp", "async"]}})
    for params in (
        Params(trial=asynchronous(ONE)),
        Params(trial=TrialConfig(devices=2), search=axes),
    ):
        check_devices(params, Request(device="cpu"))
        with pytest.raises(ConfigError, match=r"trial\.strategy async: .* --device cpu, or strate"):
            check_devices(params, gpus)


def test_the_strategy_is_in_the_key(trials: Trials) -> None:
    """What is trained asynchronously is never taken for what is not."""
    configs = [asynchronous(ONE).model_copy(update={"strategy": name}) for name in ("ddp", "async")]
    keys = {spec_of(config, trials.manifest).key for config in (ONE, *configs)}
    assert len(keys) == 3


@pytest.mark.slow
@FORKED
def test_killed_again_and_again_it_ends_as_good(trials: Trials, tmp_path: Path) -> None:
    """A kill after every epoch: it ends with a whole history and a network that has learnt."""

    def kill(record: EpochRecord) -> None:
        del record
        os.kill(os.getpid(), signal.SIGKILL)

    for epoch in range(1, 13):
        failure = trials.outcome(tmp_path, asynchronous(ONE), 12, on_epoch=kill)
        assert isinstance(failure, TrialFailure)
        assert failure.epochs == epoch
    result = trials.outcome(tmp_path, asynchronous(ONE), 12)
    assert isinstance(result, TrialResult)
    assert [record.epoch for record in read_history(tmp_path)] == list(range(1, 13))
    assert result.scores.accuracy >= 0.9
