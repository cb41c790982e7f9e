"""Bad inputs: each writes something unusable into a folder and returns what the user would name."""

import gzip
import io
import os
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from data_fixtures import class_folders, noise, save_png
from PIL import Image

Maker = Callable[[Path], Path]

HEADER = struct.pack(">4I", 2051, 4, 8, 8)
IMAGES = HEADER + bytes(range(256))
LABELS = struct.pack(">2I", 2049, 4) + bytes([0, 1, 0, 1])


def png(level: int = 0, side: int = 8) -> bytes:
    file = io.BytesIO()
    pixels = (noise(1, side=side)[0, :, :, 0] // 2 + level).astype(np.uint8)
    Image.fromarray(pixels).save(file, format="PNG")
    return file.getvalue()


def folder_with(content: bytes, *, name: str = "bad.png") -> Maker:
    """A good folder but for one file."""

    def make(folder: Path) -> Path:
        class_folders(folder / "source", noise(8))
        (folder / "source" / "a" / name).write_bytes(content)
        return folder / "source"

    return make


def idx_with(images: bytes = IMAGES, labels: bytes | None = LABELS, *, suffix: str = "") -> Maker:
    def make(folder: Path) -> Path:
        (folder / f"train-images-idx3-ubyte{suffix}").write_bytes(images)
        if labels is not None:
            (folder / f"train-labels-idx1-ubyte{suffix}").write_bytes(labels)
        return folder

    return make


def npz_with(**arrays: object) -> Maker:
    """images and labels as given; where one is left out it is a good one."""
    good: dict[str, object] = {"images": noise(4)[:, :, :, 0], "labels": np.array([0, 1, 0, 1])}

    def make(folder: Path) -> Path:
        np.savez(folder / "a.npz", allow_pickle=True, **(good | arrays))  # type: ignore[arg-type]
        return folder / "a.npz"

    return make


def npz_member(name: str, content: bytes) -> Maker:
    def make(folder: Path) -> Path:
        with zipfile.ZipFile(folder / "a.npz", "w") as archive:
            archive.writestr(name, content)
        return folder / "a.npz"

    return make


def parquet_with(**columns: object) -> Maker:
    good: dict[str, object] = {
        "image": [{"bytes": png(level), "path": None} for level in range(4)],
        "label": [0, 1, 0, 1],
    }

    def make(folder: Path) -> Path:
        chosen = {name: column for name, column in (good | columns).items() if column is not None}
        pq.write_table(pa.table(chosen), folder / "a.parquet")
        return folder / "a.parquet"

    return make


def file_with(name: str, content: bytes) -> Maker:
    def make(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return make


def damaged(maker: Maker, *, at: float) -> Maker:
    """The same file with 64 bytes inverted, at a share of its length."""

    def make(folder: Path) -> Path:
        path = maker(folder)
        content = bytearray(path.read_bytes())
        start = int(at * len(content))
        content[start : start + 64] = bytes(255 - byte for byte in content[start : start + 64])
        path.write_bytes(content)
        return path

    return make


def cut(maker: Maker, *, keep: float) -> Maker:
    def make(folder: Path) -> Path:
        path = maker(folder)
        content = path.read_bytes()
        path.write_bytes(content[: int(keep * len(content))])
        return path

    return make


def pixel_bomb() -> bytes:
    """A PNG whose header claims 60,000 x 60,000 pixels."""
    head = struct.pack(">2I5B", 60_000, 60_000, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(bytes(60_001))), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def float_image() -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.zeros((8, 8), np.float32)).save(file, format="TIFF")
    return file.getvalue()


def deep_image() -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full((8, 8), 70_000, np.int32)).save(file, format="TIFF")
    return file.getvalue()


def empty_folder(folder: Path) -> Path:
    return folder


def only_hidden(folder: Path) -> Path:
    save_png(folder / "a" / ".1.png", noise(1)[0])
    save_png(folder / ".b" / "1.png", noise(1)[0])
    return folder


def only_junk(folder: Path) -> Path:
    (folder / "a" / "b" / "c").mkdir(parents=True)
    (folder / "a" / "b" / "c" / "notes.txt").write_text("nothing")
    return folder


def nested_images(folder: Path) -> Path:
    class_folders(folder, noise(8))
    save_png(folder / "a" / "deeper" / "1.png", noise(1, seed=9)[0])
    return folder


def loose_images(folder: Path) -> Path:
    save_png(folder / "1.png", noise(1)[0])
    return folder


def splits_without_classes(folder: Path) -> Path:
    for number, split in enumerate(("train", "test")):
        save_png(folder / split / "1.png", noise(1, seed=number)[0])
    return folder


