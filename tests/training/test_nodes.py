"""One trial over two machines, which are here two process groups that meet on loopback."""

import multiprocessing
import os
import socket
from pathlib import Path

import pytest
from training_fixtures import SMALL_CNN, Trials

from flows.engines.opening import check_devices
from flows.records.retraining import Request
from models.config import Params, TrialConfig
from models.errors import ConfigError
from models.processes import LINUX
from models.training.nodes import nodes_of
from models.trials import Outcome, TrialFailure, TrialResult, read_history, read_outcome

FORKED = pytest.mark.skipif(not LINUX, reason="trials on several devices are refused elsewhere")
ENDED_SECONDS = 120
CONFIG = TrialConfig(network=SMALL_CNN, minibatch_size=16, devices=2, strategy="ddp")
VARIABLES = {
    "NNODES": "2",
    "NODE_RANK": "1",
    "MASTER_ADDR": "127.0.0.1",
    "MASTER_PORT": "29500",
}


@pytest.fixture(scope="module")
def trials(tmp_path_factory: pytest.TempPathFactory) -> Trials:
    return Trials.of(tmp_path_factory.mktemp("nodes") / "prepared")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def train_as_node(trials: Trials, directory: Path, budget: int, rank: int, port: int) -> None:
    """What the same command does on one machine."""
    os.environ |= VARIABLES | {"NODE_RANK": str(rank), "MASTER_PORT": str(port)}
    trials.outcome(directory, CONFIG, budget)


def train_on_two(trials: Trials, folder: Path, budget: int) -> list[Outcome | None]:
    """Train one trial over two nodes, each with a folder of its own."""
    port, context = free_port(), multiprocessing.get_context("fork")
    nodes = [
        context.Process(target=train_as_node, args=(trials, folder / str(rank), budget, rank, port))
        for rank in range(2)
    ]
    for node in nodes:
        node.start()
    for node in nodes:
        node.join(ENDED_SECONDS)
    assert [node.exitcode for node in nodes] == [0, 0]
    return [read_outcome(folder / str(rank), budget) for rank in range(2)]


@FORKED
def test_two_nodes_train_what_one_machine_does_and_resume(trials: Trials, tmp_path: Path) -> None:
    """Each keeps the same weights and history, those of two devices on one machine, to the bit."""
    train_on_two(trials, tmp_path, 1)
    first, second = train_on_two(trials, tmp_path, 2)
    whole = trials.result(tmp_path / "whole", CONFIG, 2)

    assert isinstance(first, TrialResult)
    assert isinstance(second, TrialResult)
    assert first.weights_digest == second.weights_digest == whole.weights_digest
    for one, other in zip(
        read_history(tmp_path / "0"), read_history(tmp_path / "whole"), strict=True
    ):
        assert one.model_copy(update={"seconds": other.seconds}) == other


@pytest.mark.slow
@FORKED
def test_nodes_at_different_epochs_are_refused(trials: Trials, tmp_path: Path) -> None:
    """On both, with what to copy."""
    trials.result(tmp_path / "0", CONFIG, 1)
    outcomes = train_on_two(trials, tmp_path, 2)
    for outcome, epochs in zip(outcomes, (1, 0), strict=True):
        assert isinstance(outcome, TrialFailure)
        assert outcome.reason.startswith(f"this node has {epochs} epochs of the trial")


@pytest.mark.parametrize(
    ("changed", "devices", "said"),
    [
        ({"NNODES": "two"}, 2, "NNODES 'two': is not a number"),
        ({"NODE_RANK": "2"}, 2, "NODE_RANK 2: must be below NNODES 2"),
        ({}, 3, "NNODES 2: trial.devices 3, .* must be a multiple"),
    ],
)
def test_nodes_that_do_not_fit_are_refused(
    changed: dict[str, str], devices: int, said: str
) -> None:
    """Value, rule, way out."""
    config = CONFIG.model_copy(update={"devices": devices})
    with pytest.raises(ConfigError, match=said):
        nodes_of(config, VARIABLES | changed)


def test_where_to_meet_must_be_said_and_one_device_needs_nobody() -> None:
    """A trial on one device is every node's own; asynchronous ones share one machine's memory."""
    with pytest.raises(ConfigError, match="needs NODE_RANK, MASTER_ADDR, MASTER_PORT as well"):
        nodes_of(CONFIG, {"NNODES": "2"})
    with pytest.raises(ConfigError, match="async shares the memory of one machine"):
        nodes_of(CONFIG.model_copy(update={"strategy": "async"}), VARIABLES)
    assert nodes_of(CONFIG, VARIABLES) == 2
    assert nodes_of(CONFIG, {}) == 1
    assert nodes_of(CONFIG.model_copy(update={"devices": 1}), VARIABLES) == 1


def test_nodes_take_one_trial_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the same order on each; asked before anything runs."""
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    check_devices(Params(trial=CONFIG), Request(workers=1))
    check_devices(Params(), Request())
    for request in (Request(), Request(workers=2), Request(workers=1, engine="ray")):
        with pytest.raises(ConfigError, match=r"NNODES 2: every node .* give --workers 1"):
            check_devices(Params(trial=CONFIG), request)
