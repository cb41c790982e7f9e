"""A trial's predictions for validation images, kept beside its weights: computed once.

Of each image the true class, the predicted one and the loss: 24 bytes, however many classes.
"""

import hashlib
import io
from pathlib import Path

import numpy as np

from models.evaluation.outcomes import Predictions
from models.files import replacing
from models.trials import TrialResult

MOST_IMAGES = 10_000
"""Of validation that are predicted, the first in order of their digests: a random sample."""


def read_predictions(directory: Path, result: TrialResult) -> Predictions | None:
    """Read what the result's weights predict; None where nothing, or nothing whole, is stored.

    directory: of the trial.
    """
    path = _path(directory, result)
    if not path.is_file():
        return None
    promised, _, payload = path.read_bytes().partition(b"\n")
    if _digest(result, payload) != promised:  # damaged, or of other weights
        return None
    labels, predicted, losses = np.load(io.BytesIO(payload), allow_pickle=False)
    return Predictions(
        labels=labels.astype(np.int64), predicted=predicted.astype(np.int64), losses=losses
    )


def save_predictions(directory: Path, result: TrialResult, predictions: Predictions) -> None:
    """Write them atomically: a line with the SHA-256 of the weights' digest and what follows."""
    buffer = io.BytesIO()
    rows = (predictions.labels, predictions.predicted, predictions.losses)
    np.save(buffer, np.stack(rows).astype(np.float64), allow_pickle=False)
    payload = buffer.getvalue()
    with replacing(_path(directory, result)) as temporary:
        temporary.write_bytes(_digest(result, payload) + b"\n" + payload)


def _path(directory: Path, result: TrialResult) -> Path:
    """Weights are kept by best epoch, and so are their predictions."""
    return directory / f"validation-{result.best_epoch:04d}.bin"


def _digest(result: TrialResult, payload: bytes) -> bytes:
    return hashlib.sha256(result.weights_digest.encode() + payload).hexdigest().encode()
