"""A trial from its spec to its result: learning, budgets, failures."""

import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from training_fixtures import SMALL_CNN, Trials, ignore, spec_of, write_prepared

from models.augmentations import ShiftAugmentation
from models.config import TrialConfig
from models.config.trial import EarlyStoppingConfig, LearningRateScaling
from models.errors import IntegrityError
from models.networks import MlpConfig
from models.optimizers import AdamConfig, GdConfig, SgdConfig
from models.training import classifier, fit
from models.training.checkpoint import load_serving, load_weights, weights_digest
from models.training.fit import train_trial
from models.trials import EpochRecord, TrialFailure, TrialFiles, TrialResult, read_outcome

CONFIG = TrialConfig(network=SMALL_CNN, optimizer=AdamConfig(learning_rate=0.01), minibatch_size=16)


@pytest.fixture(scope="module")
def trials(tmp_path_factory: pytest.TempPathFactory) -> Trials:
    return Trials.of(tmp_path_factory.mktemp("training") / "prepared")


def test_a_small_network_learns_what_the_labels_say(trials: Trials, tmp_path: Path) -> None:
    """Bars at three heights are told apart after a few epochs."""
    assert trials.result(tmp_path, CONFIG, 12).scores.accuracy >= 0.95


def test_permuted_labels_score_at_chance(tmp_path: Path) -> None:
    """What is learnt comes from the labels: without meaning in them, validation is chance."""
    trials = Trials.of(tmp_path / "prepared", permuted=True)
    config = CONFIG.model_copy(update={"objective": "cross_entropy"})
    accuracy = trials.result(tmp_path / "trial", config, 3).scores.accuracy
    assert abs(accuracy - 1 / 3) < 3 * np.sqrt(1 / 3 * 2 / 3 / 30)


def test_one_minibatch_is_overfitted(trials: Trials, tmp_path: Path) -> None:
    """The loss on a train split seen whole at each step falls to nearly nothing."""
    config = CONFIG.model_copy(update={"minibatch_size": 64})
    trials.result(tmp_path, config, 120)
    assert trials.history(tmp_path)[-1].train_loss < 0.02


def test_the_same_seed_gives_the_same_bits_and_another_seed_others(
    trials: Trials, tmp_path: Path
) -> None:
    """Two trainings of one spec end in equal weights; of another seed, in different ones."""
    other = CONFIG.model_copy(update={"seed": 1})
    digests = [
        trials.result(tmp_path / str(number), config, 2).weights_digest
        for number, config in enumerate((CONFIG, CONFIG, other))
    ]
    assert digests[0] == digests[1] != digests[2]


def test_a_result_does_not_depend_on_what_the_process_drew_before(
    trials: Trials, tmp_path: Path
) -> None:
    """Global generators may be anywhere when training begins."""
    first = trials.result(tmp_path / "a", CONFIG, 2)
    torch.rand(5)
    second = trials.result(tmp_path / "b", CONFIG, 2)
    assert first.weights_digest == second.weights_digest


def test_the_labels_of_the_test_split_change_nothing(tmp_path: Path) -> None:
    """Training a trial with the test split gone gives the same result."""
    trials = Trials.of(tmp_path / "prepared")
    whole = trials.result(tmp_path / "a", CONFIG, 2)
    for file in (tmp_path / "prepared" / "test").iterdir():
        file.unlink()
    assert trials.result(tmp_path / "b", CONFIG, 2).weights_digest == whole.weights_digest


