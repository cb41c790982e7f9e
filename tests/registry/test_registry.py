"""Versions: registered whole and once, loaded only when they are what was registered."""

import dataclasses
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import mlflow
import numpy as np
import pytest
import torch
import yaml
from registry_records import CLASSES, NAME, random_images, registration, serving_network

from flows.registry import fetching, packing
from flows.registry.listing import aliases, find_version, list_versions
from flows.registry.loading import load_version, open_version
from flows.registry.records import CHALLENGER, Registration
from flows.registry.registering import register
from flows.tracking.runs import Runs
from flows.tracking.store import Tracking
from models.errors import ConfigError, IntegrityError

pytest_plugins = ["registry_fixtures"]

SERVE = """
import sys
class Refuse:
    def find_spec(self, name, *_):
        if name.partition(".")[0] in ("flows", "models"):
            raise ImportError(name)
sys.meta_path.insert(0, Refuse())

import numpy, mlflow.pyfunc
served = mlflow.pyfunc.load_model("models:/digits-classifier@challenger")
images = numpy.load("images.npy")
numpy.save("probabilities.npy", served.predict(images))
numpy.save("one.npy", served.predict(images[:1]))
"""


def new_run(tracking: Tracking) -> str:
    return Runs(tracking).create("a retraining", tags={}, at=1)


