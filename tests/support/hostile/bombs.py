"""Small files that claim, or unpack to, more than memory holds; made as those of bad_inputs."""

import gzip
import io
import math
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from bad_inputs import Maker, folder_with, idx_with

Header = tuple[tuple[int, ...], str]
"""Shape and type of an array."""
MILLIONS = 12_000_000


def png_of(width: int, height: int) -> bytes:
    """A black PNG, grey, whose rows are compressed."""
    head = struct.pack(">2I5B", width, height, 8, 0, 0, 0, 0)
    pack = zlib.compressobj(1)
    rows = b"".join(pack.compress(bytes(width + 1)) for _ in range(height)) + pack.flush()
    chunks = [(b"IHDR", head), (b"IDAT", rows), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def npz_of(**headers: Header) -> Maker:
    """Arrays of zeros, compressed."""

    def make(folder: Path) -> Path:
        with zipfile.ZipFile(
            folder / "a.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1
        ) as archive:
            for name, (shape, kind) in headers.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    member.write(header_of(shape, kind))
                    _write_zeros(member, math.prod(shape) * np.dtype(kind).itemsize)
        return folder / "a.npz"

    return make


def header_of(shape: tuple[int, ...], kind: str) -> bytes:
    header = io.BytesIO()
    layout = {"descr": kind, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, layout)
    return header.getvalue()


def _write_zeros(file: IO[bytes], count: int) -> None:
    for start in range(0, count, 2**24):
        file.write(bytes(min(2**24, count - start)))


def npz_with_flag(flag: int, *, method: int | None = None) -> Maker:
    """A good NPZ whose members say that they are encrypted, or compressed by another method."""

    def make(folder: Path) -> Path:
        path = npz_of(images=((4, 8, 8), "|u1"), labels=((4,), "|u1"))(folder)
        content = bytearray(path.read_bytes())
        for signature, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
            place = content.find(signature)
            while place >= 0:
                content[place + at] |= flag
                if method is not None:
                    content[place + at + 2] = method
                place = content.find(signature, place + 4)
        path.write_bytes(content)
        return path

    return make


def parquet_of(columns: Mapping[str, pa.Array], **options: object) -> Maker:
    def make(folder: Path) -> Path:
        table = pa.table([*columns.values()], names=[name.rstrip("_") for name in columns])
        pq.write_table(table, folder / "a.parquet", store_schema=False, **options)
        return folder / "a.parquet"

    return make


def repeated(value: object, kind: pa.DataType, times: int) -> pa.Array:
    """One value, stored once."""
    return pa.DictionaryArray.from_arrays(
        pa.array(np.zeros(times, np.int32)), pa.array([value], kind)
    )


IMAGE, TWO = pa.array([b"x"] * 4), pa.array([0, 1, 0, 1])
BOMBS: dict[str, tuple[Maker, str]] = {
    "a PNG of 60,000,000 x 1": (folder_with(png_of(60_000_000, 1)), "60000000 x 1 pixels; at most"),
    "a PNG of 1 x 40,000": (folder_with(png_of(1, 40_000)), "32,768 a side"),
    "NPZ of 2^27 labels": (
        npz_of(images=((2**27, 1, 1), "|u1"), labels=((2**27,), "|u1")),
        "134,217,728 images; at most 10,000,000",
    ),
    "NPZ of a class name of 2 GB": (
        npz_of(images=((4, 8, 8), "|u1"), labels=((4,), "|u1"), classes=((1,), "<U500000000")),
        "classes: has 2,000,000,000 bytes",
    ),
    "NPZ of an image of 2 GB": (
        npz_of(images=((1, 2**13, 2**13, 4), "<f8"), labels=((1,), "|u1")),
        "is too large",
    ),
    "an encrypted NPZ": (npz_with_flag(1), "is encrypted"),
    "NPZ compressed otherwise": (npz_with_flag(0, method=14), "compressed otherwise"),
    "a shape of truth values": (
        npz_of(images=((True, 8, 8), "|u1"), labels=((1,), "|u1")),
        r"claims \(True, 8, 8\)",
    ),
    "Parquet of two columns label": (
        parquet_of({"image": IMAGE, "label": TWO, "label_": TWO}),
        "has two columns label",
    ),
    "Parquet of a numeric split": (
        parquet_of({"image": IMAGE, "label": TWO, "split": TWO}),
        "split is int64; the names train",
    ),
    "Parquet of millions of rows": (
        parquet_of({"image": repeated(b"x", pa.binary(), MILLIONS), "label": pa.nulls(MILLIONS)}),
        "12,000,000 images; at most 10,000,000",
    ),
    "Parquet of one image in many rows": (
        parquet_of(
            {
                "image": repeated(bytes(2**26), pa.binary(), 64),
                "label": pa.array([0, 1] * 32),
            },
            compression="zstd",
            dictionary_pagesize_limit=2**28,
        ),
        "cannot be decoded",
    ),
    "Parquet of one long label in many rows": (
        parquet_of(
            {
                "image": repeated(b"x", pa.binary(), 10_000),
                "label": repeated("x" * 10**6, pa.string(), 10_000),
            }
        ),
        "names of up to 1,000,000 characters",
    ),
    "images of numbers": (
        parquet_of({"image": pa.array([[0, 1]] * 4), "label": TWO}),
        "an image is struct",
    ),
    "a gzipped IDX of 4,000,000,000 labels": (
        idx_with(
            gzip.compress(struct.pack(">4I", 2051, 4, 8, 8) + bytes(256)),
            gzip.compress(struct.pack(">2I", 2049, 4_000_000_000)),
            suffix=".gz",
        ),
        "4,000,000,000 images; at most",
    ),
}
"""What it is -> how to make it, and what the message must say."""
