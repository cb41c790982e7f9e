"""Params: read, overridden, and refused whole with the path, the value and the way out."""

import itertools
from pathlib import Path

import pytest
from project_folder import REPOSITORY

from models.config import Params, TrialConfig, apply_point, load_params
from models.config.space import axis_names, models_in
from models.errors import ConfigError
from models.networks import MlpConfig
from models.optimizers import AdamConfig, SgdConfig
from models.search.search_space import search_space


def load(text: str, folder: Path, *overrides: str) -> Params:
    path = folder / "params.yaml"
    path.write_text(text, encoding="utf-8")
    return load_params(path, overrides)


def test_an_empty_file_means_the_defaults(tmp_path: Path) -> None:
    """Nothing written, everything default: the article's CNN on the digits."""
    assert load("", tmp_path) == Params()


def test_a_file_that_says_nothing_is_noticed_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Emptied by accident, it would run on defaults in silence; `{}` asks for them."""
    load("{}", tmp_path)
    assert caplog.messages == []
    load("# all of it a comment", tmp_path)
    load("", tmp_path)
    (told,) = caplog.messages
    assert "every param has its default" in told


@pytest.mark.parametrize(
    "path", sorted(REPOSITORY.glob("examples/**/*.yaml")), ids=lambda p: p.stem
)
def test_shipped_params_files_are_valid(path: Path) -> None:
    """Every example loads, and names a search space that can be enumerated."""
    rung = path.parent.name == "ladder"  # most of them are one configuration
    assert len(search_space(load_params(path))) >= (1 if rung else 2)


FAULTS = [
    ("data: {nmae: digits}", "data.nmae", "did you mean 'name'"),
    ("dta: {}", "dta", "did you mean 'data'"),
    ("trial: {network: {hidden_unit: 3}}", "trial.network.hidden_unit", "'hidden_units'"),
    ("trial: {optimizer: {name: adm}}", "trial.optimizer", "'adam'"),
    ("trial: {minibatch_size: true}", "trial.minibatch_size", "valid integer"),
    ("trial: {minibatch_size: '32'}", "trial.minibatch_size", "valid integer"),
    ("trial: {minibatch_size: 0}", "trial.minibatch_size", "greater than or equal to 1"),
    ("trial: {optimizer: {learning_rate: .inf}}", "trial.optimizer.learning_rate", "finite"),
    ("trial: {optimizer: {learning_rate: -1}}", "trial.optimizer.learning_rate", "greater than 0"),
    ("search: {axes: {minibatch_size: []}}", "search.axes.minibatch_size", "at least 1"),
    ("search: {axes: {minibatch_size: 32}}", "search.axes.minibatch_size", "32"),
    ("search: {axes: {minibatch_size: [0]}}", "search.axes.minibatch_size", "0"),
    ("search: {axes: {minibatchsize: [32]}}", "search.axes.minibatchsize", "'minibatch_size'"),
    ("search: {axes: {optimizer.momentum: [0.9]}}", "optimizer.momentum", "optimizer.name"),
    ("search: {axes: {network.name: [cnn, transformer]}}", "network.name", "'cnn'"),
    ("search: {epochs: 0}", "search.epochs", "greater than or equal to 1"),
    ("search: {epochs: 5, max_epochs_total: 4}", "search: max_epochs_total 4", "or lower epochs"),
    ("search: {pruner: asha, min_epochs: 2, max_epochs_total: 1}", "the 3", "or lower min_epochs"),
    ("search: {strategy: annealing}", "search.strategy", "'grid'"),
    ("data: {image_size: 8}", "data.image_size", "too small for 3 convolutions"),
    ("data: {channels: 2}", "data.channels", "1 or 3"),
    ("data: {name: ../evil}", "data.name", "pattern"),
    ("data: {fractions: {validation: 0.6, test: 0.6}}", "data.fractions", "for train"),
    ("registry: {name: 'a/b'}", "registry.name", "pattern"),
    ("- a list", "params.yaml", "mapping"),
    ("data: {name: digits, name: other}", "'name'", "written twice"),
    ("data: [", "params.yaml", "not YAML"),
    ("!!python/object/apply:os.system [true]", "params.yaml", "tags are not supported"),
]


@pytest.mark.parametrize(("text", "where", "way_out"), FAULTS, ids=lambda value: str(value)[:40])
def test_a_fault_is_one_message_with_its_path_and_what_is_allowed(
    text: str, where: str, way_out: str, tmp_path: Path
) -> None:
    """Wrong keys, types, ranges and axes are refused before anything runs."""
    with pytest.raises(ConfigError) as refused:
        load(text, tmp_path)

    assert where in str(refused.value)
    assert way_out in str(refused.value)
    assert "pydantic" not in str(refused.value)


def test_several_faults_are_named_at_once(tmp_path: Path) -> None:
    """The user mends a file once, not fault by fault."""
    with pytest.raises(ConfigError) as refused:
        load("data: {nmae: x}\nsearch: {epochs: 0}", tmp_path)

    assert len(str(refused.value).splitlines()) == 2


def test_a_budget_of_one_trial_is_enough(tmp_path: Path) -> None:
    """The whole of it without a pruner, its lowest rung with one."""
    assert load("search: {epochs: 5, max_epochs_total: 5}", tmp_path)
    assert load("search: {pruner: asha, min_epochs: 2, max_epochs_total: 3}", tmp_path)


@pytest.mark.parametrize("override", ["search.epochs", "=3", "search.epochs=[", "a.b=1"])
def test_an_override_that_is_none_is_refused(override: str, tmp_path: Path) -> None:
    """--set takes KEY=VALUE of an existing key."""
    with pytest.raises(ConfigError):
        load("", tmp_path, override)


@pytest.mark.parametrize(
    ("override", "blamed"),
    [
        ("search.epoch=3", "--set search.epoch: no such key; did you mean 'epochs'"),
        ("search.epochs=0", "--set search.epochs: 0: "),
        ("data={channels: 2}", "--set data: data.channels: 2: "),
        ("data.fractions.test=0.9", "params.yaml with --set data.fractions.test: data.fractions: "),
        ("data.image_size=8", "params.yaml with --set data.image_size: "),
        ("search.axes.minibatch_size=[0]", "--set search.axes.minibatch_size: 0: "),
        ("trial.seed=1", "params.yaml: data.channels: 2: "),
    ],
)
def test_the_override_is_blamed_and_not_the_file(
    override: str, blamed: str, tmp_path: Path
) -> None:
    """Who mends params.yaml for a wrong --set looks in vain; both are named where both made it."""
    text = "data: {channels: 2}" if "seed" in override else "data: {fractions: {validation: 0.2}}"
    with pytest.raises(ConfigError) as refused:
        load(text, tmp_path, override)

    assert str(refused.value).startswith(blamed)


def test_overrides_apply_in_order_and_axes_keep_their_dots(tmp_path: Path) -> None:
    """The last one wins; what follows search.axes. is one axis."""
    params = load(
        "search: {epochs: 2}",
        tmp_path,
        "search.epochs=3",
        "search.epochs=4",
        "search.axes.optimizer.learning_rate=[1e-3, 0.01]",
    )

    assert params.search.epochs == 4
    assert params.search.axes == {"optimizer.learning_rate": [0.001, 0.01]}


def test_an_optimizer_without_a_name_is_the_default_one(tmp_path: Path) -> None:
    """Changing the learning rate alone does not ask for the optimiser's name."""
    params = load("trial: {optimizer: {learning_rate: 0.01}}", tmp_path)

    assert params.trial.optimizer == AdamConfig(learning_rate=0.01)


