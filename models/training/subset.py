"""A part of the train split, chosen by the images' digests, for trials on fewer images."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.datasets.prepared import Manifest, Split
from models.trials import Subset

_STEP = 0x9E3779B97F4A7C15
"""Of SplitMix64 (Steele, Lea & Flood, 2014), whose output is uniform for any sequence of draws."""


class ChosenImages:
    """Some rows of an array of images; only those asked for are read."""

    def __init__(self, images: NDArray[np.uint8], rows: NDArray[np.int64]) -> None:
        self._images, self._rows = images, rows

    def __getitem__(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Gather images (n, channels, height, width) of rows (n,), counted among the chosen."""
        gathered: NDArray[np.uint8] = self._images[self._rows[rows]]
        return gathered


@dataclass(frozen=True, slots=True)
class ChosenSplit:
    """What minibatches are made of, of a part of the train split."""

    images: ChosenImages
    labels: NDArray[np.int64]
    """(m,)"""

    @classmethod
    def of(cls, split: Split, subset: Subset) -> "ChosenSplit":
        """Choose the subset's images of a split, at least one."""
        rows = np.flatnonzero(chosen(split, subset)).astype(np.int64)
        return cls(images=ChosenImages(split.images, rows), labels=np.array(split.labels)[rows])


def chosen(split: Split, subset: Subset) -> NDArray[np.bool_]:
    """Whether each image of a split, (n,), is in the subset.

    Bytes 16-23 of its digest decide, which no split depends on, mixed with the number of the draw:
    an image within a fraction is within every larger one of the same draw, whatever is added.
    """
    words = np.ascontiguousarray(split.ids[:, 16:24]).view(">u8").astype(np.uint64).ravel()
    mixed = words + np.uint64((subset.draw + 1) * _STEP % 2**64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    mixed ^= mixed >> np.uint64(31)
    # 53 bits, which a float64 represents exactly, so that 1.0 is never reached.
    within: NDArray[np.bool_] = (mixed >> np.uint64(11)) / 2.0**53 < subset.fraction
    return within if subset.only is None else within | (split.labels != subset.only)


def chosen_manifest(manifest: Manifest, part: ChosenSplit) -> Manifest:
    """Return the manifest with the part's images as train's, for the weights of classes.

    Means and deviations of pixels stay those of the whole split.
    """
    counts = np.bincount(part.labels, minlength=len(manifest.classes)).tolist()
    update = {"images": len(part.labels), "class_counts": tuple(counts)}
    train = manifest.splits["train"].model_copy(update=update)
    return manifest.model_copy(update={"splits": {**manifest.splits, "train": train}})