def two_folders_of_one_split(folder: Path) -> Path:
    for number, split in enumerate(("val", "validation")):
        class_folders(folder / split, noise(4, seed=number))
    return folder


def one_class(folder: Path) -> Path:
    return class_folders(folder, noise(4), classes=1)


def empty_class(folder: Path) -> Path:
    (class_folders(folder, noise(4)) / "c").mkdir()
    return folder


def one_image_in_a_class(folder: Path) -> Path:
    class_folders(folder, noise(4))
    save_png(folder / "c" / "1.png", noise(1, seed=9)[0])
    return folder


def classes_alike(folder: Path) -> Path:
    for number, name in enumerate(("Cat", "cat")):
        class_folders(folder / name, noise(2, seed=number), classes=1)
        for image in (folder / name / "a").iterdir():
            image.rename(folder / name / image.name)
        (folder / name / "a").rmdir()
    return folder


def class_with_newline(folder: Path) -> Path:
    save_png(folder / "a\nb" / "1.png", noise(1)[0])
    return class_folders(folder, noise(4))


def blank_class(folder: Path) -> Path:
    save_png(folder / " " / "1.png", noise(1)[0])
    return class_folders(folder, noise(4))


def link_out(folder: Path) -> Path:
    class_folders(folder / "source", noise(8))
    secret = save_png(folder / "secret.png", noise(1, seed=9)[0])
    (folder / "source" / "a" / "x.png").symlink_to(secret)
    return folder / "source"


def relative_link_out(folder: Path) -> Path:
    class_folders(folder / "source", noise(8))
    save_png(folder / "secret.png", noise(1, seed=9)[0])
    (folder / "source" / "a" / "x.png").symlink_to("../../secret.png")
    return folder / "source"


def link_to_folder(folder: Path) -> Path:
    class_folders(folder, noise(8))
    (folder / "c").symlink_to(folder / "a", target_is_directory=True)
    return folder


def link_in_a_circle(folder: Path) -> Path:
    class_folders(folder, noise(8))
    (folder / "a" / "x.png").symlink_to("x.png")
    return folder


def fifo_as_source(folder: Path) -> Path:
    os.mkfifo(folder / "pipe.npz")
    return folder / "pipe.npz"


def fifo_as_image(folder: Path) -> Path:
    class_folders(folder, noise(8))
    os.mkfifo(folder / "a" / "x.png")
    return folder


def missing_shard(folder: Path) -> Path:
    path = parquet_with()(folder)
    path.rename(folder / "train-00000-of-00002.parquet")
    return folder


def shards_that_differ(folder: Path) -> Path:
    parquet_with()(folder).rename(folder / "x.parquet")
    parquet_with(label=["a", "b", "a", "b"])(folder)
    return folder


def idx_beside_parquet(folder: Path) -> Path:
    parquet_with()(folder)
    return idx_with()(folder)


def huge_file(folder: Path) -> Path:
    class_folders(folder, noise(8))
    with (folder / "a" / "x.png").open("wb") as file:
        file.truncate(2**28 + 1)
    return folder


def fortran_npz(folder: Path) -> Path:
    return npz_with(images=np.asfortranarray(noise(4)[:, :, :, 0]))(folder)


