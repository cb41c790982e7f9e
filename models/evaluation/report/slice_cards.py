"""Pictures of clusters of mistakes: what a number and a name cannot say."""

from dataclasses import dataclass

import numpy as np

from models.evaluation.outcomes import Outcomes, outcomes_of
from models.evaluation.report.pictures import Card, picture_of
from models.evaluation.report.report_input import ReportInput
from models.evaluation.slices.membership import Slice
from models.evaluation.slices.records import SliceScore

MOST_CARDS = 8
"""Test images of a cluster that are shown."""


@dataclass(frozen=True, slots=True)
class ClusterCards:
    """Some test images of a cluster."""

    score: SliceScore
    cards: tuple[Card, ...]


def list_cluster_cards(report: ReportInput) -> list[ClusterCards]:
    """Show the clusters that were tested: mistakes in them, the most confident first.

    In the order of their scores. A cluster without a mistake on test shows nothing.
    """
    if report.slices is None:
        return []
    outcomes = outcomes_of(report.test.probabilities, report.test.labels)
    by_name = {one.name: one for one in report.slices.slices if one.kind == "cluster"}
    shown = [
        ClusterCards(score, _cards(report, outcomes, by_name[score.name]))
        for score in report.slices.report.slices
        if score.kind == "cluster"
    ]
    return [one for one in shown if one.cards]


def _cards(report: ReportInput, outcomes: Outcomes, cluster: Slice) -> tuple[Card, ...]:
    names = [one.name for one in report.evaluation.per_class]
    wrong = cluster.rows[~outcomes.right[cluster.rows]]
    ordered = wrong[np.argsort(-outcomes.confidence[wrong], kind="stable")][:MOST_CARDS]
    return tuple(
        Card(
            picture=picture_of(report.test.images[row]),
            true=names[outcomes.labels[row]],
            said=(
                f"{names[outcomes.predicted[row]]} ({100 * outcomes.confidence[row]:.0f}\u00a0%)",
            ),
        )
        for row in ordered
    )
