"""The selected trial looked at on the test split, once: probabilities, scores, report."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from flows.datasets.current import DatasetVersion, manifest_of
from flows.records.trial_store import directory_of
from flows.search.plan import Tuning
from flows.search.progress import shown
from models.config import Params
from models.datasets.prepared import Manifest, open_split
from models.evaluation.inference import predict_probabilities
from models.evaluation.records import Evaluation
from models.evaluation.report import write_report
from models.evaluation.report_input import (
    LeaderboardRow,
    ReportedDataset,
    ReportInput,
    Selection,
    TestSplit,
)
from models.evaluation.scores import evaluate
from models.files import replacing
from models.training.checkpoint import load_serving
from models.trials import TrialResult, read_history

PROBABILITIES = "probabilities.npy"


@dataclass(frozen=True, slots=True)
class Evaluated:
    """What the selected trial came to on the test split, and where that is written."""

    result: TrialResult
    dataset: DatasetVersion
    evaluation: Evaluation
    why: str
    """Markdown: what won, against what."""
    directory: Path
    """report.html, figures, evaluation.json and probabilities.npy, (n, classes)."""


def evaluate_selected(tuning: Tuning, dataset: DatasetVersion, params: Params) -> Evaluated:
    """Score the selected trial on the test split and write its report into the trial's directory.

    Raises IntegrityError where weights or arrays do not have their digests.
    """
    result = tuning.best
    manifest = manifest_of(dataset)
    test = open_split(dataset.prepared, "test", verify=True)
    directory = directory_of(result.key) / "evaluations" / f"{result.budget:06d}"
    serving = load_serving(directory_of(result.key), result, manifest)
    probabilities = predict_probabilities(serving, test.images, threads=result.config.threads)
    with replacing(directory / PROBABILITIES) as temporary, temporary.open("wb") as file:
        np.save(file, probabilities, allow_pickle=False)
    evaluation = evaluate(
        probabilities,
        test.labels,
        classes=manifest.classes,
        bins=params.evaluation.calibration_bins,
    )
    looked_at = TestSplit(images=test.images, labels=test.labels, probabilities=probabilities)
    report = _report(tuning, manifest, params, evaluation=evaluation, test=looked_at)
    write_report(directory, report)
    return Evaluated(
        result=result,
        dataset=dataset,
        evaluation=evaluation,
        why=_why(tuning),
        directory=directory,
    )


def _why(tuning: Tuning) -> str:
    ranked = list(tuning.ranked())
    objective = tuning.plan.objective
    (first, best), others = ranked[0], ranked[1:]
    won = f"Won with `{first.proposal.label}`: validation {shown(best.scores)}."
    if not others:
        return f"{won} It was the only trial that succeeded."
    second, runner_up = others[0]
    behind = f"`{second.proposal.label}` came second with {shown(runner_up.scores)}."
    return f"{won} Best of {len(ranked)} trials by {objective}; {behind}"


def _report(
    tuning: Tuning,
    manifest: Manifest,
    params: Params,
    *,
    evaluation: Evaluation,
    test: TestSplit,
) -> ReportInput:
    best = tuning.best
    facts = ReportedDataset(
        name=manifest.name,
        digest=manifest.digest,
        images={name: info.images for name, info in manifest.splits.items()},
    )
    selection = Selection(
        leaderboard=_leaderboard(tuning),
        history=read_history(directory_of(best.key))[: best.epochs],
        best_epoch=best.best_epoch,
        objective=tuning.plan.objective,
    )
    return ReportInput(
        title=params.registered_name,
        evaluation=evaluation,
        selection=selection,
        test=test,
        dataset=facts,
        config=best.config,
        mistakes=params.evaluation.mistakes,
        bins=params.evaluation.calibration_bins,
    )


def _leaderboard(tuning: Tuning) -> list[LeaderboardRow]:
    finished = [
        LeaderboardRow(
            differences=trial.proposal.differences,
            scores=result.scores,
            epochs=result.epochs,
            seconds=result.seconds,
            state=trial.state,
            cached=trial.cached is not None,
        )
        for trial, result in tuning.ranked()
    ]
    failed = [
        LeaderboardRow(
            differences=trial.proposal.differences,
            scores=None,
            epochs=failure.epochs,
            seconds=0.0,
            state="failed",
            cached=trial.cached is not None,
        )
        for trial, failure in tuning.failures()
    ]
    return finished + failed
