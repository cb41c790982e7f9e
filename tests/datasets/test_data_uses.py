"""What was made from a dataset: shown by `data log`, and its portrait in MLflow."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from project_folder import ProjectFolder, Ran

from flows.registry.dataset_uses import RunUse, Uses, VersionUse, dataset_uses
from flows.retraining.session import write_sample_sheet
from flows.tracking.runs import Runs
from flows.tracking.store import open_tracking
from models.config import DataParams
from models.datasets.batches import write_batch
from models.datasets.labelled_images import PixelRows
from models.datasets.prepare import prepare
from models.datasets.prepared import read_manifest

pytest_plugins = ["registry_fixtures"]

PETS = "pets-classifier"


@pytest.fixture
def _store(tmp_path: Path, migrated_database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A project with MLflow's database, and nothing in it."""
    shutil.copytree(migrated_database, tmp_path / "mlruns")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.mark.usefixtures("_store")
def test_runs_and_versions_are_found_by_the_digest_of_their_data() -> None:
    """A retraining, its trial and its version belong to one dataset version; others to theirs."""
    tracking = open_tracking(PETS)
    runs, client = Runs(tracking), tracking.client
    tags = {"dataset.name": "pets", "dataset.digest": "a" * 64}
    parent = runs.create("a retraining", tags=tags, at=1)
    child = runs.create("a trial", tags={**tags, "mlflow.parentRunId": parent}, at=2)
    other = runs.create("later", tags={**tags, "dataset.digest": "b" * 64}, at=3)
    runs.create("of cars", tags={**tags, "dataset.name": "cars"}, at=4)
    runs.end(parent, "FINISHED", at=5)
    client.create_registered_model(PETS)
    client.create_model_version(PETS, source="mlruns/x", run_id=parent, tags=tags)
    client.set_registered_model_alias(PETS, "champion", "1")
    assert dataset_uses("pets", registered=PETS) == {
        "a" * 64: Uses(
            runs=[
                RunUse(id=child, name="a trial", parent=parent, status="RUNNING"),
                RunUse(id=parent, name="a retraining", parent=None, status="FINISHED"),
            ],
            versions=[VersionUse(name=PETS, version=1, aliases=("champion",))],
        ),
        "b" * 64: Uses(runs=[RunUse(id=other, name="later", parent=None, status="RUNNING")]),
    }


def test_where_mlflow_cannot_be_asked_the_log_is_shown_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A server that is down, and a database that is none: a warning, no error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert dataset_uses("pets", registered=PETS) is None
    assert "http://127.0.0.1:9" in caplog.text
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert dataset_uses("pets", registered=PETS) == {}
    (tmp_path / "mlruns").mkdir()
    (tmp_path / "mlruns" / "mlflow.db").write_text("no database")
    assert dataset_uses("pets", registered=PETS) is None


def test_a_portrait_is_kept_when_the_arrays_have_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sheet and manifest lie under the arrays' digest; those of other arrays beside them."""
    monkeypatch.chdir(tmp_path)
    pixels = np.random.default_rng(0).integers(0, 256, (60, 28, 28, 1), dtype=np.uint8)
    (tmp_path / "raw").mkdir()
    rows = PixelRows(pixels, np.arange(60) % 2, (None,) * 60)
    write_batch(tmp_path / "raw" / "a.parquet", ("a", "b"), [rows])
    folders = []
    for size in (8, 9):
        manifest = prepare(Path("raw"), Path("prepared"), DataParams(image_size=size))
        folders.append(write_sample_sheet(Path("prepared")))
        assert folders[-1].name == manifest.digest
    assert read_manifest(folders[0]).image_size == 8
    with Image.open(folders[0] / "samples.png") as sheet:
        assert sheet.size == (120 + 10 * 10, 2 * 12)
    before = (folders[1] / "samples.png").stat().st_mtime_ns
    assert write_sample_sheet(Path("prepared")) == folders[1]
    assert (folders[1] / "samples.png").stat().st_mtime_ns == before


@pytest.mark.slow
def test_a_retraining_is_in_the_log_and_its_data_in_mlflow(
    retrained: tuple[ProjectFolder, Ran],
) -> None:
    """`data log` shows its runs and its version; sheet and manifest are artifacts of its run."""
    folder, _ = retrained
    (line,) = folder.pitchpipe("data", "log", "--json").document
    (parent,) = [run["id"] for run in line["runs"] if run["parent"] is None]
    assert {run["parent"] for run in line["runs"]} == {None, parent}
    assert [version["version"] for version in line["versions"]] == [1]
    (sheet,) = folder.root.glob(f"mlruns/artifacts/*/{parent}/artifacts/dataset/samples.png")
    manifest = json.loads(sheet.with_name("manifest.json").read_text())
    assert manifest["raw_digest"] == line["digest"]
