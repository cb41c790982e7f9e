"""Attribution maps by captum: how much each pixel speaks for an answer."""

import importlib.util
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from models.errors import MissingExtraError
from models.evaluation.explanation.records import METHODS, Method
from models.networks.serving import ServingNetwork, normalise

Images = npt.NDArray[np.uint8]
Maps = npt.NDArray[np.float32]

STEPS = 50
"""Points of the path of integrated gradients."""
WINDOWS = 7
"""Occluding windows that fit into a side; they move by half their width."""
_MOST_VALUES, _MOST_IMAGES = 2**22, 256
"""Of pixels in one pass: 16 MB, whatever the images' size."""


def require_captum() -> None:
    """Raise MissingExtraError, with the way out, where captum is not installed."""
    if importlib.util.find_spec("captum") is None:
        raise MissingExtraError(
            "attribution maps need captum, which is not installed; `make install EXTRAS=explain` "
            "in the checkout of pitchpipe"
        )


def fitting_methods(network: ServingNetwork, shape: Sequence[int]) -> tuple[Method, ...]:
    """Return the methods that a network has maps by: Grad-CAM needs a convolution.

    shape: channels, height, width of its images.
    """
    convolutional = last_convolution(network, shape) is not None
    return tuple(one for one in METHODS if one != "grad_cam" or convolutional)


def attribute(
    network: ServingNetwork, images: Images, answers: Sequence[int], method: Method
) -> Iterator[Maps]:
    """Yield how much each pixel (height, width) of each image speaks for its answer.

    network: in evaluation mode.  images: (n, channels, height, width), explained one by one, so
    that a map does not depend on its neighbours.  answers: a class for each.  Explained is the
    class's logit, of the network as it is served; channels are summed. Positive: for the answer.

    occlusion: what the logit loses where a window is covered with the mean colour of train (Zeiler
    & Fergus, 2014).  integrated_gradients: from that colour to the image (Sundararajan et al.,
    2017): the map sums to the difference of both logits.  grad_cam: channels of the last
    convolution weighed by the logit's gradient, never negative (Selvaraju et al., 2017); raises
    ValueError where there is none.
    """
    explain = _explainer(network, images.shape[1:], method)
    for image, answer in zip(images, answers, strict=True):
        pixels = torch.from_numpy(image[None].astype(np.float32)).requires_grad_()
        found: Maps = explain(pixels, int(answer)).detach().sum(dim=1)[0].numpy()
        yield found.astype(np.float32)


def mean_colour(network: ServingNetwork, shape: Sequence[int]) -> Tensor:
    """Image (1, channels, height, width) of train's mean colour, 0 to 255: it tells nothing."""
    return (network.mean * 255).expand(1, *shape).contiguous()


def last_convolution(network: ServingNetwork, shape: Sequence[int]) -> nn.Module | None:
    """Return the module whose features, (n, channels, h, w) with h > 1, leave convolutions last."""
    found: list[nn.Module] = []

    def remember(module: nn.Module, _: object, output: object) -> None:
        is_map = isinstance(output, Tensor) and output.ndim == 4 and output.shape[2] > 1
        if is_map and any(isinstance(part, nn.Conv2d) for part in module.modules()):
            found.append(module)

    hooks = [module.register_forward_hook(remember) for module in network.network.modules()]
    try:
        with torch.no_grad():
            network.network(normalise(mean_colour(network, shape), network.mean, network.std))
    finally:
        for hook in hooks:
            hook.remove()
    return found[-1] if found else None


def _explainer(
    network: ServingNetwork, shape: Sequence[int], method: Method
) -> Callable[[Tensor, int], Tensor]:
    """Return pixels (1, channels, height, width) and a class -> map (1, channels or 1, h, w)."""
    require_captum()
    at_once = max(1, min(_MOST_IMAGES, _MOST_VALUES // int(np.prod(shape))))
    colour = mean_colour(network, shape)
    if method == "occlusion":
        return _occlusion(network, colour, at_once)
    if method == "integrated_gradients":
        return _integrated_gradients(network, colour, at_once)
    layer = last_convolution(network, shape)
    if layer is None:
        raise ValueError("Grad-CAM weighs the features of a convolution, and there is none")
    return _grad_cam(network, layer)


def _occlusion(
    network: ServingNetwork, colour: Tensor, at_once: int
) -> Callable[[Tensor, int], Tensor]:
    from captum.attr import Occlusion  # noqa: PLC0415 - an extra

    _, channels, height, width = colour.shape
    window = tuple(max(2, side // WINDOWS) for side in (height, width))
    covered: Any = Occlusion(network.logits)

    def explain(pixels: Tensor, answer: int) -> Tensor:
        with torch.no_grad():
            found: Tensor = covered.attribute(
                pixels,
                sliding_window_shapes=(channels, *window),
                strides=(channels, *(side // 2 for side in window)),
                baselines=colour,
                target=answer,
                perturbations_per_eval=at_once,
            )
        return found / channels  # each channel has the whole window's loss

    return explain


def _integrated_gradients(
    network: ServingNetwork, colour: Tensor, at_once: int
) -> Callable[[Tensor, int], Tensor]:
    from captum.attr import IntegratedGradients  # noqa: PLC0415 - an extra

    path: Any = IntegratedGradients(network.logits)

    def explain(pixels: Tensor, answer: int) -> Tensor:
        found: Tensor = path.attribute(
            pixels, colour, target=answer, n_steps=STEPS, internal_batch_size=at_once
        )
        return found

    return explain


def _grad_cam(network: ServingNetwork, layer: nn.Module) -> Callable[[Tensor, int], Tensor]:
    """Where a version asks the mirror image as well, so does the map: the mean of both."""
    from captum.attr import LayerAttribution, LayerGradCam  # noqa: PLC0415 - an extra

    def logits(pixels: Tensor) -> Tensor:
        found: Tensor = network.network(normalise(pixels, network.mean, network.std))
        return found

    weighed: Any = LayerGradCam(logits, layer)

    def seen(pixels: Tensor, answer: int) -> Tensor:
        features = weighed.attribute(pixels, target=answer, relu_attributions=True)
        found: Tensor = LayerAttribution.interpolate(features, tuple(pixels.shape[2:]), "bilinear")
        return found

    def explain(pixels: Tensor, answer: int) -> Tensor:
        if not network.mirror:
            return seen(pixels, answer)
        return (seen(pixels, answer) + seen(pixels.flip(3), answer).flip(3)) / 2

    return explain
