"""A trial from its spec to its result."""

from pathlib import Path

import pytest
from training_fixtures import SMALL_CNN, ignore, spec_of, write_prepared

from models.config import TrialConfig
from models.datasets.prepared import Manifest
from models.training.checkpoint import load_serving, weights_digest
from models.training.fit import train_trial
from models.trials import TrialResult


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("training") / "prepared"
    write_prepared(folder)
    return folder


@pytest.fixture
def manifest(prepared: Path) -> Manifest:
    return Manifest.model_validate_json((prepared / "manifest.json").read_bytes())


CONFIG = TrialConfig(network=SMALL_CNN, minibatch_size=16)


def trained(directory: Path, prepared: Path, config: TrialConfig, budget: int) -> TrialResult:
    manifest = Manifest.model_validate_json((prepared / "manifest.json").read_bytes())
    spec = spec_of(config, manifest)
    outcome = train_trial(spec, directory, prepared=prepared, budget=budget, on_epoch=ignore)
    assert isinstance(outcome, TrialResult)
    return outcome


def test_the_weights_loaded_for_service_are_those_of_the_best_epoch(
    tmp_path: Path, prepared: Path, manifest: Manifest
) -> None:
    """load_serving returns the weights whose digest the result states."""
    result = trained(tmp_path, prepared, CONFIG, 3)
    serving = load_serving(tmp_path, result, manifest)
    assert weights_digest(serving.network.state_dict()) == result.weights_digest
    assert not serving.training
