"""Optimisers by their config."""

from collections.abc import Iterable

from torch import nn
from torch.optim import SGD, Adagrad, Adam, AdamW, Optimizer, RMSprop

from models.config import AdamConfig, OptimizerConfig
from models.config.trial import AdagradConfig, AdamWConfig, RmspropConfig, SgdConfig


def build_optimizer(config: OptimizerConfig, parameters: Iterable[nn.Parameter]) -> Optimizer:
    """Build the optimiser named in config; fused where torch can: all weights in one pass."""
    rate, decay = config.learning_rate, config.weight_decay
    if isinstance(config, AdamConfig | AdamWConfig):
        kind = Adam if isinstance(config, AdamConfig) else AdamW
        betas = (config.beta1, config.beta2)
        return kind(parameters, lr=rate, betas=betas, weight_decay=decay, fused=True)
    if isinstance(config, RmspropConfig):
        return RMSprop(
            parameters, lr=rate, alpha=config.decay, momentum=config.momentum, weight_decay=decay
        )
    if isinstance(config, AdagradConfig):
        return Adagrad(parameters, lr=rate, weight_decay=decay, fused=True)
    sgd = config if isinstance(config, SgdConfig) else SgdConfig()  # gd is sgd on one minibatch
    return SGD(
        parameters,
        lr=rate,
        momentum=sgd.momentum,
        nesterov=sgd.nesterov,
        weight_decay=decay,
        fused=True,
    )
