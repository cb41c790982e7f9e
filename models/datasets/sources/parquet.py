"""Parquet in the layout of Hugging Face's image datasets: one file or a folder of shards."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import BaseModel, Field, JsonValue, ValidationError

from models.config import SplitName
from models.datasets.labelled_images import EncodedRows, Labels, Source
from models.datasets.sources.paths import regular_file, shown, slug, split_named
from models.datasets.sources.values import check_count, group_names, number_labels
from models.errors import InputError

_PIECE_ROWS = 512
_PIECE_BYTES, _READ_BYTES = 2**27, 2**28
_MAX_LABEL_BYTES = 2**28
_SHARD = re.compile(r"(?P<stem>.*?)-?(?P<number>\d{5})-of-(?P<count>\d{5})")


@dataclass(frozen=True, slots=True)
class _Shard:
    path: Path
    image: str
    """Column of the images."""
    label: str
    """Column of the labels."""
    names: tuple[str, ...] | None
    """Of the classes, from the schema metadata."""
    split: SplitName | None
    """By the file's name."""
    grouped: bool
    """Whether it has a column `group`."""


def parquet_files(path: Path) -> Source:
    """Return the images of a Parquet file, or of all in a folder and in its folder `data`.

    Files named train-00000-of-00002.parquet and the like declare their split, as does a column
    `split`. Class names come from the schema metadata that the `datasets` library writes.
    Raises InputError for damage, missing shards, columns or labels, and unembedded images.
    """
    shards = [_shard(file) for file in _files(path)]
    values = [_labels(shard) for shard in shards]
    names = {shard.names for shard in shards}
    if len(names) > 1 or len({own.dtype.kind for own in values}) > 1:
        raise InputError(f"{shown(path)}: shards differ in their classes; add them one by one")
    if len({shard.grouped for shard in shards}) > 1:
        raise InputError(f"{shown(path)}: some shards have no column group; add it to all or none")
    classes, labels = number_labels(np.concatenate(values), names.pop(), where=shown(path))
    starts = np.cumsum([0, *map(len, values)])
    return Source(
        slug(path.stem),
        classes,
        rows=lambda: (
            rows
            for shard, start, own in zip(shards, starts, values, strict=False)
            for rows in _rows(shard, labels[start : start + len(own)])
        ),
    )


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        files = sorted([*path.glob("[!.]*.parquet"), *path.glob("data/[!.]*.parquet")])
        _refuse_missing_shards(files, path)
    else:
        files = [path]
    if not files:
        raise InputError(f"{shown(path)}: holds no Parquet files")
    for file in files:
        regular_file(file)
    return files


def _refuse_missing_shards(files: list[Path], folder: Path) -> None:
    stems: dict[tuple[str, int], set[int]] = {}
    for file in files:
        if match := _SHARD.fullmatch(file.stem):
            key = (match["stem"], int(match["count"]))
            stems.setdefault(key, set()).add(int(match["number"]))
    for (stem, count), numbers in stems.items():
        missing = sorted(set(range(count)) - numbers)
        if missing:
            raise InputError(
                f"{shown(folder)}: {stem} lacks shard {missing[0]} of {count}; fetch it"
            )


class _Feature(BaseModel):
    """Description of a column by the `datasets` library."""

    kind: str = Field("", alias="_type")
    names: tuple[str, ...] | None = None


class _Info(BaseModel):
    features: dict[str, _Feature | JsonValue] = {}


class _HuggingFace(BaseModel):
    """Schema metadata `huggingface`."""

    info: _Info = _Info()

    def of_kind(self, kind: str) -> dict[str, _Feature]:
        """Return the columns of this kind."""
        features = self.info.features.items()
        return {k: v for k, v in features if isinstance(v, _Feature) and v.kind == kind}


def _shard(path: Path) -> _Shard:
    with _opened(path) as file:
        schema = file.schema_arrow
        check_count(file.metadata.num_rows, where=shown(path))
    description = _description(schema, path)
    classes = description.of_kind("ClassLabel")
    label = _column(("label", "labels", *classes), schema, path)
    image = _column(("image", "img", *description.of_kind("Image")), schema, path)
    _check_types(schema, image, path)
    return _Shard(
        path=path,
        image=image,
        label=label,
        names=classes[label].names if label in classes else None,
        split=split_named(re.split(r"[-_.]", path.name)[0]),
        grouped="group" in schema.names,
    )


def _description(schema: pa.Schema, path: Path) -> _HuggingFace:
    try:
        return _HuggingFace.model_validate_json((schema.metadata or {}).get(b"huggingface", b"{}"))
    except ValidationError as error:
        raise InputError(f"{shown(path)}: its metadata `huggingface` is damaged") from error


def _column(names: tuple[str, ...], schema: pa.Schema, path: Path) -> str:
    for name in names:
        if schema.names.count(name) > 1:
            raise InputError(f"{shown(path)}: has two columns {name}; rename one")
        if name in schema.names:
            return name
    raise InputError(
        f"{shown(path)}: has columns {', '.join(schema.names)}, and none of {', '.join(names)}; "
        "an image is struct{bytes, path}, a label an integer or a name"
    )


