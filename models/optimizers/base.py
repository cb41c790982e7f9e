"""What every optimiser's config can do: build the torch optimiser."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from models.record import Record

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer


class OptimizerBase(Record):
    """Base of the configs of optimisers; a subclass names itself and has a learning rate.

    torch is imported inside `build`: reading params must not wait two seconds for it.
    """

    learning_rate: float

    def build(self, parameters: "Iterable[nn.Parameter]") -> "Optimizer":
        """Build the optimiser of these weights; fused where torch can: all weights in one pass."""
        raise NotImplementedError
