"""`pitchpipe monitor`: the answer, its record, its run in MLflow, and what it refuses."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from registry_records import BARS, BarsNetwork, Command, answer, bars_registration

from flows.records import drift_reports
from flows.records.drift_reports import drift_records
from flows.records.lineage import Lineage
from flows.registry.loading import LoadedVersion, load_version
from flows.registry.registering import register
from flows.tracking.runs import Runs
from flows.tracking.store import Tracking
from flows.versions import monitor
from flows.versions.monitor import monitor_version
from models.config import DriftParams
from models.datasets.prepared import open_split, read_manifest
from models.errors import InputError

pytest_plugins = ["registry_fixtures", "registry_project"]

PREPARED = Path("data/prepared")
FEW = DriftParams(minimum_images=20, permutations=199)
TESTS = ["brightness", "contrast", "embedding", "classes", "confidence"]


@pytest.fixture(autouse=True)
def _same_dataset(bars: Path) -> None:
    """The prepared bars go by the name that the versions' lineage gives."""
    manifest = read_manifest(bars / PREPARED).model_copy(update={"name": "digits"})
    (bars / PREPARED / "manifest.json").write_text(manifest.model_dump_json())


def images_of(folder: Path, *, inverted: bool = False) -> Path:
    """The train split, which version 1 was not trained on, as PNGs."""
    folder.mkdir()
    for number, image in enumerate(open_split(PREPARED, "train", verify=False).images):
        Image.fromarray(255 - image[0] if inverted else np.array(image[0])).save(
            folder / f"{number:02}.png"
        )
    return folder


def drift_runs(tracking: Tracking) -> list[str]:
    return [run.info.run_id for run in Runs(tracking).search("tags.`drift.report` != ''")]


def test_images_of_the_same_kind_and_of_another(bars_tracking: Tracking, tmp_path: Path) -> None:
    """No drift, then drift: remembered in order, the newest alarm found, a torn file no matter."""
    same = monitor_version(bars_tracking, images_of(tmp_path / "same"), FEW, version="1")
    assert not same.report.drift
    assert (same.version, same.trained_on) == (1, 0)
    assert (same.report.reference_images, same.report.batch_images) == (30, 50)
    assert not drift_records(BARS)[-1].report.drift
    inverted = images_of(tmp_path / "inverted", inverted=True)
    other = monitor_version(bars_tracking, inverted, FEW, version="1")
    assert other.report.drift
    (drift_reports.REPORTS / BARS / "torn.json").write_text("{")
    assert drift_records(BARS) == [same, other]


def test_the_same_question_is_one_record_and_one_run(
    bars_tracking: Tracking, tmp_path: Path
) -> None:
    """Asked again, under another path too: the time of the first, no second run."""
    first = monitor_version(bars_tracking, images_of(tmp_path / "one"), FEW, version="1")
    again = monitor_version(bars_tracking, images_of(tmp_path / "two"), FEW, version="1")
    assert (again.id, again.at, again.report) == (first.id, first.at, first.report)
    assert drift_runs(bars_tracking) == [first.run_id] == [again.run_id]
    assert len(drift_records(BARS)) == 1


def test_a_report_is_a_run_that_says_what_it_is(bars_tracking: Tracking, tmp_path: Path) -> None:
    """Finished, named, with p-values as metrics, a table as description, figure and JSON."""
    source = images_of(tmp_path / "night shift", inverted=True)
    record = monitor_version(bars_tracking, source, FEW, version="1")
    assert record.run_id is not None
    run = bars_tracking.client.get_run(record.run_id)
    assert run.info.status == "FINISHED"
    assert run.info.run_name.startswith("drift 20")
    assert run.info.run_name.endswith("night shift · drift")
    assert {f"drift/{name}_p" for name in TESTS} < set(run.data.metrics)
    assert "| brightness | mean grey level" in run.data.tags["mlflow.note.content"]
    listed = bars_tracking.client.list_artifacts(record.run_id, "drift")
    assert [file.path for file in listed] == ["drift/drift.png", "drift/report.json"]


