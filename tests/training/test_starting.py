"""Training that begins with a parent's weights: what is kept, what is new, what is refused."""

from pathlib import Path

import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st
from training_fixtures import SMALL_CNN, Trials

from models.config import CnnConfig, NetworkConfig, ResnetConfig, TrialConfig
from models.config.start import StartConfig
from models.datasets.prepared import Manifest, open_split
from models.errors import ConfigError, InputError, IntegrityError
from models.evaluation.inference import predict_probabilities
from models.training.checkpoint import (
    build_network,
    load_serving,
    weights_digest,
)
from models.training.starting import begin_with, check_fits, head_fits, read_parent
from models.trials import TrialFiles, TrialSpec

PARENT = TrialConfig(network=SMALL_CNN)
STATISTICS = {"mean": (0.5,), "std": (0.125,)}


@pytest.fixture(scope="module")
def bars(tmp_path_factory: pytest.TempPathFactory) -> Trials:
    """Small prepared data."""
    return Trials.of(tmp_path_factory.mktemp("bars") / "prepared")


def written(path: Path, config: TrialConfig, manifest: Manifest, *, seed: int = 5) -> StartConfig:
    """Write new weights of a network as a file; return the start that names them."""
    torch.manual_seed(seed)
    weights = build_network(config, manifest).state_dict()
    path.parent.mkdir(parents=True, exist_ok=True)
    safetensors.torch.save_file({name: one.contiguous() for name, one in weights.items()}, path)
    return StartConfig(origin="parent.safetensors", weights=weights_digest(weights))


def began(bars: Trials, path: Path, start: StartConfig, network: NetworkConfig) -> dict[str, bool]:
    """Name of each weight -> whether the network has the file's."""
    config = TrialConfig(network=network, start=start)
    torch.manual_seed(0)
    built = build_network(config, bars.manifest)
    begin_with(built, config, bars.manifest, path)
    parent = read_parent(path).weights
    return {name: torch.equal(one, parent[name]) for name, one in built.state_dict().items()}


def test_all_layers_are_kept_or_all_but_the_head(bars: Trials, tmp_path: Path) -> None:
    """The head is what depends on the classes; other classes make it new with `all`, too."""
    path = tmp_path / "parent.safetensors"
    start = written(path, PARENT, bars.manifest)

    assert all(began(bars, path, start, SMALL_CNN).values())
    for changed in ({"layers": "backbone"}, {"head_fits": False}):
        kept = began(bars, path, start.model_copy(update=changed), SMALL_CNN)
        assert {name for name, same in kept.items() if not same} == {"output.weight", "output.bias"}


def test_statistics_of_batch_normalisation_go_with_their_layer(
    bars: Trials, tmp_path: Path
) -> None:
    """Running means and the count of minibatches are weights of the parent, too."""
    network = ResnetConfig(width=4, stages=1, depth=1)
    path = tmp_path / "parent.safetensors"
    start = written(path, TrialConfig(network=network), bars.manifest)
    tensors = safetensors.torch.load_file(path)
    moved = {n: t + 3 if "running_mean" in n or "tracked" in n else t for n, t in tensors.items()}
    safetensors.torch.save_file(moved, path)
    start = start.model_copy(update={"layers": "backbone", "weights": weights_digest(moved)})

    kept = began(bars, path, start, network)

    counted = [name for name in kept if "running_mean" in name or "tracked" in name]
    assert counted
    assert all(kept[name] for name in counted)


def test_before_the_first_step_it_says_what_the_parent_says(bars: Trials, tmp_path: Path) -> None:
    """At a learning rate of next to nothing: the parent's weights and normalisation."""
    directory = tmp_path / "child"
    start = written(directory / TrialFiles.START, PARENT, bars.manifest)
    start = start.model_copy(update=STATISTICS)
    still = PARENT.optimizer.model_copy(update={"learning_rate": 1e-12})
    config = PARENT.model_copy(update={"start": start, "optimizer": still})

    result = bars.result(directory, config, 1)

    serving = load_serving(directory, result, bars.manifest)
    assert (serving.mean.item(), serving.std.item()) == (0.5, 0.125)
    parent = read_parent(directory / TrialFiles.START).weights
    pixels = open_split(bars.prepared, "validation", verify=False).images
    found = predict_probabilities(serving, pixels, threads=1)
    serving.network.load_state_dict(parent)
    assert abs(predict_probabilities(serving, pixels, threads=1) - found).max() < 1e-6


