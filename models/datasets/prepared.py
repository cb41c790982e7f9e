"""Prepared datasets: the manifest, and arrays that processes map into shared memory."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from models.config import DataParams, Record, SplitName
from models.config.data import ImageForm
from models.errors import InputError, IntegrityError

MANIFEST = "manifest.json"
ARRAYS = ("images", "labels", "ids")

_Scalar = TypeVar("_Scalar", bound=np.generic)


class SplitInfo(Record):
    """One split of the prepared dataset."""

    images: int
    digest: str
    """Over the digests of the three arrays."""
    arrays: dict[str, str]
    """images, labels, ids -> SHA-256 of the array's bytes."""
    class_counts: tuple[int, ...]
    """Images of each class."""


class Eviction(Record):
    """An image with copies in two splits, of which one is kept."""

    id: str
    """SHA-256 of the decoded image."""
    split: SplitName
    """From which it was removed."""
    kept: SplitName
    """In which it is kept."""


class Dropped(Record):
    """Rows of the batches that are not in the arrays, by reason."""

    duplicates: int = 0
    """Exact copies of an image that is kept once."""
    conflicts: int = 0
    """Rows of images with copies under another label."""
    alike: int = 0
    """Different images that resizing made equal."""
    limited: int = 0
    """Beyond data.limit."""
    relabelled: int = 0
    """Rows of images that a relabelling drops."""
    across_splits: int = 0
    """Images with copies in two splits; counted above as well."""
    evictions: tuple[Eviction, ...] = ()
    """The first thousand of them."""


class Finding(Record):
    """A result of a check."""

    code: str
    """Stable name, such as `imbalance`."""
    message: str
    where: str | None = None
    """File, class or split."""


class Manifest(Record):
    """Description of the prepared arrays and their origin."""

    name: str
    digest: str
    """Of the prepared arrays, classes and shape: equal arrays have equal digests."""
    raw_digest: str
    """Of the batches."""
    classes: tuple[str, ...]
    image_size: int
    channels: int
    mean: tuple[float, ...]
    """Mean per channel of train's pixel values, scaled to [0, 1]."""
    std: tuple[float, ...]
    """Standard deviation likewise, at least one grey level, 1/255, so that it can be divided by."""
    splits: dict[SplitName, SplitInfo]
    images: int
    """Rows of the batches, before anything was dropped."""
    dropped: Dropped
    params: DataParams
    """With which they were made."""
    checks: tuple[Finding, ...] = ()
    """Warnings."""

    @property
    def form(self) -> ImageForm:
        """How pictures became the images of the arrays."""
        kept = {"image_size": self.image_size, "channels": self.channels}
        return self.params.form.model_copy(update=kept)


@dataclass(frozen=True, slots=True)
class Split:
    """One split's arrays, mapped read-only."""

    images: NDArray[np.uint8]
    """(n, channels, height, width)."""
    labels: NDArray[np.int64]
    """(n,), indices into the manifest's classes."""
    ids: NDArray[np.uint8]
    """(n, 32), ascending: SHA-256 of each decoded image."""


def read_manifest(prepared: Path) -> Manifest:
    """Read prepared/manifest.json.

    Raises InputError where nothing was prepared, IntegrityError where the file is damaged.
    """
    path = prepared / MANIFEST
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"{path}: {reason}; make it with `pitchpipe prepare`") from error
    except ValidationError as error:
        raise IntegrityError(
            f"{path}: is no manifest ({error.error_count()} faults); "
            "make it again with `pitchpipe prepare`"
        ) from error


def open_split(prepared: Path, split: SplitName, *, verify: bool) -> Split:
    """Map one split's arrays; verify: compare their bytes with the manifest's digests.

    Raises IntegrityError, naming the file, where an array is missing, misshapen or altered.
    """
    manifest = read_manifest(prepared)
    info = manifest.splits[split]
    side = manifest.image_size
    arrays = Split(
        images=_map(prepared / split / "images.npy", (manifest.channels, side, side), np.uint8),
        labels=_map(prepared / split / "labels.npy", (), np.int64),
        ids=_map(prepared / split / "ids.npy", (32,), np.uint8),
    )
    for name in ARRAYS:
        array: NDArray[np.generic] = getattr(arrays, name)
        path = prepared / split / f"{name}.npy"
        if len(array) != info.images:
            raise _altered(path, f"holds {len(array)} rows, the manifest says {info.images}")
        if verify and digest_array(array) != info.arrays[name]:
            raise _altered(path, "does not have the digest that the manifest gives")
    return arrays


def digest_array(array: NDArray[np.generic]) -> str:
    """SHA-256 (hex) of the array's bytes in C order, without shape and type."""
    return hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()


def _map(path: Path, row: tuple[int, ...], kind: type[_Scalar]) -> NDArray[_Scalar]:
    try:
        array: NDArray[_Scalar] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise _altered(path, f"cannot be mapped ({error})") from error
    if array.dtype != kind or array.shape[1:] != row:
        raise _altered(path, f"holds {array.dtype} {array.shape}")
    return array


def _altered(path: Path, fault: str) -> IntegrityError:
    return IntegrityError(f"{path}: {fault}; make it again with `pitchpipe prepare`")
