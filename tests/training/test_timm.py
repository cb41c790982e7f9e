"""Networks of timm: built, begun with pretrained weights, frozen, served; clear where it lacks."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from timm_operators import needs_timm
from training_fixtures import Trials

from models.config import TrialConfig, load_params
from models.config.start import StartConfig
from models.errors import ConfigError, MissingExtraError, UnreachableError
from models.networks import NetworkConfig, TimmConfig
from models.networks.serving import ServingNetwork
from models.training.checkpoint import load_weights, weights_digest
from models.training.starting import read_parent
from models.trials import TrialFiles

SMALL = TimmConfig(model="test_resnet")


def built(config: NetworkConfig, *, classes: int = 3, channels: int = 3) -> torch.nn.Module:
    torch.manual_seed(0)
    return config.build(channels=channels, image_size=32, classes=classes)


@pytest.fixture
def without_timm(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the extra is not installed."""
    monkeypatch.setitem(sys.modules, "timm", None)
    found = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name == "timm" else found(name)
    )


@pytest.mark.usefixtures("without_timm")
def test_without_the_extra_one_message_says_how_to_get_it() -> None:
    """In the params before anything runs, and where a network is built."""
    with pytest.raises(ConfigError, match="make install EXTRAS=timm"):
        load_params(Path("params.yaml"), ["trial.network={name: timm}"])
    with pytest.raises(MissingExtraError, match="make install EXTRAS=timm"):
        built(SMALL)


@needs_timm
def test_pretrained_weights_and_a_start_are_refused_together() -> None:
    """Both name weights; and an axis of models would need several."""
    network = "trial.network={name: timm, model: test_resnet, pretrained: true}"
    for other, why in (
        ("trial.start.from=champion", "both name weights"),
        ("search.axes={network.model: [test_resnet, resnet18]}", "these are of one model"),
    ):
        with pytest.raises(ConfigError, match=why):
            load_params(Path("params.yaml"), [network, other])


@needs_timm
def test_a_child_begins_with_the_backbone_of_a_file_and_trains(tmp_path: Path) -> None:
    """Weights under timm's names, of another number of classes: frozen ones stay to the bit."""
    trials = Trials.of(tmp_path / "prepared")
    parent = built(SMALL, classes=1000, channels=1).state_dict()
    directory = tmp_path / "trial"
    directory.mkdir()
    safetensors.torch.save_file(parent, directory / TrialFiles.START)
    start = StartConfig(origin="w.safetensors", layers="backbone", weights=weights_digest(parent))
    frozen = SMALL.model_copy(update={"freeze": "head_only"})
    config = TrialConfig(network=frozen, start=start, minibatch_size=16)

    result = trials.result(directory, config, 2)

    trained = load_weights(directory / result.checkpoint, result.checkpoint_digest)
    moved = {name for name in trained if not torch.equal(trained[name], parent[name])}
    assert moved == {"fc.weight", "fc.bias"}
    assert read_parent(directory / TrialFiles.START).digest == start.weights


@needs_timm
@pytest.mark.parametrize(("until", "first"), [("none", "conv1"), ("layer4", "layer4")])
def test_layers_before_a_block_are_frozen_with_their_statistics(until: str, first: str) -> None:
    """Their parameters ask no gradient, and normalisation stays in evaluation mode."""
    network = built(SMALL.model_copy(update={"freeze": until})).train()

    asks = [name for name, one in network.named_parameters() if one.requires_grad]
    assert asks[0].startswith(first)
    norms = {
        name: module.training
        for name, module in network.named_modules()
        if isinstance(module, torch.nn.BatchNorm2d)
    }
    assert norms["bn1"] == (until == "none")
    assert all(training for name, training in norms.items() if name.startswith("layer4"))


@needs_timm
@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"model": "test_resnt"}, "has no such model; did you mean .*test_resnet"),
        ({"model": "test_resnet.nothing"}, "test_resnet.nothing: "),
        ({"freeze": "layer9"}, "is no block of this model; .*layer4"),
    ],
)
def test_what_timm_does_not_have_is_refused(changes: dict[str, str], why: str) -> None:
    """One message: value, and what there is."""
    with pytest.raises(ConfigError, match=why):
        built(SMALL.model_copy(update=changes))


@needs_timm
def test_offline_without_a_cache_pretrained_weights_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HF_HUB_OFFLINE is obeyed: nothing is asked of the network; a cached file is taken."""
    built(SMALL)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UnreachableError, match=r"model.safetensors of timm/test_resnet.r160_in1k"):
        SMALL.pretrained_file()

    repository = tmp_path / "models--timm--test_resnet.r160_in1k"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs/main").write_text("abc")
    (repository / "snapshots/abc").mkdir(parents=True)
    file = repository / "snapshots/abc/model.safetensors"
    safetensors.torch.save_file(built(SMALL, classes=1000).state_dict(), file)
    assert SMALL.pretrained_file() == file
    assert SMALL.pretrained_statistics(3) == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    assert SMALL.pretrained_statistics(1) is None


@needs_timm
@pytest.mark.parametrize("freeze", ["none", "layer4"])
def test_what_is_served_is_exported_without_timm(freeze: str) -> None:
    """torch.export takes the network, and says the same for any number of images."""
    serving = ServingNetwork(
        built(SMALL.model_copy(update={"freeze": freeze})), mean=(0.5,) * 3, std=(0.5,) * 3
    ).eval()
    images = torch.from_numpy(
        np.random.default_rng(0).integers(0, 256, (5, 3, 32, 32), dtype=np.uint8)
    )
    exported = torch.export.export(
        serving, (images[:4],), dynamic_shapes=({0: torch.export.Dim("n")},)
    ).module()

    assert torch.equal(exported(images), serving(images))