def zip_bomb(folder: Path) -> Path:
    """A member that claims few values and unpacks to many."""
    with zipfile.ZipFile(folder / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(
            header, {"descr": "|u1", "fortran_order": False, "shape": (4, 8, 8)}
        )
        archive.writestr("images.npy", header.getvalue() + bytes(50_000_000))
        archive.writestr("labels.npy", header.getvalue())
    return folder / "a.npz"


def unknown_names(folder: Path) -> Path:
    np.savez(folder / "a.npz", pixels=noise(4))
    return folder / "a.npz"


GZ = gzip.compress
NO_IMAGES = pa.array([], pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
NO_LABELS = pa.array([], pa.int64())
FAR = np.full((4, 8, 8), 300)
BAD_INPUTS: dict[str, tuple[Maker, str]] = {
    # folders
    "a path that is not there": (lambda folder: folder / "nowhere", "No such file"),
    "an empty folder": (empty_folder, "holds no images"),
    "hidden files only": (only_hidden, "holds no images"),
    "nested junk only": (only_junk, "holds no images"),
    "images below a class folder": (nested_images, "images below a class folder"),
    "images outside of class folders": (loose_images, "outside of class folders"),
    "splits without classes": (splits_without_classes, "outside of class folders"),
    "two folders of one split": (two_folders_of_one_split, "split validation has two folders"),
    "one class only": (one_class, "one class only"),
    "an empty class": (empty_class, "c: the class has a name and no image"),
    "one image in a class": (one_image_in_a_class, "c: the class has 1 different images"),
    "classes that differ in case": (classes_alike, "'Cat' and 'cat' are alike"),
    "a class name with a newline": (
        class_with_newline,
        r"'a\\nb' is empty, unprintable or too long",
    ),
    "a blank class name": (blank_class, "is empty, unprintable"),
    "a link out of the tree": (link_out, "only links to files within the source"),
    "a relative link out of the tree": (relative_link_out, "only links to files within the source"),
    "a link to a folder": (link_to_folder, "only links to files within the source"),
    "a link to itself": (link_in_a_circle, "x.png: "),
    "a FIFO": (fifo_as_source, "no regular file"),
    "a FIFO among images": (fifo_as_image, "no regular file"),
    "a file beyond the byte limit": (huge_file, "larger than 268435456 bytes"),
    # image files
    "a text file named .png": (folder_with(b"hello"), "a/bad.png: cannot be decoded"),
    "a file of 0 bytes": (folder_with(b""), "a/bad.png: cannot be decoded"),
    "a truncated PNG": (folder_with(png()[:-30]), "a/bad.png: cannot be decoded"),
    "a corrupt PNG": (folder_with(png()[:40] + b"xxxx" + png()[44:]), "a/bad.png: cannot be"),
    "a PNG of its header only": (folder_with(png()[:8]), "a/bad.png: cannot be decoded"),
    "a web page named .jpg": (folder_with(b"<html></html>", name="x.jpg"), "a/x.jpg: cannot be"),
    "an SVG named .png": (folder_with(b"<svg></svg>"), "a/bad.png: cannot be decoded"),
    "a PDF named .tiff": (folder_with(b"%PDF-1.4", name="x.tiff"), "a/x.tiff: cannot be"),
    "a pixel bomb": (folder_with(pixel_bomb()), "a/bad.png: is too large"),
    "floating-point pixels": (folder_with(float_image(), name="x.tif"), "floating-point pixels"),
    "32-bit pixels": (folder_with(deep_image(), name="x.tif"), "more than 16 bits"),
    # single files
    "one image": (file_with("cat.png", png()), "is one image; give a folder"),
    "an archive": (file_with("images.zip", b"PK\3\4xxxx"), "is an archive; unpack it"),
    "a tar archive": (file_with("images.tar.gz", GZ(b"x")), "is an archive; unpack it"),
    "a text file": (file_with("labels.csv", b"a,b"), "none of Parquet, IDX and NPZ"),
    "an empty file": (file_with("labels", b""), "none of Parquet, IDX and NPZ"),
    # IDX
    "truncated gzip": (idx_with(GZ(IMAGES)[:-20], GZ(LABELS), suffix=".gz"), "train-images"),
    "corrupt gzip": (idx_with(GZ(IMAGES)[:60] + b"x" * 60, GZ(LABELS), suffix=".gz"), "images"),
    "a bad gzip checksum": (
        idx_with(GZ(IMAGES)[:-8] + b"12345678", GZ(LABELS), suffix=".gz"),
        "CRC check failed",
    ),
    "a web page named .gz": (idx_with(b"<html>", suffix=".gz"), "begins with 3c68746d"),
    "an empty gzip": (idx_with(GZ(b""), GZ(LABELS), suffix=".gz"), "begins with nothing"),
    "a file of 0 bytes for IDX": (idx_with(b""), "begins with nothing"),
    "labels in place of images": (idx_with(LABELS, LABELS), "begins with 00000801"),
    "images in place of labels": (idx_with(IMAGES, IMAGES), "begins with 00000803"),
    "IDX of integers": (idx_with(b"\0\0\x0c\3" + IMAGES[4:]), "begins with 00000c03"),
    "truncated IDX": (idx_with(IMAGES[:-1]), "ends too early"),
    "IDX that goes on": (idx_with(IMAGES + b"x"), "goes on after the last item"),
    "truncated IDX labels": (idx_with(IMAGES, LABELS[:-1]), "ends too early"),
    "more labels than images": (
        idx_with(IMAGES, struct.pack(">2I", 2049, 5) + bytes(5)),
        "5 labels for 4 images",
    ),
    "an IDX bomb": (
        idx_with(struct.pack(">4I", 2051, 2**31, 2**15, 2**15)),
        "at most 10,000,000 are read",
    ),
    "IDX of large images": (
        idx_with(struct.pack(">4I", 2051, 4, 2**15, 2**15)),
        "32768 x 32768 pixels; at most",
    ),
    "IDX of images without pixels": (idx_with(struct.pack(">4I", 2051, 4, 0, 8)), "8 x 0 pixels"),
    "IDX images without labels": (idx_with(IMAGES, None), "its labels are missing"),
    "IDX of no images": (
        idx_with(struct.pack(">4I", 2051, 0, 8, 8), struct.pack(">2I", 2049, 0)),
        "holds no images",
    ),
    # NPZ
    "a text file named .npz": (file_with("a.npz", b"hello"), "File is not a zip file"),
    "truncated NPZ": (cut(npz_with(), keep=0.7), "File is not a zip file"),
    "corrupt NPZ": (damaged(npz_with(), at=0.3), "a.npz"),
    "objects in NPZ": (npz_with(labels=np.array([0, "x", None, 1], object)), "pickled objects"),
    "NaN pixels": (npz_with(images=np.full((4, 8, 8), np.nan)), "is nan; they must lie"),
    "one NaN among pixels": (
        npz_with(images=np.where(np.arange(256).reshape(4, 8, 8) == 99, np.nan, 0.5)),
        "is nan; they must lie",
    ),
    "infinite pixels": (npz_with(images=np.full((4, 8, 8), np.inf)), "must lie within 0 to 1"),
    "floats beyond 1": (npz_with(images=FAR.astype(float)), "must lie within 0 to 1"),
    "integers beyond 255": (npz_with(images=FAR), "must lie within 0 to 255"),
    "negative pixels": (npz_with(images=-FAR), "must lie within 0 to 255"),
    "complex pixels": (npz_with(images=FAR.astype(complex)), "pixels are complex128"),
    "flat images": (npz_with(images=np.zeros((4, 64), np.uint8)), "images are \\(n, h, w\\)"),
    "two channels": (npz_with(images=np.zeros((4, 8, 8, 2), np.uint8)), "1, 3 or 4"),
    "images of no pixels": (npz_with(images=np.zeros((4, 0, 8), np.uint8)), "images are"),
    "fewer labels": (npz_with(labels=np.array([0, 1])), "2 labels for 4 images"),
    "one-hot labels": (npz_with(labels=np.eye(4)), "one label for each image"),
    "negative labels": (npz_with(labels=np.array([0, 1, -1, 1])), "label -1 is out of range"),
    "fractions as labels": (npz_with(labels=np.array([0.5, 1, 0, 1])), "labels are float64"),
    "labels beyond the names": (
        npz_with(classes=np.array(["a", "b"]), labels=np.array([0, 1, 2, 1])),
        "label 2 is out of range",
    ),
    "70,000 classes": (npz_with(labels=np.array([0, 1, 69_999, 1])), "label 69999 is out of range"),
    "a gap in the labels": (npz_with(labels=np.array([0, 0, 2, 2])), "1: the class has a name and"),
    "NPZ without labels": (npz_member("images.npy", b""), "is no array"),
    "a member that climbs out": (npz_member("../images.npy", b"x"), "is no array of an NPZ file"),
    "an absolute member": (npz_member("/etc/images.npy", b"x"), "is no array of an NPZ file"),
    "a member that is no array": (npz_member("readme.txt", b"x"), "is no array of an NPZ file"),
    "arrays of unknown names": (unknown_names, "wanted are x_train"),
    "Fortran order": (fortran_npz, "Fortran order"),
    "a zip bomb": (zip_bomb, "is not that long"),
    # Parquet
    "a text file named .parquet": (file_with("a.parquet", b"hello"), "cannot be read"),
    "truncated Parquet": (cut(parquet_with(), keep=0.5), "cannot be read"),
    "a corrupt Parquet footer": (damaged(parquet_with(), at=0.95), "cannot be read"),
    "Parquet without labels": (parquet_with(label=None), "none of label, labels"),
    "Parquet without images": (parquet_with(image=None), "none of image, img"),
    "a row without a label": (parquet_with(label=[0, None, 0, 1]), "1 rows have no label"),
    "hidden labels": (parquet_with(label=[-1] * 4), "label -1 is out of range"),
    "float labels": (parquet_with(label=[0.0, 1.0, 0.0, 1.0]), "labels are double"),
    "images that are not embedded": (
        parquet_with(image=[{"bytes": None, "path": "/etc/passwd"}] * 4),
        "lacks the bytes of an image",
    ),
    "an unknown split": (parquet_with(split=["train", "tset", "test", "test"]), "split 'tset'"),
    "a damaged image in Parquet": (
        parquet_with(image=[{"bytes": b"xx", "path": "../../x"}] * 4),
        "../../x: cannot be decoded",
    ),
    "Parquet of no rows": (parquet_with(image=NO_IMAGES, label=NO_LABELS), "holds no images"),
    "a missing shard": (missing_shard, "lacks shard 1 of 2"),
    "shards that differ": (shards_that_differ, "shards differ"),
    "two formats in one folder": (idx_beside_parquet, "choose with --format"),
}
"""What it is -> how to make it, and what the message must say (a regular expression)."""
