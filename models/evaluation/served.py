"""A trial as it is served, mirrored or calibrated where the params say so, scored on test."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.config import EvaluationParams
from models.config.policies import Flips
from models.datasets.prepared import Manifest, Split, open_split
from models.evaluation.calibration import fit_temperature
from models.evaluation.inference import predict_logits, predict_probabilities
from models.evaluation.outcomes import canonical, outcomes_of
from models.evaluation.records import Calibration, Evaluation
from models.evaluation.scores import evaluate, score
from models.networks.serving import ServingNetwork
from models.training.checkpoint import load_serving
from models.trials import TrialResult


@dataclass(frozen=True, slots=True)
class Served:
    """What a trial's network, as it is served, says of the test split."""

    probabilities: NDArray[np.float32]
    """(n, classes)."""
    evaluation: Evaluation
    calibration: Calibration | None
    """None: its logits are left as they are."""


@dataclass(frozen=True, slots=True)
class TrainedTrial:
    """A trial's weights and the prepared data that they were trained on."""

    directory: Path
    result: TrialResult
    prepared: Path
    manifest: Manifest

    @property
    def threads(self) -> int:
        """CPU threads that it was trained with, which give the same bits."""
        return self.result.config.threads

    def serving(
        self, calibration: Calibration | None = None, *, flips: Flips = "none"
    ) -> ServingNetwork:
        """Load the network; raises IntegrityError where its weights have not their digest."""
        return load_serving(
            self.directory,
            self.result,
            self.manifest,
            temperature=None if calibration is None else calibration.temperature,
            mirror=flips == "horizontal",
        )


def score_served(
    trial: TrainedTrial, params: EvaluationParams, *, selected: TrainedTrial | None = None
) -> Served:
    """Fit the temperature on validation where it is asked for, of what is served, score on test.

    selected: of a refit, which was trained on validation, the trial that it refits: by its
    predictions there the temperature is fitted.

    Raises IntegrityError where weights or arrays do not match their digests.
    """
    test = open_split(trial.prepared, "test", verify=True)
    calibration = None
    if params.calibration == "temperature":
        calibration = _calibrate(trial, test, params, fitted_on=selected or trial)
    network = trial.serving(calibration, flips=params.flips)
    probabilities = predict_probabilities(network, test.images, threads=trial.threads)
    classes, bins = trial.manifest.classes, params.calibration_bins
    evaluation = evaluate(probabilities, test.labels, classes=classes, bins=bins)
    return Served(probabilities, evaluation, calibration)


def _calibrate(
    trial: TrainedTrial, test: Split, params: EvaluationParams, *, fitted_on: TrainedTrial
) -> Calibration:
    network = trial.serving(flips=params.flips)
    validation = open_split(trial.prepared, "validation", verify=True)
    fitted = network if fitted_on is trial else fitted_on.serving(flips=params.flips)
    logits = predict_logits(fitted, validation.images, threads=trial.threads)
    probabilities = predict_probabilities(network, test.images, threads=trial.threads)
    uncalibrated = score(
        canonical(outcomes_of(probabilities, test.labels)),
        classes=trial.manifest.classes,
        bins=params.calibration_bins,
    )
    return Calibration(
        temperature=fit_temperature(logits, validation.labels),
        images=len(validation.labels),
        uncalibrated_ece=uncalibrated.ece,
        uncalibrated_cross_entropy=uncalibrated.cross_entropy,
    )