def test_choosing_another_kind_keeps_shared_fields_and_drops_the_rest() -> None:
    """hidden_units carries over from CNN to MLP; channels do not exist there."""
    config = apply_point(TrialConfig(), {"network.name": "mlp", "network.hidden_units": 7})

    assert config.network == MlpConfig(hidden_units=7)


@pytest.mark.parametrize("section", ["network", "optimizer", "schedule", "mixing"])
def test_any_kind_can_follow_any_other(section: str) -> None:
    """What two kinds call alike has values that both can have, so that an axis may hold both."""
    kinds = models_in(TrialConfig.model_fields[section].annotation)
    for before, after in itertools.permutations(kinds, 2):
        base = TrialConfig.model_validate({section: before()})
        name = after.model_fields["name"].default

        assert isinstance(getattr(apply_point(base, {f"{section}.name": name}), section), after)


def test_a_momentum_is_an_axis_where_sgd_is_chosen() -> None:
    """Kinds are chosen before their fields are set, whatever the order of axes."""
    config = apply_point(TrialConfig(), {"optimizer.momentum": 0.9, "optimizer.name": "sgd"})

    assert config.optimizer == SgdConfig(learning_rate=0.001, momentum=0.9)


def test_the_names_offered_for_an_axis_are_fields_of_some_kind() -> None:
    """What the message offers is there: leaves of TrialConfig and of each kind in it."""
    names = axis_names()

    assert {"seed", "network.hidden_units", "network.cell", "optimizer.momentum"} <= set(names)
    assert not any(name in ("network", "optimizer") for name in names)


