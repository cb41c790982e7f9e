"""The parts of training that are functions: order, schedules, scores, seeds, digests."""

import ast
import math
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from sklearn.metrics import f1_score

from models.augmentations import NoAugmentation, ShiftAugmentation
from models.config import TrialConfig
from models.config.schedules import (
    ConstantSchedule,
    CosineSchedule,
    ExponentialSchedule,
    LinearSchedule,
    OneCycleSchedule,
    PlateauSchedule,
    RestartsSchedule,
    ScheduleConfig,
    StepSchedule,
    learning_rate_factor,
)
from models.config.trial import EarlyStoppingConfig, Objective
from models.datasets.prepared import Split
from models.digests import digest_source
from models.optimizers import AdamConfig, AdamWConfig, GdConfig, SgdConfig, adagrad
from models.training import source
from models.training.checkpoint import weights_digest
from models.training.early_stopping import best_record, should_stop_early
from models.training.epoch_scores import (
    EpochScores,
    class_counts,
    cross_entropy_sum,
    f1_macro,
)
from models.training.minibatches import CHUNK, SLICE, Minibatches
from models.training.seeding import derived_seed
from models.trials import EpochRecord


def split_of(count: int) -> Split:
    """Images whose one pixel tells their row."""
    rows = np.arange(count)
    images = np.zeros((count, 1, 2, 2), dtype=np.uint8)
    images[:, 0, 0, 0], images[:, 0, 0, 1] = rows % 256, rows // 256
    return Split(images=images, labels=rows, ids=np.zeros((count, 32), dtype=np.uint8))


@settings(deadline=None, max_examples=40)
@given(
    count=st.integers(1, 3000),
    size=st.one_of(st.integers(1, 64), st.integers(65, 4000)),
    epoch=st.integers(1, 3),
)
def test_every_image_is_in_one_minibatch_of_an_epoch(count: int, size: int, epoch: int) -> None:
    """Minibatches are whole but for the last one; chunks and slices only cut them up."""
    minibatches = Minibatches(split_of(count), TrialConfig(minibatch_size=size))
    seen: list[int] = []
    steps: dict[int, int] = {}
    numbers: list[int] = []
    for number in range(len(minibatches)):
        chunk = minibatches.chunk(epoch, number)
        pixels = chunk.images[:, 0, 0].to(torch.int64)
        assert torch.equal(pixels[:, 0] + 256 * pixels[:, 1], chunk.labels)
        assert len(chunk.labels) <= max(CHUNK, SLICE)
        for part in chunk.slices:
            seen += chunk.labels[part.start : part.stop].tolist()
            steps[part.step] = steps.get(part.step, 0) + part.stop - part.start
            numbers.append(part.number)
            assert part.last == (steps[part.step] == part.minibatch)
    assert sorted(seen) == list(range(count))
    assert numbers == list(range(len(numbers)))
    assert len(steps) == minibatches.steps_per_epoch == math.ceil(count / size)
    assert list(steps.values())[:-1] == [size] * (len(steps) - 1)


def test_the_order_is_a_function_of_seed_and_epoch() -> None:
    """Asked for in any order, an epoch's images come the same; other epochs' come otherwise."""
    minibatches = Minibatches(split_of(100), TrialConfig())
    again = Minibatches(split_of(100), TrialConfig())
    other = Minibatches(split_of(100), TrialConfig(seed=1))
    second, first = (minibatches.chunk(epoch, 0).labels.tolist() for epoch in (2, 1))
    assert [again.chunk(epoch, 0).labels.tolist() for epoch in (1, 2)] == [first, second]
    assert first != second
    assert other.chunk(1, 0).labels.tolist() != first


def test_gd_sees_everything_in_one_minibatch() -> None:
    """One step an epoch, whatever minibatch_size says."""
    config = TrialConfig(optimizer=GdConfig(), minibatch_size=2)
    assert Minibatches(split_of(2000), config).steps_per_epoch == 1


