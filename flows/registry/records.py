"""Versions as they are asked for and answered."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from flows.lineage import CodeFacts, DatasetFacts
from models.config import Params
from models.digests import digest_of
from models.evaluation.records import Evaluation
from models.trials import Scores, TrialResult, TrialSpec

if TYPE_CHECKING:
    from torch import nn

CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"
"""Aliases: in service; the candidate; what was in service before."""


@dataclass(frozen=True, slots=True, eq=False)
class Registration:
    """All that becomes a version."""

    serving: "nn.Module"
    """uint8 (n, channels, height, width) -> float32 (n, classes); in evaluation mode."""
    spec: TrialSpec
    result: TrialResult
    evaluation: Evaluation
    """On the test split."""
    dataset: DatasetFacts
    classes: tuple[str, ...]
    example: NDArray[np.uint8]
    """A few images as they are stored, (n >= 1, channels, height, width)."""
    trained_ids: NDArray[np.uint8]
    """(n, 32): ids of the images trained or selected on: those of train, then of validation."""
    validation_images: int
    """Of these the last so many: what the trial was selected on."""
    params: Params
    code: CodeFacts
    run_id: str
    """The parent run in MLflow."""
    why: str
    """Markdown: what won, against what."""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        _, channels, height, width = self.example.shape
        return channels, height, width

    @property
    def digest(self) -> str:
        """Name of this registration: the same weights with the same test scores are one version."""
        result = self.result
        return digest_of(
            [result.key, result.budget, result.weights_digest, digest_of(self.evaluation)]
        )


@dataclass(frozen=True, slots=True)
class VersionRecord:
    """A version of the registry, as its tags tell; facts are None where it has no such tag."""

    name: str
    version: int
    aliases: tuple[str, ...]
    created: str
    """ISO 8601, UTC."""
    run_id: str | None
    model_id: str | None
    """MLflow's logged model that holds its files."""
    tags: dict[str, str]

    @property
    def test(self) -> Scores | None:
        """Scores on the test split when it was registered."""
        try:
            accuracy, f1_macro, cross_entropy = (
                float(self.tags[f"test.{name}"]) for name in Scores.model_fields
            )
        except (KeyError, ValueError):
            return None
        return Scores(accuracy=accuracy, f1_macro=f1_macro, cross_entropy=cross_entropy)

    @property
    def trial(self) -> str | None:
        """Key of the trial."""
        return self.tags.get("trial.key")