def serve_elsewhere(root: Path) -> tuple[np.ndarray, np.ndarray]:
    """Predict in an isolated process with nothing of pitchpipe on its path."""
    done = subprocess.run(
        [sys.executable, "-I", "-c", SERVE],
        cwd=root,
        env={
            "PATH": os.environ["PATH"],
            "MLFLOW_TRACKING_URI": "sqlite:///mlruns/mlflow.db",
            "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return np.load(root / "probabilities.npy"), np.load(root / "one.npy")


def test_a_version_serves_elsewhere_as_it_was_trained_even_after_a_move(
    tracking: Tracking, mlflow_project: Path
) -> None:
    """Plain MLflow, no pitchpipe, no pickle, any batch, another folder: the same bits."""
    assert register(tracking, registration(new_run(tracking))) == 1
    moved = mlflow_project.with_name("moved")
    shutil.move(mlflow_project, moved)
    images = random_images(37)
    np.save(moved / "images.npy", images)
    many, one = serve_elsewhere(moved)
    with torch.inference_mode():
        expected = serving_network()(torch.from_numpy(images)).numpy()
        alone = serving_network()(torch.from_numpy(images[:1])).numpy()
    assert np.array_equal(many, expected)
    assert np.array_equal(one, alone)


def test_the_same_registration_again_is_the_same_version(tracking: Tracking) -> None:
    """A retried or repeated registration finds its version; another trial is another one."""
    run_id = new_run(tracking)
    assert register(tracking, registration(run_id)) == 1
    assert register(tracking, registration(new_run(tracking))) == 1
    assert register(tracking, registration(run_id, seed=1)) == 2
    assert register(tracking, registration(run_id)) == 1
    assert [record.version for record in list_versions(tracking)] == [2, 1]
    assert aliases(tracking) == {CHALLENGER: 2}  # it does not go back to the older one


def test_a_version_tells_what_it_was_made_from(tracking: Tracking) -> None:
    """Tags, lineage, evaluation and ids come back as they went in."""
    given = registration(new_run(tracking))
    register(tracking, given)
    record = find_version(tracking, CHALLENGER)
    assert record.aliases == (CHALLENGER,)
    assert record.trial == given.result.key
    assert record.test is not None
    assert record.test.accuracy == 0.9
    assert record.tags["git.commit"] == "f" * 40
    assert record.tags["dataset.dvc_md5"] == given.dataset.dvc_md5
    files = open_version(tracking, 1)
    assert files.lineage.result == given.result
    assert files.lineage.params == given.params.model_dump(mode="json")
    assert files.lineage.trained_images == 10
    assert files.evaluation == given.evaluation
    assert np.array_equal(files.trained_ids, given.trained_ids)
    assert files.validation_ids is not None
    assert np.array_equal(files.validation_ids, given.trained_ids[6:])


def test_the_description_lets_a_person_judge(tracking: Tracking) -> None:
    """Scores with intervals, reasons, and links to run and report are in the Markdown."""
    run_id = new_run(tracking)
    register(tracking, registration(run_id))
    description = tracking.client.get_model_version(NAME, "1").description or ""
    assert "- accuracy **0.9000** (95 %: 0.8000 to 0.9500)" in description
    assert "Won 1 of 1 by validation accuracy." in description
    assert "- **Trained or selected on** 10 images" in description
    assert f"runs/{run_id}/artifacts/report/report.html" in description


def test_the_run_shows_the_network_with_its_test_scores(tracking: Tracking) -> None:
    """MLflow's model pane of the retraining holds the network and the scores it had on test."""
    run_id = new_run(tracking)
    register(tracking, registration(run_id))
    run = tracking.client.get_run(run_id)
    assert run.outputs is not None
    [output] = run.outputs.model_outputs
    model = tracking.client.get_logged_model(output.model_id)
    assert model.metrics is not None
    assert model.status.value == "READY"
    assert {metric.key: metric.value for metric in model.metrics} == {
        "test/accuracy": 0.9,
        "test/f1_macro": 0.89,
        "test/cross_entropy": 0.25,
    }


def test_a_later_run_that_comes_to_the_same_version_shows_its_scores_too(
    tracking: Tracking,
) -> None:
    """Each retraining has its test scores, once, whether its version is new or not."""
    runs = [new_run(tracking), new_run(tracking)]
    found = [register(tracking, registration(run_id)) for run_id in (*runs, runs[0])]
    assert found == [1, 1, 1]
    for run_id in runs:
        assert tracking.client.get_run(run_id).data.metrics["test/accuracy"] == 0.9
        assert len(tracking.client.get_metric_history(run_id, "test/accuracy")) == 1


@pytest.fixture
def registered(tracking: Tracking) -> Tracking:
    register(tracking, registration(new_run(tracking)))
    return tracking


def test_a_loaded_version_predicts_as_the_network(registered: Tracking) -> None:
    """Whatever the batch, a version predicts the network's bits."""
    images = random_images(211, seed=3)
    with torch.inference_mode():
        expected = serving_network()(torch.from_numpy(images)).numpy()
    loaded = load_version(registered, CHALLENGER)
    assert np.array_equal(loaded.predict(images), expected)
    assert loaded.files.lineage.classes == CLASSES


@pytest.fixture
def remote(
    tracking: Tracking, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Tracking, list[Path]]:
    """The store as if artifacts were remote, and the folders that downloads went to."""
    temporary, folders = tmp_path / "temporary", list[Path]()
    temporary.mkdir()
    real = mlflow.artifacts.download_artifacts

    def download(uri: str, *, dst_path: str | None = None) -> str:
        folders.append(Path(dst_path or tempfile.mkdtemp(dir=temporary)))
        return str(real(uri, dst_path=str(folders[-1])))

    monkeypatch.setattr(mlflow.artifacts, "download_artifacts", download)
    monkeypatch.setattr(fetching, "is_local_uri", lambda _: False)
    return tracking, folders


def test_remote_files_are_copied_once_and_nowhere_else(
    remote: tuple[Tracking, list[Path]], tmp_path: Path
) -> None:
    """A service that loads the champion for each batch does not fill the disk."""
    tracking, folders = remote
    register(tracking, registration(new_run(tracking)))
    images = random_images(3)
    first = load_version(tracking, 1)
    again = load_version(tracking, 1)
    assert np.array_equal(first.predict(images), again.predict(images))
    assert len(folders) == 2  # reread once when it was stored, fetched once
    assert list((tmp_path / "temporary").iterdir()) == []
    assert [path.name for path in fetching.KEPT.iterdir()] == [
        first.files.record.tags["model.digest"]
    ]
    (first.files.directory / "MLmodel").write_text("damaged")
    assert np.array_equal(load_version(tracking, 1).predict(images), first.predict(images))
    assert list(Path("mlruns").glob(".rereading-*")) == []


def test_a_digest_that_is_none_names_no_folder(remote: tuple[Tracking, list[Path]]) -> None:
    """Who can write tags cannot have files written elsewhere."""
    tracking, _ = remote
    register(tracking, registration(new_run(tracking)))
    tracking.client.set_model_version_tag(NAME, "1", "model.digest", "../../evil")
    with pytest.raises(IntegrityError, match="is no SHA-256"):
        open_version(tracking, 1)


def version_directory(root: Path) -> Path:
    return next((root / "mlruns/artifacts").rglob("MLmodel")).parent


@pytest.mark.parametrize("name", ["data/model.pt2", "MLmodel", "pitchpipe/trained_ids.npy"])
def test_a_changed_file_is_refused_before_it_is_loaded(
    registered: Tracking, mlflow_project: Path, name: str
) -> None:
    """One flipped bit anywhere, and the version is not opened."""
    path = version_directory(mlflow_project) / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(IntegrityError, match="rollback"):
        load_version(registered, 1)


@pytest.mark.parametrize(
    "change",
    [
        {"loader_module": "evil"},
        {"code": "code"},
    ],
)
def test_a_version_that_brings_code_is_refused_even_with_its_digest(
    registered: Tracking, mlflow_project: Path, change: dict[str, str]
) -> None:
    """Who can write files and tags still cannot have code run by loading."""
    directory = version_directory(mlflow_project)
    content = yaml.safe_load((directory / "MLmodel").read_text())
    content["flavors"]["python_function"] |= change
    (directory / "MLmodel").write_text(yaml.safe_dump(content))
    digest = packing.files_digest(directory)
    registered.client.set_model_version_tag(NAME, "1", "model.digest", digest)
    with pytest.raises(IntegrityError, match="could run code"):
        load_version(registered, 1)


def test_a_pickle_in_place_of_the_network_is_refused(
    registered: Tracking, mlflow_project: Path
) -> None:
    """A file beside or instead of the exported network is not looked into."""
    directory = version_directory(mlflow_project)
    (directory / "data/model.pth").write_bytes(b"whatever")
    digest = packing.files_digest(directory)
    registered.client.set_model_version_tag(NAME, "1", "model.digest", digest)
    with pytest.raises(IntegrityError, match=r"model\.pth"):
        load_version(registered, 1)


def test_versions_registered_by_others_are_listed_and_not_loaded(registered: Tracking) -> None:
    """A version made by hand in MLflow has no scores here, and is not trusted."""
    registered.client.create_model_version(NAME, source="mlruns/artifacts")
    assert list_versions(registered)[0].test is None
    with pytest.raises(IntegrityError, match="pitchpipe did not register it"):
        open_version(registered, 2)


def test_an_unknown_version_is_answered_with_what_there_is(registered: Tracking) -> None:
    """The message names versions and aliases."""
    with pytest.raises(ConfigError, match=r"no version 'best'; versions: 1; .*challenger \(1\)"):
        find_version(registered, "best")
    with pytest.raises(ConfigError, match="no version 7"):
        find_version(registered, 7)


def test_nothing_registered_yet_is_an_empty_list(tracking: Tracking) -> None:
    """Before the first retraining there are no versions, no aliases, and a hint."""
    assert list_versions(tracking) == []
    assert aliases(tracking) == {}
    with pytest.raises(ConfigError, match="pitchpipe run"):
        find_version(tracking, 1)


class BatchBound(torch.nn.Module):
    """A network that looks at its neighbours in the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.network = serving_network()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        # Exported with four images, the number is a constant of the graph.
        probabilities: torch.Tensor = self.network(images)
        return probabilities * float(len(images) == 4)


def failing_registrations(run_id: str) -> Registration:
    return dataclasses.replace(registration(run_id), serving=BatchBound().eval())


def test_a_network_that_does_not_survive_export_is_not_registered(tracking: Tracking) -> None:
    """Different bits after export: an error, no version, nothing READY."""
    with pytest.raises(IntegrityError, match="nothing was registered"):
        register(tracking, failing_registrations(new_run(tracking)))
    assert list_versions(tracking) == []
    [left] = tracking.client.search_logged_models([tracking.experiment_id])
    assert left.status.value == "FAILED"


CRASHES = ["log_model_artifacts", "finalize_logged_model", "log_outputs", "create_model_version"]


@pytest.mark.parametrize("step", [*CRASHES, "set_registered_model_alias"])
def test_a_registration_that_died_anywhere_is_completed_by_the_next(
    tracking: Tracking, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Killed before any step and tried again: one version, one logged model, the alias on it."""
    given = registration(new_run(tracking))

    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(tracking.client, step, die)
        with pytest.raises(KeyboardInterrupt):
            register(tracking, given)
    assert register(tracking, given) == 1
    assert [record.version for record in list_versions(tracking)] == [1]
    assert aliases(tracking) == {CHALLENGER: 1}
    [model] = tracking.client.search_logged_models([tracking.experiment_id])
    assert model.status.value == "READY"
    assert list(Path("mlruns").glob(".packing-*")) == []
