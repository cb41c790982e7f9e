"""Batches: immutable Parquet files of labelled images, in one of two layouts.

Both have a column `group`, string or null, where the source names groups.
encoded: `image` struct{bytes, path}, `label` int64, `split` string or null, with the class names in
the schema metadata `huggingface`: the layout of Hugging Face image datasets.
pixels: `pixels` fixed-size binary (height x width x channels, row-major), `label`, `split`, with
shape and class names in the schema metadata `pitchpipe`; uncompressed.
"""

import json
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from models.config import Record, SplitName
from models.datasets.labelled_images import EncodedRows, Labels, PixelRows, Rows
from models.errors import IntegrityError

_COMMON = [pa.field("label", pa.int64()), pa.field("split", pa.string())]
_GROUP = pa.field("group", pa.string())
_IMAGE = pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())])


class _Header(Record):
    """Schema metadata `pitchpipe`."""

    layout: Literal["pixels", "encoded"]
    classes: tuple[str, ...]
    shape: tuple[int, int, int] | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """Content of a batch's footer."""

    path: Path
    classes: tuple[str, ...]
    shape: tuple[int, int, int] | None
    """(height, width, channels) in the pixels layout; None: encoded files of any shape."""
    piece_lengths: tuple[int, ...]
    """Images in each row group."""

    @property
    def images(self) -> int:
        """Rows, copies included."""
        return sum(self.piece_lengths)


def write_batch(path: Path, classes: tuple[str, ...], pieces: Iterable[Rows]) -> int:
    """Write pieces of one kind as one batch, a row group each; return the number of images.

    Without pieces nothing is written. Not atomic; the same rows give the same bytes.
    """
    images = 0
    with ExitStack() as stack:
        writer: pq.ParquetWriter | None = None
        for rows in pieces:
            writer = writer or stack.enter_context(_writer(path, classes, rows))
            table = _table(rows, writer.schema)
            writer.write_table(table, row_group_size=max(1, len(table)))
            images += len(table)
    return images


def label_counts(batch: Batch) -> list[int]:
    """Count the images of each of the batch's classes, reading the labels alone."""
    with pq.ParquetFile(batch.path) as file:
        labels = file.read(columns=["label"])["label"].to_numpy()
    counts: list[int] = np.bincount(labels, minlength=len(batch.classes)).tolist()
    return counts


def read_groups(batch: Batch) -> tuple[str | None, ...]:
    """Read the group that the source names for each image, and nothing else; empty: it names none.

    Raises IntegrityError where its bytes are damaged.
    """
    try:
        with pq.ParquetFile(batch.path, page_checksum_verification=True) as file:
            if _GROUP.name not in file.schema_arrow.names:
                return ()
            return tuple(file.read(columns=[_GROUP.name])[_GROUP.name].to_pylist())
    except (OSError, pa.ArrowException) as error:
        raise IntegrityError(
            f"{batch.path}: its groups are damaged ({_one_line(error)}); "
            "bring it back with `dvc checkout` or `pitchpipe data restore`"
        ) from error


def _writer(path: Path, classes: tuple[str, ...], like: Rows) -> pq.ParquetWriter:
    # Image files are compressed already, and uncompressed pixels are read faster.
    compressed = {"label": "ZSTD", "split": "ZSTD"} | ({"group": "ZSTD"} if like.groups else {})
    images = ["pixels"] if isinstance(like, PixelRows) else ["image.bytes", "image.path"]
    return pq.ParquetWriter(
        path,
        _schema(like, classes),
        compression=compressed | dict.fromkeys(images, "NONE"),
        use_dictionary=["split", *(["group"] if like.groups else [])],
        write_page_checksum=True,
    )


def read_batch(path: Path) -> Batch:
    """Read a batch's footer. Raises IntegrityError where pitchpipe did not write the file."""
    try:
        with pq.ParquetFile(path) as file:
            header = _Header.model_validate_json((file.schema_arrow.metadata or {})[b"pitchpipe"])
            groups = range(file.num_row_groups)
            lengths = tuple(file.metadata.row_group(group).num_rows for group in groups)
    except (OSError, pa.ArrowException, KeyError, ValidationError) as error:
        raise IntegrityError(
            f"{path}: not a batch written by `pitchpipe data add` ({_one_line(error)}); "
            "add the images with that command, or `pitchpipe data restore` an older version"
        ) from error
    return Batch(path, header.classes, header.shape, lengths)


def read_piece(batch: Batch, piece: int) -> Rows:
    """Read one row group. Raises IntegrityError where its bytes are damaged."""
    try:
        with pq.ParquetFile(batch.path, page_checksum_verification=True) as file:
            table = file.read_row_group(piece)
    except (OSError, pa.ArrowException) as error:
        raise IntegrityError(
            f"{batch.path}: row group {piece} is damaged ({_one_line(error)}); "
            "bring it back with `dvc checkout` or `pitchpipe data restore`"
        ) from error
    labels: Labels = table["label"].to_numpy()
    splits: tuple[SplitName | None, ...] = tuple(table["split"].to_pylist())
    groups = tuple(table["group"].to_pylist()) if "group" in table.column_names else ()
    if batch.shape is None:
        image = table["image"].combine_chunks()
        files, paths = image.field("bytes").to_pylist(), image.field("path").to_pylist()
        return EncodedRows(tuple(files), tuple(paths), labels, splits, groups)
    column = table["pixels"].combine_chunks()
    flat = np.frombuffer(column.buffers()[1], np.uint8)
    start = column.offset * int(np.prod(batch.shape))
    pixels = flat[start : start + len(column) * int(np.prod(batch.shape))]
    return PixelRows(pixels.reshape(len(column), *batch.shape), labels, splits, groups)


def _schema(rows: Rows, classes: tuple[str, ...]) -> pa.Schema:
    common = [*_COMMON, _GROUP] if rows.groups else _COMMON
    if isinstance(rows, PixelRows):
        height, width, channels = rows.pixels.shape[1:]
        header = _Header(layout="pixels", classes=classes, shape=(height, width, channels))
        fields = [pa.field("pixels", pa.binary(height * width * channels)), *common]
        return pa.schema(fields, metadata={"pitchpipe": header.model_dump_json()})
    header = _Header(layout="encoded", classes=classes)
    features = {
        "image": {"_type": "Image"},
        "label": {"names": list(classes), "_type": "ClassLabel"},
        "split": {"dtype": "string", "_type": "Value"},
    } | ({"group": {"dtype": "string", "_type": "Value"}} if rows.groups else {})
    metadata = {
        "pitchpipe": header.model_dump_json(),
        "huggingface": json.dumps({"info": {"features": features}}),
    }
    return pa.schema([pa.field("image", _IMAGE), *common], metadata=metadata)


def _table(rows: Rows, schema: pa.Schema) -> pa.Table:
    if isinstance(rows, PixelRows):
        width = int(np.prod(rows.pixels.shape[1:]))
        buffer = pa.py_buffer(np.ascontiguousarray(rows.pixels))
        images = pa.Array.from_buffers(pa.binary(width), len(rows.labels), [None, buffer])
    else:
        columns = [pa.array(rows.files, pa.binary()), pa.array(rows.paths, pa.string())]
        images = pa.StructArray.from_arrays(columns, fields=list(_IMAGE))
    arrays = [images, pa.array(rows.labels, pa.int64()), pa.array(rows.splits, pa.string())]
    if _GROUP.name in schema.names:
        groups = rows.groups or (None,) * len(rows.labels)
        arrays.append(pa.array(groups, pa.string()))
    return pa.Table.from_arrays(arrays, schema=schema)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
