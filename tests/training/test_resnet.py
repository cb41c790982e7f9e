"""The residual network, and what batch normalisation asks of training."""

from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from training_fixtures import Trials

from models.augmentations import AffineAugmentation, ColorAugmentation, SequenceAugmentation
from models.augmentations.mixing import Mixup
from models.config import ResnetConfig, TrialConfig
from models.networks.serving import ServingNetwork
from models.optimizers import AdamWConfig
from models.training.checkpoint import load_serving
from models.trials import EpochRecord

SMALL = ResnetConfig(width=4, stages=2, depth=1)
CONFIG = TrialConfig(
    network=ResnetConfig(width=4, stages=2, depth=1, stochastic_depth=0.3, squeeze_excite=True),
    optimizer=AdamWConfig(learning_rate=0.01),
    augmentation=SequenceAugmentation(steps=(AffineAugmentation(), ColorAugmentation())),
    mixing=Mixup(),
    class_weights="balanced",
    ema_decay=0.8,
    minibatch_size=16,
)


class KilledError(Exception):
    """Stands for kill -9."""


@pytest.fixture(scope="module")
def trials(tmp_path_factory: pytest.TempPathFactory) -> Trials:
    """Trials on bars."""
    return Trials.of(tmp_path_factory.mktemp("resnet") / "prepared")


def test_parameters_worked_by_hand() -> None:
    """A stem, a block at 4 channels, and one to 8 with a mapped short cut."""
    network = SMALL.build(channels=1, image_size=8, classes=3)

    stem = 9 * 4 + 2 * 4
    first = 2 * (9 * 4 * 4 + 2 * 4)
    second = (9 * 4 * 8 + 2 * 8) + (9 * 8 * 8 + 2 * 8) + (4 * 8 + 2 * 8)

    counted = sum(parameter.numel() for parameter in network.parameters())
    assert counted == stem + first + second + (8 * 3 + 3)


def test_blocks_begin_as_their_short_cuts() -> None:
    """The last gains are 0: at first, the stem's features pass the first block as they are."""
    network = SMALL.build(channels=1, image_size=8, classes=3).eval()
    features = network.get_submodule("stem")(torch.randn(2, 1, 8, 8))

    assert torch.equal(network.get_submodule("block_1")(features), features)


@pytest.mark.parametrize(
    ("size", "config"),
    [(4, ResnetConfig()), (8, ResnetConfig(stem_stride=4)), (16, ResnetConfig(stages=5))],
)
def test_too_small_images_are_refused_with_the_sizes(size: int, config: ResnetConfig) -> None:
    """The message lists what each stage would see."""
    with pytest.raises(ValueError, match="pixels a side and need 2"):
        config.check_fits(size)


@pytest.mark.parametrize("size", [8, 28, 33, 64, 128, 224])
@pytest.mark.parametrize("channels", [1, 3])
def test_images_of_many_sizes_fit(size: int, channels: int) -> None:
    """Whole and odd sides; one image alone is enough in service."""
    config = ResnetConfig(width=4, squeeze_excite=True, norm="group")
    config.check_fits(size)

    network = config.build(channels=channels, image_size=size, classes=5).eval()

    assert network(torch.randn(1, channels, size, size)).shape == (1, 5)


def test_batch_norm_over_devices_is_refused_with_a_way_out() -> None:
    """Each process would take the means of its own share."""
    with pytest.raises(ValidationError, match="norm: group"):
        TrialConfig(network=ResnetConfig(), devices=2)
    TrialConfig(network=ResnetConfig(norm="group"), devices=2)


def test_killed_after_each_epoch_it_ends_as_if_never_killed(trials: Trials, tmp_path: Path) -> None:
    """Statistics, running means, mixing and sequences are equal bit for bit."""
    epochs = 3

    def kill(record: EpochRecord) -> None:
        del record
        raise KilledError

    for _ in range(epochs):
        with pytest.raises(KilledError):
            trials.outcome(tmp_path / "killed", CONFIG, epochs, on_epoch=kill)
    resumed = trials.result(tmp_path / "killed", CONFIG, epochs)
    whole = trials.result(tmp_path / "whole", CONFIG, epochs)

    assert resumed.weights_digest == whole.weights_digest
    assert resumed.scores == whole.scores


def test_a_running_mean_of_weights_has_its_own_statistics(trials: Trials, tmp_path: Path) -> None:
    """What is served scores as validated: with the averaged statistics, not the last ones."""
    result = trials.result(tmp_path, CONFIG, 4)
    serving = load_serving(tmp_path, result, trials.manifest)
    images = torch.from_numpy(np.load(trials.prepared / "validation" / "images.npy"))
    labels = np.load(trials.prepared / "validation" / "labels.npy")

    assert (serving(images).argmax(1).numpy() == labels).mean() == result.scores.accuracy
    plain = CONFIG.model_copy(update={"ema_decay": 0.0})
    last = load_serving(
        tmp_path / "plain", trials.result(tmp_path / "plain", plain, 4), trials.manifest
    )
    name = "network.stem.1.running_mean"
    assert not torch.equal(serving.state_dict()[name], last.state_dict()[name])


@pytest.mark.parametrize("norm", ["batch", "group"])
def test_an_exported_network_answers_bit_for_bit(norm: str) -> None:
    """torch.export with any number of images equals the module."""
    config = ResnetConfig.model_validate({"width": 4, "norm": norm, "squeeze_excite": True})
    torch.manual_seed(0)
    network = config.build(channels=3, image_size=32, classes=4)
    served = ServingNetwork(network, mean=(0.3,) * 3, std=(0.2,) * 3).eval()
    images = torch.randint(256, (9, 3, 32, 32), dtype=torch.uint8)
    shapes = {"images": {0: torch.export.Dim("n", min=1)}}

    exported = torch.export.export(served, (images[:4],), dynamic_shapes=shapes).module()

    with torch.inference_mode():
        assert torch.equal(exported(images), served(images))


def test_it_learns_what_there_is_and_nothing_from_labels_that_mean_nothing(
    trials: Trials, tmp_path: Path
) -> None:
    """Bars are learnt; with permuted labels, validation stays near chance."""
    config = TrialConfig(
        network=SMALL, optimizer=AdamWConfig(learning_rate=0.01), minibatch_size=16
    )
    nonsense = Trials.of(tmp_path / "nonsense" / "prepared", permuted=True)

    learnt = trials.result(tmp_path / "learnt", config, 10)
    nonsense.result(tmp_path / "guessed", config, 10)
    guessed = nonsense.history(tmp_path / "guessed")

    assert learnt.scores.accuracy > 0.9
    assert np.mean([record.validation_accuracy for record in guessed[5:]]) < 0.6
