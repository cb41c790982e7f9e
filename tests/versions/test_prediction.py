"""Batch prediction: rows for any source, streamed, written whole."""

import csv
import dataclasses
import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from registry_records import BarsNetwork, Command, answer, bars_registration

from flows.registry.loading import LoadedVersion, load_version
from flows.registry.registering import register
from flows.registry.splits import open_split_for
from flows.tracking.store import Tracking
from flows.versions import predict as predicting
from flows.versions.evaluate import evaluate_target
from flows.versions.predict import Prediction, predict_source
from flows.versions.prediction_files import write_predictions
from models.config import DataParams, TrialConfig
from models.datasets.batches import write_batch
from models.datasets.labelled_images import PixelRows
from models.datasets.prepared import open_split
from models.datasets.sources.folder import MAX_FILE_BYTES
from models.errors import ConfigError, InputError
from models.files import write_text
from models.trials import TrialFiles, TrialSpec

pytest_plugins = ["registry_fixtures", "registry_project"]

CLASSES = ("top", "middle", "bottom")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """The test split as PNGs in nested folders; the true class is the folder's name."""
    folder = tmp_path / "photos"
    split = open_split(Path("data/prepared"), "test", verify=False)
    for number, (image, label) in enumerate(zip(split.images, split.labels, strict=True)):
        path = folder / CLASSES[label] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.array(image[0])).save(path)
    return folder


@pytest.fixture
def version(bars_tracking: Tracking) -> LoadedVersion:
    return load_version(bars_tracking, 1)


def test_every_image_of_a_folder_gets_its_label(version: LoadedVersion, photos: Path) -> None:
    """Nested folders, in the order of paths; probabilities by class sum to one."""
    rows = list(predict_source(version, photos))
    assert [row.image for row in rows] == sorted(row.image for row in rows)
    assert len(rows) == 6
    for row in rows:
        assert row.label == row.image.split("/")[0]
        assert row.probabilities is not None
        assert set(row.probabilities) == set(CLASSES)
        assert sum(row.probabilities.values()) == pytest.approx(1, abs=1e-6)
        assert row.milliseconds is not None


def test_one_image(version: LoadedVersion, photos: Path) -> None:
    """A path of an image is a source of one."""
    path = next(photos.rglob("*.png"))
    [row] = predict_source(version, path)
    assert (row.image, row.label) == (path.name, path.parent.name)


def test_a_version_is_asked_in_the_form_that_it_was_trained_with(
    bars_tracking: Tracking, tmp_path: Path
) -> None:
    """A bright, wide picture: between bars its middle rows are bright, stretched all would be."""
    run_id = bars_tracking.client.get_model_version(bars_tracking.name, "1").run_id
    assert run_id is not None
    data = DataParams(name="bars", image_size=8, resize="letterbox")
    given = bars_registration(BarsNetwork().eval(), run_id, seed=21)
    given = dataclasses.replace(given, params=given.params.model_copy(update={"data": data}))
    version = load_version(bars_tracking, register(bars_tracking, given))
    Image.fromarray(np.full((8, 24), 200, np.uint8)).save(tmp_path / "wide.png")

    [row] = predict_source(version, tmp_path / "wide.png")

    assert row.label == "middle"
    assert version.files.lineage.image_form == data.form
    with pytest.raises(InputError, match="holds no batches"):  # today's images are squeezed
        open_split_for(data.form, "test")


