"""Write a report into a directory: a page, its figures and the scores as JSON."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from models.evaluation.calibration import diagnose_calibration
from models.evaluation.outcomes import Outcomes, outcomes_of
from models.evaluation.overfitting import diagnose_overfitting
from models.evaluation.report.figures import (
    calibration_figure,
    confusion_figure,
    curves_figure,
    per_class_figure,
)
from models.evaluation.report.mistakes import mistakes_figure
from models.evaluation.report.narrative import (
    describe_mistakes,
    describe_start,
    describe_temperature,
    explain_selection,
)
from models.evaluation.report.page import Summary, render_page
from models.evaluation.report.report_input import ReportInput
from models.evaluation.slices.records import SLICES
from models.files import replacing, write_text


@dataclass(frozen=True, slots=True)
class ReportFiles:
    """Paths of the files written."""

    page: Path
    """report.html: self-contained."""
    evaluation: Path
    """evaluation.json: the Evaluation."""
    figures: tuple[Path, ...]
    """PNG files, as embedded in the page."""


def write_report(directory: Path, report: ReportInput) -> ReportFiles:
    """Write figures, the scores as JSON and, last, report.html; each file is whole or absent.

    Raises ValueError where the test split's arrays do not fit each other or the evaluation.
    """
    outcomes = outcomes_of(report.test.probabilities, report.test.labels)
    _check_same_images(report, outcomes)
    figures = _draw(report, outcomes)
    paths = tuple(directory / f"{name}.png" for name in figures)
    for path, content in zip(paths, figures.values(), strict=True):
        with replacing(path) as temporary:
            temporary.write_bytes(content)
    evaluation = directory / "evaluation.json"
    write_text(evaluation, report.evaluation.model_dump_json(indent=2) + "\n")
    if report.slices is not None:
        write_text(directory / SLICES, report.slices.report.model_dump_json(indent=2) + "\n")
    page = directory / "report.html"
    write_text(page, render_page(report, _summarise(report, outcomes), figures))
    return ReportFiles(page=page, evaluation=evaluation, figures=paths)


def _draw(report: ReportInput, outcomes: Outcomes) -> Mapping[str, bytes]:
    selection, scores = report.selection, report.evaluation
    names = [one.name for one in scores.per_class]
    return {
        "training_curves": curves_figure(selection.history, kept_epoch=selection.best_epoch),
        "confusion_matrix": confusion_figure(scores),
        "per_class": per_class_figure(scores),
        "mistakes": mistakes_figure(
            report.test.images, outcomes, classes=names, most=report.mistakes
        ),
        "calibration": calibration_figure(outcomes, report.bins),
    }


def _summarise(report: ReportInput, outcomes: Outcomes) -> Summary:
    return Summary(
        selection=explain_selection(report.selection),
        mistakes=describe_mistakes(report.evaluation),
        overfitting=diagnose_overfitting(
            report.selection.history,
            kept_epoch=report.selection.best_epoch,
            gap=report.gap,
            config=report.config,
            value=report.value,
        ),
        calibration=diagnose_calibration(outcomes, report.bins),
        temperature=describe_temperature(report.calibration, report.evaluation),
        start=describe_start(report.config, report.parent),
    )


def _check_same_images(report: ReportInput, outcomes: Outcomes) -> None:
    scored, given = report.evaluation.n, len(outcomes.labels)
    images = report.test.images.shape
    if len(images) != 4 or images[1] not in (1, 3) or not images[0] == scored == given:
        raise ValueError(
            f"images {images}, {given} labels and an evaluation of {scored} images: a report needs "
            "the images (n, 1 or 3, H, W) that were evaluated"
        )