def test_training_goes_on_from_the_checkpoint_and_not_from_the_parent(
    bars: Trials, tmp_path: Path
) -> None:
    """Two epochs, then one more: the bits of three at once."""
    results = []
    for name, budgets in (("whole", [3]), ("resumed", [2, 3])):
        start = written(tmp_path / name / TrialFiles.START, PARENT, bars.manifest)
        config = PARENT.model_copy(update={"start": start})
        results.append([bars.result(tmp_path / name, config, budget) for budget in budgets][-1])

    assert results[0].weights_digest == results[1].weights_digest
    new = bars.result(tmp_path / "new", PARENT, 3)
    assert new.weights_digest != results[0].weights_digest


def test_other_weights_than_the_key_names_are_refused(bars: Trials, tmp_path: Path) -> None:
    """The file is not what it was, or is gone: nothing is trained under that key."""
    directory = tmp_path / "child"
    start = written(directory / TrialFiles.START, PARENT, bars.manifest)
    config = PARENT.model_copy(update={"start": start})
    written(directory / TrialFiles.START, PARENT, bars.manifest, seed=6)

    with pytest.raises(IntegrityError, match="does not hold the weights that this trial begins"):
        bars.outcome(directory, config, 1)
    (directory / TrialFiles.START).unlink()
    with pytest.raises(IntegrityError, match="run again, which writes it anew"):
        bars.outcome(directory, config, 1)


def test_a_network_that_does_not_take_them_is_refused_with_layer_and_shapes(
    bars: Trials, tmp_path: Path
) -> None:
    """Layer, both shapes, and what to change; another head is no fault where the head is new."""
    path = tmp_path / "parent.safetensors"
    start = written(path, PARENT, bars.manifest)
    shapes = read_parent(path).shapes
    wider = TrialConfig(network=CnnConfig(channels=(8, 8), hidden_units=32), start=start)

    expected = r"hidden.bias is \(16,\) there, \(32,\) here; .*Give trial.network"
    with pytest.raises(ConfigError, match=expected):
        check_fits(wider, bars.manifest, shapes)
    with pytest.raises(ConfigError, match=r"is absent there, \(4, 4, 3, 3\) here; .* more"):
        check_fits(TrialConfig(network=ResnetConfig(width=4), start=start), bars.manifest, shapes)

    more = bars.manifest.model_copy(update={"classes": ("a", "b", "c", "d")})
    config = PARENT.model_copy(update={"start": start.model_copy(update={"layers": "backbone"})})
    check_fits(config, more, shapes)
    assert not head_fits(PARENT, more, shapes)
    assert head_fits(PARENT, bars.manifest, shapes)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is no .safetensors file"),
        (b"\x80\x04\x95 a pickle", "is no .safetensors file"),
        (safetensors.torch.save({"a": torch.tensor([float("nan")])}), "a is not finite"),
        (safetensors.torch.save({}), "there are no weights in it"),
        (None, "No such file"),
    ],
)
def test_a_file_without_weights_is_refused(tmp_path: Path, content: bytes | None, why: str) -> None:
    """One message with the file's name; nothing is unpickled."""
    path = tmp_path / "parent.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=rf"parent.safetensors: .*{why}"):
        read_parent(path)


@given(
    st.sampled_from(["champion", 3, "digits-classifier@champion", "w.safetensors"]),
    st.sampled_from(["all", "backbone"]),
    st.booleans(),
)
def test_a_key_names_weights_by_their_content(
    origin: str | int,
    layers: str,
    fits: bool,  # noqa: FBT001 - drawn
) -> None:
    """Whatever they are called; and what keeps no layer is the trial without a start."""
    facts = {"weights": "a" * 64, "head_fits": fits, "layers": layers}
    start = StartConfig.model_validate({"from": origin, **facts})
    same = StartConfig.model_validate({"from": "other/7", **facts})
    keys = [key_of(PARENT.model_copy(update={"start": one})) for one in (start, same)]

    assert keys[0] == keys[1] != key_of(PARENT)
    none = start.model_copy(update={"layers": "none"})
    assert key_of(PARENT.model_copy(update={"start": none})) == key_of(PARENT)
    assert start.kept == ("all" if layers == "all" and fits else "backbone")


def key_of(config: TrialConfig) -> str:
    return TrialSpec(config=config, dataset="d", source="s", versions={}).key
