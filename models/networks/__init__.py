"""Networks: images in, logits out. A file each, and a line each in the table below."""

from typing import Annotated

from pydantic import Field

from models.networks.cnn import CnnConfig
from models.networks.mlp import MlpConfig
from models.networks.pretrained import TimmConfig
from models.networks.resnet import ResnetConfig
from models.networks.rnn import RnnConfig

NetworkConfig = Annotated[
    # `trial.network.name` chooses one; docs/extending.md adds one.
    CnnConfig | MlpConfig | ResnetConfig | RnnConfig | TimmConfig,
    Field(discriminator="name"),
]

__all__ = ["CnnConfig", "MlpConfig", "NetworkConfig", "ResnetConfig", "RnnConfig", "TimmConfig"]
