"""Starting values of a params file, from a look at the images."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from models.datasets.decoding import decode
from models.datasets.labelled_images import PixelRows, Rows, Source
from models.datasets.pixels import Pixels, canonical
from models.errors import InputError

SAMPLE = 500
"""Images decoded, evenly over the source."""
SIZES = (32, 48, 64)
"""Sides to choose from, pixels; the residual network halves its input up to three times."""
BUDGET = 156_000
"""Images x epochs at 64 pixels of one trial: about 20 minutes for two trials, a core each."""
EPOCHS = (10, 120)
"""Fewest and most."""
SHARE_TRAINED = 0.65
"""Of the images, by the default `data.fractions`."""
IMBALANCE = 3.0
"""Images of the largest class to those of the smallest from which classes are weighted."""


@dataclass(frozen=True, slots=True)
class Overview:
    """What a source holds, by a sample of its images."""

    images: int
    class_counts: tuple[int, ...]
    """Images of each class."""
    side: int
    """Median of the longer sides, pixels."""
    channels: Literal[1, 3]
    """1: all sampled images are grey."""


@dataclass(frozen=True, slots=True)
class Recommendation:
    """Values of a params file with which a first retraining takes about half an hour."""

    image_size: int
    channels: Literal[1, 3]
    epochs: int
    warmup: int
    """Epochs."""
    minibatch_size: int
    class_weights: Literal["none", "balanced"]


def survey(source: Source) -> Overview:
    """Count the images of a source and look at a sample; files that cannot be read are left out.

    Raises InputError where there is no image that can be read.
    """
    counts = np.zeros(len(source.classes), np.int64)
    for rows in source.rows():
        counts += np.bincount(rows.labels, minlength=len(counts))
    step = max(1, int(counts.sum()) // SAMPLE)
    sides, colours = [], []
    for pixels in _sample(source, step):
        sides.append(max(pixels.shape[:2]))
        colours.append(canonical(pixels).shape[2])
    if not sides:
        raise InputError(
            f"{source.name}: no image of it can be read; `pitchpipe data check` says why"
        )
    return Overview(
        images=int(counts.sum()),
        class_counts=tuple(counts.tolist()),
        side=int(np.median(sides)),
        channels=3 if max(colours) == 3 else 1,
    )


def recommend(seen: Overview) -> Recommendation:
    """Choose size, channels and epochs, so that two trials take about 20 minutes on two cores."""
    fitting = (size for size in SIZES if size >= 0.9 * seen.side)
    size = next(fitting, SIZES[-1])
    trained = max(1.0, SHARE_TRAINED * seen.images)
    affordable = BUDGET * (64 / size) ** 2 / trained
    epochs = int(np.clip(round(affordable), *EPOCHS))
    present = [count for count in seen.class_counts if count]
    return Recommendation(
        image_size=size,
        channels=seen.channels,
        epochs=epochs,
        warmup=max(1, epochs // 24),
        minibatch_size=32 if trained < 20_000 else 128,
        class_weights="balanced" if max(present) > IMBALANCE * min(present) else "none",
    )


def _sample(source: Source, step: int) -> Iterator[Pixels]:
    """Decode every step-th image."""
    before = 0
    for rows in source.rows():
        chosen = range(-before % step, len(rows.labels), step)
        before += len(rows.labels)
        yield from _decode(rows, chosen)


def _decode(rows: Rows, chosen: range) -> Iterator[Pixels]:
    if isinstance(rows, PixelRows):
        yield from rows.pixels[chosen.start :: chosen.step]
        return
    for row in chosen:
        file = rows.files[row]
        try:
            if not isinstance(file, InputError):
                yield decode(file)
        except InputError:
            continue  # the checks of `data add` report it