def test_gradient_descent_takes_one_step_an_epoch_whatever_the_slices(
    trials: Trials, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Full-batch gradients summed over slices of 7 images equal those of one pass."""
    config = CONFIG.model_copy(update={"optimizer": GdConfig(learning_rate=0.5)})
    whole = trials.result(tmp_path / "whole", config, 3)
    monkeypatch.setattr("models.training.minibatches.SLICE", 7)
    sliced = trials.result(tmp_path / "sliced", config, 3)
    weights = [
        load_weights(tmp_path / name / result.checkpoint, result.checkpoint_digest)
        for name, result in (("whole", whole), ("sliced", sliced))
    ]
    for name, tensor in weights[0].items():
        torch.testing.assert_close(weights[1][name], tensor)


def test_full_batch_gd_equals_sgd_on_a_minibatch_of_everything(
    trials: Trials, tmp_path: Path
) -> None:
    """GD is SGD without momentum whose minibatch is the train split."""
    gd = CONFIG.model_copy(update={"optimizer": GdConfig(learning_rate=0.5), "minibatch_size": 1})
    sgd = CONFIG.model_copy(
        update={"optimizer": SgdConfig(learning_rate=0.5), "minibatch_size": 50}
    )
    digests = {
        trials.result(tmp_path / config.optimizer.name, config, 3).weights_digest
        for config in (gd, sgd)
    }
    assert len(digests) == 1


def test_asked_again_a_trial_is_not_trained_again(
    trials: Trials, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second call returns the first one's result without a step."""
    first = trials.result(tmp_path, CONFIG, 2)
    monkeypatch.setattr(fit, "_fit", None)
    assert trials.result(tmp_path, CONFIG, 2) == first


def test_a_larger_budget_goes_on_and_changes_no_earlier_result(
    trials: Trials, tmp_path: Path
) -> None:
    """2 + 3 epochs end as 5 do, only the 3 are trained, and the result of 2 stays as it was."""
    short = trials.result(tmp_path / "twice", CONFIG, 2)
    heard: list[EpochRecord] = []
    extended = trials.outcome(tmp_path / "twice", CONFIG, 5, on_epoch=heard.append)
    assert [record.epoch for record in heard] == [3, 4, 5]
    assert same(extended, trials.result(tmp_path / "once", CONFIG, 5))
    assert read_outcome(tmp_path / "twice", 2) == short
    load_weights(tmp_path / "twice" / short.checkpoint, short.checkpoint_digest)


@pytest.mark.parametrize("budget", [1, 2, 3])
def test_a_smaller_budget_has_its_own_best_weights(
    trials: Trials, tmp_path: Path, budget: int
) -> None:
    """A budget asked for after a larger one gets the result it would have had alone."""
    config = CONFIG.model_copy(update={"objective": "cross_entropy"})
    largest = trials.result(tmp_path / "both", config, 4)
    smaller = trials.result(tmp_path / "both", config, budget)
    assert same(smaller, trials.result(tmp_path / "alone", config, budget))
    assert read_outcome(tmp_path / "both") == largest
    assert len(trials.history(tmp_path / "both")) == 4


def test_early_stopping_answers_every_larger_budget(trials: Trials, tmp_path: Path) -> None:
    """A trial that got no better stops, resumes as stopped, and is known at any budget beyond."""
    config = CONFIG.model_copy(
        update={
            "optimizer": SgdConfig(learning_rate=1e-9),
            "early_stopping": EarlyStoppingConfig(patience=3, min_delta=0.01),
        }
    )
    first = trials.result(tmp_path / "a", config, 50)
    assert (first.epochs, first.best_epoch, first.budget) == (4, first.best_epoch, 50)
    assert read_outcome(tmp_path / "a", 4) is not None
    assert read_outcome(tmp_path / "a", 3) is None
    assert trials.result(tmp_path / "a", config, 90).weights_digest == first.weights_digest
    trials.result(tmp_path / "b", config, 2)
    assert same(trials.result(tmp_path / "b", config, 50), first)


def test_stopping_at_the_very_budget_is_known_too(trials: Trials, tmp_path: Path) -> None:
    """Where the patience ends with the budget, a larger budget trains nothing more."""
    config = CONFIG.model_copy(
        update={
            "optimizer": SgdConfig(learning_rate=1e-9),
            "early_stopping": EarlyStoppingConfig(patience=1, min_delta=0.01),
        }
    )
    trials.result(tmp_path, config, 2)
    heard: list[EpochRecord] = []
    result = trials.outcome(tmp_path, config, 9, on_epoch=heard.append)
    assert (heard, result.epochs) == ([], 2)


def test_divergence_is_a_failure_that_is_not_tried_again(
    trials: Trials, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step size beyond reason ends in a recorded failure, at every budget beyond its epochs."""
    config = CONFIG.model_copy(update={"optimizer": SgdConfig(learning_rate=100, weight_decay=1.0)})
    failure = trials.outcome(tmp_path, config, 30)
    assert isinstance(failure, TrialFailure)
    assert failure.kind == "diverged"
    assert failure.epochs < 30
    monkeypatch.setattr(fit, "_fit", None)
    assert trials.outcome(tmp_path, config, 40) == failure


def test_a_loss_that_overflows_while_weights_are_finite_is_divergence(
    trials: Trials, tmp_path: Path
) -> None:
    """Full-batch descent through twelve layers: validation is NaN before any weight is."""
    config = CONFIG.model_copy(
        update={
            "network": MlpConfig(hidden_units=32, hidden_layers=12),
            "optimizer": GdConfig(learning_rate=100.0),
        }
    )

    failure = trials.outcome(tmp_path, config, 30)

    assert isinstance(failure, TrialFailure)
    assert failure.kind == "diverged"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (MemoryError("no room"), "out of memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes"), "out of memory"),
        (RuntimeError("mat1 and mat2\n cannot be multiplied"), "error"),
        (KeyError("layer"), "error"),
    ],
)
def test_what_a_network_raises_is_recorded_and_may_be_tried_again(
    trials: Trials, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, kind: str
) -> None:
    """The failure has its kind and one line; once the cause is gone, training succeeds."""

    def failing(*_: object, **__: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(classifier, "normalise", failing)
        failure = trials.outcome(tmp_path, CONFIG, 2)
    assert isinstance(failure, TrialFailure)
    assert (failure.kind, failure.epochs) == (kind, 0)
    assert "\n" not in failure.reason
    assert type(error).__name__ in failure.reason
    assert read_outcome(tmp_path) == failure
    trials.result(tmp_path, CONFIG, 2)
    assert not (tmp_path / TrialFiles.FAILURE).exists()


def test_another_dataset_than_the_spec_names_is_refused(tmp_path: Path, trials: Trials) -> None:
    """A trial is never trained on data that its key does not name."""
    other = write_prepared(tmp_path / "other", permuted=True)
    spec = spec_of(CONFIG, trials.manifest)
    with pytest.raises(IntegrityError, match=other.digest[:12]):
        train_trial(spec, tmp_path / "t", prepared=tmp_path / "other", budget=1, on_epoch=ignore)


def test_two_who_train_one_trial_get_one_result(trials: Trials, tmp_path: Path) -> None:
    """A second caller waits for the first: each epoch is trained and recorded once."""
    heard: list[int] = []
    threads = [
        threading.Thread(
            target=trials.outcome,
            args=(tmp_path, CONFIG, 3),
            kwargs={"on_epoch": lambda record: heard.append(record.epoch)},
        )
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert heard == [1, 2, 3]
    assert [record.epoch for record in trials.history(tmp_path)] == [1, 2, 3]


def test_a_random_shift_changes_what_is_learnt(trials: Trials, tmp_path: Path) -> None:
    """Augmented training ends in other weights."""
    shifted = CONFIG.model_copy(update={"augmentation": ShiftAugmentation(pixels=1)})
    assert (
        trials.result(tmp_path / "a", shifted, 1).weights_digest
        != trials.result(tmp_path / "b", CONFIG, 1).weights_digest
    )


def test_the_weights_loaded_for_service_are_those_of_the_best_epoch(
    trials: Trials, tmp_path: Path
) -> None:
    """load_serving returns the weights whose digest and validation score the result states."""
    result = trials.result(tmp_path, CONFIG, 4)
    serving = load_serving(tmp_path, result, trials.manifest)
    assert weights_digest(serving.network.state_dict()) == result.weights_digest
    assert not serving.training
    validation = np.load(trials.prepared / "validation" / "images.npy")
    labels = np.load(trials.prepared / "validation" / "labels.npy")
    predicted = serving(torch.from_numpy(validation)).argmax(1).numpy()
    assert (predicted == labels).mean() == result.scores.accuracy


def test_altered_weights_are_not_loaded(trials: Trials, tmp_path: Path) -> None:
    """One flipped bit in a checkpoint is an IntegrityError that names the file."""
    result = trials.result(tmp_path, CONFIG, 1)
    path = tmp_path / result.checkpoint
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(IntegrityError, match=result.checkpoint):
        load_serving(tmp_path, result, trials.manifest)


def test_weights_of_another_network_are_not_loaded(trials: Trials, tmp_path: Path) -> None:
    """An earlier release built another one of the same config: an IntegrityError says so."""
    result = trials.result(tmp_path, CONFIG, 1)
    other = CONFIG.model_copy(update={"network": MlpConfig(hidden_units=8)})
    with pytest.raises(IntegrityError, match="weights of another network than 'mlp' is now"):
        load_serving(tmp_path, result.model_copy(update={"config": other}), trials.manifest)


def test_a_running_mean_of_weights_is_what_is_validated(trials: Trials, tmp_path: Path) -> None:
    """With ema_decay the kept weights differ from the last step's and score as recorded."""
    config = CONFIG.model_copy(update={"ema_decay": 0.9, "network": MlpConfig(hidden_units=8)})
    result = trials.result(tmp_path / "mean", config, 3)
    plain = config.model_copy(update={"ema_decay": 0.0})
    assert trials.result(tmp_path / "plain", plain, 3).weights_digest != result.weights_digest
    serving = load_serving(tmp_path / "mean", result, trials.manifest)
    validation = torch.from_numpy(np.load(trials.prepared / "validation" / "images.npy"))
    labels = torch.from_numpy(np.load(trials.prepared / "validation" / "labels.npy"))
    with torch.inference_mode():
        loss = -serving(validation).double().log()[torch.arange(len(labels)), labels].mean()
    assert float(loss) == pytest.approx(result.scores.cross_entropy, abs=1e-6)


def test_a_clipped_gradient_moves_weights_no_farther(trials: Trials, tmp_path: Path) -> None:
    """One GD step with the gradient's norm clipped to 0.01 at rate 1 moves weights by 0.01."""
    config = CONFIG.model_copy(
        update={"optimizer": GdConfig(learning_rate=1.0), "gradient_clip": 0.01}
    )
    moved = trials.result(tmp_path / "moved", config, 1)
    still = config.model_copy(update={"optimizer": GdConfig(learning_rate=1e-30)})
    start = trials.result(tmp_path / "still", still, 1)
    after = load_weights(tmp_path / "moved" / moved.checkpoint, moved.checkpoint_digest)
    before = load_weights(tmp_path / "still" / start.checkpoint, start.checkpoint_digest)
    distance = sum(((after[name] - before[name]) ** 2).sum() for name in after) ** 0.5
    assert float(distance) == pytest.approx(0.01, rel=1e-3)


def test_a_scaled_rate_is_the_rate_that_training_takes(trials: Trials, tmp_path: Path) -> None:
    """Half the base at twice the rate: the same bits, and the same rate in the history."""
    plain = CONFIG.model_copy(update={"optimizer": AdamConfig(learning_rate=0.01)})
    scaled = CONFIG.model_copy(
        update={
            "optimizer": AdamConfig(learning_rate=0.02),
            "learning_rate_scaling": LearningRateScaling(rule="linear", base=32),
        }
    )
    digests = {
        trials.result(tmp_path / name, config, 1).weights_digest
        for name, config in (("plain", plain), ("scaled", scaled))
    }
    assert len(digests) == 1
    assert [record.learning_rate for record in trials.history(tmp_path / "scaled")] == [0.01]


def same(one: TrialResult | TrialFailure, other: TrialResult) -> bool:
    """Equal in all but the time they took."""
    return one.model_copy(update={"seconds": 0.0}) == other.model_copy(update={"seconds": 0.0})
