"""Optimisers: how weights are moved. A file each, and a line each in the table below."""

from typing import Annotated

from pydantic import Field

from models.optimizers.adagrad import AdagradConfig
from models.optimizers.adam import AdamConfig, AdamWConfig
from models.optimizers.muon import MuonConfig
from models.optimizers.rmsprop import RmspropConfig
from models.optimizers.sgd import GdConfig, SgdConfig

OptimizerConfig = Annotated[
    # `trial.optimizer.name` chooses one; docs/extending.md adds one.
    GdConfig | SgdConfig | AdamConfig | AdamWConfig | RmspropConfig | AdagradConfig | MuonConfig,
    Field(discriminator="name"),
]

__all__ = [
    "AdagradConfig",
    "AdamConfig",
    "AdamWConfig",
    "GdConfig",
    "MuonConfig",
    "OptimizerConfig",
    "RmspropConfig",
    "SgdConfig",
]
