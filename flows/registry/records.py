"""Records of a version: what it is registered from, and what the registry has of it."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from flows.records.champion import scores_of_tags
from flows.records.lineage import CodeFacts, DatasetFacts, Parent
from models.config import Params, Record
from models.digests import digest_of
from models.errors import IntegrityError
from models.evaluation.records import Calibration, Evaluation
from models.evaluation.slices.records import SLICES, SliceReport
from models.trials import Scores, TrialResult, TrialSpec

if TYPE_CHECKING:
    from torch import nn

CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"
"""Aliases: in service; the candidate; in service before."""


@dataclass(frozen=True, slots=True, eq=False)
class Registration:
    """Everything that a version is made from."""

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
    """(n, 32): ids of the images trained or selected on: those that only its parents saw, those of
    train, then of validation."""
    validation_images: int
    """Number of the last of these: what the trial was selected on."""
    params: Params
    code: CodeFacts
    run_id: str
    """The parent run in MLflow."""
    why: str
    """Markdown: which trial won, and against which."""
    trained_prints: NDArray[np.uint8] | None = None
    """(m, 32): prints of these images as the network took them, in the order of their ids; without
    those of a parent that took them in another form. None: not known."""
    calibration: Calibration | None = None
    """What `serving` divides its logits by; None: they are as they are. What it flips is in the
    params."""
    parent: Parent | None = None
    """Whose weights the training began with; None: with new ones."""
    slices: SliceReport | None = None
    """Test images by slice; None: not scored. No part of the identity."""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        _, channels, height, width = self.example.shape
        return channels, height, width

    @property
    def digest(self) -> str:
        """Identity of this registration: equal weights with equal test scores are one version."""
        result = self.result
        calibrated = [digest_of(self.calibration)] if self.calibration else []
        flips = self.params.evaluation.flips
        served = [*calibrated, *([] if flips == "none" else [flips])]
        facts = [result.weights_digest, digest_of(self.evaluation.first), *served]
        return digest_of([result.key, result.budget, *facts])


@dataclass(frozen=True, slots=True)
class VersionRecord:
    """A version of the registry, by its tags; a fact without its tag is None."""

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
        return scores_of_tags(self.tags)

    @property
    def trial(self) -> str | None:
        """Key of the trial."""
        return self.tags.get("trial.key")


EXTRAS = "pitchpipe"
"""Folder inside a version's files that MLflow ignores."""
LINEAGE, EVALUATION = "lineage.json", "evaluation.json"
TRAINED_IDS, TRAINED_PRINTS = "trained_ids.npy", "trained_prints.npy"

_Kind = TypeVar("_Kind", bound=Record)


def read_extra(kind: type[_Kind], directory: Path, name: str, *, whose: str) -> _Kind:
    """Read a record of a version's files; whose: the version's name in messages.

    Raises IntegrityError where it is missing, or where another release wrote it.
    """
    path = directory / EXTRAS / name
    try:
        return kind.model_validate_json(path.read_bytes())
    except OSError as error:
        raise IntegrityError(f"{whose} has no readable {name} ({error.strerror}); {_WAY}") from None
    except ValidationError as error:
        raise another_release(error, whose=whose, where=name) from None


def read_slices(directory: Path, *, whose: str) -> SliceReport | None:
    """Read a version's scores by slice; None where an earlier release made it.

    Raises as `read_extra` does.
    """
    if not (directory / EXTRAS / SLICES).exists():
        return None
    return read_extra(SliceReport, directory, SLICES, whose=whose)


def read_trained_ids(directory: Path, *, whose: str) -> NDArray[np.uint8]:
    """Map the ids of the images a version was trained or selected on, (n, 32).

    Raises IntegrityError where they are missing or are something else.
    """
    return _read_digests(directory, TRAINED_IDS, whose=whose)


def read_trained_prints(directory: Path, *, whose: str) -> NDArray[np.uint8] | None:
    """Map the prints of these images, (m, 32), as the network took them.

    Fewer than ids where a parent took its images in another form. None where there are none: an
    earlier release made the version. Raises as `read_trained_ids` does, and where they are more.
    """
    if not (directory / EXTRAS / TRAINED_PRINTS).exists():
        return None
    prints = _read_digests(directory, TRAINED_PRINTS, whose=whose)
    ids = read_trained_ids(directory, whose=whose)
    if len(prints) > len(ids):
        raise IntegrityError(
            f"{whose}: {TRAINED_PRINTS} holds {len(prints)} prints for {len(ids)} ids; {_WAY}"
        )
    return prints


def _read_digests(directory: Path, name: str, *, whose: str) -> NDArray[np.uint8]:
    try:
        found: NDArray[np.uint8] = np.load(
            directory / EXTRAS / name, mmap_mode="r", allow_pickle=False
        )
    except (OSError, ValueError, EOFError) as error:
        raise IntegrityError(f"{whose} has no readable {name} ({error}); {_WAY}") from None
    if not isinstance(found, np.ndarray) or found.ndim != 2 or found.shape[1] != 32:
        raise IntegrityError(f"{whose}: {name} does not hold ids of 32 bytes; {_WAY}")
    return found


def another_release(error: ValidationError, *, whose: str, where: str) -> IntegrityError:
    """Make an error of a record that this release cannot read."""
    first = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    return IntegrityError(
        f"{whose} was written by another release of pitchpipe ({where}: {place}: {first['msg']}); "
        "use that release for it, or make a new version with `pitchpipe run`"
    )


_WAY = "export it again where it came from, or make a new version with `pitchpipe run`"
