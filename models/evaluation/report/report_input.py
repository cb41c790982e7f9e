"""Input of a report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from models.config.policies import Flips
from models.config.trial import Objective, TrialConfig
from models.evaluation.data_value.records import DataValue
from models.evaluation.generalisation_gap import GeneralisationGap
from models.evaluation.records import (
    Baseline,
    Calibration,
    Distinction,
    Evaluation,
    FromBest,
    Optimism,
)
from models.evaluation.slices.membership import Sliced
from models.search.confirmation import Confirmed
from models.trials import EpochRecord, Scores


@dataclass(frozen=True, slots=True)
class LeaderboardRow:
    """A trial on the leaderboard."""

    differences: Mapping[str, str]
    """Axis -> value: what distinguishes it from the other trials; empty for a single trial."""
    scores: Scores | None
    """On validation; None where it failed."""
    epochs: int
    seconds: float
    """Training time."""
    state: str
    """Such as trained, pruned, failed."""
    cached: bool
    """Found in the trial store instead of trained now."""
    from_best: FromBest | None = None
    """None: it is the selected one, or was not tested."""


@dataclass(frozen=True, slots=True)
class Selection:
    """The selected trial and the trials that it was selected from."""

    leaderboard: Sequence[LeaderboardRow]
    """Best first: the first one is the selected trial."""
    history: Sequence[EpochRecord]
    """Epochs of the selected trial, oldest first."""
    best_epoch: int
    """Epoch whose weights were kept."""
    objective: Objective
    """Validation score that decided; ties went to cross-entropy, then to the earlier trial."""
    baselines: Sequence[Baseline] = ()
    """Simple classifiers on the same pixels; best first."""
    optimism: Optimism | None = None
    """None: there was no choice, or the weights of the others are gone."""
    distinction: Distinction | None = None
    """None likewise."""
    confirmation: Sequence[Confirmed] = ()
    """Configurations trained again with other seeds, best first; the first was selected."""


@dataclass(frozen=True, slots=True)
class TestSplit:
    """Test images and the selected trial's predictions for them."""

    __test__ = False  # or pytest takes the name for a class of tests

    images: npt.NDArray[np.uint8]
    """(n, C, H, W) with C 1 or 3; may be memory-mapped: only the mistakes shown are read."""
    labels: npt.NDArray[np.integer]
    """(n,)"""
    probabilities: npt.NDArray[np.floating]
    """(n, k), rows sum to 1."""


@dataclass(frozen=True, slots=True)
class ReportedDataset:
    """Which images were used."""

    name: str
    digest: str
    """Of the prepared arrays."""
    images: Mapping[str, int]
    """Split -> images in it: train, validation, test."""


@dataclass(frozen=True, slots=True)
class ReportInput:
    """Everything that a report shows."""

    title: str
    evaluation: Evaluation
    selection: Selection
    test: TestSplit
    dataset: ReportedDataset
    config: TrialConfig
    """Of the selected trial."""
    gap: GeneralisationGap | None = None
    """Of its kept weights; None: not measured."""
    value: DataValue | None = None
    """What more data would bring; None: `pitchpipe data worth` was not asked."""
    links: Mapping[str, str] = field(default_factory=dict)
    """Label -> address: http(s) or a relative path."""
    calibration: Calibration | None = None
    """None: logits are those of the network as it was trained."""
    flips: Flips = "none"
    """horizontal: probabilities are means over each image and its mirror image."""
    parent: str | None = None
    """Name of the version or file whose weights training began with; None: with new ones."""
    refit: bool = False
    """Whether the config was trained once more, on train and validation, and that was scored."""
    slices: Sliced | None = None
    """Test images by slice, and scores of these; None: not computed."""
    mistakes: int = 24
    """Most confident mistakes shown."""
    bins: int = 15
    """Confidence bins of the calibration figure."""
