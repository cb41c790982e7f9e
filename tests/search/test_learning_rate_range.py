"""`lr-find`: one sweep of the learning rate, what it suggests, and where it is kept."""

import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from project_folder import ProjectFolder, overrides
from training_fixtures import SMALL_CNN, Trials

from models.config import TrialConfig
from models.datasets.prepared import open_split
from models.search.learning_rate_figure import range_figure
from models.search.learning_rate_range import STEPS, RangeTest, read_losses, sweep_learning_rate
from models.training.trial_faults import TrialFault

CONFIG = TrialConfig(network=SMALL_CNN.model_copy(update={"dropout": 0.2}), minibatch_size=16)
RATES = np.geomspace(1e-4, 1.0, 41)
"""Ten a decade."""


def swept(trials: Trials, config: TrialConfig, *, low: float = 1e-4, high: float = 10) -> RangeTest:
    train = open_split(trials.prepared, "train", verify=True)
    return sweep_learning_rate(config, trials.manifest, train, low=low, high=high)


@pytest.fixture(scope="module")
def trials(tmp_path_factory: pytest.TempPathFactory) -> Trials:
    return Trials.of(tmp_path_factory.mktemp("swept") / "prepared")


def test_a_sweep_is_a_function_of_its_seed(trials: Trials) -> None:
    """50 images in minibatches of 16 are 4 steps an epoch: it goes round, 100 steps at most."""
    first, again = swept(trials, CONFIG), swept(trials, CONFIG)
    other = swept(trials, CONFIG.model_copy(update={"seed": 1}))

    assert first == again
    assert first.losses != other.losses
    assert 10 < len(first.rates) <= STEPS
    assert first.losses[0] == pytest.approx(math.log(3), abs=0.3)  # it has learnt nothing yet
    assert first.suggested is not None
    assert 1e-4 < first.suggested <= first.minimum / 10
    assert min(first.smoothed) < 0.9 * first.losses[0]


def test_minibatches_larger_than_a_slice_are_one_step(trials: Trials) -> None:
    """Gradient descent on the whole split: each loss is that of all 50 images."""
    config = CONFIG.model_copy(update={"minibatch_size": 50})

    found = swept(trials, config, low=1e-12, high=1e-11)

    assert np.ptp(found.losses) < 0.2  # by dropout alone
    assert len(found.losses) == STEPS


def test_a_sweep_neither_reads_validation_nor_test(tmp_path: Path) -> None:
    trials = Trials.of(tmp_path / "prepared")
    for split in ("validation", "test"):
        shutil.rmtree(trials.prepared / split)

    assert swept(trials, CONFIG).losses


def test_a_loss_that_explodes_ends_the_sweep(tmp_path: Path) -> None:
    """Before the highest rate: labels that mean nothing are never learnt."""
    trials = Trials.of(tmp_path / "prepared", permuted=True)
    config = TrialConfig.model_validate(
        {"network": SMALL_CNN, "optimizer": {"name": "sgd"}, "minibatch_size": 16}
    )
    found = swept(trials, config, low=1e-3, high=1e4)

    assert len(found.rates) < STEPS
    assert all(map(math.isfinite, found.smoothed))


def test_a_first_loss_that_is_not_finite_is_refused(
    trials: Trials, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.search.learning_rate_range._losses", lambda *_: iter([math.nan]))
    with pytest.raises(TrialFault, match=r"not finite at a learning rate of 0\.0001"):
        swept(trials, CONFIG)


def test_the_steepest_descent_is_found_by_the_logarithm() -> None:
    """A logistic fall around 1e-2, and a rise from 1e-1 on: steepest at 1e-2."""
    exponents = np.log10(RATES)
    losses = 2 - 1.5 / (1 + np.exp(-6 * (exponents + 2))) + 4 * np.maximum(exponents + 1, 0) ** 2

    found = read_losses(RATES, losses.tolist())

    assert found.steepest == pytest.approx(1e-2, rel=0.3)
    assert found.minimum == pytest.approx(1e-1, rel=0.6)
    assert found.suggested in (found.steepest, found.minimum / 10)


def test_a_tenth_of_the_minimum_is_the_upper_bound() -> None:
    """The loss falls by a line: as steep everywhere, and lowest at the end."""
    losses = (3 - np.log10(RATES)).tolist()
    bent = [*losses[:35], *(one - 5 * step for step, one in enumerate(losses[35:]))]

    found = read_losses(RATES, bent)

    assert found.steepest is not None
    assert found.steepest > 0.1
    assert found.suggested == pytest.approx(found.minimum / 10)


@given(st.lists(st.floats(0, 100), min_size=1, max_size=41))
def test_any_losses_have_a_reading_and_a_figure(losses: list[float]) -> None:
    """Also one alone, and those that only rise: then nothing is suggested."""
    found = read_losses(RATES[: len(losses)], losses)

    assert found.minimum in found.rates
    if losses == sorted(losses):
        assert found.suggested is None
    elif found.suggested is not None:
        assert found.suggested <= found.minimum / 10


@pytest.mark.parametrize("losses", [[1.0], [3.0, 2.0, 1.0, 50.0]])
def test_the_figure_is_a_picture_that_depends_on_nothing_else(losses: list[float]) -> None:
    found = read_losses(RATES[: len(losses)], losses)

    assert range_figure(found).startswith(b"\x89PNG")
    assert range_figure(found) == range_figure(found)


@pytest.mark.usefixtures("with_databases")
def test_lr_find_keeps_curve_and_figure_on_disk_and_in_mlflow(project: ProjectFolder) -> None:
    """Twice the same: one record, one run. No trial is made."""
    asked = ["lr-find", "--json", *overrides("trial.network.channels=[4, 4, 4]")]

    first, again = (project.pitchpipe(*asked) for _ in range(2))

    assert first.code == again.code == 0, first.err + again.err
    assert first.document == again.document
    assert first.document["suggested"] <= first.document["test"]["minimum"] / 10
    folder = project.root / "mlruns/lr_find/digits-classifier"
    assert sorted(path.suffix for path in folder.iterdir()) == [".json", ".png"]
    (run,) = (project.root / "mlruns/artifacts/digits-classifier").iterdir()
    assert run.name == first.document["run_id"]
    assert {path.name for path in run.rglob("lr_find.*")} == {"lr_find.json", "lr_find.png"}
    assert not (project.root / "mlruns/trials").exists()


def test_a_range_that_is_none_is_refused(project: ProjectFolder) -> None:
    ran = project.pitchpipe("lr-find", "--low", "1", "--high", "0.1")

    assert ran.code == 2
    assert "low below high" in ran.err