@given(seed=st.integers(0, 2**31 - 1), epoch=st.integers(0, 10**6), step=st.integers(0, 10**6))
def test_seeds_fit_torch_and_differ_by_purpose(seed: int, epoch: int, step: int) -> None:
    """63 bits; what is drawn for one purpose says nothing about another."""
    seeds = {
        derived_seed(seed, purpose, epoch=epoch, step=step)
        for purpose in ("weights", "order", "dropout", "augmentation")
    }
    assert len(seeds) == 4
    assert all(0 <= number < 2**63 for number in seeds)


def test_seeds_are_the_same_on_every_machine() -> None:
    """Worked with sha256sum: the first 8 bytes of SHA-256('order/0/1/0'), shifted right once."""
    assert derived_seed(0, "order", epoch=1) == 0x7FB8F2908CB257CE >> 1


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (ConstantSchedule(), [1, 1, 1, 1, 1]),
        (
            CosineSchedule(horizon=2),
            [1, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2, 0],
        ),
        (StepSchedule(every=1, decay=0.1), [1, 1, 0.1, 0.1, 0.01]),
        (ExponentialSchedule(decay=0.25), [1, 0.5, 0.25, 0.125, 0.0625]),
        (ConstantSchedule(warmup=2), [0.25, 0.5, 0.75, 1, 1]),
        (ConstantSchedule(warmup=1.5), [1 / 3, 2 / 3, 1, 1, 1]),
        (LinearSchedule(horizon=2), [1, 0.75, 0.5, 0.25, 0]),
        (RestartsSchedule(period=1, lengthening=1), [1, 0.5, 1, 0.5, 1]),
        (RestartsSchedule(period=1), [1, 0.5, 1, (1 + math.sqrt(0.5)) / 2, 0.5]),
        (
            OneCycleSchedule(horizon=2, rise=0.5, start=0.2, end=0.1),
            [0.2, 0.6, 1, 0.55, 0.1],
        ),
        (ExponentialSchedule(decay=0.25, warmup=1), [0.5, 0.5, 0.25, 0.125, 0.0625]),
    ],
)
def test_schedules_worked_by_hand(schedule: ScheduleConfig, expected: list[float]) -> None:
    """Two steps an epoch, the first five steps."""
    found = [learning_rate_factor(schedule, step, steps_per_epoch=2) for step in range(5)]
    assert found == pytest.approx(expected, abs=1e-6)


