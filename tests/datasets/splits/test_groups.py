"""Groups: pictures of one patient, camera or video are in one split, for life."""

import io
from pathlib import Path
from time import process_time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from data_fixtures import class_folders, noise, save_png
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from pydantic import ValidationError

from models.config import DataParams
from models.datasets.batches import read_batch, read_piece, write_batch
from models.datasets.ingest import check, ingest
from models.datasets.labelled_images import SPLITS, EncodedRows, PixelRows, Rows
from models.datasets.prepare import prepare
from models.datasets.prepared import open_split
from models.datasets.scanning import scan_rows
from models.datasets.sources.detect import find_source
from models.datasets.sources.groups import groups_of_paths
from models.datasets.split_assignment import Pictures, assign
from models.datasets.splits import Claim
from models.errors import InputError

Member = tuple[int, int | None]
"""Which picture, and its group."""
MEMBERS = st.lists(st.tuples(st.integers(0, 60), st.none() | st.integers(0, 8)), max_size=40)


def rows_of(members: list[Member]) -> PixelRows:
    """Pictures of 2 x 2 pixels, named by number."""
    pixels = np.zeros((len(members), 2, 2, 1), np.uint8)
    pixels[:, 0, 0, 0] = [number for number, _ in members]
    groups = tuple(None if group is None else f"patient {group}" for _, group in members)
    return PixelRows(pixels, np.zeros(len(members), np.int64), (None,) * len(members), groups or ())


def splits_of(
    batches: list[list[Member]], claims: dict[int, Claim] | None = None
) -> dict[int, str]:
    """Picture -> split, of batches that came one after another."""
    members = [member for batch in batches for member in batch]
    scanned, _, _ = scan_rows(rows_of(members), DataParams(image_size=4))
    pictures = Pictures(
        ids=scanned.pictures.ids,
        prints=scanned.pictures.ids,
        labels=scanned.pictures.labels,
        claims=np.array([(claims or {}).get(number, 0) for number, _ in members], np.int8),
        arrivals=np.repeat(np.arange(len(batches)), [len(batch) for batch in batches]),
        groups=scanned.pictures.groups,
    )
    rows = assign(pictures, DataParams()).rows
    return {
        members[row][0]: split for split, chosen in zip(SPLITS, rows, strict=True) for row in chosen
    }


@settings(max_examples=40)
@given(MEMBERS.filter(bool), MEMBERS)
def test_a_group_is_in_one_split_and_arriving_members_move_none(
    old: list[Member], new: list[Member]
) -> None:
    """Whatever comes later, with a group or without, of pictures that are there or not."""
    before = splits_of([old, []])
    after = splits_of([old, new])

    assert before.items() <= after.items()
    named = dict(old + new)
    consistent = all(named[number] == group for number, group in old + new)
    for group in {group for group in named.values() if group is not None and consistent}:
        assert len({after[number] for number in named if named[number] == group}) == 1


@settings(max_examples=20)
@given(MEMBERS.filter(bool))
def test_without_groups_nothing_changes(members: list[Member]) -> None:
    """The splits of a dataset in which no picture has one are those by ids."""
    alone: list[Member] = [(number, None) for number, _ in members]
    scanned, _, _ = scan_rows(rows_of(alone), DataParams(image_size=4))
    plain = Pictures(
        ids=scanned.pictures.ids,
        prints=scanned.pictures.ids,
        labels=scanned.pictures.labels,
        claims=scanned.pictures.claims,
    )
    rows = assign(plain, DataParams()).rows
    expected = {
        alone[row][0]: split for split, chosen in zip(SPLITS, rows, strict=True) for row in chosen
    }
    assert splits_of([alone]) == expected


def test_a_declaration_takes_the_whole_group_along() -> None:
    """One picture declared test: its group is in test, and the others are named as moved."""
    group: list[Member] = [(number, 3) for number in range(5)]
    before = splits_of([group])

    assert set(before.values()) == {"train"}
    assert splits_of([group, [(9, 2)]], {9: Claim.TEST}) == before | {9: "test"}
    assert set(splits_of([group, [(9, 3)]], {9: Claim.TEST}).values()) == {"test"}


@pytest.mark.parametrize(
    ("pattern", "path", "group"),
    [
        ("{group}_*", "train/cat/p17_3.png", "p17"),
        ("{group}_*", "p17_a_b.png", "p17"),
        ("{group}_*", "p17.png", None),
        ("{group}_*", "_1.png", None),
        ("*-{group}.png", "cat/frame-12-video7.png", "12-video7"),
        ("{group}/*/*", "ward3/cat/1.png", "ward3"),
        ("{group}/*/*", "cat/1.png", None),
        ("*/{group}-*", "cat/cam.1-0001.jpg", "cam.1"),
        ("scan({group}).png", "cat/scan(4).png", "4"),
        ("scan({group}).png", "cat/scan4.png", None),
        ("{group}", "cat/1.png", "1.png"),
    ],
)
def test_a_pattern_names_the_group(pattern: str, path: str, group: str | None) -> None:
    """Parts are compared from a path's end; a wildcard takes as little as it can."""
    assert groups_of_paths([path], DataParams(group=pattern).group or "") == (group,)


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("*_", r"must hold \{group\} once"),
        ("{group}-{group}", r"must hold \{group\} once"),
        ("{group}*", "need something between"),
        ("**{group}", "need something between"),
        ("a*" * 9 + "-{group}", "at most 8 wildcards"),
    ],
)
def test_a_pattern_that_names_nothing_is_refused(pattern: str, said: str) -> None:
    """A sentence that says what is wanted."""
    with pytest.raises(ValidationError, match=said):
        DataParams(group=pattern)


