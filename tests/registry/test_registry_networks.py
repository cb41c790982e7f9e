"""Networks of versions: built again from config and weights; the export is for other readers."""

import dataclasses
import json
import logging
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import safetensors.torch
import torch
from archive_crafting import MARKER, RUN, Craft, crafted, pickled
from registry_records import BarsNetwork, random_images, registration, serving_network
from torch import Tensor, nn
from torch.nn import functional

from flows.records.lineage import Lineage
from flows.registry import packing
from flows.registry.loading import load_version
from flows.registry.networks import build_again, load_exported, load_network, predict
from flows.registry.records import Registration
from flows.registry.registering import register
from flows.registry.safety.operators import OPERATORS
from flows.tracking.runs import Runs
from flows.tracking.store import Tracking
from models.config import (
    CnnConfig,
    EvaluationParams,
    MlpConfig,
    NetworkConfig,
    ResnetConfig,
    RnnConfig,
)
from models.config.policies import Flips
from models.errors import IntegrityError
from models.evaluation.records import Calibration
from models.monitoring.embedding import predict_and_embed
from models.networks.serving import ServingNetwork

pytest_plugins = ["registry_fixtures"]
pytestmark = pytest.mark.filterwarnings(
    # What torch 2.13 says of the weights of recurrent networks while it exports them.
    "ignore:The tensor attributes .* were assigned during export"
)

WEIGHTS, ANSWERS = Path("pitchpipe/weights.safetensors"), Path("pitchpipe/answers.npy")
KINDS: dict[str, NetworkConfig] = {
    "article": CnnConfig(),
    "cnn": CnnConfig(channels=(4, 4), hidden_units=8, dropout=0.2),
    "mlp": MlpConfig(hidden_units=8, dropout=0.1),
    "gru": RnnConfig(hidden_units=8, dropout=0.1),
    "lstm": RnnConfig(cell="lstm", hidden_units=8, hidden_layers=2),
    "resnet": ResnetConfig(width=4, squeeze_excite=True),
    "normalised": CnnConfig(
        channels=(4, 4), kernel=5, padding="same", normalisation="batch", head="global"
    ),
    "attention": RnnConfig(hidden_units=8, bidirectional=True, states="attention"),
}


CALIBRATION = Calibration(
    temperature=1.7, images=30, uncalibrated_ece=0.1, uncalibrated_cross_entropy=0.5
)


def registration_of(
    network: NetworkConfig,
    channels: int,
    side: int,
    *,
    calibration: Calibration | None = None,
    flips: Flips = "none",
) -> Registration:
    """A network of a config, whose lineage says so."""
    temperature = None if calibration is None else calibration.temperature
    torch.manual_seed(0)
    built = network.build(channels=channels, image_size=side, classes=3)
    given = registration("a" * 32)
    config = given.spec.config.model_copy(update={"network": network})
    spec = given.spec.model_copy(update={"config": config})
    return dataclasses.replace(
        given,
        serving=ServingNetwork(
            built,
            mean=(0.3,) * channels,
            std=(0.4,) * channels,
            temperature=temperature,
            mirror=flips == "horizontal",
        ).eval(),
        params=given.params.model_copy(update={"evaluation": EvaluationParams(flips=flips)}),
        calibration=calibration,
        spec=spec,
        result=given.result.model_copy(update={"key": spec.key, "config": config}),
        example=np.zeros((4, channels, side, side), np.uint8),
    )


def packed_into(folder: Path, given: Registration) -> Path:
    """A version's files."""
    packing.pack(folder / "files", given, model_id="m-1")
    return folder / "files"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return packed_into(tmp_path_factory.mktemp("packed"), registration("a" * 32))


@pytest.fixture
def files(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A version's files, to be damaged."""
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(template, tmp_path / "files"))


def lineage_of(files: Path) -> Lineage:
    return Lineage.model_validate_json((files / "pitchpipe/lineage.json").read_bytes())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("channels", "side"), [(1, 28), (3, 20)])
