"""Relabellings: images get other labels, and none changes its split."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from data_fixtures import class_folders, make_project, noise
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.datasets.current import prepare_dataset
from flows.datasets.files import PREPARED, RAW, STAGING, data_lock
from flows.datasets.ingest import add_source, settle_version
from flows.datasets.relabel import relabel_images
from flows.datasets.restore import restore_dataset
from flows.datasets.versions import images_since, logged_versions
from models.config import DataParams
from models.datasets.labelled_images import SPLITS
from models.datasets.prepared import open_split, read_manifest
from models.datasets.sources.relabelling import (
    Relabel,
    new_labels,
    overrides_of,
    read_relabelling,
    write_relabelling,
)
from models.datasets.split_assignment import NO_LABEL, Pictures, assign, picture_splits
from models.decision import NewData
from models.digests import digest_file
from models.errors import BusyError, InputError, IntegrityError
from models.gate.budget import Look, looks_taken

PETS = DataParams(name="pets", image_size=8)
CLASSES = ("a", "b", "c")


def pictures_of(ids: list[int], labels: list[int], prints: list[int] | None = None) -> Pictures:
    """Pictures with ids that are numbers."""

    def named(numbers: list[int]) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
        generators = [np.random.default_rng(number) for number in numbers]
        rows = [one.integers(0, 256, 32, dtype=np.uint8) for one in generators]
        return np.array(rows, np.uint8).reshape(-1, 32)

    own = named(ids)
    return Pictures(
        ids=own,
        prints=own if prints is None else named(prints),
        labels=np.array(labels, np.int64),
        claims=np.zeros(len(ids), np.int8),
    )


def test_copies_and_twins_have_the_label_of_the_image_that_was_relabelled() -> None:
    """By hand: row 1 is a copy of row 0, row 2 equals it once resized, row 3 is another image."""
    pictures = pictures_of([5, 5, 6, 7], [0, 0, 0, 0], prints=[9, 9, 9, 7])
    key = pictures.ids[0].tobytes()
    assert new_labels(pictures, {key: "c"}, CLASSES).tolist() == [2, 2, 2, 0]
    assert new_labels(pictures, {key: None}, CLASSES).tolist() == [NO_LABEL] * 3 + [0]
    twin = {key: "c", pictures.ids[2].tobytes(): "b"}
    assert new_labels(pictures, twin, CLASSES).tolist() == [2, 2, 1, 0]
    with pytest.raises(InputError, match="relabelled 'd', and there is no such class"):
        new_labels(pictures, {key: "d"}, CLASSES)


@settings(max_examples=60)
@given(
    rows=st.lists(st.tuples(st.integers(0, 30), st.integers(0, 2)), min_size=1, max_size=40),
    chosen=st.dictionaries(st.integers(0, 30), st.sampled_from([*CLASSES, None]), max_size=8),
)
def test_no_relabelling_moves_an_image(
    rows: list[tuple[int, int]], chosen: dict[int, str | None]
) -> None:
    """Copies, contradictions, drops: every image that is kept is where it was, under its label."""
    pictures = pictures_of([one for one, _ in rows], [label for _, label in rows])
    overrides = {
        pictures_of([number], [0]).ids[0].tobytes(): label for number, label in chosen.items()
    }
    changed = replace(pictures, labels=new_labels(pictures, overrides, CLASSES))
    ids, splits = picture_splits(pictures, PETS)
    home = {one.tobytes(): int(split) for one, split in zip(ids, splits, strict=True)}
    assigned = assign(changed, PETS)
    kept = set[bytes]()
    for split, places in enumerate(assigned.rows):
        for row in places:
            key = changed.ids[row].tobytes()
            kept.add(key)
            assert home[key] == split
            if key in overrides:
                assert CLASSES[changed.labels[row]] == overrides[key]
    resolved = {key for key, label in overrides.items() if label is not None and key in home}
    assert resolved <= kept  # one that had two labels is kept, too
    assert not kept & {key for key, label in overrides.items() if label is None}
    there = [overrides.get(one.tobytes(), "") is None for one in pictures.ids]
    assert assigned.dropped.relabelled == sum(there)


def test_a_relabelling_has_the_same_bytes_in_any_order_and_the_last_one_counts(
    tmp_path: Path,
) -> None:
    """A line an image, by id."""
    lines = [Relabel(id=f"{n:064x}", label=label, was="a") for n, label in ((1, "b"), (2, None))]
    first, second = tmp_path / "relabel-000001-a.labels.jsonl", tmp_path / "b"
    write_relabelling(first, lines)
    write_relabelling(second, lines[::-1])
    assert digest_file(first) == digest_file(second)
    assert list(read_relabelling(first)) == lines
    write_relabelling(second, [Relabel(id=f"{1:064x}", label="c")])
    assert list(overrides_of([first, second]).values()) == ["c", None]


@pytest.mark.parametrize("damage", ["", "{}\n", "half", "twice"])
def test_a_damaged_relabelling_is_named(tmp_path: Path, damage: str) -> None:
    """A file that was cut, edited or emptied."""
    path = tmp_path / "one.labels.jsonl"
    write_relabelling(path, [Relabel(id="0" * 64, label="b")])
    whole = path.read_text()
    path.write_text({"half": whole[:-1], "twice": whole * 2}.get(damage, damage))
    with pytest.raises(IntegrityError, match=r"one\.labels\.jsonl: is no relabelling"):
        read_relabelling(path)


def test_relabelled_images_count_as_a_change_of_the_data() -> None:
    """A schedule that waits for new images does not wait for ever."""
    new = NewData(images=0, before=100, relabelled=3)
    assert (new.changed, new.sentence) == (3, "0 new images beside 100, 3 relabelled")


def test_a_pair_that_was_judged_before_the_relabelling_is_a_new_look() -> None:
    """By hand: the same pair twice on the same labels is one look, on other labels another one."""
    before = Look(test_digest="d", images=100, challenger=2, champion=1, labels="old")
    after = before.model_copy(update={"labels": "new"})
    assert looks_taken([before, before], test_digest="d", images=100) == 1
    assert looks_taken([before, after], test_digest="d", images=100) == 2


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared project of 60 pictures."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(make_project(folder / "project", git=False))
        add_source(class_folders(folder / "pets", noise(60)), PETS)
        prepare_dataset(PETS)
    return folder / "project"


@pytest.fixture
def pets(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[str, str]]:
    """A copy of it to stand in; of each id its label and split."""
    shutil.copytree(made, tmp_path / "project", symlinks=True)
    monkeypatch.chdir(tmp_path / "project")
    return prepared()


def prepared() -> dict[str, tuple[str, str]]:
    classes = read_manifest(PREPARED).classes
    return {
        bytes(one).hex(): (classes[label], split)
        for split in SPLITS
        for opened in [open_split(PREPARED, split, verify=True)]
        for one, label in zip(opened.ids, opened.labels.tolist(), strict=True)
    }


def write_list(labels: dict[str, str | None], path: Path = Path("list.jsonl")) -> Path:
    lines = [json.dumps({"id": key, "label": label}) for key, label in labels.items()]
    path.write_text("\n".join(lines))
    return path


def test_a_relabelling_is_a_version_that_restore_takes_back(
    pets: dict[str, tuple[str, str]],
) -> None:
    """Other labels and fewer images, each in its split; digests change, and come back."""
    before = read_manifest(PREPARED)
    train = [key for key, (label, split) in pets.items() if (label, split) == ("a", "train")]
    batches = {path: path.read_bytes() for path in RAW.glob("pets/*")}
    asked = write_list({train[0]: "b", train[1]: None, train[2]: "a"})
    done = relabel_images(asked, PETS, test=False)
    assert (done.changed, done.dropped, done.unchanged, done.splits) == (1, 1, 1, {"train": 2})
    assert done.before == before.raw_digest != done.dataset.digest
    assert all(path.read_bytes() == content for path, content in batches.items())
    assert images_since(before.raw_digest, "pets") == (0, 60, 2)

    again = relabel_images(asked, PETS, test=False)  # as after a kill; prepares
    assert (again.is_new, again.file) == (False, done.file)
    now = prepared()
    assert now.keys() == pets.keys() - {train[1]}
    assert {key: now[key] for key in now if now[key] != pets[key]} == {train[0]: ("b", "train")}
    assert read_manifest(PREPARED).dropped.relabelled == 1

    back = relabel_images(write_list({train[1]: "b"}), PETS, test=False)  # a later one counts
    assert back.changed == 1
    prepare_dataset(PETS)
    assert prepared()[train[1]] == ("b", "train")
    restore_dataset(done.before, PETS, dataset=None)
    assert prepared() == pets
    assert read_manifest(PREPARED).digest == before.digest


def test_a_list_is_refused_whole_and_data_stays_as_it_was(
    pets: dict[str, tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unknown ids, nothing to change, test images without --test, a class that would be empty."""
    (test, (label, _)), *_ = [one for one in pets.items() if one[1][1] == "test"]
    other = {"a": "b", "b": "a"}[label]
    refused: dict[str, dict[str, str | None]] = {
        "no image of pets has the id 000000000000": {"0" * 64: "a"},
        "every image has the label that its line names": {test: label},
        "are test images; nothing was changed. Test images are the yardstick": {test: other},
        "class 'a' would have 0 images, fewer than 2": {
            key: "b" for key, (was, split) in pets.items() if was == "a" and split != "test"
        }
        | {key: None for key, (was, split) in pets.items() if was == "a" and split == "test"},
    }
    files = sorted(path.name for path in RAW.glob("pets/*"))
    for message, labels in refused.items():
        with pytest.raises(InputError, match=message):
            relabel_images(write_list(labels), PETS, test=message.startswith("class"))
    with pytest.raises(InputError, match="split validation would be empty"):
        relabel_images(
            write_list({key: None for key, one in pets.items() if one[1] == "validation"}),
            PETS,
            test=False,
        )
    monkeypatch.setattr("flows.datasets.relabel.prepare_dataset", lambda _: None)
    with pytest.raises(BusyError, match="another command changed data/"):
        relabel_images(write_list({test: other}), DataParams(name="pets"), test=True)
    assert sorted(path.name for path in RAW.glob("pets/*")) == files
    assert len(logged_versions("pets")) == 1


class Killed(BaseException):
    """The process died here."""


@pytest.mark.parametrize("step", ["place", "log_version"])
def test_a_relabelling_that_was_killed_is_whole_or_absent(
    pets: dict[str, tuple[str, str]], monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Before it was placed or logged: the same command then ends well, once."""

    def die(*_: object) -> None:
        raise Killed

    asked = write_list({next(key for key, one in pets.items() if one == ("a", "train")): "b"})
    with monkeypatch.context() as patch:
        patch.setattr(f"flows.datasets.relabel.{step}", die)
        with pytest.raises(Killed):
            relabel_images(asked, PETS, test=False)
    done = relabel_images(asked, PETS, test=False)
    assert done.is_new is (step != "log_version")
    assert len(list(RAW.glob("pets/*.labels.jsonl"))) == 1
    assert len(logged_versions("pets")) == 2
    assert not list(STAGING.glob("*"))
    with data_lock():
        settle_version("pets")
