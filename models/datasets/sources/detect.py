"""Detection of a source's format, by its content and name."""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

from models.config import SplitName
from models.datasets.labelled_images import Rows, Source, SourceFormat
from models.datasets.sources.builtin import digits, fashion_mnist, is_fashion_mnist
from models.datasets.sources.folder import SUFFIXES, image_folder
from models.datasets.sources.idx import idx_folder
from models.datasets.sources.npz import npz_file
from models.datasets.sources.parquet import parquet_files
from models.datasets.sources.paths import regular_file, shown
from models.errors import ConfigError, InputError


def find_source(path: Path, *, kind: str | None = None, split: SplitName | None = None) -> Source:
    """Return the images at a path.

    kind: the name of its format; None: it is detected. split: declared for all images of a source
    that declares none. Raises ConfigError for an unknown format, InputError where nothing can be
    read, or where a folder holds two formats.
    """
    source = _named(kind or detect(path)).read(path)
    return source if split is None else _declare(source, split)


def detect(path: Path) -> str:
    """Detect the format of a path by FORMATS. Raises InputError where it has none of them."""
    if path.is_dir():
        return _of_folder(path)
    if path.name == "digits" and not path.exists():
        return "digits"
    regular_file(path)
    return _of_file(path)


def _named(name: str) -> SourceFormat:
    for one in FORMATS:
        if one.name == name:
            return one
    names = ", ".join(one.name for one in FORMATS)
    raise ConfigError(f"--format {name!r}: is unknown; choose one of {names}")


def _of_folder(folder: Path) -> str:
    names = [path.name for path in folder.iterdir() if not path.name.startswith(".")]
    found = [one.name for one in FORMATS if one.is_folder(folder, names)]
    if len(found) > 1:
        raise InputError(
            f"{shown(folder)}: holds both {' and '.join(found)} files; choose with --format"
        )
    return found[0] if found else "folder"


def _of_file(path: Path) -> str:
    start = _start(path)
    for one in FORMATS:
        if one.is_file(path, start):
            return one.name
    if path.suffix.lower() in SUFFIXES:
        raise InputError(f"{shown(path)}: is one image; give a folder of class folders: cat/1.png")
    if start[:2] in (b"PK", b"\x1f\x8b", b"BZ", b"7z") or path.suffix == ".tar":
        raise InputError(f"{shown(path)}: is an archive; unpack it and give the folder")
    raise InputError(
        f"{shown(path)}: is none of Parquet, IDX and NPZ; give one of those or a folder of images"
    )


def _start(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(8)
    except OSError as error:
        raise InputError(f"{shown(path)}: {error.strerror}; make it readable") from error


def _idx(path: Path) -> Source:
    folder = path if path.is_dir() else path.parent
    source = fashion_mnist(folder) if is_fashion_mnist(folder) else idx_folder(folder)
    if source is None:
        raise InputError(
            f"{shown(path)}: IDX files are named train-images-idx3-ubyte, train-labels-idx1-ubyte, "
            "t10k-... (.gz); rename them so"
        )
    return source


def _declare(source: Source, split: SplitName) -> Source:
    def rows() -> Iterator[Rows]:
        for piece in source.rows():
            if any(piece.splits):
                raise InputError(f"{source.name}: declares its own splits; leave --split out")
            yield dataclasses.replace(piece, splits=(split,) * len(piece.splits))

    return dataclasses.replace(source, rows=rows)


def _holds_parquet(folder: Path, names: Sequence[str]) -> bool:
    return any(name.endswith(".parquet") for name in names) or any(folder.glob("data/*.parquet"))


FORMATS = (
    # The first one that recognises a file reads it; docs/extending.md adds one.
    SourceFormat(
        "parquet",
        parquet_files,
        is_folder=_holds_parquet,
        is_file=lambda path, start: start.startswith(b"PAR1") or path.suffix == ".parquet",
    ),
    SourceFormat("npz", npz_file, is_file=lambda path, _: path.suffix == ".npz"),
    SourceFormat(
        "idx",
        _idx,
        is_folder=lambda _, names: any("-ubyte" in name for name in names),
        is_file=lambda path, _: "-ubyte" in path.name,
    ),
    SourceFormat("folder", image_folder),  # any other folder
    SourceFormat("digits", lambda _: digits()),  # no path at all
)
"""Formats of sources."""