@given(
    losses=st.lists(st.sampled_from([0.1, 0.2, 0.3, 0.4]), max_size=30),
    patience=st.integers(1, 5),
)
def test_a_plateau_is_where_torch_finds_one(losses: list[float], patience: int) -> None:
    """torch's patience counts the epochs before the one whose end lowers the rate."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    peer = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=0.5, patience=patience - 1, threshold=0, eps=0
    )
    schedule = PlateauSchedule(patience=patience, decay=0.5)
    for epoch, loss in enumerate(losses, start=1):
        peer.step(loss)
        assert schedule.reduction(losses[:epoch]) == optimizer.param_groups[0]["lr"]


@given(
    schedule=st.sampled_from(
        [
            CosineSchedule(horizon=7, warmup=2),
            StepSchedule(every=3, decay=0.5),
            ExponentialSchedule(decay=0.9, warmup=1),
            LinearSchedule(horizon=7, warmup=0.3),
            OneCycleSchedule(horizon=7),
            RestartsSchedule(period=2),
            RestartsSchedule(period=2, lengthening=1),
        ]
    ),
    step=st.integers(0, 10**7),
    steps_per_epoch=st.integers(1, 10**4),
)
def test_factors_stay_between_nothing_and_one(
    schedule: ScheduleConfig, step: int, steps_per_epoch: int
) -> None:
    """No schedule ever raises the learning rate above its own."""
    assert 0 <= learning_rate_factor(schedule, step, steps_per_epoch=steps_per_epoch) <= 1


def record(epoch: int, accuracy: float, loss: float) -> EpochRecord:
    return EpochRecord(
        epoch=epoch,
        train_loss=1.0,
        train_accuracy=0.5,
        validation_loss=loss,
        validation_accuracy=accuracy,
        validation_f1_macro=1 - accuracy,
        learning_rate=0.1,
        seconds=1.0,
    )


HISTORIES = st.lists(
    st.tuples(st.sampled_from([0.1, 0.5, 0.9]), st.sampled_from([0.2, 0.3])), min_size=1
).map(lambda pairs: [record(number + 1, *pair) for number, pair in enumerate(pairs)])


@given(history=HISTORIES, objective=st.sampled_from(["accuracy", "f1_macro", "cross_entropy"]))
def test_no_epoch_is_better_than_the_best(history: list[EpochRecord], objective: Objective) -> None:
    """Ties go to the lower cross-entropy, then to the earlier epoch."""
    best = best_record(history, objective)
    for other in history:
        ahead = best.scores.gain(objective) - other.scores.gain(objective)
        assert ahead >= 0
        if ahead == 0:
            assert best.validation_loss <= other.validation_loss
        if ahead == 0 and best.validation_loss == other.validation_loss:
            assert best.epoch <= other.epoch


def test_an_empty_history_has_no_best() -> None:
    """There is nothing to choose from."""
    with pytest.raises(ValueError, match="empty"):
        best_record([], "accuracy")


@pytest.mark.parametrize(
    ("accuracies", "patience", "min_delta", "stopped"),
    [
        ([0.5, 0.5], 1, 0.0, True),
        ([0.5, 0.6], 1, 0.0, False),
        ([0.5, 0.6], 1, 0.1, True),
        ([0.5, 0.4, 0.45, 0.6], 3, 0.0, False),
        ([0.5, 0.56, 0.58, 0.62], 3, 0.1, False),
        ([0.5, 0.5, 0.5], None, 0.0, False),
        ([], 1, 0.0, False),
    ],
)
def test_stopping_worked_by_hand(
    accuracies: list[float], patience: int | None, min_delta: float, *, stopped: bool
) -> None:
    """Patience counts epochs since the last gain beyond min_delta over the best before it."""
    history = [record(number + 1, value, 0.3) for number, value in enumerate(accuracies)]
    rule = EarlyStoppingConfig(patience=patience, min_delta=min_delta)
    assert should_stop_early(history, rule, "accuracy") is stopped


@given(pairs=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=60))
def test_macro_f1_is_scikit_learn_s(pairs: list[tuple[int, int]]) -> None:
    """Over the classes with images: being taken for another is what costs the others."""
    predicted, labels = (torch.tensor(side) for side in zip(*pairs, strict=True))
    present = sorted(set(labels.tolist()))
    expected = f1_score(labels, predicted, labels=present, average="macro", zero_division=0)
    assert f1_macro(class_counts(predicted, labels, classes=5)) == pytest.approx(expected)


@settings(deadline=None)
@given(cuts=st.lists(st.integers(1, 29), max_size=5))
def test_scores_do_not_depend_on_how_images_are_sliced(cuts: list[int]) -> None:
    """Counts are exact; the loss is the mean over images, not over slices."""
    source = torch.Generator().manual_seed(3)
    logits = torch.randn(30, 4, generator=source)
    labels = torch.randint(4, (30,), generator=source)
    whole, sliced = EpochScores(4), EpochScores(4)
    whole.add(logits, labels, cross_entropy_sum(logits, labels))
    edges = [0, *sorted(set(cuts)), 30]
    for start, stop in pairwise(edges):
        part = slice(start, stop)
        sliced.add(logits[part], labels[part], cross_entropy_sum(logits[part], labels[part]))
    assert sliced.accuracy == whole.accuracy
    assert sliced.scores().f1_macro == whole.scores().f1_macro
    assert sliced.loss == pytest.approx(whole.loss, rel=1e-12)


def test_an_epoch_takes_no_more_memory_for_more_images() -> None:
    """What is kept of a slice does not keep the allocator from using its activations' place."""
    tally, loss_of = EpochScores(10), torch.nn.CrossEntropyLoss(reduction="sum")
    network = torch.nn.Sequential(
        *(torch.nn.Conv2d(1, 32, 3), torch.nn.ReLU(), torch.nn.MaxPool2d(2)),
        *(torch.nn.Flatten(), torch.nn.Linear(32 * 13 * 13, 10)),
    )

    def see(slices: int) -> int:
        images, labels = torch.ones(32, 1, 28, 28), torch.zeros(32, dtype=torch.int64)
        for _ in range(slices):
            logits = network(images)
            loss = loss_of(logits, labels)
            loss.backward()
            network.zero_grad(set_to_none=True)
            tally.add(logits.detach(), labels.clone(), loss.detach())
        return int(psutil.Process().memory_info().rss)

    before = see(20)
    assert see(180) - before < 100e6  # the first layer's activations were of 500 MB


