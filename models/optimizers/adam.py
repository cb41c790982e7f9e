"""Adam, and Adam with decoupled weight decay."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from models.optimizers.base import OptimizerBase

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer


class AdamConfig(OptimizerBase):
    """Adam (Kingma & Ba, 2015; the article's section 3.2.3)."""

    name: Literal["adam"] = "adam"
    learning_rate: float = Field(0.001, gt=0, le=10)
    """Step size."""
    beta1: float = Field(0.9, ge=0, lt=1)
    """Decay of the gradient's running mean."""
    beta2: float = Field(0.999, ge=0, lt=1)
    """Decay of the squared gradient's running mean."""
    epsilon: float = Field(1e-8, gt=0, le=1)
    """Added to the root of the squared gradient's mean."""
    bias_correction: bool = True
    """false: the means are used as they are, small at first, as in the article's formula."""
    weight_decay: float = Field(0.0, ge=0, le=1)
    """L2 penalty."""

    def build(self, parameters: "Iterable[nn.Parameter]") -> "Optimizer":
        from torch.optim import Adam  # noqa: PLC0415 - see OptimizerBase

        from models.optimizers.uncorrected_adam import UncorrectedAdam  # noqa: PLC0415 - likewise

        if not self.bias_correction:
            return UncorrectedAdam(
                parameters,
                lr=self.learning_rate,
                betas=(self.beta1, self.beta2),
                eps=self.epsilon,
                weight_decay=self.weight_decay,
            )
        return Adam(
            parameters,
            lr=self.learning_rate,
            betas=(self.beta1, self.beta2),
            eps=self.epsilon,
            weight_decay=self.weight_decay,
            fused=True,
        )


class AdamWConfig(OptimizerBase):
    """Adam with decoupled weight decay (Loshchilov & Hutter, 2019), by default of matrices only."""

    name: Literal["adamw"] = "adamw"
    learning_rate: float = Field(0.001, gt=0, le=10)
    """Step size."""
    beta1: float = Field(0.9, ge=0, lt=1)
    """Decay of the gradient's running mean."""
    beta2: float = Field(0.999, ge=0, lt=1)
    """Decay of the squared gradient's running mean."""
    epsilon: float = Field(1e-8, gt=0, le=1)
    """Added to the root of the squared gradient's mean."""
    weight_decay: float = Field(0.01, ge=0, le=1)
    """Share of the step size by which weights shrink a step."""
    decay_biases_and_norms: bool = False
    """Let biases and the gains of normalisations shrink as well."""

    def build(self, parameters: "Iterable[nn.Parameter]") -> "Optimizer":
        from torch.optim import AdamW  # noqa: PLC0415 - see OptimizerBase

        groups: dict[bool, list[nn.Parameter]] = {True: [], False: []}
        for parameter in parameters:
            groups[parameter.ndim > 1 or self.decay_biases_and_norms].append(parameter)
        return AdamW(
            [
                {"params": group, "weight_decay": self.weight_decay if decayed else 0.0}
                for decayed, group in groups.items()
                if group
            ],
            lr=self.learning_rate,
            betas=(self.beta1, self.beta2),
            eps=self.epsilon,
            weight_decay=self.weight_decay,
            fused=True,
        )
