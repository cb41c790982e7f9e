"""Checkpoints: tensors and plain types, in files that are whole and have the digest promised."""

import hashlib
import io
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from models.config import TrialConfig
from models.datasets.prepared import Manifest
from models.digests import digest_file
from models.errors import IntegrityError
from models.files import replacing
from models.networks.serving import ServingNetwork
from models.trials import TrialResult

Weights = dict[str, Tensor]
"""Name -> tensor, as `nn.Module.state_dict` gives them."""


@dataclass(frozen=True, slots=True)
class TrainingState:
    """All that the next epoch depends on; no randomness, which is a function of the epoch."""

    epoch: int
    """Epochs finished."""
    weights: Weights
    best: Weights
    """Weights after the best of these epochs."""
    optimizer: dict[str, object]
    """As `torch.optim.Optimizer.state_dict` gives it."""
    average: Weights | None = None
    """Running mean of the weights, where one is kept."""


def save_state(path: Path, state: TrainingState) -> None:
    """Write a state atomically: a line with the SHA-256 of what follows, then torch's archive."""
    buffer = io.BytesIO()
    content = {
        "epoch": state.epoch,
        "weights": state.weights,
        "best": state.best,
        "optimizer": state.optimizer,
        "average": state.average,
    }
    torch.save(content, buffer)
    payload = buffer.getbuffer()
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(hashlib.sha256(payload).hexdigest().encode() + b"\n")
        file.write(payload)


def load_state(path: Path) -> TrainingState | None:
    """Read a state; None where there is none, or none whose bytes have their digest."""
    if not path.exists():
        return None
    promised, _, payload = path.read_bytes().partition(b"\n")
    if hashlib.sha256(payload).hexdigest().encode() != promised:
        return None
    content = torch.load(io.BytesIO(payload), weights_only=True)
    return TrainingState(**content)


def save_weights(path: Path, weights: Weights) -> None:
    """Write weights atomically, as `torch.load(path, weights_only=True)` reads them."""
    buffer = io.BytesIO()  # torch writes a path's own name into the archive; a buffer has none
    torch.save({name: tensor.contiguous() for name, tensor in weights.items()}, buffer)
    with replacing(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())


def load_weights(path: Path, digest: str) -> Weights:
    """Read weights whose file has the SHA-256 given. Raises IntegrityError otherwise."""
    if not path.is_file():
        raise IntegrityError(f"{path}: the weights are gone; train the trial again")
    found = digest_file(path)
    if found != digest:
        raise IntegrityError(
            f"{path}: SHA-256 is {found}, not {digest} as recorded; delete it and train again"
        )
    try:
        weights: Weights = torch.load(path, weights_only=True)
    except (pickle.UnpicklingError, RuntimeError) as error:
        raise IntegrityError(f"{path}: holds more than tensors ({error}); train again") from error
    return weights


def copied(weights: Mapping[str, Tensor]) -> Weights:
    """Weights that further training does not change, on the CPU."""
    return {name: tensor.detach().cpu().clone() for name, tensor in weights.items()}


def weights_digest(weights: Mapping[str, Tensor]) -> str:
    """SHA-256 over sorted names, types, shapes and bytes: equal bits, equal digest."""
    total = hashlib.sha256()
    for name, tensor in sorted(weights.items()):
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        total.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return total.hexdigest()


def build_network(config: TrialConfig, manifest: Manifest) -> nn.Module:
    """Build the network of a config for prepared images, with new weights."""
    return config.network.build(
        channels=manifest.channels,
        image_size=manifest.image_size,
        classes=len(manifest.classes),
    )


def normalisation_of(
    config: TrialConfig, manifest: Manifest
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel by which a trial's images are normalised.

    Those of the train split; where training begins with a parent's weights, the parent's, so that
    before the first step the network says what the parent says.
    """
    start = config.begins_with
    if start is None or start.mean is None or start.std is None:
        return manifest.mean, manifest.std
    return start.mean, start.std


def load_serving(
    directory: Path,
    result: TrialResult,
    manifest: Manifest,
    *,
    temperature: float | None = None,
    mirror: bool = False,
) -> ServingNetwork:
    """Load a trial's best weights into the network as it is served, in evaluation mode.

    directory: of the trial;  manifest: of the prepared data it was trained on;  temperature,
    mirror: as `ServingNetwork` takes them.
    Raises IntegrityError where the file is gone or has not the digest recorded, and where another
    release trained it, whose network of this config had other layers.
    """
    path = directory / result.checkpoint
    weights = load_weights(path, result.checkpoint_digest)
    network = build_network(result.config, manifest)
    try:
        network.load_state_dict(weights)
    except RuntimeError:
        raise IntegrityError(
            f"{path}: holds weights of another network than {result.config.network.name!r} is now; "
            "another release trained them. Train the trial again; a version made of it has its own "
            "network and can be used"
        ) from None
    mean, std = normalisation_of(result.config, manifest)
    return ServingNetwork(
        network, mean=mean, std=std, temperature=temperature, mirror=mirror
    ).eval()
