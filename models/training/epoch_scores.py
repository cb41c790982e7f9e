"""Scores of an epoch, gathered slice by slice."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from models.trials import Scores


class EpochScores:
    """Predictions and summed losses of the images seen since it was made."""

    def __init__(self, classes: int) -> None:
        self._classes = classes
        self._predicted: list[Tensor] = []
        self._labels: list[Tensor] = []
        # Sum of losses, images right, images: exact, or nearly, in float64.
        self._sums = torch.zeros(3, dtype=torch.float64)

    def add(self, logits: Tensor, labels: Tensor, loss_sum: Tensor) -> None:
        """Take in images: logits (n, classes), labels (n,), the sum of their losses, nats."""
        predicted = logits.argmax(1)
        self._predicted.append(predicted)
        self._labels.append(labels)
        right = (predicted == labels).sum()
        seen = torch.full_like(right, len(labels))
        self._sums = self._sums.to(loss_sum.device) + torch.stack([loss_sum, right, seen])

    def reduce(self, total: Callable[[Tensor], Tensor]) -> None:
        """Take in what other processes saw: total gives the sum of a tensor over all of them."""
        self._sums = total(self._sums)

    @property
    def loss_sum(self) -> float:
        """Sum of the images' losses, nats; 0 before any image."""
        return float(self._sums[0])

    @property
    def loss(self) -> float:
        """Mean loss of the images, nats; not finite where training has diverged."""
        return float(self._sums[0] / self._sums[2])

    @property
    def accuracy(self) -> float:
        """Share of the images whose highest logit is the true class's."""
        return float(self._sums[1] / self._sums[2])

    def scores(self) -> Scores:
        """Scores of the images; the losses taken in must be cross-entropies."""
        f1 = f1_macro(torch.cat(self._predicted), torch.cat(self._labels), classes=self._classes)
        return Scores(accuracy=self.accuracy, f1_macro=f1, cross_entropy=self.loss)


def f1_macro(predicted: Tensor, labels: Tensor, *, classes: int) -> float:
    """Mean over the classes with images of 2 TP / (2 TP + FP + FN).

    predicted, labels: (n,), integers in [0, classes); n at least 1.
    """
    true = torch.bincount(labels, minlength=classes)
    claimed = torch.bincount(predicted, minlength=classes)
    both = torch.bincount(labels[labels == predicted], minlength=classes)
    f1 = 2 * both.to(torch.float64) / (true + claimed).clamp(min=1)
    return float(f1[true > 0].mean())


def cross_entropy_sum(logits: Tensor, labels: Tensor) -> Tensor:
    """Sum of cross-entropies in float64: logits (n, classes), labels (n,)."""
    return functional.cross_entropy(logits.to(torch.float64), labels, reduction="sum")
