"""Every kind of everything: resumed after a kill to the bit, and able to learn by heart."""

import itertools
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from pydantic import JsonValue
from training_fixtures import CLASSES, SIDE, SMALL_CNN, Trials

from models.config import TrialConfig
from models.config.space import models_in
from models.datasets.prepared import open_split
from models.networks.serving import channel_constants, normalise
from models.optimizers import AdamConfig
from models.training.losses import TrainingLoss
from models.trials import EpochRecord, TrialResult

EPOCHS = 2
Choices = dict[str, list[dict[str, JsonValue]]]
CNN = SMALL_CNN.model_copy(update={"dropout": 0.3, "normalisation": "batch", "head": "global"})
KINDS: Choices = {
    "optimizer": [
        {"name": "gd"},
        {"name": "sgd", "momentum": 0.9, "nesterov": True},
        {"name": "adam"},
        {"name": "adam", "bias_correction": False},
        {"name": "adamw"},
        {"name": "rmsprop", "momentum": 0.5},
        {"name": "adagrad"},
        {"name": "muon"},
    ],
    "schedule": [
        {"name": "constant", "warmup": 1},
        {"name": "cosine", "horizon": 2, "warmup": 1},
        {"name": "step", "every": 1, "decay": 0.5},
        {"name": "exponential", "decay": 0.7},
        {"name": "one_cycle", "horizon": 2},
        {"name": "restarts", "period": 1},
        {"name": "linear", "horizon": 2, "warmup": 0.5},
        {"name": "plateau", "patience": 1, "decay": 0.5},
    ],
    "network": [
        CNN.model_dump(mode="json"),
        {"name": "mlp", "hidden_units": 8, "dropout": 0.3},
        {"name": "rnn", "hidden_units": 6, "dropout": 0.3},
        {"name": "rnn", "cell": "lstm", "hidden_units": 6, "states": "attention"},
        {"name": "resnet", "width": 4, "stages": 2, "depth": 1, "stochastic_depth": 0.3},
    ],
    "augmentation": [
        {"name": "none"},
        {"name": "shift", "pixels": 1, "mirror": True},
        {"name": "crop", "padding": 1},
        {"name": "affine"},
        {"name": "color"},
        {"name": "erasing"},
        {"name": "rand_augment"},
        {"name": "sequence", "steps": [{"name": "crop"}, {"name": "rand_augment"}]},
    ],
    "mixing": [{"name": "none"}, {"name": "mixup"}, {"name": "cutmix"}],
    "further": [
        {},
        {"sampling": "balanced", "focal_gamma": 2.0},
        {"class_weights": "balanced", "label_smoothing": 0.1, "ema_decay": 0.5},
        {"gradient_clip": 0.5, "learning_rate_scaling": {"rule": "linear", "base": 32}},
    ],
}
"""Section of a trial -> its kinds, with fields that hold more state; `further`: other fields."""
Row = tuple[int, ...]
"""A choice of each of KINDS, by its number."""


Pair = tuple[tuple[int, int], tuple[int, int]]


def ordered(one: tuple[int, int], other: tuple[int, int]) -> Pair:
    return min(one, other), max(one, other)


def most_new(row: dict[int, int], factor: int, size: int, left: set[Pair]) -> int:
    """Value of a factor that makes most of the pairs that are left, with what a row has so far."""
    return max(
        range(size),
        key=lambda value: len({ordered((factor, value), one) for one in row.items()} & left),
    )


def covering_rows(sizes: Sequence[int]) -> list[Row]:
    """Choices in which each two values of two factors meet at least once; greedy.

    Cohen et al. (1997): a row is begun with a pair that no row has, and filled with the values that
    make most new pairs.
    """
    left: set[Pair] = {
        ((one, a), (other, b))
        for one, other in itertools.combinations(range(len(sizes)), 2)
        for a, b in itertools.product(range(sizes[one]), range(sizes[other]))
    }
    rows: list[Row] = []
    while left:
        row = dict(min(left))
        for factor in range(len(sizes)):
            if factor not in row:
                row[factor] = most_new(row, factor, sizes[factor], left)
        left -= {ordered(*pair) for pair in itertools.combinations(row.items(), 2)}
        rows.append(tuple(row[number] for number in range(len(sizes))))
    return rows


