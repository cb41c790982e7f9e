"""Probabilities of a serving network for many images, in minibatches, always the same bits."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

MINIBATCH = 1000
"""Images at once: fixed, since sums may change their last bit with the shape they are taken in."""


def predict_probabilities(
    serving: nn.Module, images: NDArray[np.uint8], *, threads: int
) -> NDArray[np.float32]:
    """Predict images (n, channels, height, width), n >= 1, as probabilities (n, classes).

    images may be memory-mapped: a minibatch at a time is read. threads: CPU threads of torch,
    which become the process's; they too decide the last bit.
    """
    torch.set_num_threads(threads)
    with torch.inference_mode():
        parts = [
            serving(torch.from_numpy(images[start : start + MINIBATCH].copy())).numpy()
            for start in range(0, len(images), MINIBATCH)
        ]
    return np.concatenate(parts)
