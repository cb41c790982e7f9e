"""The loss that training minimises."""

import torch
from torch import Tensor
from torch.nn import functional

from models.config import TrialConfig
from models.datasets.prepared import Manifest


class TrainingLoss:
    """Cross-entropy or focal loss, with class weights and mixed labels, as the trial asks.

    Of mixed labels each has its own loss, focal or with smoothing, and the two are weighed.
    """

    def __init__(self, config: TrialConfig, manifest: Manifest) -> None:
        self._smoothing, self._gamma = config.label_smoothing, config.focal_gamma
        self._weights = _balanced(manifest) if config.class_weights == "balanced" else None

    def __call__(self, logits: Tensor, labels: Tensor, others: Tensor, share: float) -> Tensor:
        """Sum over images of the loss, nats.

        logits: (n, classes); labels, others: (n,), with weights share and 1 - share.
        """
        loss = self._sum(logits, labels)
        return loss if share == 1 else share * loss + (1 - share) * self._sum(logits, others)

    def _sum(self, logits: Tensor, labels: Tensor) -> Tensor:
        weights = None if self._weights is None else self._weights.to(logits.device, logits.dtype)
        if self._gamma:
            return _focal_sum(logits, labels, gamma=self._gamma, weights=weights)
        return functional.cross_entropy(
            logits, labels, weight=weights, reduction="sum", label_smoothing=self._smoothing
        )


def _focal_sum(logits: Tensor, labels: Tensor, *, gamma: float, weights: Tensor | None) -> Tensor:
    """Sum of -w (1 - p)^gamma log p, p the probability of the label (Lin et al., 2017, eq. 5)."""
    surprises = functional.cross_entropy(logits, labels, reduction="none")  # -log p
    # The power of 0 has no finite slope for gamma < 1; where p is 1 there is nothing to learn.
    losses = (-torch.expm1(-surprises)).clamp(min=1e-12) ** gamma * surprises
    return losses.sum() if weights is None else (weights[labels] * losses).sum()


def _balanced(manifest: Manifest) -> Tensor:
    """Weights by which each class of train counts the same; their mean over its images is 1."""
    counts = torch.tensor(manifest.splits["train"].class_counts, dtype=torch.float64)
    present = int((counts > 0).sum())
    weights = counts.sum() / (present * counts.clamp(min=1))
    return weights.to(torch.float32)
