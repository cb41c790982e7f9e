"""Scores of an epoch, gathered slice by slice."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from models.trials import Scores


class EpochSums:
    """Summed losses of the images seen since it was made, and how many of them are right.

    It is changed in place. A tensor kept of each slice lay in what the slice's activations had
    freed, so that the next slice's no longer fitted in: a trial grew by the first layer's
    activations of all train images, 4.8 GB for 51,000 of 28 x 28.
    """

    def __init__(self) -> None:
        # Sum of losses, images right, images: exact, or nearly, in float64.
        self._sums = torch.zeros(3, dtype=torch.float64)

    def add(self, logits: Tensor, labels: Tensor, loss_sum: Tensor) -> None:
        """Take in images: logits (n, classes), labels (n,), the sum of their losses, nats."""
        right = (logits.argmax(1) == labels).sum()
        seen = torch.full_like(right, len(labels))
        self._sums = self._sums.to(loss_sum.device)
        self._sums += torch.stack([loss_sum, right, seen])

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


class EpochScores(EpochSums):
    """Sums with what F1 asks of each class."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self._counts = torch.zeros((3, classes), dtype=torch.int64)

    def add(self, logits: Tensor, labels: Tensor, loss_sum: Tensor) -> None:
        """Take in images; the losses must be cross-entropies."""
        super().add(logits, labels, loss_sum)
        self._counts = self._counts.to(labels.device)
        self._counts += class_counts(logits.argmax(1), labels, classes=self._counts.shape[1])

    def scores(self) -> Scores:
        """Scores of the images."""
        return Scores(
            accuracy=self.accuracy, f1_macro=f1_macro(self._counts), cross_entropy=self.loss
        )


def class_counts(predicted: Tensor, labels: Tensor, *, classes: int) -> Tensor:
    """Images of each class, those taken for it, and both at once: int64 (3, classes).

    predicted, labels: (n,), integers in [0, classes).
    """
    of = (labels, predicted, labels[labels == predicted])
    return torch.stack([torch.bincount(one, minlength=classes) for one in of])


def f1_macro(counts: Tensor) -> float:
    """Mean over the classes with images of 2 TP / (2 TP + FP + FN); counts: `class_counts`."""
    true, claimed, both = counts
    f1 = 2 * both.to(torch.float64) / (true + claimed).clamp(min=1)
    return float(f1[true > 0].mean())


def cross_entropy_sum(logits: Tensor, labels: Tensor) -> Tensor:
    """Sum of cross-entropies in float64: logits (n, classes), labels (n,)."""
    return functional.cross_entropy(logits.to(torch.float64), labels, reduction="sum")
