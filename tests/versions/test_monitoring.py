"""Drift: what is compared, what may be concluded, and what is never concluded from order."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import ValidationError
from registry_records import random_images, serving_network
from scipy import stats
from torch import nn

from models.config import DriftParams
from models.datasets.pixels import content_ids
from models.errors import InputError
from models.monitoring.embedding import predict_and_embed
from models.monitoring.figure import drift_figure
from models.monitoring.report import compare
from models.monitoring.sample import Sample, gather, sample_of
from models.monitoring.two_sample_tests import count_shift, distribution_shift, domain_shift
from models.networks.serving import ServingNetwork

CLASSES = ("a", "b", "c")
QUICK = DriftParams(permutations=199)


def sample(
    count: int, seed: int, *, shift: float = 0.0, shares: tuple[float, ...] = (0.3, 0.3, 0.4)
) -> Sample:
    """Images of a made-up kind; shift: of everything, in standard deviations."""
    random = np.random.default_rng(seed)
    return Sample(
        ids=random.integers(256, size=(count, 32)).astype(np.uint8),
        times=np.ones(count, np.int64),
        brightness=random.normal(100 + 10 * shift, 10, count),
        contrast=random.normal(50 + 5 * shift, 5, count),
        embeddings=random.normal(shift, 1, (count, 6)),
        predicted=random.choice(3, count, p=shares),
        confidence=random.beta(8, 1 + 3 * abs(shift), count),
        labels=np.full(count, -1),
    )


def reordered(of: Sample, order: NDArray[np.intp]) -> Sample:
    names = [field.name for field in dataclasses.fields(Sample)]
    return Sample(**{name: getattr(of, name)[order] for name in names})


def test_counts_by_hand() -> None:
    """[10, 10] and [10, 0]: all cells expected 13.33, 6.67, 6.67, 3.33, so chi-square 7.5."""
    found, p_value = count_shift(
        np.array([10, 10]), np.array([10, 0]), permutations=9999, generator=np.random.default_rng(0)
    )
    assert found == pytest.approx(7.5)
    # Of the tables with these margins, 0 of class b in the batch reach 7.5, and 7 or more do.
    extreme = stats.hypergeom(30, 10, 10).pmf([0, 7, 8, 9, 10]).sum()
    assert p_value == pytest.approx(extreme, abs=0.004)


def test_distributions_by_hand() -> None:
    """All of one below all of the other: distance 1."""
    found, p_value = distribution_shift(np.arange(20.0), np.arange(20.0) + 100)
    assert found == 1
    assert p_value < 1e-6
    assert distribution_shift(np.arange(20.0), np.arange(20.0)) == (0, 1)


def test_embeddings_far_apart_are_told_apart_and_equal_ones_are_not() -> None:
    """AUC 1 and the smallest p-value there is; images all alike: AUC 0.5, p 1."""
    random = np.random.default_rng(0)
    near, far = random.normal(size=(60, 4)), random.normal(9, 1, size=(30, 4))
    auc, p_value = domain_shift(near, far, generator=random)
    assert auc == 1.0
    assert p_value < 1e-6
    alike = np.ones((40, 4))
    assert domain_shift(alike, alike, generator=random) == (0.5, 1.0)


def test_a_change_of_spread_alone_is_seen_in_embeddings() -> None:
    """The classifier is given squares: the same mean does not hide twice the deviation."""
    random = np.random.default_rng(1)
    calm, wild = random.normal(size=(400, 6)), random.normal(0, 2, size=(100, 6))
    auc, p_value = domain_shift(calm, wild, generator=random)
    assert auc > 0.8
    assert p_value < 1e-6


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(5, 40), shift=st.floats(0, 3))
def test_p_values_are_never_zero(seed: int, count: int, shift: float) -> None:
    """In [1 / (n + 1), 1] whatever the samples; statistics in their ranges."""
    random = np.random.default_rng(seed)
    one, other = random.normal(size=(30, 3)), random.normal(shift, 1, size=(count, 3))
    auc, p_value = domain_shift(one, other, generator=random)
    assert 0 <= auc <= 1
    assert 0 < p_value <= 1
    counts = random.integers(0, 9, 4), random.integers(1, 9, 4)
    chi_square, p_value = count_shift(*counts, permutations=99, generator=random)
    assert chi_square >= 0
    assert 1 / 100 <= p_value <= 1


@pytest.mark.parametrize("test", ["domain", "counts"])
def test_p_values_of_equal_distributions_are_uniform(test: str) -> None:
    """Two hundred pairs of one kind: p-values neither pile up low nor high."""
    p_values = []
    for seed in range(200):
        random = np.random.default_rng(seed)
        if test == "domain":
            pair = random.standard_t(3, size=(40, 3)), random.standard_t(3, size=(25, 3))
            p_values.append(domain_shift(*pair, generator=random)[1])
        else:
            one, other = random.multinomial(400, [0.2] * 5), random.multinomial(100, [0.2] * 5)
            p_values.append(count_shift(one, other, permutations=99, generator=random)[1])
    assert stats.kstest(p_values, "uniform").pvalue > 0.01
    assert np.mean(np.array(p_values) <= 0.05) <= 0.1


def test_a_report_of_the_same_kind_and_of_another() -> None:
    """Five tests, each held to a fifth of the level of the first look."""
    reference = sample(400, 0)
    same = compare(reference, sample(200, 1), QUICK, classes=CLASSES)
    other = compare(reference, sample(200, 2, shift=2), QUICK, classes=CLASSES)
    assert not same.drift
    assert not any(test.shifted for test in same.tests)
    assert other.drift
    names = [test.name for test in other.tests]
    assert names == ["brightness", "contrast", "embedding", "classes", "confidence"]
    assert len({test.threshold for test in other.tests}) == 1
    assert other.tests[0].threshold == pytest.approx(0.05 * (1 / 2 + 1 / 365) / 2 / 5)
    assert (other.reference_images, other.batch_images) == (400, 200)
    assert other.tests[0].words.startswith("mean grey level 99.6 -> 12")
    assert sum(share.batch for share in other.classes) == pytest.approx(1)


def test_classes_alone_may_shift() -> None:
    """More of one class, every image as before: that test says it, with the shares."""
    skewed = sample(300, 3, shares=(0.8, 0.1, 0.1))
    report = compare(sample(600, 0), skewed, QUICK, classes=CLASSES)
    assert [test.name for test in report.tests if test.shifted] == ["classes"]
    assert report.classes[0].batch > 0.7


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_order_of_images_changes_no_bit(seed: int) -> None:
    """Gathered in any order and in any pieces, the same images give the same report."""
    random = np.random.default_rng(seed)
    reference, batch = sample(80, 5), sample(60, 6)
    cut = int(random.integers(1, 59))
    mixed = reordered(batch, random.permutation(60))
    pieces = [reordered(mixed, np.arange(cut)), reordered(mixed, np.arange(cut, 60))]
    reports = [
        compare(reference, gather(given, most=50), QUICK, classes=CLASSES)
        for given in ([batch], pieces)
    ]
    assert reports[0] == reports[1]


def test_of_many_images_the_lowest_ids_are_kept() -> None:
    """A sample by content: at most so many, whatever came first."""
    kept = gather([sample(30, 0), sample(30, 1)], most=20)
    assert len(kept) == 20
    listed = [row.tobytes() for row in kept.ids]
    everything = [row.tobytes() for seed in (0, 1) for row in sample(30, seed).ids]
    assert listed == sorted(everything)[:20]


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), most=st.sampled_from((10, 40, 100)))
def test_copies_are_left_out_and_counted_in_any_order(seed: int, most: int) -> None:
    """Some images five times over, in any pieces: what is compared is each of them once."""
    random = np.random.default_rng(seed)
    once = sample(40, 7)
    rows = random.permutation(np.concatenate([np.arange(40), np.repeat(np.arange(0, 40, 2), 4)]))
    cuts = np.sort(random.integers(1, 119, 3))
    pieces = [reordered(once, part) for part in np.split(rows, cuts) if len(part)]
    kept, expected = gather(pieces, most=most), gather([once], most=most)
    assert np.array_equal(kept.ids, expected.ids)
    assert np.array_equal(kept.embeddings, expected.embeddings)
    assert expected.copies == 0
    doubled = {row.tobytes() for row in once.ids[::2]}
    assert kept.copies == 4 * sum(row.tobytes() in doubled for row in kept.ids)


def test_copies_within_a_batch_are_no_drift() -> None:
    """Sixty images of the same kind thirty times over are sixty images; the report says so."""
    reference, sixty = sample(1000, 0), sample(60, 8)
    batch = gather([sixty] * 30, most=10_000)
    report = compare(reference, batch, QUICK, classes=CLASSES)
    assert not report.drift
    assert (report.batch_images, report.batch_copies) == (60, 60 * 29)


def test_too_few_images_are_refused() -> None:
    """On either side, with the count, the limit and its key; copies do not make them more."""
    with pytest.raises(InputError, match=r"49 different images to compare.*minimum_images"):
        compare(sample(100, 0), sample(49, 1), QUICK, classes=CLASSES)
    few = gather([sample(49, 1)] * 2, most=100)
    with pytest.raises(InputError, match=r"49 different images .* \(49 copies of them left out\)"):
        compare(sample(100, 0), few, QUICK, classes=CLASSES)
    with pytest.raises(InputError, match="20 different images in the reference"):
        compare(sample(20, 0), sample(60, 1), QUICK, classes=CLASSES)


def test_a_significance_that_no_p_value_reaches_is_refused() -> None:
    """Each look would have to be drawn millions of times."""
    with pytest.raises(ValidationError, match="greater than or equal to"):
        DriftParams(significance=1e-6)


def test_class_shares_can_alarm_at_the_last_look_too() -> None:
    """Its level is below what the permutations asked for can reach: more are drawn."""
    skewed = sample(300, 3, shares=(0.9, 0.05, 0.05))
    report = compare(sample(600, 0), skewed, QUICK, classes=CLASSES, look=365)
    [classes] = [test for test in report.tests if test.name == "classes"]
    assert classes.threshold < 1 / (QUICK.permutations + 1)
    assert classes.shifted


def test_a_shift_that_is_shown_may_be_too_small_to_act_on() -> None:
    """Of 10,000 against 10,000 images 0.08 standard deviations are significant, and no drift."""
    reference, batch = sample(10_000, 1), sample(10_000, 2)
    moved = dataclasses.replace(batch, brightness=batch.brightness + 0.8)
    report = compare(reference, moved, QUICK, classes=CLASSES)
    assert (report.drift, report.answer) == (False, "shift seen, too small to act on")
    assert report.shifted == ("brightness",)
    assert report.tests[0].effect == report.tests[0].statistic < QUICK.minimum_effect
    exact = QUICK.model_copy(update={"minimum_effect": 0.01})
    assert compare(reference, moved, exact, classes=CLASSES).answer == "drift"


def test_effects_by_hand() -> None:
    """Half the sum of the changes of shares; twice the AUC minus one; the distance itself."""
    reference, batch = sample(400, 0), sample(200, 2, shift=1)
    report = compare(reference, batch, QUICK, classes=CLASSES)
    by_name = {test.name: test for test in report.tests}
    moved = sum(abs(share.reference - share.batch) for share in report.classes) / 2
    assert by_name["classes"].effect == pytest.approx(moved)
    assert by_name["embedding"].effect == pytest.approx(2 * by_name["embedding"].statistic - 1)
    assert by_name["contrast"].effect == by_name["contrast"].statistic


def test_images_are_described_by_hand() -> None:
    """Brightness is the mean grey level, contrast its deviation within the image."""
    images = np.zeros((2, 1, 2, 2), np.uint8)
    images[1, 0] = [[0, 100], [0, 100]]
    probabilities = np.array([[0.2, 0.8, 0.0], [0.5, 0.5, 0.0]], np.float32)
    found = sample_of(
        images,
        content_ids(images.transpose(0, 2, 3, 1)),
        probabilities=probabilities,
        embeddings=np.zeros((2, 4), np.float32),
    )
    assert found.brightness.tolist() == [0, 50]
    assert found.contrast.tolist() == [0, 50]
    assert found.predicted.tolist() == [1, 0]
    assert found.confidence.tolist() == pytest.approx([0.8, 0.5])


def test_embeddings_are_the_input_of_the_last_layer() -> None:
    """Read off an exported graph, they are what the network itself computes."""
    serving = serving_network().eval()
    images = random_images(5)
    heard: list[torch.Tensor] = []
    output = serving.get_submodule("network.output")
    output.register_forward_pre_hook(lambda _, given: heard.append(given[0]))
    with torch.inference_mode():
        expected = serving(torch.from_numpy(images))
    batch = torch.export.Dim("batch")
    example = (torch.zeros(4, 1, 8, 8, dtype=torch.uint8),)
    exported = torch.export.export(serving_network().eval(), example, dynamic_shapes=({0: batch},))
    probabilities, embeddings = predict_and_embed(exported.module(), images, threads=1)
    assert np.array_equal(probabilities, expected.numpy())
    assert np.array_equal(embeddings, heard[0].numpy())
    assert embeddings.shape == (5, 8)


def test_another_kind_of_network_is_seen_by_its_log_probabilities() -> None:
    """One without a linear layer before its softmax; zero stays finite."""

    class Sure(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.tensor([[1.0, 0.0]]).repeat(len(images), 1)

    probabilities, embeddings = predict_and_embed(Sure(), random_images(3), threads=1)
    assert probabilities.tolist() == [[1, 0]] * 3
    assert np.isfinite(embeddings).all()
    assert embeddings[0, 0] == 0


def test_a_network_built_again_that_ends_otherwise_is_seen_by_its_log_probabilities() -> None:
    """A linear layer before the last one is not taken for the last; no hook is left behind."""
    body = nn.Sequential(nn.Flatten(), nn.Linear(64, 2), nn.Tanh())
    serving = ServingNetwork(body, mean=(0.3,), std=(0.4,)).eval()

    probabilities, embeddings = predict_and_embed(serving, random_images(3), threads=1)

    assert np.allclose(np.exp(embeddings), probabilities)
    assert not any(layer._forward_hooks for layer in serving.modules())


def test_the_figure_is_a_picture_whatever_the_images() -> None:
    """Also where all look the same, and with a class name that looks like a formula."""
    reference, batch = sample(60, 0), sample(60, 1)
    flat = dataclasses.replace(batch, brightness=np.full(60, 7.0), embeddings=np.zeros((60, 6)))
    for side in (batch, flat):
        report = compare(reference, side, QUICK, classes=("$a", "b" * 40, "c"))
        assert drift_figure(reference, side, report).startswith(b"\x89PNG")
