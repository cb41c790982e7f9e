"""Pictures become squares: stretched, between bars, or cut."""

from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from data_fixtures import noise
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from models.config import DataParams
from models.config.data import ImageForm, Interpolation, Resize
from models.datasets.batches import write_batch
from models.datasets.labelled_images import PixelRows
from models.datasets.pixels import conform
from models.datasets.prepare import prepare
from models.datasets.prepared import Manifest

RESIZES: tuple[Resize, ...] = get_args(Resize)
INTERPOLATIONS: tuple[Interpolation, ...] = get_args(Interpolation)
WIDE = np.arange(1, 25, dtype=np.uint8).reshape(4, 6, 1)


def form(size: int, resize: Resize = "squeeze", by: Interpolation = "bilinear") -> ImageForm:
    return ImageForm(image_size=size, channels=1, resize=resize, interpolation=by)


def test_a_picture_between_bars_is_whole() -> None:
    """4 x 6 in 6 x 6: a black row above and below, and every pixel as it was."""
    expected = np.zeros((6, 6, 1), np.uint8)
    expected[1:5] = WIDE

    assert np.array_equal(conform(WIDE, form(6, "letterbox")), expected)
    turned = conform(WIDE.transpose(1, 0, 2), form(6, "letterbox"))
    assert np.array_equal(turned, expected.transpose(1, 0, 2))


def test_a_picture_that_is_cut_has_its_middle() -> None:
    """4 x 6: a column is cut on either side; of three in all, two on the right."""
    assert np.array_equal(conform(WIDE, form(4, "centre_crop")), WIDE[:, 1:5])
    assert np.array_equal(conform(WIDE[:3], form(3, "centre_crop")), WIDE[:3, 1:4])


@pytest.mark.parametrize(
    ("by", "filter_"),
    [
        ("bilinear", Image.Resampling.BILINEAR),
        ("bicubic", Image.Resampling.BICUBIC),
        ("lanczos", Image.Resampling.LANCZOS),
    ],
)
def test_a_squeezed_picture_is_pillow_s(by: Interpolation, filter_: Image.Resampling) -> None:
    """Bilinear is what earlier releases did."""
    picture = noise(1, side=20)[0][:, :13]

    expected = np.asarray(Image.fromarray(picture[:, :, 0]).resize((8, 8), filter_))
    assert np.array_equal(conform(picture, form(8, by=by))[:, :, 0], expected)


@pytest.mark.parametrize("by", INTERPOLATIONS)
def test_a_chequered_picture_becomes_grey(by: Interpolation) -> None:
    """All that is shrunk is averaged: no pixel is left out."""
    board = (np.indices((32, 32)).sum(0) % 2 * 255).astype(np.uint8)[:, :, None]

    found = conform(board, form(4, by=by))
    assert np.abs(found.astype(int) - 127).max() <= 3


@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    size=st.integers(1, 40),
    by=st.sampled_from(INTERPOLATIONS),
)
def test_shape_and_shares_are_kept(height: int, width: int, size: int, by: Interpolation) -> None:
    """A white picture: letterboxed, as much of the square is white as the picture's shape says."""
    white = np.full((height, width, 1), 255, np.uint8)

    assert (conform(white, form(size, "squeeze", by)) == 255).all()
    assert (conform(white, form(size, "centre_crop", by)) == 255).all()
    boxed = conform(white, form(size, "letterbox", by))[:, :, 0] == 255
    inner = [max(1, round(side * size / max(height, width))) for side in (height, width)]
    assert [int(boxed.any(1).sum()), int(boxed.any(0).sum())] == inner
    assert int(boxed.sum()) == inner[0] * inner[1]


@given(side=st.integers(1, 24), size=st.integers(1, 24), channels=st.sampled_from([1, 3]))
def test_a_square_picture_is_the_same_in_every_way(side: int, size: int, channels: int) -> None:
    """Only what is not square is treated otherwise."""
    picture = noise(1, side=side, channels=channels)[0]
    first, *others = (
        conform(picture, ImageForm(image_size=size, channels=channels, resize=resize))
        for resize in RESIZES
    )

    assert all(np.array_equal(first, other) for other in others)


def prepared(folder: Path, *, wide: bool, resize: Resize) -> Manifest:
    """Prepared pictures, of 12 x 8 pixels where wide."""
    images = np.ascontiguousarray(noise(60, side=12)[:, : 8 if wide else 12])
    raw = folder / "raw"
    if not raw.exists():
        raw.mkdir(parents=True)
        labels = np.arange(60, dtype=np.int64) % 2
        write_batch(raw / "a.parquet", ("a", "b"), [PixelRows(images, labels, (None,) * 60)])
    return prepare(raw, folder / resize, DataParams(name="noise", image_size=8, resize=resize))


def test_digests_follow_the_arrays(tmp_path: Path) -> None:
    """Square pictures have one digest however squares are made; others one for each way."""
    square = {prepared(tmp_path / "s", wide=False, resize=resize).digest for resize in RESIZES}
    wide = [prepared(tmp_path / "w", wide=True, resize=resize) for resize in RESIZES]

    assert len(square) == 1
    assert len({manifest.digest for manifest in wide}) == 3
    said = [
        check.message for manifest in wide for check in manifest.checks if check.code == "sizes"
    ]
    assert ["stretched" in said[0], "black bars" in said[1], "lose" in said[2]] == [True] * 3
    assert wide[1].form == ImageForm(image_size=8, channels=1, resize="letterbox")
