"""Predictions of a network as it is served, and how long one of them takes."""

import itertools
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.networks.serving import ServingNetwork

MINIBATCH = 1000
"""Images at once: fixed, since sums may change their last bit with the shape they are taken in."""
_WARM_UP, _CALLS, _FEWEST_CALLS = 10, 210, 5
_MOST_SECONDS = 5.0


def predict_probabilities(
    serving: nn.Module, images: NDArray[np.uint8], *, threads: int
) -> NDArray[np.float32]:
    """Predict images (n, channels, height, width), n >= 1, as probabilities (n, classes).

    images may be memory-mapped: a minibatch at a time is read. threads: CPU threads of torch,
    which become the process's; they too decide the last bit.
    """
    return _predict(serving, images, threads=threads)


def predict_logits(
    serving: ServingNetwork, images: NDArray[np.uint8], *, threads: int
) -> NDArray[np.float32]:
    """Predict images as logits (n, classes), otherwise as `predict_probabilities` does."""
    return _predict(serving.logits, images, threads=threads)


def _predict(
    ask: Callable[[Tensor], Tensor], images: NDArray[np.uint8], *, threads: int
) -> NDArray[np.float32]:
    torch.set_num_threads(threads)
    with torch.inference_mode():
        parts = [
            ask(torch.from_numpy(images[start : start + MINIBATCH].copy())).numpy()
            for start in range(0, len(images), MINIBATCH)
        ]
    return np.concatenate(parts)


def measure_latency_ms(serving: nn.Module, image: NDArray[np.uint8]) -> float:
    """Median milliseconds for one image (1, channels, height, width) on one CPU thread.

    210 calls are timed one by one; of a slow network those that fit into 5 s, but at least 5. The
    first 10 (at most half) are left out as a warm-up; the median leaves out pauses of a busy
    machine. torch's number of threads is restored.
    """
    pixels, threads = torch.from_numpy(image.copy()), torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            seconds = _call_seconds(serving, pixels)
    finally:
        torch.set_num_threads(threads)
    return 1000 * statistics.median(seconds[min(_WARM_UP, len(seconds) // 2) :])


def _call_seconds(serving: nn.Module, pixels: torch.Tensor) -> list[float]:
    times = [time.perf_counter()]
    while len(times) <= _CALLS:
        serving(pixels)
        times.append(time.perf_counter())
        if times[-1] - times[0] > _MOST_SECONDS and len(times) > _FEWEST_CALLS:
            break
    return [ended - began for began, ended in itertools.pairwise(times)]
