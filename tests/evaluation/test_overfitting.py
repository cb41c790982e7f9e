"""The answer about overfitting, the gap and the criteria that it rests on."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from data_value_fixtures import value
from evaluation_fixtures import naming
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from training_fixtures import SMALL_CNN, Trials

from models.config import MlpConfig, ResnetConfig, TrialConfig
from models.datasets.prepared import open_split
from models.evaluation import generalisation_gap as measuring
from models.evaluation.generalisation_gap import (
    GeneralisationGap,
    generalisation_gap,
    measure_gap,
    welch,
)
from models.evaluation.inference import predict_probabilities
from models.evaluation.outcomes import Outcomes, outcomes_of
from models.evaluation.overfitting import OverfittingDiagnosis, diagnose_overfitting
from models.evaluation.served import TrainedTrial
from models.evaluation.stopping_criteria import stopping_criteria
from models.evaluation.uncertainty.intervals import newcombe
from models.record import Record
from models.trials import EpochRecord


def history(train_loss: Sequence[float], validation_loss: Sequence[float]) -> list[EpochRecord]:
    return [
        EpochRecord(
            epoch=epoch,
            train_loss=loss,
            train_accuracy=0.9,
            validation_loss=other,
            validation_accuracy=0.9,
            validation_f1_macro=0.9,
            learning_rate=0.001,
            seconds=1.0,
        )
        for epoch, (loss, other) in enumerate(zip(train_loss, validation_loss, strict=True), 1)
    ]


def answers(right: int, of: int, *, confidence: float = 0.9) -> Outcomes:
    """Outcomes of images of two classes, so many of them right, all equally confident."""
    labels = (np.arange(of) >= right).astype(int)
    return outcomes_of(naming(np.zeros(of, int), classes=2, confidence=confidence), labels)


def gap_of(train: tuple[int, int], validation: tuple[int, int]) -> GeneralisationGap:
    """The gap of so many right of so many images."""
    return generalisation_gap(answers(*train), answers(*validation))


NO_GAP, GAP = gap_of((900, 1000), (270, 300)), gap_of((990, 1000), (252, 300))
FALLING, RISING = [0.9, 0.5, 0.3, 0.2, 0.1, 0.05], [0.8, 0.6, 0.62, 0.65, 0.68, 0.7]
PLATEAU = [0.9, 0.6, 0.5, 0.5, 0.5, 0.5]


def diagnosed(
    train: Sequence[float],
    validation: Sequence[float],
    gap: GeneralisationGap | None,
    config: TrialConfig | None = None,
) -> OverfittingDiagnosis:
    return diagnose_overfitting(
        history(train, validation), kept_epoch=2, gap=gap, config=config or TrialConfig()
    )


def test_a_perfect_fit_whose_validation_loss_rises_asks_for_regularisation() -> None:
    """Train 1.00, validation 0.84, loss rising for four epochs: was no overfitting once.

    100 of 100 and 21 of 25: Wilson's intervals are 0.9630 to 1 and 0.6535 to 0.9360, so that the
    gap of 0.16 is at least 0.16 - sqrt(0.0370^2 + 0.0960^2) = 0.057 and at most
    0.16 + 0.84 - 0.6535 = 0.3465. GL is 100 (0.7 / 0.6 - 1) = 16.7; the mean of the last five
    training losses is 0.23, 4.6 times the least: P is 3600 and PQ 16.7 / 3600 = 0.00463.
    """
    found = diagnosed(FALLING, RISING, gap_of((100, 100), (21, 25)))

    assert found.kind == "more regularisation"
    assert "accuracy 1.000 and 0.840, a gap of 16.0 (95 %: 5.7 to 34.7) points" in found.text
    assert "on 100 train and 25 validation images" in found.text
    assert "lowest at epoch 2, 0.600, and is 0.700 at the last, 6, after 4 rises" in found.text
    assert "GL 16.7 %, over training progress PQ 0.00463" in found.text
    for line in (
        "trial.early_stopping.patience: 3",
        "trial.augmentation.name: affine",
        "trial.network.dropout: 0.25",
        "trial.optimizer.weight_decay: 0.0005",
    ):
        assert line in found.text


@pytest.mark.parametrize(
    ("validation", "gap", "kind", "advice"),
    [
        (RISING, GAP, "more regularisation", "trial.network.dropout: 0.25"),
        (PLATEAU, GAP, "less capacity or more data", "trial.network.channels: [16, 32, 32]"),
        (PLATEAU, NO_GAP, "fine", "Nothing to change."),
        ([0.9, 0.8, 0.7, 0.6, 0.5, 0.4], NO_GAP, "train longer", "search.epochs: 12"),
        ([0.9, 0.8, 0.7, 0.6, 0.5, 0.4], GAP, "train longer", "search.epochs: 12"),
    ],
)
def test_the_gap_and_the_course_of_the_loss_decide(
    validation: list[float], gap: GeneralisationGap, kind: str, advice: str
) -> None:
    """A loss that still falls comes first: the gap is judged where training has ended."""
    found = diagnosed(FALLING, validation, gap)

    assert found.kind == kind
    assert advice in found.text


def test_without_a_gap_a_loss_that_rose_is_stopped_earlier() -> None:
    """The weights kept are those before the rise; the epochs after it were for nothing."""
    found = diagnosed(FALLING, RISING, NO_GAP)

    assert found.kind == "fine"
    assert "can be spared. In the params: trial.early_stopping.patience: 3." in found.text


def test_both_losses_rising_is_no_overfitting() -> None:
    """A step size too large raises training loss, too: a third of it is advised."""
    found = diagnosed([0.9, 0.5, 0.7, 0.9, 1.0, 1.1], RISING, NO_GAP)

    assert found.kind == "fine"
    assert "trial.optimizer.learning_rate: 0.00033" in found.text


def test_a_rise_no_larger_than_the_usual_step_is_noise() -> None:
    """A restless curve that ends 13 % above its lowest point has not risen."""
    restless = [0.4, 0.2, 0.3, 0.25, 0.14, 0.06, 0.1, 0.17, 0.26, 0.059, 0.065, 0.067]
    falling = [0.8, 0.2, 0.1, 0.1, 0.07, 0.05, 0.04, 0.06, 0.05, 0.06, 0.01, 0.005]

    assert diagnosed(falling, restless, GAP).kind == "less capacity or more data"
    assert diagnosed(falling, [*restless[:-2], 0.08, 0.2], GAP).kind == "more regularisation"


def test_a_new_lowest_loss_by_a_hair_is_no_fall() -> None:
    """After a plateau the last epoch must be lower by 2 % to count as progress."""
    assert diagnosed(FALLING, [*PLATEAU[:-1], 0.4999], NO_GAP).kind == "fine"
    assert diagnosed(FALLING, [*PLATEAU[:-1], 0.48], NO_GAP).kind == "train longer"


@pytest.mark.parametrize(
    ("train", "validation", "kind"),
    [
        ((950, 1000), (900, 1000), "less capacity or more data"),
        ((19, 20), (18, 20), "fine"),
        ((4950, 5000), (4875, 5000), "fine"),
    ],
)
def test_a_gap_counts_where_chance_does_not_explain_it_and_it_matters(
    train: tuple[int, int], validation: tuple[int, int], kind: str
) -> None:
    """Five points tell on 1,000 images and not on 20; 1.5 points do not matter on any number."""
    assert diagnosed(FALLING, PLATEAU, gap_of(train, validation)).kind == kind


def test_equal_accuracies_with_unequal_losses_are_a_gap() -> None:
    """All right on both sides, but sure of it on train alone: 0.01 and 0.36 nats."""
    gap = generalisation_gap(answers(300, 300, confidence=0.99), answers(300, 300, confidence=0.7))

    assert gap.accuracy.value == 0
    assert gap.cross_entropy.value == pytest.approx(math.log(0.99 / 0.7))
    assert diagnosed(FALLING, RISING, gap).kind == "more regularisation"


def test_what_is_in_use_is_not_advised_as_if_it_were_not() -> None:
    """More of the dropout that there is; the width of the network that was trained."""
    config = TrialConfig.model_validate(
        {
            "network": MlpConfig(dropout=0.3, hidden_units=64),
            "augmentation": {"name": "shift"},
            "early_stopping": {"patience": 2},
            "objective": "cross_entropy",
        }
    )
    wide = config.model_copy(update={"network": ResnetConfig(width=32)})

    more = diagnosed(FALLING, RISING, GAP, config).text
    assert "trial.network.dropout: above 0.3" in more
    assert "trial.early_stopping" not in more
    assert "trial.objective" not in more
    assert "trial.augmentation" not in more
    assert "trial.network.hidden_units: 32" in diagnosed(FALLING, PLATEAU, GAP, config).text
    assert "trial.network.width: 16" in diagnosed(FALLING, PLATEAU, GAP, wide).text


def test_a_network_without_dropout_is_not_advised_any() -> None:
    """As one that was added may be."""

    class Plain(Record):
        name: str = "plain"

    config = TrialConfig().model_copy(update={"network": Plain()})

    text = diagnosed(FALLING, RISING, GAP, config).text

    assert "dropout:" not in text
    assert "trial.optimizer.weight_decay: 0.0005" in text


def test_accuracy_that_keeps_an_epoch_after_the_turn_is_the_wrong_objective() -> None:
    """Epoch 2 is kept, epoch 1 has the lowest loss."""
    found = diagnosed(FALLING, [0.5, *RISING[1:]], GAP)

    assert "trial.objective: cross_entropy" in found.text


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_epochs_say_nothing(count: int) -> None:
    found = diagnosed([0.9][:count], [0.9][:count], GAP)

    assert found.kind == "unknown"
    assert found.text.startswith(f"Unknown from {count} epoch")


def test_weights_that_were_not_scored_on_train_say_nothing() -> None:
    assert diagnosed(FALLING, RISING, None).kind == "unknown"


@given(
    st.lists(st.tuples(*[st.floats(0, 50)] * 2), max_size=12),
    st.integers(0, 14),
    st.tuples(*[st.integers(0, 3)] * 2),
)
def test_any_curves_have_an_answer(
    losses: list[tuple[float, float]], kept: int, right: tuple[int, int]
) -> None:
    """Also where losses are 0, the kept epoch is not among them, and of one image of validation."""
    records = history([loss for loss, _ in losses], [loss for _, loss in losses])
    gap = gap_of((right[0], 3), (min(right[1], 1), 1))

    found = diagnose_overfitting(records, kept_epoch=kept, gap=gap, config=TrialConfig())

    assert found.text.endswith((".", "needed."))
    assert not {"nan", "{"} & set(found.text.split())


@pytest.mark.parametrize(
    ("right", "of", "low", "high"),
    [
        ((56, 48), (70, 80), 0.0524, 0.3339),
        ((9, 3), (10, 10), 0.1705, 0.8090),
        ((5, 0), (56, 29), -0.0381, 0.1926),
        ((10, 0), (10, 20), 0.6791, 1.0),
    ],
)
def test_newcombes_intervals_are_those_of_his_table(
    right: tuple[int, int], of: tuple[int, int], low: float, high: float
) -> None:
    """Newcombe (1998), table II, method 10."""
    found = newcombe(right, of)

    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-4)


def test_welchs_interval_is_scipys() -> None:
    """Of unequal variances and sizes; one value, or no spread at all, have an answer, too."""
    first, second = np.array([0.1, 0.5, 2.0, 0.3]), np.array([0.2, 0.1, 0.15, 0.0, 0.3, 0.2])
    expected = stats.ttest_ind(first, second, equal_var=False).confidence_interval(0.95)

    found = welch(first, second)

    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert welch(first[:1], second).low == -math.inf
    assert welch(np.full(3, 2.0), np.full(2, 0.5)).high == 1.5


def test_prechelts_criteria_by_hand() -> None:
    """GL = 100 (0.9 / 0.6 - 1) = 50, P = 1000 (0.425 / 0.1 - 1) = 3250, PQ = 50 / 3250."""
    found = stopping_criteria(history([0.9, 0.5, 0.2, 0.1], [0.8, 0.6, 0.7, 0.9]))

    assert found.lowest.epoch == 2
    assert found.generalisation_loss == pytest.approx(50)
    assert found.training_progress == pytest.approx(3250)
    assert found.quotient == pytest.approx(50 / 3250)
    assert found.rises == 2


def test_training_progress_is_that_of_the_last_five_epochs() -> None:
    """Training stands still at last: P is 0, and any loss of generalisation outweighs it."""
    found = stopping_criteria(history([5.0, *[0.5] * 5], [0.5] * 5 + [0.6]))

    assert found.training_progress == 0
    assert found.quotient == math.inf
    assert replace(found, generalisation_loss=0.0).quotient == 0


def test_criteria_of_one_epoch_are_refused() -> None:
    with pytest.raises(ValueError, match="1 epochs: the criteria need at least two"):
        stopping_criteria(history([0.5], [0.5]))


def test_the_gap_is_that_of_the_kept_weights_on_the_images_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In evaluation mode, on the first rows of each split, without augmentation and dropout."""
    monkeypatch.setattr(measuring, "MOST_IMAGES", 40)
    trials = Trials.of(tmp_path / "prepared")
    config = TrialConfig.model_validate(
        {
            "network": SMALL_CNN.model_copy(update={"dropout": 0.5}),
            "augmentation": {"name": "shift", "pixels": 3},
        }
    )
    result = trials.result(tmp_path / "trial", config, 2)
    trial = TrainedTrial(tmp_path / "trial", result, trials.prepared, trials.manifest)

    found = measure_gap(trial)

    train = open_split(trials.prepared, "train", verify=True)
    probabilities = predict_probabilities(trial.serving(), train.images[:40], threads=1)
    expected = outcomes_of(probabilities, train.labels[:40])
    assert found == measure_gap(trial)
    assert (found.train.images, found.validation.images) == (40, 30)
    assert found.train.cross_entropy == pytest.approx(expected.losses.mean())
    # Which the epoch's own record, of moving weights and changed images, is not.
    assert found.validation.cross_entropy == pytest.approx(result.scores.cross_entropy, abs=1e-5)
    assert found.validation.accuracy == pytest.approx(result.scores.accuracy)


def test_more_data_is_said_to_help_by_as_much_as_was_measured() -> None:
    """And whether the network limits, where that was asked; nothing where neither was."""
    measured = value()

    found = diagnose_overfitting(
        history(FALLING, PLATEAU), kept_epoch=3, gap=GAP, config=TrialConfig(), value=measured
    )
    plain = diagnosed(FALLING, PLATEAU, GAP)

    assert measured.capacity is not None
    assert f"More data is expected to help by {measured.gain.points}" in found.text
    assert found.text.endswith(measured.capacity.text)
    assert "More data is expected" not in plain.text
