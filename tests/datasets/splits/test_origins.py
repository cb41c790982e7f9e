"""Origins of the test images: batch, original size and group of each."""

from pathlib import Path

import numpy as np
import pytest
from data_fixtures import class_folders, noise

from models.config import DataParams, Fractions
from models.datasets.batches import write_batch
from models.datasets.labelled_images import PixelRows
from models.datasets.pixels import content_ids
from models.datasets.prepare import prepare
from models.datasets.prepared import open_split
from models.datasets.sources.detect import find_source
from models.datasets.sources.origins import read_origins
from models.errors import IntegrityError

DATA = DataParams(image_size=8, fractions=Fractions(validation=0.2, test=0.4))
SIZES = {"large": 12, "small": 8}


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Two batches: arrays of 8 pixels a side with a column of groups, and files of 12."""
    folder = tmp_path / "raw"
    folder.mkdir()
    small = noise(40, seed=1)
    groups = tuple(f"camera {at % 3}" if at % 4 else None for at in range(40))
    rows = PixelRows(small, np.arange(40) % 2, (None,) * 40, groups)
    write_batch(folder / "small.parquet", ("a", "b"), [rows])
    source = find_source(class_folders(tmp_path / "photos", noise(60, side=12, seed=2)))
    write_batch(folder / "large.parquet", source.classes, source.rows())
    return folder


def test_batch_size_and_group_are_those_of_each_image(raw: Path, tmp_path: Path) -> None:
    """Image by image, found again by its id; groups from the column, else from the path."""
    data = DATA.model_copy(update={"group": "{group}.png"})
    prepare(raw, tmp_path / "prepared", data)
    found, test = (
        read_origins(tmp_path / "prepared"),
        open_split(tmp_path / "prepared", "test", verify=True),
    )
    small = {one.tobytes(): at for at, one in enumerate(content_ids(noise(40, seed=1)))}

    assert found is not None
    assert len(found.batches) == len(test.ids)
    assert set(found.batches) == {"small", "large"}
    for identity, batch, size, group in zip(
        test.ids, found.batches, found.sizes.tolist(), found.groups, strict=True
    ):
        row = small.get(identity.tobytes())
        assert (batch == "small") == (row is not None)
        assert size == [SIZES[batch]] * 2
        if row is None:
            assert group is not None
            assert group.isdecimal()
        else:
            assert group == (f"camera {row % 3}" if row % 4 else None)


def test_origins_are_no_part_of_what_trials_are_known_by(raw: Path, tmp_path: Path) -> None:
    """A batch of another name gives the same digest of the arrays."""
    one = prepare(raw, tmp_path / "one", DATA)
    (raw / "small.parquet").rename(raw / "zebra.parquet")
    other = prepare(raw, tmp_path / "two", DATA)
    found = read_origins(tmp_path / "two")

    assert one.digest == other.digest
    assert found is not None
    assert "zebra" in found.batches


def test_what_an_earlier_release_prepared_has_none_and_a_damaged_file_is_named(
    raw: Path, tmp_path: Path
) -> None:
    prepare(raw, tmp_path, DATA)
    path = tmp_path / "test/origins.parquet"
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(IntegrityError, match=r"origins\.parquet: is damaged.*pitchpipe prepare"):
        read_origins(tmp_path)
    path.unlink()
    assert read_origins(tmp_path) is None
