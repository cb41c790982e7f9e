"""Attribution maps worked by hand; and a map that explains nothing is called that."""

import numpy as np
import pytest
import torch
from evaluation_fixtures import Sources, guesses
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from torch import nn

from models.errors import MissingExtraError
from models.evaluation.explanation.attribution import attribute, fitting_methods, last_convolution
from models.evaluation.explanation.choosing import most_surprising, random_sample
from models.evaluation.explanation.faithfulness import STEPS, area, measure, ranked, replaced
from models.evaluation.explanation.heatmap import AGAINST, FOR, overlay
from models.evaluation.explanation.judging import Sample, judge, pieces_of_work
from models.evaluation.explanation.page import render_explanation
from models.evaluation.explanation.randomised import randomise_weights, rank_correlation
from models.evaluation.explanation.records import (
    Explanation,
    Method,
    MethodFindings,
    ShownImage,
)
from models.evaluation.outcomes import outcomes_of
from models.networks import CnnConfig, MlpConfig, ResnetConfig, RnnConfig
from models.networks.network import Network
from models.networks.residual import GlobalMean, ResidualBlock
from models.networks.serving import ServingNetwork

NETWORKS = (
    MlpConfig(hidden_units=8),
    RnnConfig(hidden_units=8),
    RnnConfig(cell="lstm", hidden_units=8, bidirectional=True, states="attention", hidden_layers=2),
    CnnConfig(channels=(4, 4), hidden_units=8),
    CnnConfig(channels=(4, 4), normalisation="batch", head="global", hidden_units=8),
    ResnetConfig(width=8, stages=2, depth=1, squeeze_excite=True),
)


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def served(
    network: nn.Module,
    *,
    channels: int = 1,
    mean: float = 0.0,
    std: float = 1.0,
    mirror: bool = False,
) -> ServingNetwork:
    return ServingNetwork(
        network, mean=[mean] * channels, std=[std] * channels, mirror=mirror
    ).eval()


def built(
    config: Network, *, channels: int = 1, side: int = 16, mirror: bool = False
) -> ServingNetwork:
    torch.manual_seed(0)
    network = config.build(channels=channels, image_size=side, classes=3)
    return served(network, channels=channels, mean=0.4, std=0.3, mirror=mirror)


def linear(weights: np.ndarray, other: float = 0.0) -> nn.Module:
    """Logits of classes 0 and 1: weights (height, width) times the pixels, and `other` times."""
    layer = nn.Linear(weights.size, 2)
    with torch.no_grad():
        layer.weight[0] = torch.from_numpy(weights.ravel())
        layer.weight[1] = other
        layer.bias.fill_(5.0)
    return nn.Sequential(nn.Flatten(), layer)


def test_integrated_gradients_of_a_linear_network_are_weight_times_difference() -> None:
    """Exactly: w (x - mean colour), in the units that the network sees."""
    weights = np.random.default_rng(1).normal(size=(4, 4)).astype(np.float32)
    image = noise(1, 1, 4, 4)

    [found] = attribute(
        served(linear(weights), mean=0.5, std=0.25), image, [0], "integrated_gradients"
    )

    wanted = weights * (image[0, 0] / 255 - 0.5) / 0.25
    assert found == pytest.approx(wanted, abs=1e-5)


def test_occlusion_shares_the_loss_of_a_pixel_among_the_windows_that_cover_it() -> None:
    """One pixel of 255 matters by 3: of 1, 2 and 4 windows over a pixel one covers it."""
    weights = np.zeros((4, 4), np.float32)
    weights[0, 0] = 3.0

    [found] = attribute(
        served(linear(weights)), np.full((1, 1, 4, 4), 255, np.uint8), [0], "occlusion"
    )

    wanted = np.zeros((4, 4))
    wanted[:2, :2] = [[3, 3 / 2], [3 / 2, 3 / 4]]
    assert found == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize(("sign", "mirror"), [(1, False), (-1, False), (1, True)])
def test_grad_cam_weighs_features_by_their_mean_gradient(sign: int, *, mirror: bool) -> None:
    """Features 2 x, of which the logit is sign times the mean over 16 pixels; never negative."""
    convolution = nn.Conv2d(1, 1, 1, bias=False)
    output = nn.Linear(1, 2, bias=False)
    with torch.no_grad():
        convolution.weight.fill_(2.0)
        output.weight.copy_(torch.tensor([[float(sign)], [0.0]]))
    network = served(nn.Sequential(convolution, GlobalMean(), output), mirror=mirror)
    image = noise(1, 1, 4, 4)

    [found] = attribute(network, image, [0], "grad_cam")

    assert found == pytest.approx(np.maximum(sign * 2 * (image[0, 0] / 255) / 16, 0), abs=1e-6)


