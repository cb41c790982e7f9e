"""Images found by their ids, and splits in another form than data/prepared has."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from data_fixtures import noise
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from models.config import DataParams
from models.config.data import ImageForm
from models.datasets.batches import write_batch
from models.datasets.by_id import among, open_split_as
from models.datasets.labelled_images import EncodedRows, PixelRows
from models.datasets.pixels import conform, content_id
from models.datasets.prepare import prepare
from models.datasets.prepared import Split, open_split
from models.errors import InputError

DATA = DataParams(name="noise", image_size=28)
COLOUR = noise(60, side=20, channels=3, seed=1)
GREY = np.ascontiguousarray(noise(60, side=30, channels=1, seed=2)[:, :, :24])
LABELS = np.arange(60, dtype=np.int64) % 2


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Batches of colour images as arrays and of grey ones as files, with copies of some."""
    raw = tmp_path / "raw"
    raw.mkdir()
    undeclared = (None,) * len(LABELS)
    for name, images in (("colour", COLOUR), ("copies", COLOUR[:9])):
        rows = PixelRows(images, LABELS[: len(images)], undeclared[: len(images)])
        write_batch(raw / f"{name}.parquet", ("a", "b"), [rows])
    folder = tmp_path / "files"
    folder.mkdir()
    for number, pixels in enumerate(GREY):
        Image.fromarray(pixels[:, :, 0]).save(folder / f"{number}.png")
    files = tuple((folder / f"{number}.png").read_bytes() for number in range(len(GREY)))
    paths = tuple(f"{number}.png" for number in range(len(GREY)))
    write_batch(raw / "grey.parquet", ("a", "b"), [EncodedRows(files, paths, LABELS, undeclared)])
    return raw


@pytest.fixture
def prepared(raw: Path, tmp_path: Path) -> Path:
    prepare(raw, tmp_path / "prepared", DATA)
    return tmp_path / "prepared"


def opened(prepared: Path, raw: Path, form: ImageForm) -> Split:
    """The test split in a form, its scratch folder deleted as callers delete it."""
    scratch = raw.parent / "scratch"
    scratch.mkdir()
    split = open_split_as(prepared, "test", raw=raw, form=form, scratch=scratch)
    shutil.rmtree(scratch)
    return split


def pictures() -> dict[bytes, NDArray[np.uint8]]:
    return {content_id(image): image for image in (*COLOUR, *GREY)}


def test_in_the_prepared_form_the_images_are_those_prepared(prepared: Path, raw: Path) -> None:
    """Made anew from the batches, they have the same bytes."""
    expected = open_split(prepared, "test", verify=True)
    found = opened(prepared, raw, DATA.form)
    np.testing.assert_array_equal(found.images, expected.images)


@pytest.mark.parametrize(
    "form",
    [
        ImageForm(image_size=32, channels=1),
        ImageForm(image_size=28, channels=3),
        ImageForm(image_size=32, channels=3),
        ImageForm(image_size=9, channels=1),
        ImageForm(image_size=28, channels=1, resize="letterbox"),
        ImageForm(image_size=28, channels=1, resize="centre_crop", interpolation="bicubic"),
    ],
)
def test_in_another_form_each_image_is_its_own_picture_resized(
    prepared: Path, raw: Path, form: ImageForm
) -> None:
    """The same ids and labels in the same order; every image is made from its own picture."""
    expected, known = open_split(prepared, "test", verify=True), pictures()
    found = opened(prepared, raw, form)
    assert found.images.shape == (len(expected.ids), *form.shape)
    assert not np.array_equal(found.images, expected.images)
    np.testing.assert_array_equal(found.ids, expected.ids)
    np.testing.assert_array_equal(found.labels, expected.labels)
    for row, image in zip(found.ids, found.images, strict=True):
        own = conform(known[row.tobytes()], form)
        np.testing.assert_array_equal(image, own.transpose(2, 0, 1))


def test_a_batch_that_is_gone_is_an_error_that_counts_its_images(prepared: Path, raw: Path) -> None:
    """The arrays are of other batches than there are now."""
    (raw / "grey.parquet").unlink()
    missing = sum(
        row.tobytes() in {content_id(image) for image in GREY}
        for row in open_split(prepared, "test", verify=True).ids
    )
    with pytest.raises(InputError, match=rf"lacks {missing} of the \d+ images"):
        opened(prepared, raw, ImageForm(image_size=32, channels=1))


@given(st.lists(st.integers(0, 30), max_size=20), st.lists(st.integers(0, 30), max_size=20))
def test_ids_are_known_or_not(first: list[int], second: list[int]) -> None:
    """Each id by itself, however often it occurs on either side."""

    def ids(values: list[int]) -> NDArray[np.uint8]:
        return np.repeat(np.array(values, dtype=np.uint8)[:, None], 32, axis=1)

    assert among(ids(first), ids(second)).tolist() == [value in second for value in first]
