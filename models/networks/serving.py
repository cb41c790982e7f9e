"""The network as it is tested, registered and served: raw pixels in, probabilities out."""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode


def normalise(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Bring pixels to zero mean and unit deviation of the train split, per channel.

    images: uint8 (n, channels, height, width);  mean, std: float32 (1, channels, 1, 1), in units of
    pixel / 255.  Returns float32 of the images' shape.
    """
    return (images.to(torch.float32) / 255 - mean) / std


def channel_constants(values: Sequence[float]) -> Tensor:
    """Per-channel numbers as float32 (1, channels, 1, 1)."""
    return torch.tensor(values, dtype=torch.float32).reshape(1, -1, 1, 1)


class NewSums(TorchFunctionMode):
    """While inside, `x += y` on tensors binds x to a new one.

    Residual networks write it so. An export must not: whoever reads it need not trust an operator
    that overwrites (flows/registry/safety/operators.py). Where the old tensor is read afterwards,
    by another name or as after `x.add_(y)` alone, the export predicts otherwise and is refused.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        del types
        overwrites = func is Tensor.add_  # as which torch sees += as well
        return (torch.add if overwrites else func)(*args, **(kwargs or {}))


class ServingNetwork(nn.Module):
    """Normalisation, network and softmax in one module, which takes images as they are stored."""

    mean: Tensor
    std: Tensor
    temperature: Tensor | None

    def __init__(
        self,
        network: nn.Module,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        temperature: float | None = None,
        mirror: bool = False,
    ) -> None:
        """temperature: logits are divided by it; None: they are left as they are.

        mirror: probabilities, before that, are the mean of an image's and its mirror image's.
        """
        super().__init__()
        self.network = network
        self.mirror = mirror
        calibrated = temperature is not None
        self.register_buffer("temperature", torch.tensor(temperature) if calibrated else None)
        self.register_buffer("mean", channel_constants(mean))
        self.register_buffer("std", channel_constants(std))

    def forward(self, images: Tensor) -> Tensor:
        # images: uint8 (n, channels, height, width) -> float32 (n, classes), rows sum to 1
        exporting = torch.compiler.is_exporting()
        with NewSums() if exporting else contextlib.nullcontext():
            return torch.softmax(self.logits(images), dim=1)

    def logits(self, images: Tensor) -> Tensor:
        """Logarithms of probabilities up to a constant an image; images as they are stored."""
        pixels = normalise(images, self.mean, self.std)
        logits: Tensor = self.network(pixels)
        if self.mirror:
            views = torch.stack([logits, self.network(pixels.flip(3))])
            logits = torch.logsumexp(torch.log_softmax(views, dim=2), dim=0)
        return logits if self.temperature is None else logits / self.temperature