@pytest.mark.parametrize("config", NETWORKS, ids=lambda one: one.name)
def test_every_network_is_explained_to_the_bit_twice_and_image_by_image(config: Network) -> None:
    """Colour, mirror images; integrated gradients sum to the difference of the logits."""
    network = built(config, channels=3, mirror=True)
    images, answers = noise(2, 3, 16, 16), [2, 0]
    methods = fitting_methods(network, (3, 16, 16))

    maps = {one: list(attribute(network, images, answers, one)) for one in methods}

    assert ("grad_cam" in methods) is isinstance(config, CnnConfig | ResnetConfig)
    for method, found in maps.items():
        [alone] = attribute(network, images[1:], answers[1:], method)
        assert found[1].shape == (16, 16)
        assert alone.tobytes() == found[1].tobytes()
        assert np.isfinite(found).all()
    colour = np.full((1, 3, 16, 16), 0.4 * 255, np.float32)
    with torch.no_grad():
        at, start = (network.logits(torch.from_numpy(one)) for one in (images[:1], colour))
    difference = float(at[0, 2] - start[0, 2])
    assert maps["integrated_gradients"][0].sum() == pytest.approx(difference, rel=0.05, abs=0.01)


def test_grad_cam_looks_at_the_last_features_that_have_places() -> None:
    """After the ReLU of a stack, after the sum of a residual block; a dense network has none."""
    stack = last_convolution(built(NETWORKS[3]), (1, 16, 16))
    block = last_convolution(built(NETWORKS[5]), (1, 16, 16))

    assert type(stack).__name__ == "ConvolutionStack"
    assert isinstance(block, ResidualBlock)
    assert block.branch[0].out_channels == 16
    dense = built(NETWORKS[0])
    assert last_convolution(dense, (1, 16, 16)) is None
    with pytest.raises(ValueError, match="there is none"):
        list(attribute(dense, noise(1, 1, 16, 16), [0], "grad_cam"))


def test_the_pixel_that_an_answer_rests_on_decides_both_areas() -> None:
    """28 pixels, a step each; one matters. Found first: 1 falls to 0 at once; last: at the end."""
    image = np.full((1, 4, 7), 255, np.float32)
    black = np.zeros_like(image)
    values = np.zeros((4, 7))
    values[2, 3] = 1.0

    def ask(images: np.ndarray) -> np.ndarray:
        return images[:, 0, 2, 3] / 255

    right, wrong = (
        measure(image, black, ranked(one, np.random.default_rng(0)), ask)
        for one in (values, -values)
    )

    assert right.deletion == pytest.approx(0.5 / STEPS)
    assert wrong.deletion == pytest.approx(1 - 0.5 / STEPS)
    assert area([1, 0.5, 0]) == 0.5


@given(
    arrays.arrays(np.float32, (2, 5, 6), elements=st.floats(0, 255, width=32)),
    st.integers(0, 2**32 - 1),
)
def test_pixels_are_replaced_in_order_from_none_to_all(image: np.ndarray, seed: int) -> None:
    """Whatever the map; what is replaced stays replaced."""
    other = 300 - image  # nowhere equal
    order = ranked(image[0], np.random.default_rng(seed))

    found = replaced(image, other, order)
    taken = (found == other).all(axis=1)

    assert sorted(order) == list(range(30))
    assert (np.diff(image[0].ravel()[order]) <= 0).all()
    assert found.shape == (STEPS + 1, 2, 5, 6)
    assert (found[0] == image).all()
    assert (found[-1] == other).all()
    assert (taken[1:] >= taken[:-1]).all()
    assert ((found == image) | (found == other)).all()


@given(arrays.arrays(np.float64, (3, 4), elements=st.integers(-50, 50)), st.integers(0, 9))
def test_rank_correlation_is_of_ranks(values: np.ndarray, seed: int) -> None:
    """Between -1 and 1; a rising change leaves it, the sign turns it; a flat map has none."""
    other = np.random.default_rng(seed).normal(size=(3, 4))
    found = rank_correlation(values, other)

    assert -1 - 1e-9 <= found <= 1 + 1e-9
    assert rank_correlation(values**3, other) == pytest.approx(found)
    assert rank_correlation(-values, other) == pytest.approx(-found)
    assert rank_correlation(np.ones((3, 4)), other) == 0
    assert rank_correlation(other, other) == pytest.approx(1)


def test_randomised_weights_are_the_same_numbers_elsewhere() -> None:
    """The network itself stays as it is; the same seed gives the same copy."""
    network = built(NETWORKS[3])
    before = {name: one.clone() for name, one in network.state_dict().items()}

    first, again, other = (randomise_weights(network, seed) for seed in (0, 0, 1))

    for name, values in network.state_dict().items():
        shuffled = first.state_dict()[name]
        assert torch.equal(values, before[name])
        assert torch.equal(shuffled.flatten().sort().values, values.flatten().sort().values)
        assert torch.equal(shuffled, again.state_dict()[name])
    weight = "network.convolutions.1.weight"
    assert not torch.equal(first.state_dict()[weight], before[weight])
    assert not torch.equal(first.state_dict()[weight], other.state_dict()[weight])


def findings(network: nn.Module, method: Method = "integrated_gradients") -> MethodFindings:
    sample = Sample(served(network), noise(6, 1, 8, 8), [0] * 6, seed=3)
    done = []
    [found] = judge(sample, [method], lambda: done.append(1))
    assert len(done) == pieces_of_work(6, 1)
    return found