def test_predictions_do_not_depend_on_how_they_are_batched(
    version: LoadedVersion, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Minibatches of two give the rows of one of six, in order."""
    whole = [(row.image, row.probabilities) for row in predict_source(version, photos)]
    monkeypatch.setattr(predicting, "MINIBATCH", 2)
    assert [(row.image, row.probabilities) for row in predict_source(version, photos)] == whole


def test_an_image_that_cannot_be_read_is_a_row_that_says_so(
    version: LoadedVersion, photos: Path
) -> None:
    """The others keep their labels and their places."""
    (photos / "middle").mkdir(exist_ok=True)
    (photos / "middle" / "0broken.png").write_bytes(b"not an image")
    rows = list(predict_source(version, photos))
    [broken] = [row for row in rows if row.label is None]
    assert broken.image == "middle/0broken.png"
    assert broken.probabilities is None
    assert "cannot be decoded" in (broken.error or "")
    assert all(row.label == row.image.split("/")[0] for row in rows if row.label)


def test_files_that_are_no_images_are_rows_and_stop_nothing(
    version: LoadedVersion, photos: Path, tmp_path: Path
) -> None:
    """A FIFO, a link to nothing, a file as large as a disk, a name that is no UTF-8."""
    before = len(list(predict_source(version, photos)))
    os.mkfifo(photos / "fifo.png")
    (photos / "gone.png").symlink_to("missing.png")
    with (photos / "huge.png").open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    odd = os.fsdecode(os.fsencode(photos) + b"/odd\xff.png")
    Path(odd).write_bytes(next(photos.rglob("*0*.png")).read_bytes())
    errors = {row.image: row.error for row in predict_source(version, photos)}
    assert len(errors) == before + 4
    assert "no regular file" in (errors["fifo.png"] or "")
    assert "No such file" in (errors["gone.png"] or "")
    assert "larger than" in (errors["huge.png"] or "")
    assert errors["odd\\xdcff.png"] is None
    for name in ("out.csv", "out.jsonl", "out.parquet"):
        count = write_predictions(tmp_path / name, predict_source(version, photos), classes=CLASSES)
        assert count == before + 4


def test_a_folder_of_nothing_but_broken_images(version: LoadedVersion, tmp_path: Path) -> None:
    """Rows without labels, and no call of the network."""
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad/a.png").write_bytes(b"")
    [row] = predict_source(version, tmp_path / "bad")
    assert row.label is None


def test_arrays_are_a_source_too(version: LoadedVersion, tmp_path: Path) -> None:
    """NPZ rows are named by split and number."""
    split = open_split(Path("data/prepared"), "test", verify=False)
    path = tmp_path / "bars.npz"
    np.savez(path, images=split.images[:, 0], labels=split.labels)
    rows = list(predict_source(version, path))
    assert [row.label for row in rows] == [CLASSES[label] for label in split.labels]
    assert len({row.image for row in rows}) == 6


def test_pitchpipes_own_batches_are_a_source(
    version: LoadedVersion, bars_tracking: Tracking, tmp_path: Path
) -> None:
    """data/raw/<name>, or a file in it, is predicted and scored like any source."""
    split = open_split(Path("data/prepared"), "test", verify=False)
    pixels = np.ascontiguousarray(split.images.transpose(0, 2, 3, 1))
    rows = PixelRows(pixels, np.array(split.labels), (None,) * len(pixels))
    raw = tmp_path / "raw"
    raw.mkdir()
    write_batch(raw / "a.parquet", CLASSES, [rows])
    expected = [CLASSES[label] for label in split.labels]
    for source in (raw, raw / "a.parquet"):
        assert [row.label for row in predict_source(version, source)] == expected
    assert evaluate_target(bars_tracking, "1", bins=15, source=raw).accuracy == 1


def test_larger_colour_images_are_conformed_as_the_data_was(
    version: LoadedVersion, tmp_path: Path
) -> None:
    """Any size and mode: the same conversion as `prepare` makes."""
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[26:42] = 250
    (tmp_path / "big").mkdir()
    Image.fromarray(pixels).save(tmp_path / "big/middle.png")
    [row] = predict_source(version, tmp_path / "big")
    assert row.label == "middle"


def test_an_empty_folder_is_refused(version: LoadedVersion, tmp_path: Path) -> None:
    """Nothing to predict is an error, not an empty answer."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no image"):
        list(predict_source(version, tmp_path / "empty"))


def rows() -> Iterator[Prediction]:
    yield Prediction("a.png", "top", {"top": 0.5, "middle": 0.25, "bottom": 0.25}, 0.1)
    yield Prediction("b.png", None, None, None, "cannot be decoded")


def test_csv(tmp_path: Path) -> None:
    """A column for each class; an unread image has an error."""
    path = tmp_path / "out.csv"
    assert write_predictions(path, rows(), classes=CLASSES) == 2
    first, second = csv.DictReader(path.read_text().splitlines())
    assert (first["image"], first["label"], first["p_top"]) == ("a.png", "top", "0.5")
    assert (second["label"], second["error"]) == ("", "cannot be decoded")


