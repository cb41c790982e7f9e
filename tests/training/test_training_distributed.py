"""One trial over several processes."""

from pathlib import Path

import pytest
import torch
from training_fixtures import SMALL_CNN, Trials

from models.augmentations import ShiftAugmentation
from models.config import TrialConfig
from models.optimizers import AdamConfig, SgdConfig
from models.processes import LINUX
from models.training.checkpoint import load_weights
from models.trials import TrialFailure

FORKED = pytest.mark.skipif(not LINUX, reason="trials on several devices are refused elsewhere")

CONFIG = TrialConfig(
    network=SMALL_CNN,
    optimizer=AdamConfig(learning_rate=0.01),
    augmentation=ShiftAugmentation(pixels=1),
    minibatch_size=16,
)


@pytest.fixture(scope="module")
def trials(tmp_path_factory: pytest.TempPathFactory) -> Trials:
    return Trials.of(tmp_path_factory.mktemp("distributed") / "prepared")


@FORKED
def test_two_processes_train_what_one_does(trials: Trials, tmp_path: Path) -> None:
    """At the same global minibatch, weights and history agree within float tolerance."""
    one = trials.result(tmp_path / "one", CONFIG, 3)
    shared = CONFIG.model_copy(update={"devices": 2, "strategy": "ddp"})
    two = trials.result(tmp_path / "two", shared, 3)
    weights = load_weights(tmp_path / "one" / one.checkpoint, one.checkpoint_digest)
    others = load_weights(tmp_path / "two" / two.checkpoint, two.checkpoint_digest)
    for name, tensor in weights.items():
        torch.testing.assert_close(others[name], tensor, rtol=1e-3, atol=1e-5)
    for mine, theirs in zip(
        trials.history(tmp_path / "one"), trials.history(tmp_path / "two"), strict=True
    ):
        assert theirs.train_loss == pytest.approx(mine.train_loss, rel=1e-4)
        assert theirs.train_accuracy == mine.train_accuracy
        assert theirs.validation_loss == pytest.approx(mine.validation_loss, rel=1e-4)


@FORKED
def test_two_processes_resume_to_the_same_bits(trials: Trials, tmp_path: Path) -> None:
    """1 + 1 epochs over two processes equal 2, though a minibatch may leave one process none."""
    config = CONFIG.model_copy(update={"devices": 2, "minibatch_size": 7})
    trials.result(tmp_path / "parts", config, 1)
    parts = trials.result(tmp_path / "parts", config, 2)
    assert parts.weights_digest == trials.result(tmp_path / "whole", config, 2).weights_digest


@FORKED
def test_divergence_in_a_process_is_the_trial_s(trials: Trials, tmp_path: Path) -> None:
    """A fault in any of the processes becomes the trial's recorded failure."""
    optimizer = SgdConfig(learning_rate=100, weight_decay=1.0)
    config = CONFIG.model_copy(update={"devices": 2, "optimizer": optimizer})
    failure = trials.outcome(tmp_path, config, 30)
    assert isinstance(failure, TrialFailure)
    assert failure.kind == "diverged"


def test_training_in_bf16_learns_and_keeps_float32_weights(trials: Trials, tmp_path: Path) -> None:
    """Weights stay float32, differ from those of float32 training, and serve as they scored."""
    config = CONFIG.model_copy(update={"precision": "bf16"})
    result = trials.result(tmp_path / "bf16", config, 10)
    plain = trials.result(tmp_path / "float32", CONFIG, 10)
    weights = load_weights(tmp_path / "bf16" / result.checkpoint, result.checkpoint_digest)
    assert {tensor.dtype for tensor in weights.values()} == {torch.float32}
    assert result.weights_digest != plain.weights_digest
    assert result.scores.accuracy >= 0.9