def test_killed_while_it_was_shown_it_is_completed(
    bars_tracking: Tracking, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run that was begun is finished by the next call; no second one is made."""
    source = images_of(tmp_path / "same")
    with monkeypatch.context() as patch:
        patch.setattr(Runs, "end", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            monitor_version(bars_tracking, source, FEW, version="1")
    [begun] = drift_runs(bars_tracking)
    assert monitor_version(bars_tracking, source, FEW, version="1").run_id == begun
    assert bars_tracking.client.get_run(begun).info.status == "FINISHED"
    assert drift_runs(bars_tracking) == [begun]


def registered(tracking: Tracking, *, train: slice, selected_on: slice) -> LoadedVersion:
    """Load a version that was trained and selected on parts of what is validation today."""
    ids = np.array(open_split(PREPARED, "validation", verify=False).ids)
    registration = dataclasses.replace(
        bars_registration(
            BarsNetwork().eval(), Runs(tracking).create("run", tags={}, at=1), seed=9
        ),
        trained_ids=np.concatenate([ids[train], ids[selected_on]]),
        validation_images=len(ids[selected_on]),
    )
    return load_version(tracking, register(tracking, registration))


def test_the_reference_is_what_the_version_was_selected_on(bars_tracking: Tracking) -> None:
    """No image that it was trained on, though that is validation today, and none that came later.

    An image can get there by a new declaration, other fractions or a limit.
    """
    loaded = registered(bars_tracking, train=slice(5, 12), selected_on=slice(12, 20))
    split = open_split(PREPARED, "validation", verify=False)
    [(images, ids, labels)] = monitor._reference(loaded, FEW)
    assert np.array_equal(ids, split.ids[12:20])
    assert np.array_equal(images, split.images[12:20])
    names = read_manifest(PREPARED).classes
    known = loaded.files.lineage.classes
    assert labels is not None
    assert [known[label] for label in labels] == [names[at] for at in split.labels[12:20]]


def test_without_what_it_was_selected_on_the_reference_is_what_it_never_saw(
    bars_tracking: Tracking, caplog: pytest.LogCaptureFixture
) -> None:
    """Said in a warning; with nothing of that kind either there is no comparison."""
    loaded = registered(bars_tracking, train=slice(5, 30), selected_on=slice(0, 0))
    [(_, ids, _)] = monitor._reference(loaded, FEW)
    assert np.array_equal(ids, open_split(PREPARED, "validation", verify=False).ids[:5])
    assert "none of the validation images that version 3" in caplog.text
    every = np.array(open_split(PREPARED, "validation", verify=False).ids)
    loaded.files.__dict__.update(trained_ids=every, validation_ids=every[:0])
    with pytest.raises(InputError, match="nothing to compare with"):
        list(monitor._reference(loaded, FEW))


def test_a_refit_is_compared_with_what_it_never_saw(
    bars_tracking: Tracking, caplog: pytest.LogCaptureFixture
) -> None:
    """Where there is enough; else its own images, whose labels it has learnt, are no yardstick."""
    loaded = registered(bars_tracking, train=slice(0, 2), selected_on=slice(2, 8))
    split = open_split(PREPARED, "validation", verify=False)
    lineage = loaded.files.lineage
    spec = lineage.spec.model_copy(update={"refit": True})
    loaded.files.__dict__.update(lineage=lineage.model_copy(update={"spec": spec}))
    unseen = len(split.ids) - 8
    enough = FEW.model_copy(update={"minimum_images": unseen})
    few = FEW.model_copy(update={"minimum_images": unseen + 1})

    [(_, ids, labels)] = monitor._reference(loaded, enough)
    assert np.array_equal(ids, split.ids[8:])
    assert labels is not None
    assert "its validation images as well" not in caplog.text
    [(_, ids, labels)] = monitor._reference(loaded, few)
    assert np.array_equal(ids, split.ids[2:8])
    assert labels is None
    assert "trained on its validation images as well" in caplog.text


def test_a_version_of_an_earlier_release_is_compared_as_it_was_then(
    bars_tracking: Tracking, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its lineage tells no validation images: all that it saw count, and a warning says so."""
    write = Lineage.model_dump_json
    with monkeypatch.context() as patch:
        patch.setattr(
            Lineage,
            "model_dump_json",
            lambda self, **options: write(self, exclude={"validation_images"}, **options),
        )
        loaded = registered(bars_tracking, train=slice(5, 12), selected_on=slice(12, 20))
    assert loaded.files.validation_ids is None
    [(_, ids, _)] = monitor._reference(loaded, FEW)
    assert np.array_equal(ids, open_split(PREPARED, "validation", verify=False).ids[5:20])
    assert "version 3 of bars-classifier is of an earlier release" in caplog.text


def test_the_document_and_the_table(pitchpipe: Command, tmp_path: Path) -> None:
    """Exit 0 whatever the answer; every test with statistic, p-value and threshold."""
    source = images_of(tmp_path / "inverted", inverted=True)
    few = ("--version", "1", "--set", "drift.minimum_images=20")
    document = answer(pitchpipe, "monitor", str(source), *few)
    assert document["drift"] is True
    assert [test["name"] for test in document["tests"]] == TESTS
    for test in document["tests"]:
        assert {"statistic", "p_value", "threshold", "shifted", "words"} < set(test)
        assert test["shifted"] == (test["p_value"] <= test["threshold"])
    assert document["reference"]["images"] == 30
    assert document["batch"]["images"] == 50
    assert document["batch"]["copies"] == 0
    assert document["run"]
    assert document["expected"]["estimates"][0]["method"] == "ATC"
    assert "sure" in document["expected"]["estimates"][0]["assumption"]
    code, out, _ = pitchpipe("monitor", str(source), *few)
    assert code == 0
    assert "drift, by brightness" in " ".join(out.split())
    assert "expected accuracy, estimated without labels: ATC" in " ".join(out.split())


def test_copies_of_an_image_count_once_and_are_said(pitchpipe: Command, tmp_path: Path) -> None:
    """In the document, in a sentence, and in MLflow; the question is the one without them."""
    source = images_of(tmp_path / "images")
    few = ("--version", "1", "--set", "drift.minimum_images=20")
    without = answer(pitchpipe, "monitor", str(source), *few)
    for number in range(12):
        Image.open(source / "00.png").save(source / f"again-{number}.bmp")
    document = answer(pitchpipe, "monitor", str(source), *few)
    assert (document["batch"]["images"], document["batch"]["copies"]) == (50, 12)
    assert document["tests"] == without["tests"]
    assert document["run"] == without["run"]
    _, out, _ = pitchpipe("monitor", str(source), *few)
    assert "12 copies of these images were left out" in " ".join(out.split())


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("no champion", "champion"),
        ("few", "fewer than 50"),
        ("broken", "broken.png: cannot be decoded"),
        ("gone", "does not exist"),
        ("empty", "holds no image"),
        ("other data", "pitchpipe prepare"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    pitchpipe: Command, tmp_path: Path, case: str, message: str
) -> None:
    """Exit 2 and one message with the way out; nothing is recorded or shown."""
    source = tmp_path / "images"
    if case == "empty":
        source.mkdir()
    elif case != "gone":
        images_of(source)
    if case == "broken":
        (source / "broken.png").write_bytes(b"no image")
    if case == "other data":
        manifest = read_manifest(PREPARED).model_copy(update={"name": "others"})
        (PREPARED / "manifest.json").write_text(manifest.model_dump_json())
    version = () if case == "no champion" else ("--version", "1")
    code, out, err = pitchpipe("monitor", str(source), *version)
    assert (code, out) == (2, "")
    assert message in " ".join(err.split())
    assert "Traceback" not in err
    assert drift_records(BARS) == []


def test_an_image_alone_says_too_little(bars_tracking: Tracking, tmp_path: Path) -> None:
    """One image is a source like any, and far too few."""
    folder = images_of(tmp_path / "same")
    with pytest.raises(InputError, match="1 different images to compare"):
        monitor_version(bars_tracking, folder / "00.png", FEW, version="1")