def test_every_network_is_built_again_to_the_bit(
    tmp_path: Path, kind: str, channels: int, side: int
) -> None:
    """Whatever was trained, exported or built again: the same bits for any batch, and the same
    features, the input of the last layer, for `monitor`.
    """
    given = registration_of(KINDS[kind], channels, side)
    files = packed_into(tmp_path, given)
    images = np.random.default_rng(1).integers(0, 256, (7, channels, side, side), np.uint8)
    expected = predict(given.serving, images)
    again, exported = rebuilt(files), load_exported(files)
    assert np.array_equal(predict(again, images), expected)
    assert np.array_equal(predict(exported, images), expected)
    (probabilities, features), (others, read_off) = (
        predict_and_embed(network, images, threads=1) for network in (again, exported)
    )
    assert np.array_equal(probabilities, others)
    assert np.array_equal(features, read_off)
    assert features.shape[1] != 3  # of the classes: no log-probabilities


class AddsInPlace(nn.Module):
    """A residual block as many write it."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, 1, 3, padding=1)
        self.head = nn.Linear(64, 3)

    def forward(self, images: Tensor) -> Tensor:
        found: Tensor = self.convolution(images)
        found += images
        return self.head(found.relu().flatten(1))  # type: ignore[no-any-return] # a module's call


def test_an_export_overwrites_nothing_though_the_network_does() -> None:
    """Only operators of the list are left, and the bits are the same."""
    torch.manual_seed(0)
    serving = ServingNetwork(AddsInPlace(), mean=(0.3,), std=(0.4,)).eval()
    images = torch.from_numpy(random_images(5))
    count = {0: torch.export.Dim("n")}
    exported = torch.export.export(serving, (images[:4],), dynamic_shapes=(count,))

    called = {str(node.target) for node in exported.graph.nodes if node.op == "call_function"}
    assert {f"torch.ops.{name}" for name in called} <= OPERATORS
    assert torch.equal(exported.module()(images), serving(images))


@pytest.mark.parametrize("flips", ["none", "horizontal"])
def test_a_calibrated_network_is_built_again_and_its_features_are_found(
    tmp_path: Path, flips: Flips
) -> None:
    """The export divides its logits and takes means over mirror images as well; drift looks at
    what its last layer sees of either.
    """
    given = registration_of(KINDS["cnn"], 1, 12, calibration=CALIBRATION, flips=flips)
    plain = registration_of(KINDS["cnn"], 1, 12, flips=flips)
    files = packed_into(tmp_path, given)
    images = np.random.default_rng(1).integers(0, 256, (7, 1, 12, 12), np.uint8)

    found = [predict(load(files), images) for load in (rebuilt, load_exported)]
    _, features = predict_and_embed(load_exported(files), images, threads=1)
    _, heard = predict_and_embed(rebuilt(files), images, threads=1)

    assert lineage_of(files).calibration == CALIBRATION
    assert lineage_of(files).flips == flips
    for probabilities in found:
        assert np.array_equal(probabilities, predict(given.serving, images))
    assert (found[0].max(1) < predict(plain.serving, images).max(1)).all()
    assert features.shape == (7, 8)
    assert np.array_equal(heard, features)
    assert given.digest != plain.digest


def rebuilt(files: Path) -> nn.Module:
    return build_again(files, lineage_of(files))


def test_the_export_is_not_read_by_our_own_commands(files: Path) -> None:
    """Where the weights are there, what model.pt2 holds does not matter."""
    (files / "data/model.pt2").write_bytes(b"no archive")
    images = random_images(3)
    expected = predict(serving_network(), images)
    assert np.array_equal(predict(load_network(files), images), expected)


def test_building_again_draws_no_random_number(files: Path) -> None:
    """Loading a version changes nothing of what this process draws later."""
    torch.manual_seed(3)
    before = torch.get_rng_state()
    load_network(files)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_version_of_an_earlier_release_is_loaded_by_its_export(files: Path) -> None:
    """It has no weights of its own."""
    (files / WEIGHTS).unlink()
    (files / ANSWERS).unlink()
    images = random_images(3)
    expected = predict(serving_network(), images)
    assert np.array_equal(predict(load_network(files), images), expected)


def test_a_network_of_no_config_is_registered_by_its_export_alone(tmp_path: Path) -> None:
    """Nothing could build it again."""
    files = packed_into(
        tmp_path, dataclasses.replace(registration("a" * 32), serving=BarsNetwork().eval())
    )
    assert not (files / WEIGHTS).exists()
    images = random_images(3)
    assert np.array_equal(predict(load_network(files), images), predict(BarsNetwork(), images))


def test_code_that_changed_since_does_not_change_what_a_version_says(
    files: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Another network of the same config and weights is noticed; the export is used instead."""
    other = SimpleNamespace(relu=torch.sigmoid, max_pool2d=functional.max_pool2d)
    monkeypatch.setattr("models.networks.layers.functional", other)
    images = random_images(3)
    with caplog.at_level(logging.WARNING, logger="flows"):
        found = predict(load_network(files), images)
    assert "its export is used" in caplog.text
    monkeypatch.undo()
    assert np.array_equal(found, predict(serving_network(), images))


