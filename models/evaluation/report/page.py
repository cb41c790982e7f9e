"""The report as one HTML page, with no other file and no request."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import JsonValue

from models.evaluation.calibration import CalibrationDiagnosis
from models.evaluation.data_value.figures import draw_value
from models.evaluation.outcomes import outcomes_of
from models.evaluation.overfitting import OverfittingDiagnosis
from models.evaluation.records import ClassScores, Evaluation, Interval
from models.evaluation.report.data_value import render_section
from models.evaluation.report.figures import ROOMY
from models.evaluation.report.hyperparameters import describe_hyperparameters
from models.evaluation.report.mistakes import confident_mistakes
from models.evaluation.report.narrative import most_confused
from models.evaluation.report.pictures import Card, picture_of, png_uri
from models.evaluation.report.report_input import ReportInput
from models.evaluation.report.slice_cards import list_cluster_cards
from models.evaluation.report.templates import percent, render
from models.files import write_text
from models.record import leaves

MOST_ROWS = 20
"""Most rows of a table; the page says how many more there are."""
MOST_CONFUSIONS = 30
"""Of few classes fewer, as high as the table of classes beside them."""
_WHY_MARK = "<!-- against the champion -->"
"""In place of the link to the why page, which is written after the gate has decided."""
WHY = "why.html"
"""Name of that page, beside the report."""
_WHY_LINK = (
    '<section id="champion"><h2>Against the champion</h2>'
    f'<p><a href="{WHY}">Which images the challenger fixed and broke</a>: {WHY}, beside this file. '
    "Look at the broken ones before a promotion by hand.</p></section>"
)


@dataclass(frozen=True, slots=True)
class Summary:
    """Sentences of the report's summary."""

    selection: str
    mistakes: str
    overfitting: OverfittingDiagnosis
    calibration: CalibrationDiagnosis
    temperature: str
    """Empty where nothing was calibrated."""
    start: str = ""
    """Empty where training began with new weights."""


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """A score in the table of all scores."""

    name: str
    value: float
    interval: Interval | None
    meaning: str


@dataclass(frozen=True, slots=True)
class Tile:
    """A score in large type."""

    name: str
    value: str
    note: str


def render_page(report: ReportInput, summary: Summary, figures: Mapping[str, bytes]) -> str:
    """Fill the template; every value is escaped. figures: name without .png -> PNG bytes."""
    evaluation = report.evaluation
    confusions = most_confused(evaluation, len(evaluation.confusion.cells))
    shown = min(MOST_CONFUSIONS, max(5, 3 * len(evaluation.per_class) // 2))
    return render(
        "report.html.j2",
        report=report,
        evaluation=evaluation,
        summary=summary,
        figures={name: png_uri(content) for name, content in figures.items()},
        tiles=_tiles(evaluation),
        scores=list_scores(evaluation),
        leaderboard=report.selection.leaderboard[:MOST_ROWS],
        classes=_weakest(evaluation),
        confusions=confusions[:shown],
        more_confusions=len(confusions) - len(confusions[:shown]),
        config=[(path, _shown(leaf)) for path, leaf in leaves(report.config).items()],
        links={name: address for name, address in report.links.items() if _harmless(address)},
        roomy=len(evaluation.per_class) <= ROOMY,
        mistakes=list_mistakes(report),
        sliced=report.slices.report if report.slices else None,
        clusters=list_cluster_cards(report),
        most_rows=MOST_ROWS,
        why_mark=_WHY_MARK,
        data_value=render_section(
            report.value,
            draw_value(report.value) if report.value else {},
            dataset=report.dataset.digest,
        ),
        hyperparameters=describe_hyperparameters(report.selection),
    )


def link_why(page: Path) -> None:
    """Make a written report lead to the why page beside it; a second time changes nothing."""
    text = page.read_text(encoding="utf-8")
    write_text(page, text.replace(_WHY_MARK, _WHY_LINK))


def list_mistakes(report: ReportInput) -> list[Card]:
    """Return the most confident mistakes, as many as the report asks for."""
    test, names = report.test, [one.name for one in report.evaluation.per_class]
    outcomes = outcomes_of(test.probabilities, test.labels)
    return [
        Card(
            picture=picture_of(test.images[row]),
            true=names[outcomes.labels[row]],
            said=(
                f"{names[outcomes.predicted[row]]} ({100 * outcomes.confidence[row]:.0f}\u00a0%)",
            ),
        )
        for row in confident_mistakes(outcomes, report.mistakes)
    ]


def _tiles(evaluation: Evaluation) -> list[Tile]:
    accuracy, f1, loss = (
        evaluation.intervals[name] for name in ("accuracy", "f1_macro", "cross_entropy")
    )
    return [
        Tile(
            "Accuracy",
            percent(evaluation.accuracy),
            f"95 %: {percent(accuracy.low)} to {percent(accuracy.high)}",
        ),
        Tile(
            "Macro F1",
            f"{evaluation.f1_macro:.4f}",
            "; ".join(filter(None, (f"95 %: {f1.low:.4f} to {f1.high:.4f}", evaluation.f1_scope))),
        ),
        Tile(
            "Cross-entropy",
            f"{evaluation.cross_entropy:.4f}",
            f"95 %: {loss.low:.4f} to {loss.high:.4f} nats",
        ),
        Tile("Calibration error", f"{evaluation.ece:.4f}", "0 is perfect"),
    ]


def list_scores(evaluation: Evaluation) -> list[ScoreRow]:
    """Return every score that the evaluation has, with its interval and what it means."""
    k = evaluation.top_k
    names = {
        "accuracy": ("Accuracy", "share of images that are right"),
        "balanced_accuracy": ("Balanced accuracy", "mean recall of the classes"),
        "f1_macro": ("Macro F1", "mean F1 of the classes"),
        "f1_weighted": ("Weighted F1", "mean F1, weighted by the images of each class"),
        "mcc": ("Matthews correlation", "-1 to 1; 0 is chance, whatever the balance of classes"),
        "top_k_accuracy": (f"Top-{k} accuracy", f"true class among the {k} most probable"),
        "roc_auc": ("ROC AUC", "each class against the rest, mean; 0.5 is chance"),
        "cross_entropy": ("Cross-entropy", "nats; lower is better"),
        "brier": ("Brier score", "squared error of the probabilities, 0 to 2; lower is better"),
        "ece": ("Calibration error", "confidence minus accuracy; 0 is perfect"),
    }
    found = ((field, getattr(evaluation, field), named) for field, named in names.items())
    return [
        ScoreRow(name, value, evaluation.intervals.get(field), meaning)
        for field, value, (name, meaning) in found
        if value is not None
    ]


def _weakest(evaluation: Evaluation) -> list[ClassScores]:
    return sorted(evaluation.per_class, key=lambda one: (one.f1, one.name))[:MOST_ROWS]


def _shown(leaf: JsonValue) -> str:
    if isinstance(leaf, list):
        return ", ".join(map(str, leaf))
    return "null" if leaf is None else str(leaf)


def _harmless(address: str) -> bool:
    """Escaping does not stop a javascript: address."""
    return urlsplit(address).scheme in ("", "http", "https")
