"""What networks cost: parameters, multiply-adds and activations, counted by torch without data.

A network is built on torch's meta device, which knows shapes and holds no values, so that the
largest one takes milliseconds and no memory.
"""

import functools
from collections.abc import Iterator, Sequence

import torch
from pydantic import JsonValue, ValidationError
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from models.config import NetworkConfig, Params, Record, TrialConfig, apply_point
from models.config.space import models_in
from models.record import rule_of

_IMAGES = 2
"""Images counted at once: batch normalisation refuses a single one of one pixel."""


class LayerCost(Record):
    """A layer that has parameters or changes the shape."""

    name: str
    kind: str
    """Class of the module."""
    output: tuple[int, ...]
    """Of one image."""
    parameters: int
    multiply_adds: int
    """For one image."""


class NetworkCost(Record):
    """What a network costs on one image."""

    parameters: int
    multiply_adds: int
    """Of convolutions and matrix products of the forward pass."""
    activation_bytes: int
    """What the backward pass needs of the forward pass in float32, parameters apart: the peak of
    training, but for gradients."""
    layers: tuple[LayerCost, ...]
    """In the order in which an image passes them."""


class NetworkField(Record):
    """A field of a network's config."""

    name: str
    default: JsonValue
    description: str


class NetworkKind(Record):
    """A network that `trial.network.name` can choose."""

    name: str
    description: str
    chosen: bool
    """Whether the params choose it."""
    fields: tuple[NetworkField, ...]
    config: dict[str, JsonValue] | None
    """With which it is counted: fields that the params' network has as well are kept."""
    cost: NetworkCost | None
    """null: `refused`."""
    refused: str | None = None
    """Why the params' images or training cannot have it."""


def network_kinds(params: Params, *, classes: int) -> tuple[NetworkKind, ...]:
    """Describe every network, and count what it costs on the params' images."""
    kinds = models_in(TrialConfig.model_fields["network"].annotation)
    return tuple(_described(kind, params, classes) for kind in kinds)


def _described(kind: type, params: Params, classes: int) -> NetworkKind:
    assert issubclass(kind, Record)
    name = kind.model_fields["name"].default
    known = NetworkKind(
        name=name,
        description=(kind.__doc__ or "").partition("\n")[0],
        chosen=params.trial.network.name == name,
        fields=tuple(_fields(kind)),
        config=None,
        cost=None,
    )
    try:
        network = apply_point(params.trial, {"network.name": name}).network
        network.check_fits(params.data.image_size)
    except ValidationError as error:
        return known.model_copy(update={"refused": rule_of(error.errors()[0])})
    except ValueError as error:
        return known.model_copy(update={"refused": str(error)})
    cost = network_cost(
        network, channels=params.data.channels, image_size=params.data.image_size, classes=classes
    )
    return known.model_copy(update={"config": network.model_dump(mode="json"), "cost": cost})


def _fields(kind: type[Record]) -> Iterator[NetworkField]:
    defaults = kind().model_dump(mode="json")
    for name, known in kind.model_fields.items():
        if name != "name":
            text = known.description or ""
            yield NetworkField(name=name, default=defaults[name], description=text)


def network_cost(
    config: NetworkConfig, *, channels: int, image_size: int, classes: int
) -> NetworkCost:
    """Count what a network costs on one image of image_size pixels a side."""
    with torch.device("meta"):
        network = config.build(channels=channels, image_size=image_size, classes=classes).train()
        images = torch.empty(_IMAGES, channels, image_size, image_size)
    layers, kept = _passed_by(network), list[Tensor]()

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    counter = FlopCounterMode(display=False)
    with counter, torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        network(images)
    flops = {name: sum(counts.values()) for name, counts in counter.get_flop_counts().items()}
    root = type(network).__name__
    return NetworkCost(
        parameters=_parameters(network),
        multiply_adds=_multiply_adds(counter.get_total_flops()),
        activation_bytes=_bytes(kept, apart_from=network) // _IMAGES,
        layers=tuple(
            LayerCost(
                name=name,
                kind=type(layer).__name__,
                output=shape,
                parameters=_parameters(layer),
                multiply_adds=_multiply_adds(flops.get(f"{root}.{name}", 0)),
            )
            for name, layer, shape in layers
        ),
    )


_Passed = list[tuple[str, nn.Module, tuple[int, ...]]]


def _passed_by(network: nn.Module) -> _Passed:
    """Return a list that the innermost layers enter, as an image passes them."""
    passed: _Passed = []

    def enter(name: str, layer: nn.Module, given: tuple[Tensor, ...], result: object) -> None:
        output = result[0] if isinstance(result, tuple) else result  # recurrent layers give two
        assert isinstance(output, Tensor)
        if _parameters(layer) or output.shape != given[0].shape:
            passed.append((name, layer, tuple(output.shape[1:])))

    for name, layer in network.named_modules():
        if not any(True for _ in layer.children()):
            layer.register_forward_hook(functools.partial(enter, name))
    return passed


def _bytes(tensors: Sequence[Tensor], *, apart_from: nn.Module) -> int:
    """Bytes below some tensors; what several look at counts once, parameters do not."""
    sizes = {_storage(tensor): tensor.untyped_storage().nbytes() for tensor in tensors}
    own = {_storage(parameter) for parameter in apart_from.parameters()}
    return sum(size for storage, size in sizes.items() if storage not in own)


def _storage(tensor: Tensor) -> int:
    # On meta, all data pointers are 0.
    return int(tensor.untyped_storage()._cdata)  # noqa: SLF001


def _parameters(layer: nn.Module) -> int:
    return sum(parameter.numel() for parameter in layer.parameters())


def _multiply_adds(flops: int) -> int:
    """Per image; torch counts a multiplication and an addition as two."""
    return flops // (2 * _IMAGES)
