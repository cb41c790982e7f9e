"""Networks: shapes, sizes, and the module that is served."""

import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from models.networks import CnnConfig, MlpConfig, NetworkConfig, ResnetConfig, RnnConfig
from models.networks.layers import AttendedStates, LastState
from models.networks.serving import ServingNetwork

KINDS: tuple[NetworkConfig, ...] = (
    CnnConfig(channels=(4, 6), hidden_units=8, dropout=0.5),
    MlpConfig(hidden_units=8, dropout=0.5),
    RnnConfig(hidden_units=8, dropout=0.5),
    RnnConfig(cell="lstm", hidden_units=8, hidden_layers=2),
    ResnetConfig(width=4, depth=1, dropout=0.5, stochastic_depth=0.5),
    CnnConfig(channels=(4, 6), kernel=5, padding="same", normalisation="batch", head="global"),
    CnnConfig(channels=(4, 8), normalisation="group", hidden_units=8),
    RnnConfig(hidden_units=8, bidirectional=True),
    RnnConfig(cell="lstm", hidden_units=8, bidirectional=True, states="attention", dropout=0.5),
)


def kind(config: NetworkConfig) -> str:
    """What a network's config says that is not default."""
    return "-".join(map(str, config.model_dump(exclude_defaults=True).values())) or config.name


def serving(config: NetworkConfig, *, channels: int = 1, image_size: int = 28) -> ServingNetwork:
    torch.manual_seed(0)
    network = config.build(channels=channels, image_size=image_size, classes=10)
    return ServingNetwork(network, mean=(0.3,) * channels, std=(0.25,) * channels).eval()


def pixels(count: int, *, channels: int = 1, image_size: int = 28) -> torch.Tensor:
    source = torch.Generator().manual_seed(5)
    shape = (count, channels, image_size, image_size)
    return torch.randint(256, shape, generator=source, dtype=torch.uint8)


def test_the_default_cnn_is_the_article_s() -> None:
    """320 + 18,496 + 36,928 + 36,928 + 650 = 93,322 parameters on 28x28x1 with 10 classes."""
    network = CnnConfig().build(channels=1, image_size=28, classes=10)
    counts = {name: parameter.numel() for name, parameter in network.named_parameters()}
    assert counts == {
        "convolutions.0.weight": 288,
        "convolutions.0.bias": 32,
        "convolutions.1.weight": 18_432,
        "convolutions.1.bias": 64,
        "convolutions.2.weight": 36_864,
        "convolutions.2.bias": 64,
        "hidden.weight": 36_864,
        "hidden.bias": 64,
        "output.weight": 640,
        "output.bias": 10,
    }
    assert sum(counts.values()) == 93_322


def test_the_cnn_computes_what_keras_would() -> None:
    """Pooling before ReLU is the same function as the article's ReLU before pooling."""
    torch.manual_seed(1)
    network = CnnConfig().build(channels=1, image_size=28, classes=10).eval()
    images = torch.randn(3, 1, 28, 28)
    weight = dict(network.named_parameters())
    features = images
    for layer in range(3):
        kernel, bias = (weight[f"convolutions.{layer}.{part}"] for part in ("weight", "bias"))
        features = functional.relu(functional.conv2d(features, kernel, bias))
        features = functional.max_pool2d(features, 2) if layer < 2 else features
    hidden = functional.relu(
        features.flatten(1) @ weight["hidden.weight"].T + weight["hidden.bias"]
    )
    expected = hidden @ weight["output.weight"].T + weight["output.bias"]
    torch.testing.assert_close(network(images), expected)


def test_what_is_not_chosen_draws_the_weights_that_it_drew_before() -> None:
    """The article's layers in their order, one after the other from one generator."""
    torch.manual_seed(3)
    built = CnnConfig().build(channels=1, image_size=28, classes=10)
    torch.manual_seed(3)
    convolutions = [nn.Conv2d(inner, outer, 3) for inner, outer in ((1, 32), (32, 64), (64, 64))]
    expected = [*convolutions, nn.Linear(576, 64), nn.Linear(64, 10)]

    drawn = [value for layer in expected for value in layer.state_dict().values()]
    assert all(map(torch.equal, built.state_dict().values(), drawn))
    assert len(drawn) == len(built.state_dict())


def test_convolutions_by_choice_worked_by_hand() -> None:
    """5 x 5, padded, without biases but with gains and offsets; a mean of each of 8 channels."""
    config = CnnConfig(
        channels=(4, 8),
        kernel=5,
        padding="same",
        normalisation="batch",
        head="global",
        hidden_units=6,
    )
    network = config.build(channels=3, image_size=12, classes=10)

    convolutions = (25 * 3 * 4 + 2 * 4) + (25 * 4 * 8 + 2 * 8)
    counted = sum(parameter.numel() for parameter in network.parameters())
    assert counted == convolutions + (8 * 6 + 6) + (6 * 10 + 10)
    features = network.get_submodule("convolutions")(torch.randn(2, 3, 12, 12))
    assert features.shape == (2, 8, 6, 6)
    torch.testing.assert_close(network.get_submodule("flat")(features), features.mean((2, 3)))
    assert (config.shares_statistics, CnnConfig(normalisation="group").shares_statistics) == (
        True,
        False,
    )


