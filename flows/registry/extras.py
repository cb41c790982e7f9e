"""Records kept inside a version, read back: by this release, or an error that says so."""

from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from models.config import Record
from models.errors import IntegrityError

EXTRAS = "pitchpipe"
"""Folder inside a version's files that MLflow does not look at."""
LINEAGE, TRAINED_IDS, EVALUATION = "lineage.json", "trained_ids.npy", "evaluation.json"

_Kind = TypeVar("_Kind", bound=Record)


def read_extra(kind: type[_Kind], directory: Path, name: str, *, whose: str) -> _Kind:
    """Read a record of a version's files; whose: how messages call the version.

    Raises IntegrityError where it is missing, or where another release wrote it.
    """
    path = directory / EXTRAS / name
    try:
        return kind.model_validate_json(path.read_bytes())
    except OSError as error:
        raise IntegrityError(f"{whose} has no readable {name} ({error.strerror}); {_WAY}") from None
    except ValidationError as error:
        raise another_release(error, whose=whose, where=name) from None


def read_trained_ids(directory: Path, *, whose: str) -> NDArray[np.uint8]:
    """Map the ids of the images a version was trained or selected on, (n, 32).

    Raises IntegrityError where they are missing or are something else.
    """
    path = directory / EXTRAS / TRAINED_IDS
    try:
        ids: NDArray[np.uint8] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise IntegrityError(f"{whose} has no readable {TRAINED_IDS} ({error}); {_WAY}") from None
    if not isinstance(ids, np.ndarray) or ids.ndim != 2 or ids.shape[1] != 32:
        raise IntegrityError(f"{whose}: {TRAINED_IDS} does not hold ids of 32 bytes; {_WAY}")
    return ids


def another_release(error: ValidationError, *, whose: str, where: str) -> IntegrityError:
    """Make an error of a record that this release cannot read."""
    first = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    return IntegrityError(
        f"{whose} was written by another release of pitchpipe ({where}: {place}: {first['msg']}); "
        "use that release for it, or make a new version with `pitchpipe run`"
    )


_WAY = "export it again where it came from, or make a new version with `pitchpipe run`"
