"""Detection of a source's format, by its content and name."""

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

from models.config import SplitName
from models.datasets.labelled_images import Rows, Source
from models.datasets.sources.builtin import digits, fashion_mnist, is_fashion_mnist
from models.datasets.sources.folder import SUFFIXES, image_folder
from models.datasets.sources.idx import idx_folder
from models.datasets.sources.npz import npz_file
from models.datasets.sources.parquet import parquet_files
from models.datasets.sources.paths import regular_file, shown
from models.errors import InputError

Format = Literal["folder", "parquet", "idx", "npz", "digits"]


def find_source(
    path: Path, *, kind: Format | None = None, split: SplitName | None = None
) -> Source:
    """Return the images at a path.

    kind: its format; None: it is detected. split: declared for all images of a source that declares
    none. Raises InputError where nothing can be read, or where a folder holds two formats.
    """
    source = _READERS[kind or detect(path)](path)
    return source if split is None else _declare(source, split)


def detect(path: Path) -> Format:
    """Detect the format of a path. Raises InputError where it has none of those known."""
    if path.is_dir():
        return _of_folder(path)
    if path.name == "digits" and not path.exists():
        return "digits"
    regular_file(path)
    return _of_file(path)


def _of_folder(folder: Path) -> Format:
    names = [path.name for path in folder.iterdir() if not path.name.startswith(".")]
    found: list[Format] = []
    if any("-ubyte" in name for name in names):
        found.append("idx")
    if any(name.endswith(".parquet") for name in names) or any(folder.glob("data/*.parquet")):
        found.append("parquet")
    if len(found) > 1:
        raise InputError(
            f"{shown(folder)}: holds both {' and '.join(found)} files; choose with --format"
        )
    return found[0] if found else "folder"


def _of_file(path: Path) -> Format:
    start = _start(path)
    if start.startswith(b"PAR1") or path.suffix == ".parquet":
        return "parquet"
    if path.suffix == ".npz":
        return "npz"
    if "-ubyte" in path.name:
        return "idx"
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


_READERS: dict[Format, Callable[[Path], Source]] = {
    "folder": image_folder,
    "parquet": parquet_files,
    "idx": _idx,
    "npz": npz_file,
    "digits": lambda _path: digits(),
}
