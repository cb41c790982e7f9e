"""The report's section on which hyperparameters mattered: importances, slices, parallel axes."""

import base64
from dataclasses import dataclass

import numpy as np

from models.evaluation.report.report_input import LeaderboardRow, Selection
from models.search.importance import Importances, Tried, axes_of, importances
from models.search.importance_figures import MOST_AXES, parallel_figure, slices_figure

_WHOLE = frozenset({"trained", "cached"})
"""States of trials that were trained to the end: scores after fewer epochs are other scores."""
_NAMES = {"accuracy": "accuracy", "f1_macro": "macro F1", "cross_entropy": "cross-entropy"}


@dataclass(frozen=True, slots=True)
class Hyperparameters:
    """What the section shows."""

    importances: Importances
    slices: str
    """SVG, as a data: address."""
    parallel: str
    axes: int
    """On which the trials differ; of more than MOST_AXES the first are drawn."""
    score: str
    """Name of the objective."""

    @property
    def left_out(self) -> int:
        """Axes that are not drawn."""
        return max(self.axes - MOST_AXES, 0)


def describe_hyperparameters(selection: Selection) -> Hyperparameters | None:
    """Return the section; None where no two trials were trained to the end that differ."""
    tried = [one for row in selection.leaderboard if (one := _tried(row, selection)) is not None]
    axes = axes_of(tried)
    if not axes:
        return None
    score, scores = _NAMES[selection.objective], np.array([one.score for one in tried])
    return Hyperparameters(
        importances=importances(tried, logarithm=selection.objective == "cross_entropy"),
        slices=_uri(slices_figure(axes, scores, score=score)),
        parallel=_uri(parallel_figure(axes, scores, score=score)),
        axes=len(axes),
        score=score,
    )


def _tried(row: LeaderboardRow, selection: Selection) -> Tried | None:
    if row.scores is None or row.state not in _WHOLE:
        return None
    return Tried(row.differences, getattr(row.scores, selection.objective))


def _uri(figure: bytes) -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode(figure).decode()}"
