"""torch's Muon for the matrices of hidden layers, and its AdamW for all other weights."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Muon, Optimizer


class MuonWithAdamW(Optimizer):
    """One optimiser of all weights: Muon's, which takes matrices alone, and AdamW's.

    Weights of more than two dimensions are given to Muon as matrices on the same memory. Of several
    matrices the last is AdamW's.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        *,
        lr: float,
        momentum: float,
        nesterov: bool,
        weight_decay: float,
    ) -> None:
        every = list(parameters)
        matrices = [one for one in every if one.ndim > 1]
        self._hidden = matrices[:-1] or matrices
        hidden = {id(one) for one in self._hidden}
        last = [one for one in matrices if id(one) not in hidden]
        flat = [one for one in every if one.ndim < 2]
        groups = [{"params": group} for group in (self._hidden, last, flat) if group]
        super().__init__(groups, {"lr": lr})
        self._as_matrices = [nn.Parameter(_rows(one.detach(), one)) for one in self._hidden]
        self._muon = Muon(
            self._as_matrices,
            lr=lr,
            momentum=momentum,
            nesterov=nesterov,
            weight_decay=weight_decay,
            adjust_lr_fn="match_rms_adamw",
        )
        decays = ((last, weight_decay), (flat, 0.0))
        rest = [{"params": group, "weight_decay": decay} for group, decay in decays if group]
        self._adamw = AdamW(rest, lr=lr, fused=True) if rest else None

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override] # no closure is taken
        """Move every parameter that has a gradient."""
        assert closure is None
        for group in (*self._muon.param_groups, *(self._adamw.param_groups if self._adamw else ())):
            group["lr"] = self.param_groups[0]["lr"]
        for weights, matrix in zip(self._hidden, self._as_matrices, strict=True):
            # Anew each time: whoever exchanged the weights' memory exchanged it here as well.
            matrix.data = _rows(weights.data, weights)
            matrix.grad = None if weights.grad is None else _rows(weights.grad, weights)
        self._muon.step()  # type: ignore[no-untyped-call] # torch leaves it untyped
        if self._adamw is not None:
            self._adamw.step()

    def state_dict(self) -> dict[str, object]:
        """State of both optimisers."""
        adamw = None if self._adamw is None else self._adamw.state_dict()
        return {"muon": self._muon.state_dict(), "adamw": adamw}

    def load_state_dict(self, state_dict: dict[str, dict[str, object]]) -> None:
        """Go on from a state of `state_dict`."""
        self._muon.load_state_dict(state_dict["muon"])
        if self._adamw is not None:
            self._adamw.load_state_dict(state_dict["adamw"])


def _rows(values: Tensor, weights: Tensor) -> Tensor:
    """Give values, of the weights' shape, as a matrix with a row an output.

    Weights' own values are no copy: columns have the order that the weights have in memory, which
    the orthogonal matrix nearest to them does not depend on.
    """
    if weights.ndim == 4 and not weights.is_contiguous():
        values = values.permute(0, 2, 3, 1)  # channels innermost
    return values.reshape(len(values), -1)
