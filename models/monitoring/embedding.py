"""Embeddings of images by a registered network: the features that its last layer decides by.

They are the input of the linear layer before the softmax: of a network that was built again from
its config, heard while it runs; of an exported one, read off its graph, which needs the version's
own checked files alone, and neither the code nor the trial that made it. Both are the same bits. A
network that ends otherwise is described by its log-probabilities.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx, nn

from models.evaluation.inference import MINIBATCH
from models.evaluation.outcomes import SMALLEST
from models.networks.serving import ServingNetwork

_LINEAR, _SOFTMAX = torch.ops.aten.linear.default, torch.ops.aten.softmax.int
_AFTER_LOGITS = (
    torch.ops.aten.div.Tensor,
    torch.ops.aten.logsumexp.default,
    torch.ops.aten.log_softmax.int,
    torch.ops.aten.stack.default,
)
"""What a version's temperature, and the mean over an image and its mirror image, do to logits. Of
the two the features are the image's, which come first."""


def predict_and_embed(
    network: nn.Module, images: NDArray[np.uint8], *, threads: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Probabilities (n, classes) and embeddings (n, features) of images, n >= 1.

    images: (n, channels, height, width), perhaps memory-mapped. threads: CPU threads of torch.
    """
    torch.set_num_threads(threads)
    with torch.inference_mode():
        parts = [
            _predict_and_embed(network, torch.from_numpy(images[start : start + MINIBATCH].copy()))
            for start in range(0, len(images), MINIBATCH)
        ]
    probabilities, embeddings = zip(*parts, strict=True)
    return torch.cat(probabilities).numpy(), torch.cat(embeddings).numpy()


def _predict_and_embed(network: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    if isinstance(network, ServingNetwork):
        probabilities, found = _heard(network, images)
    else:
        probabilities, found = _read_off(network, images)
    if found is None:
        return probabilities, probabilities.clamp_min(SMALLEST).log()
    return probabilities, torch.flatten(found, 1)


def _heard(serving: ServingNetwork, images: Tensor) -> tuple[Tensor, Tensor | None]:
    """Probabilities, and the input of the linear layer whose output are the logits."""
    heard: list[tuple[Tensor, Tensor]] = []
    ended: list[Tensor] = []
    linear = [layer for layer in serving.network.modules() if isinstance(layer, nn.Linear)]
    hooks = [
        layer.register_forward_hook(lambda _, given, output: heard.append((given[0], output)))
        for layer in linear
    ]
    hooks.append(serving.network.register_forward_hook(lambda *call: ended.append(call[2])))
    try:
        probabilities: Tensor = serving(images)
    finally:
        for hook in hooks:
            hook.remove()
    return probabilities, next((given for given, output in heard if output is ended[0]), None)


def _read_off(network: nn.Module, images: Tensor) -> tuple[Tensor, Tensor | None]:
    """Probabilities, and the input of an exported network's last linear layer."""
    features = _features_node(network)
    if features is None or not isinstance(network, fx.GraphModule):
        return network(images), None
    recorder = _NodeRecorder(network, features)
    return recorder.run(images), recorder.value


class _NodeRecorder(fx.Interpreter):
    """Runs a graph and keeps the value of one of its nodes."""

    value: Tensor

    def __init__(self, network: fx.GraphModule, node: fx.Node) -> None:
        super().__init__(network)
        self._node = node

    def run_node(self, n: fx.Node) -> object:
        result = super().run_node(n)
        if n is self._node:
            self.value = result
        return result


def _features_node(network: nn.Module) -> fx.Node | None:
    """Find x in output = softmax(linear(x, ...) / t), or in the mean over it and its mirror image.

    None where the graph ends otherwise.
    """
    if not isinstance(network, fx.GraphModule):
        return None
    node: fx.Node | None = network.graph.output_node()
    for target in ("output", _SOFTMAX, _LINEAR):
        if node is None or node.target != target or not node.all_input_nodes:
            return None
        node = node.all_input_nodes[0]
        while node.target in _AFTER_LOGITS and node.all_input_nodes:
            node = node.all_input_nodes[0]
    return node
