"""Simulated trials on growing data, and an answer made of them."""

from datetime import UTC, datetime

import numpy as np

from models.config import TrialConfig
from models.evaluation.data_value.capacity import SizedTrials, capacity_curve
from models.evaluation.data_value.class_values import value_alone
from models.evaluation.data_value.fitting import Trials, fit_power_law, hold_out
from models.evaluation.data_value.records import DataValue, SizePoint

SIZES = (500.0, 1000.0, 2000.0, 4000.0)


def drawn(
    random: np.random.Generator, *, images: int, a: float, b: float, c: float, trials: int = 3
) -> list[Trials]:
    """Trials whose errors follow a power law, on images of which some are hard for all."""
    hard = random.random(images)
    found = []
    for size in SIZES:
        error = a + b * size**-c
        wrong = [
            np.where(random.random(images) < 0.7, hard, random.random(images)) < error
            for _ in range(trials)
        ]
        found.append(Trials(size, np.array(wrong)))
    return found


def sized(factor: float, train: float, validation: float, seed: int = 0) -> SizedTrials:
    random = np.random.default_rng(seed)
    return SizedTrials(
        factor=factor,
        parameters=round(1000 * factor),
        train_wrong=random.random((3, 2000)) < train,
        wrong=random.random((3, 2000)) < validation,
        keys=("a", "b", "c"),
    )


def value(**changes: object) -> DataValue:
    """An answer with three classes, one of them alone, and a capacity curve."""
    labels = np.repeat([0, 1, 2], 40)
    trials = drawn(np.random.default_rng(2), images=120, a=0.02, b=5, c=0.6)
    fitted = fit_power_law(trials)
    alone = value_alone("<shirt>", trials, labels, 1, more=400)
    made = DataValue(
        id="ab" * 32,
        at=datetime(2026, 1, 2, tzinfo=UTC),
        name="pets",
        dataset="pets",
        dataset_digest="cd" * 32,
        subject="version 3",
        config=TrialConfig(),
        epochs=5,
        train_images=4000,
        all_images=5000,
        validation_images=120,
        points=tuple(
            SizePoint(
                fraction=one.images / 4000,
                images=one.images,
                errors=tuple(one.wrong.mean(axis=1).tolist()),
                keys=("k",) * 3,
            )
            for one in trials
        ),
        curve=fitted,
        more=4000,
        gain=fitted.gain(4000, 8000),
        classes=(alone, alone.model_copy(update={"alone": False, "accuracy": None})),
        check=hold_out(trials),
        capacity=capacity_curve([sized(1.0, 0.02, 0.2), sized(2.0, 0.01, 0.2, seed=1)]),
    )
    return made.model_copy(update=changes)
