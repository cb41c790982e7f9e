"""Embeddings of images by a registered network: the features that its last layer decides by.

They are read off the exported graph itself: the input of the linear layer before the softmax. So
they need the version's own checked files alone, an imported one's too, and neither the code nor the
trial that made it. A network that ends otherwise is described by its log-probabilities.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx, nn

from models.evaluation.inference import MINIBATCH
from models.evaluation.outcomes import SMALLEST

_LINEAR, _SOFTMAX = torch.ops.aten.linear.default, torch.ops.aten.softmax.int
_SCALING = torch.ops.aten.div.Tensor
"""Of logits, by a version's temperature."""


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
    features = _features_node(network)
    if features is None or not isinstance(network, fx.GraphModule):
        probabilities: Tensor = network(images)
        return probabilities, probabilities.clamp_min(SMALLEST).log()
    recorder = _NodeRecorder(network, features)
    probabilities = recorder.run(images)
    return probabilities, torch.flatten(recorder.value, 1)


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
    """Find x in output = softmax(linear(x, ...) / t); None where the graph ends otherwise."""
    if not isinstance(network, fx.GraphModule):
        return None
    node: fx.Node | None = network.graph.output_node()
    for target in ("output", _SOFTMAX, _LINEAR):
        if node is None or node.target != target or not node.all_input_nodes:
            return None
        node = node.all_input_nodes[0]
        if node.target == _SCALING:
            node = node.all_input_nodes[0]
    return node