@pytest.mark.parametrize(
    ("config", "size", "shown"),
    [
        (CnnConfig(), 8, "8 -> conv 3 -> 6 -> pool 2 -> 3 -> conv 3 -> 1 -> pool 2 -> 0, and 1"),
        (
            CnnConfig(kernel=5),
            15,
            "15 -> conv 5 -> 11 -> pool 2 -> 5 -> conv 5 -> 1 -> pool 2 -> 0",
        ),
        (CnnConfig(kernel=9), 8, "8 -> conv 9 -> 0, and 1 must be left"),
        (CnnConfig(normalisation="batch"), 18, "pool 2 -> 3 -> conv 3 -> 1, and 2 must be left"),
        (
            CnnConfig(padding="same", channels=(2,) * 4),
            7,
            "pool 2 -> 1 -> conv 3 -> 1 -> pool 2 -> 0",
        ),
    ],
    ids=lambda value: kind(value) if isinstance(value, CnnConfig) else None,
)
def test_an_impossible_cnn_is_refused_with_each_size(
    config: CnnConfig, size: int, shown: str
) -> None:
    """Up to the layer that has too little; the next size that is larger fits."""
    with pytest.raises(ValueError, match=re.escape(shown)):
        config.check_fits(size)
    fitting = next(larger for larger in range(size, 64) if fits(config, larger))
    network = config.build(channels=1, image_size=fitting, classes=3)
    assert network(torch.randn(1, 1, fitting, fitting)).shape == (1, 3)


def fits(config: NetworkConfig, size: int) -> bool:
    try:
        config.check_fits(size)
    except ValueError:
        return False
    return True


def test_two_directions_each_end_at_their_last_row() -> None:
    """The second half of the state is what a network of its own says of the rows turned round."""
    both = nn.GRU(5, 4, batch_first=True, bidirectional=True)
    backward = nn.GRU(5, 4, batch_first=True)
    backward.load_state_dict(
        {
            name.removesuffix("_reverse"): value
            for name, value in both.state_dict().items()
            if name.endswith("_reverse")
        }
    )
    rows = torch.randn(3, 7, 5)

    state = LastState(both)(rows)

    torch.testing.assert_close(state[:, 4:], LastState(backward)(rows.flip(1)))


def test_attention_that_knows_nothing_takes_the_mean() -> None:
    """A query of zeros weighs all rows alike."""
    pooled = AttendedStates(nn.GRU(5, 4, batch_first=True))
    rows = torch.randn(3, 7, 5)
    states, _ = pooled.recurrent(rows)
    nn.init.zeros_(pooled.query.weight)

    torch.testing.assert_close(pooled(rows), states.mean(1))


@pytest.mark.parametrize("config", KINDS, ids=kind)
def test_every_network_learns_a_minibatch_by_heart(config: NetworkConfig) -> None:
    """Twelve images of noise under labels that mean nothing."""
    torch.manual_seed(0)
    given = {name: 0.0 for name in ("dropout", "stochastic_depth") if hasattr(config, name)}
    network = config.model_copy(update=given).build(channels=1, image_size=12, classes=3)
    images, labels = torch.randn(12, 1, 12, 12), torch.arange(12) % 3
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
    for _ in range(STEPS):
        loss = functional.cross_entropy(network(images), labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call] # torch leaves it untyped
        optimizer.step()

    assert float(loss.detach()) < 0.05


STEPS = 100


def test_an_rnn_reads_rows_from_top_to_bottom() -> None:
    """What the last row shows decides more than nothing: a change of any row changes the answer."""
    network = serving(RnnConfig(hidden_units=8))
    images = pixels(1)
    before = network(images)
    for row in (0, 13, 27):
        changed = images.clone()
        changed[:, :, row] = 255 - changed[:, :, row]
        assert not torch.equal(network(changed), before)


@settings(deadline=None, max_examples=30)
@given(
    config=st.sampled_from(KINDS),
    channels=st.sampled_from([1, 3]),
    image_size=st.integers(10, 33),
    count=st.integers(1, 5),
)
def test_probabilities_are_a_distribution_for_every_shape(
    config: NetworkConfig, channels: int, image_size: int, count: int
) -> None:
    """uint8 (n, channels, side, side) gives float32 (n, 10) whose rows sum to 1."""
    network = serving(config, channels=channels, image_size=image_size)
    with torch.inference_mode():
        found = network(pixels(count, channels=channels, image_size=image_size))
    assert (found.shape, found.dtype) == ((count, 10), torch.float32)
    assert bool((found >= 0).all())
    torch.testing.assert_close(found.sum(1), torch.ones(count))


def test_normalisation_is_part_of_what_is_served() -> None:
    """Pixels are divided by 255, the mean taken off, and divided by the deviation."""
    network = ServingNetwork(torch.nn.Flatten(), mean=(0.5,), std=(0.25,))
    images = torch.tensor([[[[0, 255]]]], dtype=torch.uint8)
    expected = torch.softmax(torch.tensor([[-2.0, 2.0]]), dim=1)
    assert torch.equal(network(images), expected)


# torch keeps a list of an RNN's registered parameters, which export mistakes for a change of them.
@pytest.mark.filterwarnings("ignore:.*_flat_weights:UserWarning")
@pytest.mark.parametrize("config", [CnnConfig(), MlpConfig(), RnnConfig(), *KINDS[5:]], ids=kind)
def test_an_exported_network_answers_bit_for_bit_at_any_number_of_images(
    config: NetworkConfig,
) -> None:
    """torch.export with a free batch dimension equals the module itself for 1, 3 and 200."""
    network = serving(config)
    shapes = {"images": {0: torch.export.Dim("n", min=1)}}
    exported = torch.export.export(network, (pixels(4),), dynamic_shapes=shapes).module()
    for count in (1, 3, 200):
        with torch.inference_mode():
            assert torch.equal(exported(pixels(count)), network(pixels(count)))


@pytest.mark.parametrize("config", KINDS, ids=kind)
def test_dropout_is_off_in_service(config: NetworkConfig) -> None:
    """Two calls on one input agree bit for bit."""
    network = serving(config)
    assert torch.equal(network(pixels(2)), network(pixels(2)))