def test_a_config_that_is_not_the_networks_is_not_registered(tmp_path: Path) -> None:
    """The lineage would build something else."""
    other = registration_of(CnnConfig(channels=(4, 4), hidden_units=9), 1, 8)
    with pytest.raises(IntegrityError, match="its config's network"):
        packed_into(tmp_path, dataclasses.replace(other, serving=serving_network()))


def claim(files: Path, **network: object) -> None:
    path = files / "pitchpipe/lineage.json"
    document = json.loads(path.read_text())
    document["spec"]["config"]["network"] = network
    path.write_text(json.dumps(document))


def test_a_config_of_a_giant_takes_no_memory(files: Path) -> None:
    """Sixteen layers of 8192 units, 4 GB of weights: refused by the shapes, before any is made."""
    claim(files, name="mlp", hidden_units=8192, hidden_layers=16, dropout=0.0)
    with pytest.raises(IntegrityError, match="other names, types or shapes"):
        load_network(files)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff" * 16,
        pickled({"mean": torch.zeros(1)}),
        safetensors.torch.save({"mean": torch.zeros(1)}),
    ],
)
def test_what_are_no_weights_is_refused(files: Path, content: bytes) -> None:
    """Empty, damaged, a pickle, of something else."""
    (files / WEIGHTS).write_bytes(content)
    with pytest.raises(IntegrityError, match="does not hold the weights"):
        load_network(files)


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"\x80\x04N."])
def test_answers_that_are_none_are_refused(files: Path, content: bytes) -> None:
    """No array, or a pickle: neither is taken for another answer."""
    (files / ANSWERS).write_bytes(content)
    with pytest.raises(IntegrityError, match=r"no readable answers\.npy"):
        load_network(files)


@pytest.mark.parametrize("craft", RUN.values(), ids=[*RUN])
def test_an_export_that_would_run_code_is_not_loaded(files: Path, craft: Craft) -> None:
    """Where a version has nothing but its export, the very bytes that are loaded are checked."""
    (files / WEIGHTS).unlink()
    path = files / "data/model.pt2"
    path.write_bytes(crafted(path.read_bytes(), craft))
    with pytest.raises(IntegrityError, match="could run code"):
        load_network(files)
    assert not MARKER.exists()


def test_an_operator_that_is_not_on_the_list_is_named_when_it_is_registered(tmp_path: Path) -> None:
    """Who adds a network reads which file to look at."""

    class Digamma(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.softmax(
                torch.digamma(images.float() + 1).mean((2, 3)).expand(-1, 3), dim=1
            )

    given = dataclasses.replace(registration("a" * 32), serving=Digamma().eval())
    with pytest.raises(IntegrityError, match=r"operators\.py: 'torch\.ops\.aten\.digamma"):
        packed_into(tmp_path, given)


def test_a_registered_version_is_built_again(tracking: Tracking) -> None:
    """From the registry, by number: no export is loaded."""
    run_id = Runs(tracking).create("a retraining", tags={}, at=1)
    loaded = load_version(tracking, register(tracking, registration(run_id)))
    assert isinstance(loaded.network, ServingNetwork)
    images = random_images(37)
    assert np.array_equal(loaded.predict(images), predict(serving_network(), images))
