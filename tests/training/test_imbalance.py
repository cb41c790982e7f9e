"""Class weights: what they do to the loss, and that they help rare classes."""

from pathlib import Path
from statistics import mean

import pytest
import torch
from training_fixtures import Trials, write_prepared

from models.config import MlpConfig, TrialConfig
from models.training.losses import TrainingLoss

SHARES = (0.95, 0.03, 0.02)


def test_weights_worked_by_hand(tmp_path: Path) -> None:
    """Each class's images count n / (k n_class): a third of the loss for each of three classes."""
    manifest = write_prepared(tmp_path / "prepared")
    counts = torch.tensor(manifest.splits["train"].class_counts)
    logits, labels = torch.zeros(3, 3), torch.arange(3)
    weighted = TrainingLoss(TrialConfig(class_weights="balanced"), manifest)

    each = torch.stack(
        [weighted(logits[:1], labels[n : n + 1], labels[n : n + 1], 1.0) for n in range(3)]
    )

    expected = counts.sum() / (3 * counts) * torch.log(torch.tensor(3.0))
    torch.testing.assert_close(each, expected)
    plain = TrainingLoss(TrialConfig(), manifest)(logits, labels, labels, 1.0)
    torch.testing.assert_close(plain, 3 * torch.log(torch.tensor(3.0)))


def test_mixed_labels_are_weighed_by_their_shares(tmp_path: Path) -> None:
    """0.7 of the one image's loss and 0.3 of the other's."""
    loss = TrainingLoss(TrialConfig(), write_prepared(tmp_path / "prepared"))
    logits = torch.tensor([[2.0, 0.0, 1.0]])
    own, other = torch.tensor([0]), torch.tensor([1])

    mixed = loss(logits, own, other, 0.7)

    expected = 0.7 * loss(logits, own, own, 1.0) + 0.3 * loss(logits, other, other, 1.0)
    torch.testing.assert_close(mixed, expected)


def test_class_weights_raise_macro_f1_where_classes_are_rare(tmp_path: Path) -> None:
    """95 : 3 : 2, hard to tell apart: without weights the rare classes are given up."""
    trials = Trials(tmp_path / "prepared", write_prepared(tmp_path / "prepared", shares=SHARES))
    found: dict[str, list[float]] = {"none": [], "balanced": []}
    for weights, scores in found.items():
        for seed in range(3):
            config = TrialConfig.model_validate(
                {
                    "network": MlpConfig(hidden_units=16),
                    "class_weights": weights,
                    "objective": "f1_macro",
                    "seed": seed,
                }
            )
            result = trials.result(tmp_path / f"{weights}-{seed}", config, 8)
            scores.append(result.scores.f1_macro)

    assert mean(found["none"]) == pytest.approx(1 / 3, abs=0.05)
    assert mean(found["balanced"]) > mean(found["none"]) + 0.05