def _check_types(schema: pa.Schema, image: str, path: Path) -> None:
    kind = schema.field(image).type
    if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        kind = kind.field("bytes").type
    # A column of nulls: `_images` says what is missing.
    kinds = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_null)
    if not any(is_kind(kind) for is_kind in kinds):
        raise InputError(
            f"{shown(path)}: {image} is {kind}; an image is struct{{bytes, path}}, or its bytes"
        )
    if schema.names.count("split") > 1:
        raise InputError(f"{shown(path)}: has two columns split; rename one")
    if schema.names.count("group") > 1:
        raise InputError(f"{shown(path)}: has two columns group; rename one")
    if "group" in schema.names and not _names_groups(schema.field("group").type):
        raise InputError(
            f"{shown(path)}: group is {schema.field('group').type}; names or integers are wanted, "
            "or no such column"
        )
    if "split" in schema.names and not _is_text(schema.field("split").type):
        raise InputError(
            f"{shown(path)}: split is {schema.field('split').type}; the names train, validation "
            "and test are wanted, or no such column"
        )


def _names_groups(kind: pa.DataType) -> bool:
    return bool(_is_text(kind) or pa.types.is_integer(kind) or pa.types.is_null(kind))


def _is_text(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or (pa.types.is_dictionary(kind) and _is_text(kind.value_type))
    )


def _labels(shard: _Shard) -> NDArray[np.generic]:
    """Read the labels alone: numbers or names."""
    # As a dictionary, since a name of a megabyte may stand in millions of rows.
    with _opened(shard.path, read_dictionary=[shard.label]) as file:
        column = file.read(columns=[shard.label])[shard.label]
    if len(column) == 0:
        raise InputError(f"{shown(shard.path)}: holds no images")
    if column.null_count:
        raise InputError(
            f"{shown(shard.path)}: {column.null_count} rows have no label; leave them out"
        )
    if _is_text(column.type):
        return _names_of(column, shard.path)
    if not pa.types.is_integer(column.type):
        raise InputError(
            f"{shown(shard.path)}: labels are {column.type}; integers or names are wanted"
        )
    values: NDArray[np.generic] = column.to_numpy()
    return values


def _names_of(column: pa.ChunkedArray, path: Path) -> NDArray[np.generic]:
    encoded = column.unify_dictionaries().combine_chunks()
    if not isinstance(encoded, pa.DictionaryArray):
        encoded = encoded.dictionary_encode()
    names = encoded.dictionary.to_pylist()
    longest = max(map(len, names))
    if 4 * longest * len(column) > _MAX_LABEL_BYTES:
        raise InputError(
            f"{shown(path)}: {len(column):,} labels are names of up to {longest:,} characters; "
            "save numbers, and the names of the classes in the metadata"
        )
    values: NDArray[np.generic] = np.array(names, dtype=str)[encoded.indices.to_numpy()]
    return values


def _rows(shard: _Shard, labels: Labels) -> Iterator[EncodedRows]:
    start = 0
    with _opened(shard.path) as file:
        has_split = "split" in file.schema_arrow.names
        columns = [shard.image, *["split"] * has_split, *["group"] * shard.grouped]
        for piece in _pieces(file, columns, shard.image):
            own = labels[start : start + len(piece)]
            files, paths = _images(piece[shard.image], shard)
            splits = piece["split"].to_pylist() if has_split else [None] * len(piece)
            groups = group_names(piece["group"].to_pylist()) if shard.grouped else ()
            yield EncodedRows(
                files, paths, own, tuple(_split(split, shard) for split in splits), groups
            )
            start += len(piece)


def _pieces(file: pq.ParquetFile, columns: list[str], image: str) -> Iterator[pa.Table]:
    """Read _PIECE_ROWS at a time; fewer where they are large.

    A value that is stored once may stand in many rows: 3 kB unpack to 32 GB. Hence as many rows at
    once as would be _READ_BYTES, were each as large as all values of its row group together.
    """
    groups = [file.metadata.row_group(number) for number in range(file.num_row_groups)]
    chunks = [group.column(place) for group in groups for place in range(group.num_columns)]
    stored = (c.total_uncompressed_size for c in chunks if c.path_in_schema.split(".")[0] == image)
    most = max(1, min(_PIECE_ROWS, _READ_BYTES // max([1, *stored])))
    at_once = 2 ** (most.bit_length() - 1)  # a divisor of _PIECE_ROWS
    waiting: list[pa.RecordBatch] = []
    length = 0
    for batch in file.iter_batches(batch_size=at_once, columns=columns):
        waiting.append(batch)
        length += batch.nbytes
        if len(waiting) * at_once >= _PIECE_ROWS or length >= _PIECE_BYTES:
            yield pa.Table.from_batches(waiting)
            waiting, length = [], 0
    if waiting:
        yield pa.Table.from_batches(waiting)


def _images(column: pa.ChunkedArray, shard: _Shard) -> tuple[tuple[bytes, ...], tuple[str, ...]]:
    rows = [row if isinstance(row, dict) else {"bytes": row} for row in column.to_pylist()]
    files = tuple(file for row in rows if isinstance(file := row.get("bytes"), bytes))
    if len(files) != len(rows):
        raise InputError(
            f"{shown(shard.path)}: {shard.image} lacks the bytes of an image; embed the files "
            "(`datasets`: embed_external_files=True)"
        )
    # A path here is a remark of the file's author: it is shown, never opened.
    return files, tuple(shown(str(row.get("path") or "")) for row in rows)


def _split(declared: str | None, shard: _Shard) -> SplitName | None:
    if declared is None:
        return shard.split
    split = split_named(declared)
    if split is None:
        raise InputError(
            f"{shown(shard.path)}: split {declared!r} is not train, validation or test"
        )
    return split


@contextmanager
def _opened(path: Path, **options: list[str]) -> Iterator[pq.ParquetFile]:
    regular_file(path)
    try:
        with pq.ParquetFile(path, **options) as file:
            yield file
    # ValueError, MemoryError: what a damaged header claims; UnicodeDecodeError: its names.
    except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{shown(path)}: cannot be read ({reason}); fetch it again") from error
