"""A version as one ONNX file, which answers as the version does; with weights of 8 bits, nearly."""

import contextlib
import importlib.util
import io
import json
import logging
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from flows.datasets.files import PREPARED
from flows.registry.loading import LoadedVersion, load_version
from flows.registry.networks import CLOSE, check_images
from flows.registry.splits import open_split_for
from flows.tracking.store import Tracking
from models.datasets.class_order import map_labels
from models.datasets.prepared import Split, read_manifest
from models.errors import ConfigError, IntegrityError
from models.evaluation.inference import MINIBATCH
from models.files import replacing
from models.gate.paired import tango_interval

if TYPE_CHECKING:
    import onnx

NEEDED = ("onnx", "onnxscript", "onnxruntime")
MOST_LOST = 0.01
"""Accuracy that weights of 8 bits may lose on the test split."""
CALIBRATION_IMAGES = 500
"""Of validation, by which the ranges of activations are found."""
SIGNIFICANCE = 0.05
_IMAGES, _PROBABILITIES = "images", "probabilities"


@dataclass(frozen=True, slots=True)
class Parity:
    """The file beside the version, on the same test images."""

    images: int
    largest_difference: float
    """Of two probabilities."""
    labels_changed: int
    accuracy: float
    """The version's."""
    accuracy_exported: float
    interval: tuple[float, float]
    """Of the difference, exported minus version, 95 % (Tango, 1998)."""

    @property
    def difference(self) -> float:
        """Of the accuracies; negative: the file is worse."""
        return self.accuracy_exported - self.accuracy

    @property
    def sentence(self) -> str:
        """All of it, for people."""
        low, high = self.interval
        return (
            f"On {self.images} test images: accuracy {self.accuracy_exported:.4f}, of the version "
            f"{self.accuracy:.4f}, difference {self.difference:+.4f} (95 % interval {low:+.4f} to "
            f"{high:+.4f}); {self.labels_changed} labels changed, probabilities differ by at most "
            f"{self.largest_difference:.2g}"
        )


@dataclass(frozen=True, slots=True)
class OnnxExport:
    """A file that was written."""

    version: int
    file: str
    int8: bool
    bytes: int
    tolerance: float
    """int8: accuracy that may be lost; else by what each probability may differ."""
    parity: Parity


def export_onnx(tracking: Tracking, wanted: str, target: Path, *, int8: bool) -> OnnxExport:
    """Write a version's network as ONNX: uint8 (n, channels, height, width) to probabilities.

    int8: weights and activations of convolutions and linear layers are quantised to 8 bits, with
    ranges from images of validation.  The file is run by ONNX Runtime on today's test split before
    it is written; the model's metadata names version, digest, classes and image form.
    Raises ConfigError without the extra `onnx`, IntegrityError where torch cannot export the
    network or the file does not answer as the version: a probability differs by more than 1e-4, or,
    of int8, more than 0.01 of accuracy is lost. Nothing is written then.
    """
    _require_extra()
    loaded = load_version(tracking, wanted)
    test = open_split_for(loaded.files.lineage.image_form, "test")
    model = _exported(loaded)
    if int8:
        model = _quantised(model, open_split_for(loaded.files.lineage.image_form, "validation"))
    _describe(model, loaded)
    content = model.SerializeToString()
    parity = _compare(loaded, content, test)
    _check(parity, loaded, int8=int8)
    with replacing(target) as temporary:
        temporary.write_bytes(content)
    return OnnxExport(
        version=loaded.files.record.version,
        file=str(target),
        int8=int8,
        bytes=len(content),
        tolerance=MOST_LOST if int8 else CLOSE,
        parity=parity,
    )


def _require_extra() -> None:
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"--onnx: {', '.join(missing)}: not installed; `make install EXTRAS=onnx` in the "
            "checkout of pitchpipe"
        )


