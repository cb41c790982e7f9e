"""Every source that is read, and by which rule its pixels are."""

import gzip
import io
import struct
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from data_fixtures import class_folders, noise, save_png
from numpy.typing import NDArray
from PIL import Image
from project_folder import REPOSITORY

from models.config import DataParams
from models.config.data import ImageForm
from models.datasets.batches import read_batch, read_piece, write_batch
from models.datasets.decoding import decode
from models.datasets.labelled_images import PixelRows, Rows, Source
from models.datasets.pixels import conform, content_id
from models.datasets.scanning import scan_rows
from models.datasets.sources.detect import detect, find_source
from models.errors import InputError

HUGGING_FACE = REPOSITORY / "tests/golden" / "huggingface_datasets_5_2_0.parquet"
"""Written by `datasets` 5.2.0: Dataset.to_parquet with an Image and a ClassLabel feature."""


def saved(picture: Image.Image, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    picture.save(file, format=kind)
    return file.getvalue()


def rows_of(source: Source) -> list[Rows]:
    return list(source.rows())


def labelled(source: Source) -> dict[bytes, tuple[str, str | None]]:
    """Content id -> class name and declared split."""
    found: dict[bytes, tuple[str, str | None]] = {}
    for rows in source.rows():
        scanned = scan_rows(rows, DataParams())[0]
        for row, identity in enumerate(scanned.pictures.ids):
            found[bytes(identity)] = (source.classes[int(rows.labels[row])], rows.splits[row])
    return found


def write_idx(folder: Path, images: NDArray[np.uint8], *, stem: str, zipped: bool) -> None:
    labels = np.arange(len(images)) % 2
    shape = images.shape[:3]
    files = {
        f"{stem}-images-idx3-ubyte": struct.pack(">4I", 2051, *shape) + images.tobytes(),
        f"{stem}-labels-idx1-ubyte": struct.pack(">2I", 2049, len(images)) + bytes(labels.tolist()),
    }
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        if zipped:
            (folder / f"{name}.gz").write_bytes(gzip.compress(content))
        else:
            (folder / name).write_bytes(content)


def test_a_folder_of_class_folders_is_read(tmp_path: Path) -> None:
    """The folder's name is the class; hidden files and junk are passed over."""
    images = noise(6)
    class_folders(tmp_path / "My Photos", images, classes=3)
    (tmp_path / "My Photos" / ".DS_Store").write_bytes(b"x")
    (tmp_path / "My Photos" / "a" / "Thumbs.db").write_bytes(b"x")
    (tmp_path / "My Photos" / "a" / "notes.txt").write_text("x")
    source = find_source(tmp_path / "My Photos")
    assert source.name == "my-photos"
    assert labelled(source) == {
        content_id(image): ("abc"[number % 3], None) for number, image in enumerate(images)
    }
    assert source.warnings == (
        f"1 file that is no image was passed over, such as {tmp_path}/My Photos/a/notes.txt",
    )


def test_folders_named_after_splits_declare_them(tmp_path: Path) -> None:
    """train/a/1.png is declared train; val means validation."""
    images = noise(6)
    for number, (split, name) in enumerate(
        [(s, c) for s in ("train", "val", "test") for c in ("a", "b")]
    ):
        save_png(tmp_path / split / name / "1.png", images[number])
    declared = labelled(find_source(tmp_path))
    assert [declared[content_id(image)] for image in images] == [
        (name, split) for split in ("train", "validation", "test") for name in ("a", "b")
    ]


def test_names_with_spaces_unicode_and_newlines_are_read(tmp_path: Path) -> None:
    """Odd file names are no obstacle; decomposed and composed class names are one class."""
    images = noise(3)
    save_png(tmp_path / "train" / "caf\u00e9 noir" / "a \n b.png", images[0])
    save_png(tmp_path / "test" / "cafe\u0301 noir" / "\u732b.png", images[1])
    save_png(tmp_path / "train" / "x" / "1.png", images[2])
    source = find_source(tmp_path)
    assert source.classes == ("caf\u00e9 noir", "x")
    assert len(labelled(source)) == 3


def test_parquet_of_the_datasets_library_keeps_its_class_names() -> None:
    """Names come from the schema metadata, in their order."""
    source = find_source(HUGGING_FACE)
    assert source.classes == ("zebra", "ant", "cat")
    (rows,) = rows_of(source)
    assert rows.labels.tolist() == [0, 1, 2] * 4


def test_parquet_shards_declare_their_splits(tmp_path: Path) -> None:
    """train-00000-of-00002.parquet is train, whatever folder `data` it lies in."""
    (tmp_path / "data").mkdir()
    table = pq.read_table(HUGGING_FACE)
    for start, name in (
        (0, "train-00000-of-00002"),
        (4, "train-00001-of-00002"),
        (8, "test-00000-of-00001"),
    ):
        pq.write_table(table.slice(start, 4), tmp_path / "data" / f"{name}.parquet")
    pieces = rows_of(find_source(tmp_path))
    assert (
        sorted(split or "" for rows in pieces for split in rows.splits)
        == ["test"] * 4 + ["train"] * 8
    )


def test_parquet_with_names_as_labels_is_read(tmp_path: Path) -> None:
    """String labels are numbered in sorted order."""
    images = [{"bytes": saved(Image.fromarray(image[:, :, 0])), "path": None} for image in noise(3)]
    pq.write_table(
        pa.table({"image": images, "label": ["dog", "cat", "dog"]}), tmp_path / "a.parquet"
    )
    source = find_source(tmp_path / "a.parquet")
    assert source.classes == ("cat", "dog")
    assert rows_of(source)[0].labels.tolist() == [1, 0, 1]


@pytest.mark.parametrize("zipped", [True, False])
def test_idx_is_read_zipped_and_plain(tmp_path: Path, *, zipped: bool) -> None:
    """Four files: train is declared train, t10k is declared test."""
    train, test = noise(4), noise(2, seed=1)
    write_idx(tmp_path / "mnist", train, stem="train", zipped=zipped)
    write_idx(tmp_path / "mnist", test, stem="t10k", zipped=zipped)
    found = labelled(find_source(tmp_path / "mnist"))
    assert found == {
        content_id(image): (str(number % 2), split)
        for images, split in ((train, "train"), (test, "test"))
        for number, image in enumerate(images)
    }


@pytest.mark.parametrize("layout", ["n h w", "n h w c", "n c h w"])
@pytest.mark.parametrize("kind", [np.uint8, np.int64, np.float32])
def test_npz_is_read_in_every_layout_and_kind(tmp_path: Path, layout: str, kind: type) -> None:
    """Channels last or first; bytes, integers within 0..255 and floats within 0..1 are the same."""
    images = noise(6, channels=1 if layout == "n h w" else 3)
    arrays = images[:, :, :, 0] if layout == "n h w" else images
    arrays = arrays.transpose(0, 3, 1, 2) if layout == "n c h w" else arrays
    values = arrays / np.float32(255) if kind is np.float32 else arrays.astype(kind)
    np.savez_compressed(
        tmp_path / "a.npz",
        x_train=np.ascontiguousarray(values[:4]),
        y_train=np.array([0, 1, 0, 1]),
        x_test=np.ascontiguousarray(values[4:]),
        y_test=np.array([[1], [0]], np.uint8),
        classes=np.array(["cat", "dog"]),
    )
    found = labelled(find_source(tmp_path / "a.npz"))
    names = ["cat", "dog", "cat", "dog", "dog", "cat"]
    assert [found[content_id(image)] for image in images] == [
        (name, "train" if number < 4 else "test") for number, name in enumerate(names)
    ]


def test_the_digits_are_a_source_by_name() -> None:
    """`digits` needs no file."""
    source = find_source(Path("digits"))
    assert sum(len(rows.labels) for rows in rows_of(source)) == 1797


def test_a_split_can_be_declared_for_a_source_that_declares_none(tmp_path: Path) -> None:
    """--split test; a source that declares its own refuses."""
    class_folders(tmp_path / "a", noise(4))
    assert rows_of(find_source(tmp_path / "a", split="test"))[0].splits == ("test",) * 4
    write_idx(tmp_path / "idx", noise(2), stem="train", zipped=False)
    with pytest.raises(InputError, match="declares its own splits"):
        rows_of(find_source(tmp_path / "idx", split="test"))


def test_two_formats_side_by_side_ask_for_a_choice(tmp_path: Path) -> None:
    """A folder with IDX and Parquet is ambiguous."""
    write_idx(tmp_path, noise(2), stem="train", zipped=False)
    (tmp_path / "a.parquet").write_bytes(HUGGING_FACE.read_bytes())
    with pytest.raises(InputError, match="--format"):
        detect(tmp_path)


def grey(level: int) -> list[list[list[int]]]:
    return [[[level]]]


@pytest.mark.parametrize(
    ("picture", "pixels"),
    [
        (Image.new("1", (1, 1), 1), grey(255)),
        (Image.new("L", (1, 1), 7), grey(7)),
        (Image.new("LA", (1, 1), (0, 0)), [[[255, 255, 255]]]),
        (Image.new("RGB", (1, 1), (1, 2, 3)), [[[1, 2, 3]]]),
        (Image.new("RGBA", (1, 1), (0, 0, 0, 0)), [[[255, 255, 255]]]),
        (Image.new("RGBA", (1, 1), (0, 100, 200, 255)), [[[0, 100, 200]]]),
        (Image.fromarray(np.array([[0x1234]], np.uint16)), grey(0x12)),
        (
            Image.new("RGB", (1, 1), (9, 8, 7)).convert("P", palette=Image.Palette.ADAPTIVE),
            [[[9, 8, 7]]],
        ),
    ],
    ids=["1", "L", "LA", "RGB", "RGBA clear", "RGBA opaque", "16 bits", "palette"],
)
def test_every_mode_has_its_rule(picture: Image.Image, pixels: list[list[list[int]]]) -> None:
    """Worked by hand: alpha over white, 16 bits keep the upper 8, palettes become colours."""
    assert decode(saved(picture)).tolist() == pixels


@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF", "TIFF", "WEBP", "JPEG"])
def test_every_format_is_decoded(kind: str) -> None:
    """One colour survives every codec, lossy ones within two levels."""
    pixels = decode(saved(Image.new("RGB", (8, 8), (200, 50, 100)), kind)).astype(int)
    assert np.abs(pixels - [200, 50, 100]).max() <= 2


def test_cmyk_becomes_red_green_blue() -> None:
    """Cyan ink alone leaves no red."""
    red, green, blue = decode(saved(Image.new("CMYK", (8, 8), (255, 0, 0, 0)), "JPEG"))[0, 0]
    assert red < 5
    assert min(green, blue) > 250


def test_exif_orientation_is_applied() -> None:
    """A picture 2 wide and 1 high, to be turned, is 1 wide and 2 high."""
    picture = Image.new("L", (2, 1))
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    picture.save(file, format="PNG", exif=exif)
    assert decode(file.getvalue()).shape == (2, 1, 1)


def test_the_first_frame_of_an_animation_counts() -> None:
    """Later frames are ignored."""
    frames = [Image.new("L", (2, 2), level) for level in (10, 200)]
    file = io.BytesIO()
    frames[0].save(file, format="GIF", save_all=True, append_images=frames[1:])
    assert int(decode(file.getvalue()).max()) == 10


def test_a_copy_saved_as_colour_is_the_same_picture() -> None:
    """Grey pixels and their RGB copy have one id; another size of equal bytes has another."""
    image = noise(1)[0]
    assert content_id(image) == content_id(np.repeat(image, 3, axis=2))
    assert content_id(image) != content_id(image.reshape(4, 16, 1))


def test_grey_of_colour_is_pillows() -> None:
    """The integers of ITU-R 601-2 as Pillow rounds them, so arrays and files agree."""
    image = noise(1, side=64, channels=3)[0]
    ours = conform(image, ImageForm(image_size=64, channels=1))[:, :, 0]
    assert np.array_equal(ours, np.asarray(Image.fromarray(image).convert("L")))


@pytest.mark.parametrize("splits", [("train", None, "test"), (None, None, None)])
def test_a_batch_gives_back_what_was_written(
    tmp_path: Path, splits: tuple[None, None, None]
) -> None:
    """Pixels, labels, splits and classes survive the Parquet file; row groups are the pieces."""
    rows = PixelRows(noise(3, channels=3), np.array([0, 1, 1]), splits)
    assert write_batch(tmp_path / "a.parquet", ("a", "b"), iter([rows, rows])) == 6
    batch = read_batch(tmp_path / "a.parquet")
    assert (batch.classes, batch.shape, batch.piece_lengths) == (("a", "b"), (8, 8, 3), (3, 3))
    back = read_piece(batch, 1)
    assert isinstance(back, PixelRows)
    assert np.array_equal(back.pixels, rows.pixels)
    assert (back.labels.tolist(), back.splits) == ([0, 1, 1], splits)


def test_a_batch_of_files_is_in_the_hugging_face_layout(tmp_path: Path) -> None:
    """A batch made of files is itself a source with the same classes and pictures."""
    class_folders(tmp_path / "a", noise(4))
    source = find_source(tmp_path / "a")
    write_batch(tmp_path / "a.parquet", source.classes, source.rows())
    assert labelled(find_source(tmp_path / "a.parquet")) == labelled(source)
