"""Evaluation of the selected trial on the test split: probabilities, scores, report."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from flows.datasets.current import DatasetVersion, manifest_of
from flows.records.data_value import latest_value
from flows.records.lineage import Parent
from flows.records.trial_store import directory_of
from flows.search.progress import format_scores
from flows.search.tuning import SearchTrial, Tuning
from models.config import Params
from models.datasets.prepared import open_split
from models.evaluation.generalisation_gap import measure_gap
from models.evaluation.records import Calibration, Evaluation
from models.evaluation.report.page import WHY
from models.evaluation.report.report_input import (
    LeaderboardRow,
    ReportedDataset,
    ReportInput,
    Selection,
    TestSplit,
)
from models.evaluation.report.writing import write_report
from models.evaluation.served import Served, TrainedTrial, score_served
from models.evaluation.slices.membership import Sliced
from models.evaluation.slices.sliced import slice_served
from models.files import replacing
from models.search.confirmation import describe_confirmation
from models.trials import Outcome, TrialResult, read_history

PROBABILITIES = "probabilities.npy"


@dataclass(frozen=True, slots=True)
class Evaluated:
    """The selected trial's evaluation on the test split, and where it is written."""

    result: TrialResult
    dataset: DatasetVersion
    evaluation: Evaluation
    calibration: Calibration | None
    """None: logits are served as they are."""
    why: str
    """Why the trial was selected, in Markdown."""
    directory: Path
    """report.html, figures, evaluation.json, slices.json and probabilities.npy, (n, classes)."""
    slices: Sliced | None = None


def evaluate_selected(
    tuning: Tuning,
    dataset: DatasetVersion,
    params: Params,
    *,
    parent: Parent | None = None,
    refit: TrialResult | None = None,
) -> Evaluated:
    """Score the selected trial on the test split and write its report into the trial's directory.

    parent: whose weights the trials of the search began with, if any.
    refit: of the selected trial, which is scored in its place.
    Raises IntegrityError if weights or arrays do not match their digests.
    """
    trial = trained_trial(tuning.best, dataset)
    scored = trial if refit is None else trained_trial(refit, dataset)
    served = score_served(scored, params.evaluation, selected=trial)
    directory = scored.directory / "evaluations" / f"{scored.result.budget:06d}"
    with replacing(directory / PROBABILITIES) as temporary, temporary.open("wb") as file:
        np.save(file, served.probabilities, allow_pickle=False)
    (directory / WHY).unlink(missing_ok=True)  # of an earlier retraining, with another champion
    slices = slice_served(scored, served, flips=params.evaluation.flips)
    report = replace(_report(tuning, trial, served, params), slices=slices)
    if parent is not None and trial.result.config.begins_with is not None:
        report = replace(report, parent=parent.called)
    write_report(directory, report)
    return Evaluated(
        result=scored.result,
        dataset=dataset,
        evaluation=served.evaluation,
        calibration=served.calibration,
        why=_why(tuning) + (_REFITTED if refit else ""),
        directory=directory,
        slices=slices,
    )


def trained_trial(result: TrialResult, dataset: DatasetVersion) -> TrainedTrial:
    """Return the weights of a trial of the store, with the dataset; raises as `manifest_of`."""
    return TrainedTrial(directory_of(result.key), result, dataset.prepared, manifest_of(dataset))


_REFITTED = " Then trained once more, on train and validation together."


def _why(tuning: Tuning) -> str:
    ranked = list(tuning.ranked())
    (first, best), others = ranked[0], ranked[1:]
    won = f"Won with `{first.proposal.label}`: validation {format_scores(best.scores)}."
    if not others:
        return f"{won} It was the only trial that succeeded."
    if tuning.confirmation:
        said = describe_confirmation(tuning.confirmation, tuning.objective)
        return f"{won} Of {len(ranked)} trials {said}."
    second, runner_up = others[0]
    behind = f"`{second.proposal.label}` came second with {format_scores(runner_up.scores)}."
    return f"{won} Best of {len(ranked)} trials by {tuning.objective}; {behind}"


def _report(tuning: Tuning, trial: TrainedTrial, served: Served, params: Params) -> ReportInput:
    best, manifest = trial.result, trial.manifest
    images = open_split(trial.prepared, "test", verify=False)
    dataset = ReportedDataset(
        name=manifest.name,
        digest=manifest.digest,
        images={name: info.images for name, info in manifest.splits.items()},
    )
    selection = Selection(
        leaderboard=_leaderboard(tuning),
        history=read_history(directory_of(best.key))[: best.epochs],
        best_epoch=best.best_epoch,
        objective=tuning.objective,
        baselines=tuning.baselines,
        optimism=tuning.comparison.optimism,
        distinction=tuning.comparison.distinction,
        confirmation=tuning.confirmation,
    )
    return ReportInput(
        title=params.registered_name,
        evaluation=served.evaluation,
        calibration=served.calibration,
        flips=params.evaluation.flips,
        refit=params.search.refit,
        selection=selection,
        test=TestSplit(
            images=images.images, labels=images.labels, probabilities=served.probabilities
        ),
        dataset=dataset,
        config=best.config,
        gap=measure_gap(trial),
        value=latest_value(params.registered_name, manifest.name),
        mistakes=params.evaluation.mistakes,
        bins=params.evaluation.calibration_bins,
    )


def _leaderboard(tuning: Tuning) -> list[LeaderboardRow]:
    """Successful trials, best first, then failed ones."""
    listed: list[tuple[SearchTrial, Outcome]] = [*tuning.ranked(), *tuning.failures()]
    return [
        LeaderboardRow(
            differences=trial.proposal.differences,
            scores=outcome.scores if isinstance(outcome, TrialResult) else None,
            epochs=outcome.epochs,
            seconds=outcome.seconds if isinstance(outcome, TrialResult) else 0.0,
            state=trial.state,
            cached=not trial.trained,
            from_best=tuning.comparison.from_best.get(trial.key),
        )
        for trial, outcome in listed
    ]