def test_a_map_of_a_network_that_looks_somewhere_is_told_from_chance() -> None:
    """Two pixels in 64 decide; the map finds them, and shuffled weights look elsewhere."""
    weights = np.zeros((8, 8), np.float32)
    weights[2, 3] = weights[5, 6] = 40.0

    found = findings(linear(weights))

    assert found.explains
    assert "deletion" in found.faithfulness.beaten
    assert found.sanity.verdict == "passed"
    assert found.sentence.startswith("Integrated gradients marks what the answers rest on")


def test_a_map_that_stays_when_weights_are_randomised_explains_nothing() -> None:
    """All weights are equal: shuffled, they are the same, and the map shows the image."""
    found = findings(linear(np.full((8, 8), 0.5, np.float32), other=0.5))

    assert found.sanity.signed.mean == pytest.approx(1)
    assert not found.explains
    assert "explains nothing: with randomised weights its maps stay the same" in found.sentence


def test_a_map_no_better_than_a_random_one_explains_nothing() -> None:
    """A network that says the same of every image; its maps are zero everywhere."""
    found = findings(linear(np.zeros((8, 8), np.float32)), "occlusion")

    assert not found.explains
    assert found.faithfulness.beaten == ()
    assert "explains nothing that these images show" in found.sentence


@settings(max_examples=30)
@given(st.integers(1, 40), st.integers(1, 60), st.integers(0, 99))
def test_chosen_are_the_most_surprising_of_each_class_and_kind(
    n: int, most: int, seed: int
) -> None:
    """Distinct, as many as asked for, misses first; none is left for a less surprising one."""
    outcomes = outcomes_of(*guesses(n, 3, strength=1.0, seed=seed))

    chosen = most_surprising(outcomes, most)

    assert len(set(chosen.tolist())) == len(chosen) == min(n, most)
    keys = [(outcomes.labels[row], outcomes.right[row], -outcomes.losses[row]) for row in chosen]
    assert keys == sorted(keys)
    sizes = []
    for label in range(3):
        for right in (False, True):
            group = np.flatnonzero((outcomes.labels == label) & (outcomes.right == right))
            inside = np.isin(group, chosen)
            sizes.append((inside.sum(), len(group)))
            if inside.any() and not inside.all():
                assert outcomes.losses[group[~inside]].max() <= outcomes.losses[group[inside]].min()
    limit = max(taken for taken, _ in sizes)
    assert all(taken >= min(there, limit - 1) for taken, there in sizes)


def test_the_sample_is_a_function_of_its_seed() -> None:
    assert random_sample(5, 9, 0).tolist() == [0, 1, 2, 3, 4]
    first, other = random_sample(100, 10, 1), random_sample(100, 10, 2)
    assert first.tolist() == sorted(set(random_sample(100, 10, 1).tolist()))
    assert first.tolist() != other.tolist()


def test_red_is_for_and_blue_is_against_and_a_flat_map_is_the_image() -> None:
    """The strongest pixels nearly have the colour; what has no value is grey."""
    image = np.full((3, 2, 2), 100, np.uint8)
    found = overlay(image, np.array([[1.0, -1.0], [0.0, 0.0]])).astype(int)

    assert found[:, 0, 0] == pytest.approx(FOR, abs=30)
    assert found[:, 0, 1] == pytest.approx(AGAINST, abs=30)
    assert len(set(found[:, 1, 0].tolist())) == 1
    assert (overlay(image, np.zeros((2, 2))) == found[0, 1, 0]).all()


def test_the_page_is_one_file_that_names_its_limits_and_runs_nothing() -> None:
    """Class names are text; verdicts, and the warning about test images, are there."""
    name = "<script>alert(1)</script>"
    found = Explanation(
        name="digits",
        version=3,
        network="cnn",
        dataset_digest="ab",
        seed=0,
        images=6,
        shown=(
            ShownImage(id="00", true=name, predicted="b", confidence=0.9),
            ShownImage(id="01", true="b", predicted="b", confidence=0.6),
        ),
        methods=(findings(linear(np.zeros((8, 8), np.float32))),),
        left_out="Grad-CAM needs a convolution",
    )
    flat = [np.zeros((8, 8), np.float32)] * 2

    page = Sources(render_explanation(found, noise(2, 1, 8, 8), {"integrated_gradients": flat}))

    assert not page.tags & {"script", "link", "iframe", "object", "embed"}
    assert len(page.fetched) == 4
    assert all(one.startswith("data:image/png;base64,") for one in page.fetched)
    for said in (name, "explains nothing", "Grad-CAM needs a convolution", "no look at them"):
        assert said in page.text
    assert "Misses: 1" in page.text
    assert "Hits: 1" in page.text


def test_without_captum_the_way_out_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match="make install EXTRAS=explain"):
        list(attribute(served(linear(np.ones((4, 4)))), noise(1, 1, 4, 4), [0], "occlusion"))
