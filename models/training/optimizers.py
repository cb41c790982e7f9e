"""Optimisers by their config."""

from collections.abc import Iterable

import torch
from torch import nn

from models.config import AdamConfig, OptimizerConfig, SgdConfig


def build_optimizer(
    config: OptimizerConfig, parameters: Iterable[nn.Parameter]
) -> torch.optim.Optimizer:
    """Build the optimiser named in config; fused, which moves all weights in one pass."""
    if isinstance(config, AdamConfig):
        return torch.optim.Adam(
            parameters,
            lr=config.learning_rate,
            betas=(config.beta1, config.beta2),
            weight_decay=config.weight_decay,
            fused=True,
        )
    sgd = config if isinstance(config, SgdConfig) else SgdConfig()
    return torch.optim.SGD(
        parameters,
        lr=config.learning_rate,
        momentum=sgd.momentum,
        nesterov=sgd.nesterov,
        weight_decay=config.weight_decay,
        fused=True,
    )
