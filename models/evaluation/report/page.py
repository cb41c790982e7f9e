"""The report as one HTML page, with no other file and no request."""

import base64
import importlib.resources
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

import jinja2
from pydantic import JsonValue

from models.evaluation.calibration import CalibrationDiagnosis
from models.evaluation.overfitting import OverfittingDiagnosis
from models.evaluation.records import ClassScores, Evaluation, Interval
from models.evaluation.report.figures import ROOMY
from models.evaluation.report.narrative import most_confused
from models.evaluation.report.report_input import ReportInput
from models.record import leaves

MOST_ROWS = 20
"""Most rows of a table; the page says how many more there are."""


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
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    environment.filters["percent"] = _percent
    template = importlib.resources.files("models.evaluation.report").joinpath("report.html.j2")
    return environment.from_string(template.read_text(encoding="utf-8")).render(
        report=report,
        evaluation=evaluation,
        summary=summary,
        figures={name: _data_uri(content) for name, content in figures.items()},
        tiles=_tiles(evaluation),
        scores=list_scores(evaluation),
        leaderboard=report.selection.leaderboard[:MOST_ROWS],
        classes=_weakest(evaluation),
        confusions=most_confused(evaluation, 10),
        config=[(path, _shown(leaf)) for path, leaf in leaves(report.config).items()],
        links={name: address for name, address in report.links.items() if _harmless(address)},
        roomy=len(evaluation.per_class) <= ROOMY,
        shown_mistakes=min(report.mistakes, evaluation.confusion.wrong),
    )


def _tiles(evaluation: Evaluation) -> list[Tile]:
    accuracy, f1, loss = (
        evaluation.intervals[name] for name in ("accuracy", "f1_macro", "cross_entropy")
    )
    return [
        Tile(
            "Accuracy",
            _percent(evaluation.accuracy),
            f"95 %: {_percent(accuracy.low)} to {_percent(accuracy.high)}",
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


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def _data_uri(content: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"


def _harmless(address: str) -> bool:
    """Escaping does not stop a javascript: address."""
    return urlsplit(address).scheme in ("", "http", "https")
