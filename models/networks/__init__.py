"""Networks: images in, logits out; each file reads from top to bottom with its shapes."""

from torch import nn

from models.config import CnnConfig, MlpConfig, NetworkConfig
from models.networks.cnn import Cnn
from models.networks.mlp import Mlp
from models.networks.rnn import Rnn


def build_network(
    config: NetworkConfig, *, channels: int, image_size: int, classes: int
) -> nn.Module:
    """Build the network named in config: (n, channels, image_size, image_size) -> (n, classes).

    Weights are drawn from torch's global generator; seed it first.
    """
    if isinstance(config, CnnConfig):
        return Cnn(config, channels=channels, image_size=image_size, classes=classes)
    if isinstance(config, MlpConfig):
        return Mlp(config, channels=channels, image_size=image_size, classes=classes)
    return Rnn(config, channels=channels, image_size=image_size, classes=classes)
