"""Begin training with the weights of a parent: which layers take them, and whether they fit.

The head is every parameter whose shape depends on the number of classes. A buffer, such as the
running statistics of batch normalisation, goes with the layer that it belongs to.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from models.config import TrialConfig
from models.datasets.prepared import Manifest
from models.errors import ConfigError, InputError, IntegrityError
from models.training.checkpoint import Weights, weights_digest

_PREFIX = "network."
"""Of the names of a network's weights inside the network as it is served."""
_LOST = "does not hold the weights that this trial begins with; run again, which writes it anew"
_SHOWN = 3

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ParentWeights:
    """Weights of a network, as a .safetensors file holds them."""

    weights: Weights
    mean: tuple[float, ...] | None
    """By which images are normalised, per channel; None: the file does not say."""
    std: tuple[float, ...] | None

    @property
    def digest(self) -> str:
        """SHA-256 over names, types, shapes and bytes."""
        return weights_digest(self.weights)

    @property
    def shapes(self) -> dict[str, Shape]:
        """Name -> shape."""
        return {name: tuple(tensor.shape) for name, tensor in self.weights.items()}


def read_parent(path: Path) -> ParentWeights:
    """Read a .safetensors file: a version's own, or any with a network's names and tensors.

    Nothing in it is executed. Raises InputError where it is no such file, or holds numbers that are
    not finite.
    """
    import safetensors.torch  # noqa: PLC0415 - of one start in many trainings

    try:
        tensors = safetensors.torch.load(path.read_bytes())
    except OSError as error:
        raise InputError(
            f"{path}: {error.strerror or error}; trial.start.from names a .safetensors file, from "
            "the project's folder"
        ) from error
    except (safetensors.SafetensorError, ValueError, KeyError) as error:
        raise InputError(
            f"{path}: is no .safetensors file ({error}); write the weights with "
            "safetensors.torch.save_file"
        ) from error
    served = any(name.startswith(_PREFIX) for name in tensors)
    weights = _network_of(tensors) if served else tensors
    strange = [name for name, tensor in weights.items() if not _is_finite(tensor)]
    if strange or not weights:
        fault = f"{strange[0]} is not finite" if strange else "there are no weights in it"
        raise InputError(f"{path}: {fault}; take another file")
    mean, std = (_numbers(tensors, name) if served else None for name in ("mean", "std"))
    return ParentWeights(weights, mean, std)


def begin_with(network: nn.Module, config: TrialConfig, manifest: Manifest, path: Path) -> None:
    """Put the weights of `config.start` into the layers of a new network that keep them.

    path: a .safetensors file. Raises IntegrityError where it does not hold the weights whose digest
    the config gives, ConfigError where they do not fit.
    """
    start = config.begins_with
    assert start is not None
    try:
        parent = read_parent(path)
    except InputError as error:
        raise IntegrityError(f"{path}: {_LOST}") from error
    if parent.digest != start.weights:
        raise IntegrityError(f"{path}: {_LOST}")
    check_fits(config, manifest, parent.shapes)
    kept = _kept_names(config, manifest)
    taken = {name: tensor for name, tensor in parent.weights.items() if name in kept}
    network.load_state_dict(taken, strict=False)


def check_fits(config: TrialConfig, manifest: Manifest, parent: Mapping[str, Shape]) -> None:
    """Raise ConfigError where weights of these shapes are not those of the config's network.

    parent: name -> shape. The head is not looked at where it is new.
    """
    own = _shapes(config, manifest)
    head = _head(config, manifest)
    compared = own.keys() | parent.keys()
    if config.begins_with is None or config.begins_with.kept == "backbone":
        compared -= head
    faults = [
        f"{name} is {_shown(parent.get(name))} there, {_shown(own.get(name))} here"
        for name in sorted(compared)
        if own.get(name) != parent.get(name)
    ]
    if faults:
        more = f", and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
        origin = config.start.origin if config.start else ""
        raise ConfigError(
            f"trial.start: the weights of {origin} do not fit this {config.network.name}: "
            f"{'; '.join(faults[:_SHOWN])}{more}. Give trial.network, data.image_size and "
            "data.channels the parent's values"
        )


def head_fits(config: TrialConfig, manifest: Manifest, parent: Mapping[str, Shape]) -> bool:
    """Whether weights of these shapes have the head of the config's network, too."""
    own = _shapes(config, manifest)
    return all(own[name] == parent.get(name) for name in _head(config, manifest))


def _kept_names(config: TrialConfig, manifest: Manifest) -> set[str]:
    names = set(_shapes(config, manifest))
    start = config.begins_with
    return names - _head(config, manifest) if start and start.kept == "backbone" else names


def _head(config: TrialConfig, manifest: Manifest) -> set[str]:
    own, other = (_shapes(config, manifest, more_classes=more) for more in (0, 1))
    return {name for name, shape in own.items() if other.get(name) != shape}


def _shapes(config: TrialConfig, manifest: Manifest, *, more_classes: int = 0) -> dict[str, Shape]:
    with torch.device("meta"):  # no memory, and no number drawn from a generator
        network = config.network.build(
            channels=manifest.channels,
            image_size=manifest.image_size,
            classes=len(manifest.classes) + more_classes,
        )
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


def _network_of(tensors: Mapping[str, Tensor]) -> Weights:
    return {
        name.removeprefix(_PREFIX): tensor
        for name, tensor in tensors.items()
        if name.startswith(_PREFIX)
    }


def _numbers(tensors: Mapping[str, Tensor], name: str) -> tuple[float, ...] | None:
    return tuple(tensors[name].flatten().tolist()) if name in tensors else None


def _is_finite(tensor: Tensor) -> bool:
    return not tensor.is_floating_point() or bool(torch.isfinite(tensor).all())


def _shown(shape: Shape | None) -> str:
    return "absent" if shape is None else str(shape)
