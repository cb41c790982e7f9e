"""From sources to prepared arrays."""

from pathlib import Path

import numpy as np
import pytest

from models.config import DataParams
from models.datasets.batches import write_batch
from models.datasets.labelled_images import SPLITS
from models.datasets.prepare import prepare
from models.datasets.prepared import open_split, read_manifest
from models.datasets.sources.builtin import digits
from models.errors import InputError, IntegrityError


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    folder = tmp_path / "raw" / "digits"
    folder.mkdir(parents=True)
    source = digits()
    assert write_batch(folder / "digits.parquet", source.classes, source.rows()) == 1797
    return folder


def test_the_digits_become_three_disjoint_splits(raw: Path, tmp_path: Path) -> None:
    """All 1,797 digits are in exactly one split, 28 pixels a side, with ids ascending."""
    manifest = prepare(raw, tmp_path / "prepared", DataParams())
    splits = [open_split(tmp_path / "prepared", split, verify=True) for split in SPLITS]
    assert [split.images.shape[1:] for split in splits] == [(1, 28, 28)] * 3
    ids = [bytes(row) for split in splits for row in split.ids]
    assert len(ids) == len(set(ids)) == 1797 == manifest.images
    assert all(list(map(bytes, split.ids)) == sorted(map(bytes, split.ids)) for split in splits)


def test_preparing_twice_gives_the_same_bytes(raw: Path, tmp_path: Path) -> None:
    """Two preparations differ in no byte of no file."""
    for name in ("one", "two"):
        prepare(raw, tmp_path / name, DataParams())
    files = sorted(p.relative_to(tmp_path / "one") for p in (tmp_path / "one").rglob("*.*"))
    assert len(files) == 11
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_mean_and_std_are_those_of_train(raw: Path, tmp_path: Path) -> None:
    """The manifest's moments equal NumPy's, over train alone."""
    manifest = prepare(raw, tmp_path / "prepared", DataParams())
    train = open_split(tmp_path / "prepared", "train", verify=False).images / 255
    assert manifest.mean == pytest.approx((train.mean(),))
    assert manifest.std == pytest.approx((train.std(),))


def test_a_limit_is_nested(raw: Path, tmp_path: Path) -> None:
    """100 images are among the 200 images of a greater limit."""
    ids = []
    for limit in (100, 200):
        prepare(raw, tmp_path / "prepared", DataParams(limit=limit))
        split = open_split(tmp_path / "prepared", "train", verify=True)
        ids.append({bytes(row) for row in split.ids})
    assert [len(kept) for kept in ids] == [100, 200]
    assert ids[0] < ids[1]


@pytest.mark.parametrize("name", ["images", "labels", "ids"])
def test_an_altered_array_is_named(raw: Path, tmp_path: Path, name: str) -> None:
    """One flipped bit in any array is found by its digest, and the file is named."""
    prepare(raw, tmp_path / "prepared", DataParams())
    path = tmp_path / "prepared" / "test" / f"{name}.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(IntegrityError, match=rf"test/{name}\.npy: does not have the digest"):
        open_split(tmp_path / "prepared", "test", verify=True)


def test_nothing_prepared_names_the_way_out(tmp_path: Path) -> None:
    """Reading a manifest that is not there says which command makes it."""
    with pytest.raises(InputError, match="pitchpipe prepare"):
        read_manifest(tmp_path)


def test_a_failed_preparation_leaves_the_old_arrays(raw: Path, tmp_path: Path) -> None:
    """A batch cut short fails, and what was prepared before stays whole and alone."""
    before = prepare(raw, tmp_path / "prepared", DataParams())
    batch = raw / "digits.parquet"
    content = bytearray(batch.read_bytes())
    content[1000:1100] = np.random.default_rng(0).bytes(100)
    batch.write_bytes(content)
    with pytest.raises(IntegrityError, match=r"digits\.parquet"):
        prepare(raw, tmp_path / "prepared", DataParams())
    assert read_manifest(tmp_path / "prepared") == before
    assert [path.name for path in tmp_path.iterdir() if path.name != "raw"] == ["prepared"]