def test_cross_entropy_worked_by_hand() -> None:
    """-ln(e^2 / (e^2 + e^0)) - ln(1/2), in nats."""
    logits = torch.tensor([[2.0, 0.0], [1.0, 1.0]])
    expected = math.log(1 + math.exp(-2)) + math.log(2)
    assert float(cross_entropy_sum(logits, torch.tensor([0, 1]))) == pytest.approx(expected)


def stepped(config: TrialConfig, gradients: list[float], start: float = 1.0) -> float:
    """One weight after steps along given gradients."""
    weight = torch.nn.Parameter(torch.tensor([start]))
    optimizer = config.optimizer.build([weight])
    for gradient in gradients:
        weight.grad = torch.tensor([gradient])
        optimizer.step()
    return float(weight.detach())


@pytest.mark.parametrize(
    ("rule", "size", "expected"),
    [("none", 128, 0.1), ("linear", 128, 0.4), ("linear", 16, 0.05), ("square_root", 128, 0.2)],
)
def test_a_rate_follows_the_minibatch_where_it_is_told_to(
    rule: str, size: int, expected: float
) -> None:
    """Of a rate of 0.1 chosen at 32 images."""
    tree = {
        "optimizer": {"name": "sgd", "learning_rate": 0.1},
        "minibatch_size": size,
        "learning_rate_scaling": {"rule": rule},
    }
    assert TrialConfig.model_validate(tree).rate == pytest.approx(expected)


def test_gradient_descent_has_no_minibatch_for_its_rate_to_follow() -> None:
    """Refused, as it would change nothing in silence."""
    tree = {"optimizer": {"name": "gd"}, "learning_rate_scaling": {"rule": "linear"}}
    with pytest.raises(ValidationError, match="which gd has no use for"):
        TrialConfig.model_validate(tree)


def test_steps_worked_by_hand() -> None:
    """GD: w - lr g. Momentum: v = m v + g. Adam's first step is the learning rate long."""
    gd = TrialConfig(optimizer=GdConfig(learning_rate=0.1, weight_decay=0.5))
    assert stepped(gd, [2.0]) == pytest.approx(1 - 0.1 * (2 + 0.5 * 1))
    sgd = TrialConfig(optimizer=SgdConfig(learning_rate=0.1, momentum=0.5))
    assert stepped(sgd, [2.0, 1.0]) == pytest.approx(1 - 0.1 * 2 - 0.1 * (0.5 * 2 + 1))
    adam = TrialConfig(optimizer=AdamConfig(learning_rate=0.1))
    assert stepped(adam, [-3.0]) == pytest.approx(1.1)


def test_adamw_lets_matrices_shrink_and_leaves_biases() -> None:
    """Three steps without gradient: w is multiplied by 1 - rate * decay each time."""
    matrix, bias = (torch.nn.Parameter(torch.full(shape, 2.0)) for shape in ((2, 2), (2,)))
    for every, left in ((False, 2.0), (True, 2 * 0.95**3)):
        matrix.data.fill_(2.0)
        bias.data.fill_(2.0)
        config = AdamWConfig(learning_rate=0.1, weight_decay=0.5, decay_biases_and_norms=every)
        optimizer = config.build([matrix, bias])
        for _ in range(3):
            matrix.grad, bias.grad = torch.zeros(2, 2), torch.zeros(2)
            optimizer.step()
        torch.testing.assert_close(matrix.data, torch.full((2, 2), 2 * 0.95**3))
        torch.testing.assert_close(bias.data, torch.full((2,), left))


def test_images_as_they_are_stay_so() -> None:
    """No augmentation returns the very images."""
    images = torch.zeros(2, 1, 4, 4, dtype=torch.uint8)
    assert NoAugmentation().augment(images, 3) is images


