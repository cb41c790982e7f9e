"""What networks cost, by hand; and `pitchpipe networks`, which shows it."""

import itertools
from pathlib import Path

import pytest
from project_folder import make_project

from flows.cli.display.networks import print_networks
from models.config import (
    CnnConfig,
    DataParams,
    MlpConfig,
    Params,
    ResnetConfig,
    RnnConfig,
    TrialConfig,
)
from models.evaluation.network_costs import NetworkKind, network_cost, network_kinds


def test_the_article_s_cnn_worked_by_hand() -> None:
    """Each output pixel of a convolution takes kernel x kernel x channels multiply-adds."""
    cost = network_cost(CnnConfig(), channels=1, image_size=28, classes=10)

    assert [(layer.name, layer.output, layer.multiply_adds) for layer in cost.layers] == [
        ("convolutions.0", (32, 26, 26), 26 * 26 * 32 * 9),
        ("convolutions.1", (64, 11, 11), 11 * 11 * 64 * 9 * 32),
        ("convolutions.2", (64, 3, 3), 3 * 3 * 64 * 9 * 64),
        ("flat", (576,), 0),
        ("hidden", (64,), 576 * 64),
        ("output", (10,), 64 * 10),
    ]
    assert (cost.parameters, cost.multiply_adds) == (93_322, 2_794_240)
    assert sum(layer.parameters for layer in cost.layers) == cost.parameters


def test_activations_are_what_the_backward_pass_needs() -> None:
    """Of an MLP the pixels and what each hidden layer says; 4 bytes each, whatever the weights."""
    for hidden in (16, 64):
        config = MlpConfig(hidden_units=hidden, hidden_layers=2)
        cost = network_cost(config, channels=3, image_size=8, classes=5)

        assert cost.activation_bytes == 4 * (3 * 8 * 8 + hidden + hidden)


def test_a_recurrent_layer_is_counted_in_all_its_steps() -> None:
    """Three gates of a GRU, from input and state, in each of the rows."""
    cost = network_cost(RnnConfig(hidden_units=8), channels=1, image_size=12, classes=10)

    rows, recurrent, output = cost.layers
    assert (rows.output, rows.multiply_adds) == ((12, 12), 0)
    assert (recurrent.name, recurrent.output) == ("last.recurrent", (12, 8))
    assert recurrent.multiply_adds == 12 * 3 * 8 * (12 + 8)
    assert output.multiply_adds == 8 * 10


def test_the_largest_network_takes_no_memory() -> None:
    """Weights of two terabytes are counted and never made."""
    config = MlpConfig(hidden_units=8192, hidden_layers=16)
    cost = network_cost(config, channels=3, image_size=512, classes=10)

    widths = [3 * 512 * 512, *[8192] * 16, 10]
    assert cost.parameters == sum(
        (inner + 1) * outer for inner, outer in itertools.pairwise(widths)
    )


def of(kinds: tuple[NetworkKind, ...], name: str) -> NetworkKind:
    return next(kind for kind in kinds if kind.name == name)


def test_each_kind_keeps_the_fields_that_the_chosen_one_has_as_well() -> None:
    """As --set trial.network.name= would; a network that images do not fit is refused, with why."""
    params = Params(
        data=DataParams(image_size=8),
        trial=TrialConfig(network=MlpConfig(hidden_units=24, hidden_layers=3)),
    )
    kinds = network_kinds(params, classes=3)

    kept = RnnConfig(hidden_units=24, hidden_layers=3)
    assert [kind.name for kind in kinds if kind.chosen] == ["mlp"]
    assert of(kinds, "rnn").config == kept.model_dump(mode="json")
    refused = of(kinds, "cnn")
    assert refused.cost is None
    assert "8 -> conv 3 -> 6" in str(refused.refused)
    assert all(field.description for kind in kinds for field in kind.fields)


def test_tables_of_networks_keep_within_80_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row each, and below them the layers of the one chosen."""
    monkeypatch.setenv("COLUMNS", "80")
    params = Params(trial=TrialConfig(network=ResnetConfig()))

    print_networks(network_kinds(params, classes=10), params.data, classes=10)

    shown = capsys.readouterr().out
    assert "on 28 x 28 x 1, 10 classes" in shown
    assert "resnet *" in shown
    assert "block_6.branch.3" in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_a_dataset_that_is_not_here_yet_is_taken_for_ten_classes(tmp_path: Path) -> None:
    """As a document; of the network that params.yaml chooses, the article's."""
    told = make_project(tmp_path).pitchpipe("networks", "--json").document

    (chosen,) = [kind for kind in told["networks"] if kind["chosen"]]
    assert (told["classes"], told["classes_known"]) == (10, False)
    assert told["image"] == {"channels": 1, "height": 28, "width": 28}
    assert chosen["cost"]["parameters"] == 93_322
