"""What is served: mirror images asked as well, and temperatures, fitted on validation alone."""

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from project_folder import QUICK, ProjectFolder, Ran, overrides
from torch import nn
from training_fixtures import Trials, write_prepared

from models.config import EvaluationParams, MlpConfig, TrialConfig
from models.config.policies import Flips
from models.evaluation.calibration import MOST_TEMPERATURE, fit_temperature
from models.evaluation.inference import predict_logits
from models.evaluation.report.narrative import describe_temperature
from models.evaluation.served import TrainedTrial, score_served
from models.networks.serving import ServingNetwork
from models.optimizers import AdamConfig

SHARES = (0.4, 0.3, 0.3)
TEMPERATURE = EvaluationParams(calibration="temperature")


@pytest.mark.parametrize(("margin", "right"), [(6.0, 0.9), (1.0, 0.9), (2.0, 0.6)])
def test_a_temperature_worked_by_hand(margin: float, right: float) -> None:
    """Two classes, one margin: 1 / (1 + exp(-margin / t)) is the share that is right."""
    labels = np.arange(100_000) >= 100_000 * right
    logits = np.tile([margin, 0.0], (len(labels), 1))

    expected = margin / math.log(right / (1 - right))
    assert fit_temperature(logits, labels) == pytest.approx(expected, rel=1e-3)