HARMFUL = ["=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "＝1"]  # noqa: RUF001


@pytest.mark.parametrize("text", HARMFUL)
def test_no_cell_of_a_csv_is_a_formula(tmp_path: Path, text: str) -> None:
    """Names of classes and images, and errors, come from outside: a spreadsheet shows them as text.

    Other formats keep them as they are.
    """
    found = [Prediction(text, text, {text: 0.5, 'a,"=b': 0.5}, 0.1, error=text)]
    classes = (text, 'a,"=b')
    write_predictions(tmp_path / "out.csv", found, classes=classes)
    with (tmp_path / "out.csv").open(newline="") as file:
        header, row = csv.reader(file)
    assert row == [f"'{text}", f"'{text}", "0.5", "0.5", f"'{text}"]
    assert header == ["image", "label", f"p_{text}", 'p_a,"=b', "error"]
    write_predictions(tmp_path / "out.jsonl", found, classes=classes)
    assert json.loads((tmp_path / "out.jsonl").read_text())["label"] == text


def test_jsonl(tmp_path: Path) -> None:
    """A document a line."""
    path = tmp_path / "out.jsonl"
    write_predictions(path, rows(), classes=CLASSES)
    first, second = [json.loads(line) for line in path.read_text().splitlines()]
    assert first["probabilities"]["middle"] == 0.25
    assert (second["label"], second["error"]) == (None, "cannot be decoded")


def test_parquet(tmp_path: Path) -> None:
    """A struct of probabilities."""
    path = tmp_path / "out.parquet"
    write_predictions(path, rows(), classes=CLASSES)
    first, second = pq.read_table(path).to_pylist()
    assert first["probabilities"] == {"top": 0.5, "middle": 0.25, "bottom": 0.25}
    assert second["probabilities"] is None or set(second["probabilities"].values()) == {None}


def test_a_file_is_whole_or_absent(tmp_path: Path) -> None:
    """When a prediction fails midway, nothing is left behind."""

    def failing() -> Iterator[Prediction]:
        yield from rows()
        raise InputError("disk gone")

    with pytest.raises(InputError):
        write_predictions(tmp_path / "out.csv", failing(), classes=CLASSES)
    assert list(tmp_path.iterdir()) == []


def test_another_ending_is_refused_at_once(tmp_path: Path) -> None:
    """Before anything is predicted."""
    with pytest.raises(ConfigError, match=r"\.csv, \.jsonl, \.parquet"):
        write_predictions(tmp_path / "out.xls", rows(), classes=CLASSES)


def test_the_command(pitchpipe: Command, photos: Path, tmp_path: Path) -> None:
    """JSON rows, a file, plain lines; the champion by default."""
    code, _, err = pitchpipe("predict", str(photos))
    assert code == 2
    assert "champion" in err
    pitchpipe("promote", "1")
    found = answer(pitchpipe, "predict", str(photos))
    assert len(found) == 6
    assert {"image", "label", "probabilities"} <= set(found[0])
    output = tmp_path / "labels.csv"
    assert answer(pitchpipe, "predict", str(photos), "--output", str(output))["images"] == 6
    assert len(output.read_text().splitlines()) == 7
    _, out, _ = pitchpipe("predict", str(photos), "--version", "1")
    assert out.splitlines()[0].split("\t")[1] in CLASSES


def test_evaluating_on_images_given(pitchpipe: Command, photos: Path) -> None:
    """Labels are matched by class name; unknown classes are refused."""
    assert answer(pitchpipe, "evaluate", "1", "--data", str(photos))["accuracy"] == 1
    (photos / "top").rename(photos / "roof")
    code, _, err = pitchpipe("evaluate", "1", "--data", str(photos))
    assert code == 2
    assert "roof" in err


def test_evaluating_a_trial_that_is_not_there(pitchpipe: Command) -> None:
    """A key is looked up in the trial store."""
    code, _, err = pitchpipe("evaluate", "abcdef0123")
    assert code == 2
    assert "no trial" in err


def test_a_trial_is_evaluated_by_the_first_digits_of_its_key(
    pitchpipe: Command, bars_tracking: Tracking
) -> None:
    """As many as no other key has; what is an alias as well is a version."""
    spec = TrialSpec(config=TrialConfig(), dataset="d", source="s", versions={})
    for key in ("bee1", "bee2", "fade"):
        write_text(Path("mlruns/trials", key * 16, TrialFiles.SPEC), spec.model_dump_json())
    said = {prefix: pitchpipe("evaluate", prefix) for prefix in ("bee1", "fa", "bee", "ab")}
    bars_tracking.client.set_registered_model_alias(bars_tracking.name, "fa", "1")

    assert [code for code, _, _ in said.values()] == [2, 2, 2, 2]
    assert "trial bee1bee1bee1 has no weights" in said["bee1"][2]
    assert "trial fadefadefade has no weights" in said["fa"][2]
    assert "'bee' begins 2 keys" in said["bee"][2]
    assert "has no version 'ab'" in said["ab"][2]
    assert answer(pitchpipe, "evaluate", "fa")["accuracy"] == 1


def test_the_network_is_what_is_asked(version: LoadedVersion) -> None:
    """A loaded version gives the bits of the network it was made from."""
    images = np.array(open_split(Path("data/prepared"), "test", verify=False).images)
    with torch.inference_mode():
        expected = BarsNetwork()(torch.from_numpy(images)).numpy()
    assert np.array_equal(version.predict(images), expected)
