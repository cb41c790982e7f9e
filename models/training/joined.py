"""The train and validation splits as one, for a trial that is fitted again to both."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.datasets.prepared import Manifest, Split


class JoinedImages:
    """Images of several splits, one split after the other; only rows asked for are read."""

    def __init__(self, parts: Sequence[NDArray[np.uint8]]) -> None:
        self._parts = parts
        self._starts = np.cumsum([0, *(len(part) for part in parts)])

    def __getitem__(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Gather images (n, channels, height, width) of rows (n,)."""
        gathered = np.empty((len(rows), *self._parts[0].shape[1:]), np.uint8)
        for part, start in zip(self._parts, self._starts, strict=False):
            within = (rows >= start) & (rows < start + len(part))
            gathered[within] = part[rows[within] - start]
        return gathered


@dataclass(frozen=True, slots=True)
class JoinedSplits:
    """What minibatches are made of, of train and validation together."""

    images: JoinedImages
    labels: NDArray[np.int64]
    """(n,), those of train, then of validation."""

    @classmethod
    def of(cls, *splits: Split) -> "JoinedSplits":
        """Join splits in their order."""
        return cls(
            images=JoinedImages([split.images for split in splits]),
            labels=np.concatenate([split.labels for split in splits]),
        )


def joined_manifest(manifest: Manifest) -> Manifest:
    """Return the manifest with validation's images counted as train's, for the weights of classes.

    Means and deviations of pixels stay those of train, by which the trial was normalised.
    """
    train, validation = manifest.splits["train"], manifest.splits["validation"]
    counts = zip(train.class_counts, validation.class_counts, strict=True)
    update = {
        "images": train.images + validation.images,
        "class_counts": tuple(one + other for one, other in counts),
    }
    both = train.model_copy(update=update)
    return manifest.model_copy(update={"splits": {**manifest.splits, "train": both}})