def test_no_pattern_takes_long() -> None:
    """Eight wildcards against names made to mislead them: time grows with their length alone."""
    pattern = DataParams(group="*a*a*a*a*a*a*a*a{group}b").group or ""
    began = process_time()

    assert set(groups_of_paths(["a" * 20_000] * 20, pattern)) == {None}
    assert process_time() - began < 1


def png(pixels: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels[:, :, 0]).save(buffer, format="PNG")
    return buffer.getvalue()


def groups_read(path: Path) -> list[str | None]:
    return [group for rows in find_source(path).rows() for group in rows.groups]


@pytest.mark.parametrize("names", [["p1", None, "p2", ""], [1, None, 2, 1]])
def test_a_parquet_column_names_groups(tmp_path: Path, names: list[object]) -> None:
    """Names or integers; null is none. The batch keeps them."""
    table = pa.table(
        {"image": [png(one) for one in noise(4)], "label": [0, 1, 0, 1], "group": names}
    )
    pq.write_table(table, tmp_path / "some.parquet")

    found = groups_read(tmp_path / "some.parquet")

    assert found == [None if name in (None, "") else str(name) for name in names]
    source = find_source(tmp_path / "some.parquet")
    write_batch(tmp_path / "batch.parquet", source.classes, source.rows())
    assert list(read_piece(read_batch(tmp_path / "batch.parquet"), 0).groups) == found


def test_a_column_that_names_no_groups_is_refused(tmp_path: Path) -> None:
    """Fractions are no names."""
    table = pa.table({"image": [png(noise(1)[0])], "label": [0], "group": [0.5]})
    pq.write_table(table, tmp_path / "some.parquet")
    with pytest.raises(InputError, match="group is double; names or integers"):
        find_source(tmp_path / "some.parquet")


def test_an_array_beside_the_labels_names_groups(tmp_path: Path) -> None:
    """groups_train beside y_train; the test images, which have none, are each by itself."""
    labels = np.array([0, 1, 0])
    arrays = {"x_train": noise(3), "y_train": labels, "x_test": noise(2), "y_test": labels[:2]}
    np.savez(tmp_path / "some.npz", allow_pickle=False, **arrays, groups_train=[7, 7, 8])
    assert groups_read(tmp_path / "some.npz") == ["7", "7", "8", None, None]

    np.savez(tmp_path / "some.npz", allow_pickle=False, **arrays, groups_train=[7, 7])
    with pytest.raises(InputError, match=r"groups_train: is \(2,\)"):
        find_source(tmp_path / "some.npz")


def folder_of(root: Path) -> Path:
    """Twenty patients with ten pictures each, and two pictures of nobody."""
    pictures = noise(202, side=8)
    for number, pixels in enumerate(pictures[:200]):
        save_png(root / "ab"[number % 2] / f"p{number // 10}_{number}.png", pixels)
    class_folders(root, pictures[200:])
    return root


def test_a_folder_is_split_by_what_its_files_are_called(tmp_path: Path) -> None:
    """No patient is in two splits; data.group is asked when arrays are made, not when images come.

    A pattern changed later takes effect on images that are there.
    """
    data = DataParams(name="some", image_size=8)
    (tmp_path / "raw").mkdir()
    source = find_source(folder_of(tmp_path / "photos"))
    ingested = ingest(source, tmp_path / "raw/a.parquet", data, known={})
    names = {
        identity.tobytes(): path
        for identity, path in zip(
            ingested.scanned.pictures.ids, ingested.scanned.paths, strict=True
        )
    }

    def torn(data: DataParams) -> set[str]:
        prepare(tmp_path / "raw", tmp_path / "prepared", data)
        where = dict[str, set[str]]()
        for split in SPLITS:
            for identity in open_split(tmp_path / "prepared", split, verify=False).ids:
                patient, _, number = Path(names[identity.tobytes()]).stem.partition("_")
                if number:
                    where.setdefault(patient, set()).add(split)
        return {patient for patient, splits in where.items() if len(splits) > 1}

    assert len(torn(data)) > 10
    assert torn(data.model_copy(update={"group": "{group}_*"})) == set()
    report = check(source, data.model_copy(update={"group": "{group}_*"}), known={})
    (found,) = [one.message for one in report.warnings if one.code == "ungrouped"]
    assert found.startswith("2 images have no group")


def test_batches_without_groups_are_as_they_were(tmp_path: Path) -> None:
    """No column: the same rows give the same bytes as before."""
    labels = np.zeros(2, np.int64)
    pieces: list[Rows] = [
        PixelRows(noise(2), labels, (None, None)),
        EncodedRows((b"x", b"y"), ("1.png", "2.png"), labels, (None, None)),
    ]
    for number, rows in enumerate(pieces):
        write_batch(tmp_path / f"{number}.parquet", ("a",), [rows])
        assert "group" not in pq.read_schema(tmp_path / f"{number}.parquet").names
        assert read_piece(read_batch(tmp_path / f"{number}.parquet"), 0).groups == ()