def _exported(loaded: LoadedVersion) -> "onnx.ModelProto":
    import torch  # noqa: PLC0415 - two seconds that a missing extra need not wait for

    # One image would freeze the number of images to 1.
    images = torch.from_numpy(check_images(2, loaded.files.lineage.image_shape))
    try:
        with _quiet():
            program = torch.onnx.export(
                loaded.network,
                (images,),
                dynamo=True,
                input_names=[_IMAGES],
                output_names=[_PROBABILITIES],
                dynamic_shapes=({0: torch.export.Dim("n", min=1, max=2**20)},),
                verbose=False,
            )
            assert program is not None  # with dynamo=True
            model: onnx.ModelProto = program.model_proto
    # The exporter raises nearly anything on layers that it does not know.
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise IntegrityError(
            f"{loaded.files.called}: torch cannot write its network as ONNX ({reason[:200]}); "
            "`pitchpipe export` without --onnx writes it for MLflow"
        ) from error
    return model


def _quantised(model: "onnx.ModelProto", validation: Split) -> "onnx.ModelProto":
    """Quantise, channel by channel, with the ranges that validation images give."""
    import onnx  # noqa: PLC0415 - an extra
    from onnxruntime import quantization  # noqa: PLC0415

    minibatches = _minibatches(validation.images[:CALIBRATION_IMAGES], 100)
    with tempfile.TemporaryDirectory() as folder, _quiet():
        plain, quantised = (str(Path(folder) / name) for name in ("plain.onnx", "int8.onnx"))
        onnx.save(model, plain)
        quantization.quantize_static(
            plain,
            quantised,
            _Ranges(iter([{_IMAGES: images} for images in minibatches])),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            op_types_to_quantize=["Conv", "Gemm", "MatMul"],
        )
        return onnx.load(quantised)


@dataclass(slots=True)
class _Ranges:
    """What onnxruntime calls a CalibrationDataReader: inputs until there are none."""

    inputs: Iterator[dict[str, NDArray[np.uint8]]]

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        """Return the next minibatch."""
        return next(self.inputs, None)


def _describe(model: "onnx.ModelProto", loaded: LoadedVersion) -> None:
    """Say in the file what it is, for readers without the registry."""
    record, lineage = loaded.files.record, loaded.files.lineage
    model.producer_name = "pitchpipe"
    facts = {
        "model": record.name,
        "version": str(record.version),
        "digest": record.tags["model.digest"],
        "classes": json.dumps(lineage.classes),
        "image_form": lineage.image_form.model_dump_json(),
    }
    for key, value in facts.items():
        model.metadata_props.add(key=f"pitchpipe.{key}", value=value)


def _compare(loaded: LoadedVersion, content: bytes, test: Split) -> Parity:
    labels = map_labels(test.labels, read_manifest(PREPARED).classes, loaded.files.lineage.classes)
    ours, theirs = loaded.predict(test.images), _run(content, test.images)
    right, right_there = (found.argmax(axis=1) == labels for found in (ours, theirs))
    gained, lost = int(np.sum(right_there & ~right)), int(np.sum(right & ~right_there))
    return Parity(
        images=len(labels),
        largest_difference=float(np.abs(ours - theirs).max()),
        labels_changed=int(np.sum(ours.argmax(axis=1) != theirs.argmax(axis=1))),
        accuracy=float(right.mean()),
        accuracy_exported=float(right_there.mean()),
        interval=tango_interval(gained, lost, len(labels), significance=SIGNIFICANCE),
    )


def _run(content: bytes, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    import onnxruntime  # noqa: PLC0415 - an extra

    options: Any = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    parts = [session.run(None, {_IMAGES: part})[0] for part in _minibatches(images, MINIBATCH)]
    return np.concatenate(parts)


def _check(parity: Parity, loaded: LoadedVersion, *, int8: bool) -> None:
    if int8 and -parity.difference > MOST_LOST:
        raise IntegrityError(
            f"{loaded.files.called}: with 8 bits it loses {-parity.difference:.4f} of accuracy on "
            f"{parity.images} test images; at most {MOST_LOST} is allowed: export it without --int8"
        )
    if not int8 and not parity.largest_difference <= CLOSE:
        raise IntegrityError(
            f"{loaded.files.called}: a probability of its ONNX file differs by "
            f"{parity.largest_difference:.2g}, at most {CLOSE:g} is allowed; `pitchpipe export` "
            "without --onnx writes it for MLflow"
        )


def _minibatches(images: NDArray[np.uint8], most: int) -> Iterator[NDArray[np.uint8]]:
    return (np.ascontiguousarray(images[at : at + most]) for at in range(0, len(images), most))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence what torch, onnxscript and onnxruntime say of themselves while they export."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