@settings(deadline=None)
@given(seed=st.integers(0, 1000), pixels=st.integers(0, 6), channels=st.sampled_from([1, 3]))
def test_a_shift_moves_each_image_as_a_whole(seed: int, pixels: int, channels: int) -> None:
    """The one bright pixel moves by at most `pixels` or leaves; all else is black."""
    images = torch.zeros(20, channels, 9, 9, dtype=torch.uint8)
    images[:, :, 4, 4] = 200
    moved = ShiftAugmentation(pixels=pixels).augment(images, seed)
    assert moved.shape == images.shape
    assert moved.dtype == torch.uint8
    count, *_ = moved.shape
    for image in moved:
        places = image[0].nonzero().tolist()
        assert len(places) <= 1
        assert all(max(abs(row - 4), abs(column - 4)) <= pixels for row, column in places)
        assert torch.equal(image, image[:1].expand_as(image))
    assert torch.equal(moved, ShiftAugmentation(pixels=pixels).augment(images, seed))
    assert pixels > 4 or int((moved > 0).sum()) == count * channels


def test_mirroring_turns_about_half_of_the_images() -> None:
    """Each image is itself or its mirror image, and both occur."""
    images = torch.arange(9, dtype=torch.uint8).reshape(1, 1, 3, 3).expand(100, 1, 3, 3)
    found = ShiftAugmentation(pixels=0, mirror=True).augment(images, 1)
    turned = [torch.equal(image, images[0].flip(2)) for image in found]
    kept = [torch.equal(image, images[0]) for image in found]
    assert all(one != other for one, other in zip(turned, kept, strict=True))
    assert 30 <= sum(turned) <= 70


def test_equal_bits_have_equal_digests_whatever_their_layout() -> None:
    """Memory format and order of insertion do not count; names, shapes and each bit do."""
    tensor = torch.arange(24.0).reshape(1, 2, 3, 4)
    other = {"b": torch.ones(2)}
    one = weights_digest({"a": tensor} | other)
    assert one == weights_digest(
        other | {"a": tensor.contiguous(memory_format=torch.channels_last)}
    )
    assert one != weights_digest({"c": tensor} | other)
    assert one != weights_digest({"a": tensor.reshape(2, 1, 3, 4)} | other)
    assert one != weights_digest({"a": torch.nextafter(tensor, tensor + 1)} | other)


def test_the_source_digest_needs_no_torch() -> None:
    """A no-op decision asks for it and must be quick."""
    code = (
        "import sys; from models.training.source import training_source_digest, package_versions; "
        "assert len(training_source_digest()) == 64; package_versions(); "
        "from models.training.worker import ALLOCATOR_ENVIRONMENT; "
        "sys.exit('torch' in sys.modules or 'pytorch_lightning' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_module_that_training_imports_is_in_the_source_digest() -> None:
    """Whatever of ours fit imports is digested, or is listed here as not deciding any bit."""
    code = (
        "import sys, models.training.fit; "
        "print(*(name for name in sys.modules if name.split('.')[0] == 'models'))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    undecisive = {
        "models",
        "models.errors",
        "models.files",
        "models.digests",
        "models.processes",
        "models.lifetime",
        "models.datasets",
        *(name for name in done.stdout.split() if name.startswith("models.config")),
    }
    root = Path(source.__file__).parents[1]
    digested = {
        ".".join(("models", *path.relative_to(root).with_suffix("").parts)).removesuffix(
            ".__init__"
        )
        for path in source.training_files()
    }
    assert set(done.stdout.split()) - undecisive <= digested
    assert "models.config.trial" in digested


def test_comments_keep_the_digest_and_statements_change_it(tmp_path: Path) -> None:
    """The digest is of the syntax tree without docstrings."""
    file = tmp_path / "adagrad.py"
    shutil.copy(Path(adagrad.__file__), file)
    before = digest_source([file], relative_to=tmp_path)
    text = file.read_text()
    file.write_text(text.replace('"""Adagrad."""', '"""Other words."""') + "\n# why\n")
    assert digest_source([file], relative_to=tmp_path) == before
    file.write_text(text.replace("lr=self.learning_rate", "lr=2 * self.learning_rate", 1))
    ast.parse(file.read_text())
    assert digest_source([file], relative_to=tmp_path) != before
