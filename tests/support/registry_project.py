"""A project whose versions know the classes of its prepared data; exporting is done once."""

import hashlib
import os
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from made_once import made_once
from registry_records import BARS, BarsNetwork, Command, bars_registration, serving_network
from training_fixtures import write_prepared

from flows.cli.main import main
from flows.registry.registering import register
from flows.tracking.runs import Runs
from flows.tracking.store import Tracking, open_tracking

PARAMS = (
    "data: {name: bars, image_size: 8}\n"
    "trial: {network: {name: mlp}}\n"
    "gate: {minimum_test_images: 6}\n"
)


def write_verified(folder: Path) -> None:
    """Prepared bars whose manifest has the digests of the arrays, as `prepare` writes it."""
    manifest = write_prepared(folder)
    splits = {
        name: info.model_copy(
            update={
                "arrays": {
                    array: hashlib.sha256(np.load(folder / name / f"{array}.npy")).hexdigest()
                    for array in info.arrays
                }
            }
        )
        for name, info in manifest.splits.items()
    }
    text = manifest.model_copy(update={"splits": splits}).model_dump_json()
    (folder / "manifest.json").write_text(text)


@pytest.fixture(scope="session")
def bars_template(tmp_path_factory: pytest.TempPathFactory, migrated_database: Path) -> Path:
    """The project before any command: version 1 names every bar rightly, version 2 is untrained."""
    return made_once(tmp_path_factory, "bars", partial(_make_bars, migrated_database))


def _make_bars(migrated_database: Path, root: Path) -> None:
    shutil.copytree(migrated_database, root / "mlruns")
    (root / "params.yaml").write_text(PARAMS)
    write_verified(root / "data/prepared")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlruns/mlflow.db")
        tracking = open_tracking(BARS)
        for seed, serving in enumerate((BarsNetwork().eval(), serving_network())):
            run_id = Runs(tracking).create("a retraining", tags={}, at=1)
            tracking.client.log_text(run_id, "<p>fine</p>", "report/report.html")
            register(tracking, bars_registration(serving, run_id, seed=seed))


@pytest.fixture
def bars(bars_template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project, as the working directory."""
    root = tmp_path / "project"
    shutil.copytree(bars_template, root)
    monkeypatch.chdir(root)
    for name in [name for name in os.environ if name.startswith("PITCHPIPE")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlruns/mlflow.db")
    return root


@pytest.fixture
def bars_tracking(bars: Path) -> Tracking:
    """Its store, opened."""
    assert Path.cwd() == bars
    return open_tracking(BARS)


@pytest.fixture
def pitchpipe(
    bars: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Command:
    """Run a command in the project: exit code, standard output, standard error."""
    assert bars.is_dir()

    # Standard output is the test's; the command line would hand it to libraries.
    monkeypatch.setattr("flows.cli.main.reserve_standard_output", lambda _: None)
    monkeypatch.setattr("signal.signal", lambda *_: None)

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        out, err = capfd.readouterr()
        code = ended.value.code
        return (code if isinstance(code, int) else 0), out, err

    return run