def config_of(row: Row) -> TrialConfig:
    """Make the trial of a row; gd, which draws no minibatches, does without what is about them."""
    chosen = {name: KINDS[name][number] for name, number in zip(KINDS, row, strict=True)}
    further = chosen.pop("further")
    if chosen["optimizer"]["name"] == "gd":
        further = {
            name: value
            for name, value in further.items()
            if name not in ("sampling", "learning_rate_scaling")
        }
    return TrialConfig.model_validate_json(json.dumps({**chosen, **further, "minibatch_size": 16}))


@pytest.fixture(scope="module")
def trials(tmp_path_factory: pytest.TempPathFactory) -> Trials:
    """Trials on bars."""
    return Trials.of(tmp_path_factory.mktemp("matrix") / "prepared")


def trace(trials: Trials, directory: Path, result: TrialResult) -> list[str]:
    """What must be equal: weights, history without times, scores."""
    records = [*trials.history(directory), result]
    return [one.model_copy(update={"seconds": 0.0}).model_dump_json() for one in records]


def resumes_to_the_bit(trials: Trials, folder: Path, config: TrialConfig) -> bool:
    """Whether a trial goes on from what a kill after epoch 1 would leave as if nothing had been."""
    whole, killed = folder / "whole", folder / "killed"

    def keep(record: EpochRecord) -> None:
        if record.epoch == 1:
            shutil.copytree(whole, killed)

    result = trials.outcome(whole, config, EPOCHS, on_epoch=keep)
    assert isinstance(result, TrialResult), result
    resumed = trials.result(killed, config, EPOCHS)
    return trace(trials, killed, resumed) == trace(trials, whole, result)


ROWS = covering_rows([len(kinds) for kinds in KINDS.values()])


def test_every_kind_is_among_those_resumed_and_each_two_meet() -> None:
    """A kind that is added to its table must be added here."""
    for section, kinds in KINDS.items():
        if section != "further":
            known = models_in(TrialConfig.model_fields[section].annotation)
            names = {get_args(one.model_fields["name"].annotation)[0] for one in known}
            # timm's are an extra, with tests of their own.
            assert {kind["name"] for kind in kinds} == names - {"timm"}, section
    for one, other in itertools.combinations(range(len(KINDS)), 2):
        sizes = [len(kinds) for kinds in KINDS.values()]
        met = {(row[one], row[other]) for row in ROWS}
        assert len(met) == sizes[one] * sizes[other]


@pytest.mark.parametrize("part", range(8))
def test_each_two_kinds_of_anything_resume_to_the_bit(
    trials: Trials, tmp_path: Path, part: int
) -> None:
    """Optimisers, schedules, networks, augmentations, mixings, and what else is changed."""
    for number, row in enumerate(ROWS[part::8]):
        assert resumes_to_the_bit(trials, tmp_path / str(number), config_of(row)), config_of(row)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("network", range(len(KINDS["network"])))
@pytest.mark.parametrize("optimizer", range(len(KINDS["optimizer"])))
def test_every_optimiser_schedule_network_and_augmentation_resume_to_the_bit(
    trials: Trials, tmp_path: Path, network: int, optimizer: int
) -> None:
    """The whole product of the four."""
    for schedule in range(len(KINDS["schedule"])):
        for augmentation in range(len(KINDS["augmentation"])):
            config = config_of((optimizer, schedule, network, augmentation, 0, 0))
            folder = tmp_path / f"{schedule}-{augmentation}"
            assert resumes_to_the_bit(trials, folder, config), config
            shutil.rmtree(folder)


@pytest.mark.parametrize("number", range(len(KINDS["network"])))
def test_every_network_learns_one_minibatch_by_heart(trials: Trials, number: int) -> None:
    """16 images with labels that mean nothing: the loss falls to almost nothing."""
    still = {"dropout": 0.0, "stochastic_depth": 0.0}
    given = KINDS["network"][number]
    tree = {name: still.get(name, value) for name, value in given.items()}
    config = TrialConfig.model_validate_json(json.dumps({"network": tree}))
    train = open_split(trials.prepared, "train", verify=False)
    labels = torch.arange(16) % CLASSES
    constants = map(channel_constants, (trials.manifest.mean, trials.manifest.std))
    images = normalise(torch.from_numpy(np.array(train.images[:16])), *constants)
    torch.manual_seed(0)
    network = config.network.build(channels=1, image_size=SIDE, classes=CLASSES)
    optimizer = AdamConfig(learning_rate=0.02).build(network.parameters())
    loss = TrainingLoss(config, trials.manifest)

    for _ in range(150):
        optimizer.zero_grad()
        found = loss(network(images), labels, labels, 1.0) / 16
        torch.autograd.backward(found)
        optimizer.step()

    assert float(found.detach()) < 0.02