def test_another_kind_needs_no_more_than_its_name(tmp_path: Path) -> None:
    """What the file says of the kind before is dropped; what is given beside it is not."""
    path = tmp_path / "params.yaml"
    path.write_text("trial: {network: {name: cnn, channels: [8, 8], hidden_units: 32}}\n")

    params = load_params(path, ["trial.network.name=mlp", "trial.network.hidden_layers=3"])

    assert params.trial.network == MlpConfig(hidden_units=32, hidden_layers=3)
    with pytest.raises(ConfigError, match=r"--set trial.network.channels: no such key"):
        load_params(path, ["trial.network.channels=[4]", "trial.network.name=mlp"])


@pytest.mark.parametrize(
    ("override", "said"),
    [
        (
            "trial.network={name: cnn, width: 8}",
            "trial.network.width: no such key; name: resnet has it; keys here: channels, dropout",
        ),
        (
            "trial.network.chanels=[8, 8]",
            "trial.network.chanels: no such key; did you mean 'channels'? keys here: channels, ",
        ),
        (
            "trial.augmentation=[{name: shift}, {name: crop, degrees: 3}]",
            "trial.augmentation.1.degrees: no such key; name: affine has it; keys here: fill",
        ),
        ("trial.augmentation=[{name: crop, padding: x}]", "trial.augmentation.0.padding: 'x': "),
    ],
)
def test_the_keys_named_are_those_of_the_kind_chosen(
    override: str, said: str, tmp_path: Path
) -> None:
    """What another kind has is of no use here, but for its name; nothing else is complained of."""
    with pytest.raises(ConfigError) as refused:
        load("", tmp_path, override)

    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_horizon_that_ends_before_the_training_is_refused(tmp_path: Path) -> None:
    """The rest would train at a rate of 0; of an axis every value counts, whatever is drawn."""
    cosine = "trial: {schedule: {name: cosine, horizon: 5}}\nsearch: {epochs: 8}\n"

    with pytest.raises(ConfigError, match=r"trial\.schedule\.horizon 5 is below search\.epochs 8"):
        load(cosine, tmp_path)
    assert load(cosine, tmp_path, "search.epochs=5").search.epochs == 5
    for axis in ("[8, 4]", "{low: 4, high: 20}"):
        with pytest.raises(ConfigError, match=r"search\.axes\.schedule\.horizon 4 is below"):
            load(cosine, tmp_path, f"search.axes={{schedule.horizon: {axis}}}", RANDOM)
    named = load(cosine, tmp_path, "search.axes={schedule.name: [constant, linear]}")
    with pytest.raises(ConfigError, match=r'schedule.name: "linear": schedule.horizon 5 is below'):
        search_space(named)


RANDOM = "search.strategy=random"


def test_a_horizon_beyond_the_training_is_noticed_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It may be meant: search.epochs can be raised up to it, and the trials go on."""
    for horizon in ("null", "9", "23", "23"):
        text = f"trial: {{schedule: {{name: cosine, horizon: {horizon}}}}}\nsearch: {{epochs: 9}}\n"
        load(text, tmp_path)

    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 1
    assert "horizon 23 is above search.epochs 9" in said[0]


@pytest.mark.parametrize("epochs", [5, 30])
@pytest.mark.parametrize("schedule", ["cosine", "linear", "one_cycle"])
def test_a_horizon_that_is_not_given_is_that_of_the_search(
    tmp_path: Path, schedule: str, epochs: int
) -> None:
    """In the trial's key it is a number, the same as one that was written; null in an axis too."""
    text = f"trial: {{schedule: {{name: {schedule}}}}}\nsearch: {{epochs: {epochs}}}\n"
    (found,) = search_space(load(text, tmp_path))
    (written,) = search_space(load(text, tmp_path, f"trial.schedule.horizon={epochs}"))
    axis = f"search.axes={{schedule.horizon: [null, {epochs}, {2 * epochs}]}}"
    listed = search_space(load(text, tmp_path, axis))

    assert found.config == written.config
    assert [one.config.schedule.horizon for one in listed] == [epochs, 2 * epochs]
