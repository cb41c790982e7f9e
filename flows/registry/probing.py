"""A version that others made, tried before it is registered: in a process of its own, confined."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flows.records.lineage import Lineage
from flows.registry.networks import (
    CLOSE,
    WEIGHTS,
    answers_as_registered,
    build_again,
    check_images,
    load_exported,
    predict,
)
from flows.registry.records import EXTRAS, LINEAGE, read_extra
from models.errors import IntegrityError, PitchpipeError

SECONDS = 600
"""For torch to be imported on a busy machine, and an image to be predicted."""
_SCRIPT = Path(__file__).with_name("trying.py")
_KEPT = ("PATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "SYSTEMROOT")
"""Of the environment; the rest may hold credentials."""


def probe(directory: Path, *, whose: str) -> None:
    """Load a version's network in a confined process, and have it predict an image.

    directory: absolute, its files checked;  whose: how the message calls them.
    Raises IntegrityError where that fails, or its forms do not predict alike.
    """
    reason = _tried(directory)
    if reason is not None:
        raise IntegrityError(
            f"{whose}: its network cannot be loaded ({reason}); nothing was registered. It may be "
            "none, or of another release of torch: export it again where it came from"
        )


def try_network(directory: Path) -> str | None:
    """Say why a version's network does not do; None where it predicts, and alike in its forms."""
    try:
        lineage = read_extra(Lineage, directory, LINEAGE, whose="the version")
        images = check_images(1, lineage.image_shape)
        exported = predict(load_exported(directory), images)
        if not _are_probabilities(exported, len(lineage.classes)):
            return f"it does not give probabilities of {len(lineage.classes)} classes"
        if (directory / EXTRAS / WEIGHTS).is_file():
            built = build_again(directory, lineage)
            if not np.allclose(predict(built, images), exported, rtol=0, atol=CLOSE):
                return f"{WEIGHTS} and the exported network do not predict alike"
            if not answers_as_registered(built, directory, lineage):
                return "it does not predict as it did when it was registered"
    except PitchpipeError as error:
        return str(error)
    # Of a graph that torch cannot run: exceptions of every kind.
    except Exception as error:  # noqa: BLE001 - each is a reason
        return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}"
    return None


def _are_probabilities(found: NDArray[np.float32], classes: int) -> bool:
    return (
        found.dtype == np.float32
        and found.shape == (1, classes)
        and bool(np.all(found >= 0))
        and bool(np.isclose(found.sum(), 1, atol=CLOSE))
    )


def _tried(directory: Path) -> str | None:
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    # One thread each, or the process could not leave the network: that takes a single thread.
    single = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "CUDA_VISIBLE_DEVICES": ""}
    with tempfile.TemporaryDirectory() as nowhere:
        homes = {"HOME": nowhere, "TORCHINDUCTOR_CACHE_DIR": nowhere}
        try:
            done = subprocess.run(  # noqa: S603 - our own interpreter and script
                [sys.executable, "-I", "-B", str(_SCRIPT), str(directory)],
                cwd=nowhere,
                env={**kept, **single, **quiet, **homes},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return f"it took more than {SECONDS} seconds"
    return _answer(done)


def _answer(done: "subprocess.CompletedProcess[str]") -> str | None:
    """Return the reason that the process gave, or how it ended without giving an answer."""
    try:
        answer = json.loads(done.stdout.strip().splitlines()[-1])
        return None if answer == {"refused": None} else str(answer["refused"])[:500]
    except (LookupError, TypeError, ValueError):
        said = done.stderr.strip().splitlines()[-1:] or [""]
        return f"its process ended with {done.returncode}: {said[0][:300]}"
