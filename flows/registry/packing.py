"""A network as files that MLflow serves without pickle and without pitchpipe, with its lineage."""

import contextlib
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import mlflow
import numpy as np
from mlflow.models import Model, ModelSignature
from mlflow.types import Schema, TensorSpec

from flows.records.lineage import Lineage, environment_facts
from flows.registry.networks import build_again, load_exported, predict, write_weights
from flows.registry.records import (
    EVALUATION,
    EXTRAS,
    LINEAGE,
    TRAINED_IDS,
    TRAINED_PRINTS,
    Registration,
)
from flows.registry.safety.archive import StrangeArchiveError
from models.digests import digest_file, digest_of
from models.errors import IntegrityError
from models.evaluation.slices.records import SLICES

if TYPE_CHECKING:
    from torch import nn

_UNSIGNED = {"registered_model_meta"}
"""Written by MLflow itself beside the files when it downloads them."""


def pack(directory: Path, registration: Registration, *, model_id: str) -> str:
    """Write a version's files into a new directory, check what they predict, return their digest.

    The export and, where there is one, the network built again from its weights are both asked.
    Raises IntegrityError where they do not predict as the network does, to the bit.
    """
    with _expected_warnings(), _exporting():
        mlflow.pytorch.save_model(
            registration.serving,
            str(directory),
            mlflow_model=Model(model_id=model_id, run_id=registration.run_id),
            # One image would freeze the batch dimension to 1 in torch.export.
            input_example=np.resize(registration.example, (4, *registration.image_shape)),
            signature=_signature(registration),
            # Left to MLflow, finding these takes 15 s.
            pip_requirements=[f"{name}=={metadata.version(name)}" for name in ("torch", "numpy")],
            serialization_format="pt2",
        )
    lineage = _write_extras(directory / EXTRAS, registration)
    built = write_weights(directory, registration.serving, registration.image_shape)
    with _exporting():
        exported = load_exported(directory)
    _check_predictions(exported, registration)
    if built:
        _check_predictions(build_again(directory, lineage), registration)
    return files_digest(directory)


def files_digest(directory: Path) -> str:
    """Digest over names and bytes of a version's files."""
    return digest_of(
        {
            path.relative_to(directory).as_posix(): digest_file(path)
            for path in sorted(directory.rglob("*"))
            if path.is_file() and path.name not in _UNSIGNED
        }
    )


@contextlib.contextmanager
def _expected_warnings() -> Iterator[None]:
    """Silence warnings of libraries that users can do nothing about."""
    with warnings.catch_warnings():
        # torch 2.13 takes channels_last weights for parts of something; `_check_predictions` looks.
        warnings.filterwarnings("ignore", "No complete tensor found in the group")
        # mlflow 3.17.2 warns of a type hint in its own module when mlflow.pyfunc is imported.
        warnings.filterwarnings("ignore", ".*Any type hint is inferred as AnyType")
        yield


@contextlib.contextmanager
def _exporting() -> Iterator[None]:
    """Turn any exception of torch.export into an IntegrityError."""
    try:
        yield
    except Exception as error:
        cause = error.__cause__ if isinstance(error.__cause__, StrangeArchiveError) else error
        reason = str(cause).strip().splitlines()[:1] or [type(error).__name__]
        raise IntegrityError(
            f"the network cannot be served without its code, nothing was registered: {reason[0]}; "
            "torch.export must accept it, for any number of images"
        ) from error


def _signature(registration: Registration) -> ModelSignature:
    images = TensorSpec(np.dtype(np.uint8), (-1, *registration.image_shape))
    probabilities = TensorSpec(np.dtype(np.float32), (-1, len(registration.classes)))
    return ModelSignature(inputs=Schema([images]), outputs=Schema([probabilities]))


def _write_extras(extras: Path, registration: Registration) -> Lineage:
    extras.mkdir()
    lineage = Lineage(
        spec=registration.spec,
        result=registration.result,
        dataset=registration.dataset,
        code=registration.code,
        params=registration.params.model_dump(mode="json"),
        classes=registration.classes,
        image_shape=registration.image_shape,
        resize=registration.params.data.resize,
        interpolation=registration.params.data.interpolation,
        environment=environment_facts(registration.spec.versions),
        trained_images=len(registration.trained_ids),
        validation_images=registration.validation_images,
        calibration=registration.calibration,
        flips=registration.params.evaluation.flips,
        parent=registration.parent,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    (extras / LINEAGE).write_text(lineage.model_dump_json(indent=2), encoding="utf-8")
    evaluation = registration.evaluation.model_dump_json(indent=2)
    (extras / EVALUATION).write_text(evaluation, encoding="utf-8")
    if registration.slices is not None:
        slices = registration.slices.model_dump_json(indent=2)
        (extras / SLICES).write_text(slices, encoding="utf-8")
    np.save(extras / TRAINED_IDS, registration.trained_ids, allow_pickle=False)
    if registration.trained_prints is not None:
        np.save(extras / TRAINED_PRINTS, registration.trained_prints, allow_pickle=False)
    return lineage


def _check_predictions(loaded: "nn.Module", registration: Registration) -> None:
    generator = np.random.default_rng(0)
    for count in (1, 3, 200):
        shape = (count, *registration.image_shape)
        images = generator.integers(0, 256, shape, dtype=np.uint8)
        expected = predict(registration.serving, images)
        with _exporting():
            found = predict(loaded, images)
        if not np.array_equal(found, expected):
            raise IntegrityError(
                f"the exported network does not predict {count} images as the trained one does, "
                "to the bit; nothing was registered. Its layers may depend on the batch"
            )
