"""The loss that training minimises."""

import torch
from torch import Tensor
from torch.nn import functional

from models.config import TrialConfig
from models.datasets.prepared import Manifest


class TrainingLoss:
    """Cross-entropy with label smoothing, class weights and mixed labels, as the trial asks."""

    def __init__(self, config: TrialConfig, manifest: Manifest) -> None:
        self._smoothing = config.label_smoothing
        self._weights = _balanced(manifest) if config.class_weights == "balanced" else None

    def __call__(self, logits: Tensor, labels: Tensor, others: Tensor, share: float) -> Tensor:
        """Sum over images of the loss, nats.

        logits: (n, classes); labels, others: (n,), with weights share and 1 - share.
        """
        loss = self._sum(logits, labels)
        return loss if share == 1 else share * loss + (1 - share) * self._sum(logits, others)

    def _sum(self, logits: Tensor, labels: Tensor) -> Tensor:
        weights = None if self._weights is None else self._weights.to(logits.device, logits.dtype)
        return functional.cross_entropy(
            logits, labels, weight=weights, reduction="sum", label_smoothing=self._smoothing
        )


def _balanced(manifest: Manifest) -> Tensor:
    """Weights by which each class of train counts the same; their mean over its images is 1."""
    counts = torch.tensor(manifest.splits["train"].class_counts, dtype=torch.float64)
    present = int((counts > 0).sum())
    weights = counts.sum() / (present * counts.clamp(min=1))
    return weights.to(torch.float32)