@given(seed=st.integers(0, 2**32 - 1), factor=st.sampled_from([0.5, 2.0, 3.0]))
def test_logits_of_another_scale_have_a_temperature_of_that_scale(seed: int, factor: float) -> None:
    """Moving all logits of an image changes nothing."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 3, 60)
    logits = generator.normal(size=(60, 3))
    logits[np.arange(60), labels] += 1
    fitted = fit_temperature(logits, labels)

    moved = factor * logits + generator.normal(size=(60, 1))
    if factor * fitted < MOST_TEMPERATURE:
        assert fit_temperature(moved, labels) == pytest.approx(factor * fitted, rel=1e-4)


def test_where_all_are_right_confidence_ends_somewhere() -> None:
    """Without the image of no class, any number of images would do for a confidence of 1."""
    few, many = (
        fit_temperature(4 * np.eye(4)[labels], labels)
        for labels in (np.arange(20) % 4, np.arange(2000) % 4)
    )

    assert 1 / MOST_TEMPERATURE < many < few < MOST_TEMPERATURE


def test_logits_that_are_no_numbers_are_refused() -> None:
    """Such as those of a network that diverged."""
    with pytest.raises(ValueError, match="not finite"):
        fit_temperature([[math.nan, 0.0]], [0])


def test_the_served_network_divides_its_logits() -> None:
    """Without a temperature it has none among its weights, as versions of earlier releases."""
    images = torch.arange(8, dtype=torch.uint8).reshape(2, 1, 2, 2)
    plain = ServingNetwork(nn.Flatten(), mean=(0.0,), std=(0.01,))
    warm = ServingNetwork(nn.Flatten(), mean=(0.0,), std=(0.01,), temperature=2.5)

    torch.testing.assert_close(warm(images), torch.softmax(plain.logits(images) / 2.5, 1))
    assert set(warm.state_dict()) - set(plain.state_dict()) == {"temperature"}


def test_the_served_network_takes_the_mean_over_an_image_and_its_mirror_image() -> None:
    """Of probabilities, not of logits; then it divides by the temperature."""
    images = torch.randint(256, (5, 1, 2, 2), generator=torch.Generator().manual_seed(1))
    images = images.to(torch.uint8)
    plain = ServingNetwork(nn.Flatten(), mean=(0.1,), std=(0.3,))
    both = ServingNetwork(nn.Flatten(), mean=(0.1,), std=(0.3,), mirror=True)
    warm = ServingNetwork(nn.Flatten(), mean=(0.1,), std=(0.3,), mirror=True, temperature=2.5)

    mean = (plain(images) + plain(images.flip(3))) / 2
    torch.testing.assert_close(both(images), mean)
    torch.testing.assert_close(both(images.flip(3)), both(images))
    torch.testing.assert_close(warm(images), torch.softmax(mean.log() / 2.5, 1))


@pytest.fixture(scope="module")
def overfitted(tmp_path_factory: pytest.TempPathFactory) -> TrainedTrial:
    """A network that knows by heart what cannot be learnt: labels that mean nothing."""
    folder = tmp_path_factory.mktemp("overfitted")
    prepared = folder / "prepared"
    trials = Trials(prepared, write_prepared(prepared, permuted=True, shares=SHARES))
    config = TrialConfig(
        network=MlpConfig(hidden_units=64),
        optimizer=AdamConfig(learning_rate=0.01),
        minibatch_size=16,
        objective="accuracy",
    )
    result = trials.result(folder / "trial", config, 6)
    return TrainedTrial(folder / "trial", result, prepared, trials.manifest)


def test_an_overconfident_network_is_calibrated_and_names_the_same_classes(
    overfitted: TrainedTrial,
) -> None:
    """Scores that see labels only are the same; those that see confidence are better."""
    plain, calibrated = (
        score_served(overfitted, params) for params in (EvaluationParams(), TEMPERATURE)
    )

    before, after, found = plain.evaluation, calibrated.evaluation, calibrated.calibration
    assert plain.calibration is None
    assert found is not None
    assert (found.uncalibrated_ece, found.images) == (before.ece, 180)
    assert found.temperature > 1
    assert (after.accuracy, after.confusion) == (before.accuracy, before.confusion)
    assert after.ece < before.ece / 2
    assert after.cross_entropy < before.cross_entropy
    assert f"was {before.ece:.3f} without it and is {after.ece:.3f}" in describe_temperature(
        found, after
    )


@pytest.mark.parametrize("flips", ["none", "horizontal"])
def test_what_is_fitted_is_validation_alone(overfitted: TrainedTrial, flips: Flips) -> None:
    """Logits of the served network, mirror images and all, before they are divided."""
    params = EvaluationParams(calibration="temperature", flips=flips)
    found = score_served(overfitted, params).calibration
    validation = overfitted.prepared / "validation"
    images, labels = (np.load(validation / f"{name}.npy") for name in ("images", "labels"))
    logits = predict_logits(overfitted.serving(flips=flips), images, threads=1)

    assert found is not None
    assert found.temperature == fit_temperature(logits, labels)


def test_a_refit_that_is_calibrated_and_mirrors_is_registered_and_made_again(
    retrained: tuple[ProjectFolder, Ran], tmp_path: Path, prefect_api: str
) -> None:
    """Nothing is searched; made again, it has the same scores. trace tells what it does."""
    project = ProjectFolder(tmp_path / "project", {"PREFECT_API_URL": prefect_api})
    shutil.copytree(retrained[0].root, project.root)

    ran = project.pitchpipe(
        "run",
        "--json",
        *overrides(
            *QUICK,
            "search.refit=true",
            "evaluation.calibration=temperature",
            "evaluation.flips=horizontal",
        ),
    )
    traced = project.pitchpipe("trace", "2", "--json").document
    again = project.pitchpipe("reproduce", "2", "--json").document

    assert ran.code in (0, 3), ran.err
    assert (ran.document["version"], ran.document["trials"]["trained"]) == (2, 0)
    first, test = retrained[1].document["test"], ran.document["test"]
    found = traced["calibration"]
    assert ran.document["refit"]
    assert traced["flips"] == "horizontal"
    assert traced["trial"] != ran.document["best"]["key"]
    listed = project.pitchpipe("trials", "--all", "--json").document
    assert traced["trial"] not in json.dumps(listed)
    assert found["temperature"] != 1
    # Of mirrored digits the network knows little: the mean over both is another network's.
    assert found["uncalibrated_cross_entropy"] != pytest.approx(first["cross_entropy"], rel=0.01)
    assert test["cross_entropy"] < found["uncalibrated_cross_entropy"]
    assert again == {"version": 2, "bit_equal": True, "as_promised": True, "differences": []}
