"""Class weights, balanced sampling and focal loss: what they do, and that rare classes gain."""

import math
from pathlib import Path
from statistics import mean

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from training_fixtures import Trials, write_prepared

from models.config import MlpConfig, TrialConfig
from models.datasets.prepared import open_split
from models.training.losses import TrainingLoss
from models.training.minibatches import Minibatches, balanced_order
from models.training.seeding import generator

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


@given(
    counts=st.lists(st.integers(0, 30), min_size=1, max_size=5).filter(any),
    seed=st.integers(0, 2**31 - 1),
)
def test_a_balanced_epoch_has_as_many_of_each_class(counts: list[int], seed: int) -> None:
    """n images in all; those of a class come equally often, to one; an absent class never."""
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))

    order = balanced_order(labels, generator(seed, "order", epoch=1))

    assert len(order) == len(labels)
    drawn = [int((labels[order] == label).sum()) for label in range(len(counts)) if counts[label]]
    assert max(drawn) - min(drawn) <= 1
    times = torch.bincount(order, minlength=len(labels))
    for label in range(len(counts)):
        of_class = times[labels == label]
        assert not len(of_class) or int(of_class.max() - of_class.min()) <= 1


def test_a_balanced_order_is_a_function_of_seed_and_epoch(tmp_path: Path) -> None:
    """Whatever epoch was asked for before; other epochs have other images of the large class."""
    manifest = write_prepared(tmp_path / "prepared", shares=SHARES)
    train = open_split(tmp_path / "prepared", "train", verify=False)
    config = TrialConfig(sampling="balanced", minibatch_size=8)
    minibatches, again = Minibatches(train, config), Minibatches(train, config)

    second, first = (minibatches.chunk(epoch, 0) for epoch in (2, 1))

    assert torch.equal(again.chunk(1, 0).images, first.images)
    assert not torch.equal(first.images, second.images)
    assert len(first.labels) == manifest.splits["train"].images
    assert (
        minibatches.steps_per_epoch
        == Minibatches(train, TrialConfig(minibatch_size=8)).steps_per_epoch
    )


@pytest.mark.parametrize("weights", ["none", "balanced"])
@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_focal_loss_worked_by_hand(tmp_path: Path, gamma: float, weights: str) -> None:
    """Probabilities 0.8 and 0.1 of the true class: -w (1 - p)^gamma ln p."""
    manifest = write_prepared(tmp_path / "prepared")
    config = TrialConfig.model_validate({"focal_gamma": gamma, "class_weights": weights})
    logits = torch.tensor([[0.8, 0.1, 0.1], [0.3, 0.1, 0.6]]).log()
    labels = torch.tensor([0, 1])

    found = TrainingLoss(config, manifest)(logits, labels, labels, 1.0)

    counts = manifest.splits["train"].class_counts
    shares = [sum(counts) / (3 * count) if weights == "balanced" else 1.0 for count in counts]
    expected = -shares[0] * 0.2**gamma * math.log(0.8) - shares[1] * 0.9**gamma * math.log(0.1)
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_an_image_that_is_certain_has_a_finite_slope(tmp_path: Path) -> None:
    """Below gamma 1 the power's own slope at 0 is infinite."""
    loss = TrainingLoss(TrialConfig(focal_gamma=0.5), write_prepared(tmp_path / "prepared"))
    logits, labels = torch.tensor([[200.0, 0.0, 0.0]], requires_grad=True), torch.tensor([0])

    (slope,) = torch.autograd.grad(loss(logits, labels, labels, 1.0), logits)

    assert torch.equal(slope, torch.zeros(1, 3))


@pytest.mark.parametrize(
    ("config", "way_out"),
    [
        ({"sampling": "balanced", "class_weights": "balanced"}, "together twice: choose one"),
        ({"sampling": "balanced", "optimizer": {"name": "gd"}}, "choose class_weights: balanced"),
        ({"focal_gamma": 2.0, "label_smoothing": 0.1}, "set one of them to 0"),
    ],
)
def test_what_would_make_no_sense_together_is_refused(
    config: dict[str, object], way_out: str
) -> None:
    """With the rule and a way out, before anything is trained."""
    with pytest.raises(ValidationError, match=way_out):
        TrialConfig.model_validate(config)


@pytest.fixture(scope="module")
def rare(tmp_path_factory: pytest.TempPathFactory) -> Trials:
    """95 : 3 : 2, hard to tell apart."""
    prepared = tmp_path_factory.mktemp("rare") / "prepared"
    return Trials(prepared, write_prepared(prepared, shares=SHARES))


@pytest.mark.parametrize("remedy", [{"class_weights": "balanced"}, {"sampling": "balanced"}])
def test_what_balances_classes_raises_macro_f1_where_some_are_rare(
    rare: Trials, tmp_path: Path, remedy: dict[str, str]
) -> None:
    """Without it the rare classes are given up."""
    found: list[float] = []
    for choice in ({}, remedy):
        scores = []
        for seed in range(3):
            config = TrialConfig.model_validate(
                {
                    "network": MlpConfig(hidden_units=16),
                    "objective": "f1_macro",
                    "seed": seed,
                    **choice,
                }
            )
            result = rare.result(tmp_path / f"{len(found)}-{seed}", config, 8)
            scores.append(result.scores.f1_macro)
        found.append(mean(scores))

    plain, balanced = found
    assert plain == pytest.approx(1 / 3, abs=0.05)
    assert balanced > plain + 0.05
