"""Members of NPZ files: headers and values of arrays, read in pieces and never unpickled."""

import math
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.datasets.sources.paths import regular_file, shown
from models.errors import InputError

_MAX_BYTES = 2**40
_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


@dataclass(frozen=True, slots=True)
class Member:
    """One array of an NPZ file."""

    path: Path
    """Of the NPZ file."""
    name: str
    shape: tuple[int, ...]
    kind: np.dtype[np.generic]
    start: int
    """Where the values begin, bytes."""

    @property
    def where(self) -> str:
        """For messages."""
        return f"{shown(self.path)}: {self.name}"

    def pieces(self, rows: int) -> Iterator[NDArray[np.generic]]:
        """Read the array, at most so many rows at a time."""
        width = math.prod(self.shape[1:]) * self.kind.itemsize
        with _opened(self.path) as archive, archive.open(f"{self.name}.npy") as values:
            values.read(self.start)
            for first in range(0, self.shape[0], rows):
                count = min(rows, self.shape[0] - first)
                data = values.read(count * width)
                if len(data) != count * width:
                    raise InputError(f"{self.where}: ends too early; fetch or copy the file again")
                yield np.frombuffer(data, self.kind).reshape(count, *self.shape[1:])
            # The checksum is compared when the end is met.
            values.read(1)

    def whole(self) -> NDArray[np.generic]:
        """Read all of the array."""
        return np.concatenate([np.empty((0, *self.shape[1:]), self.kind), *self.pieces(2**20)])


def npz_members(path: Path) -> dict[str, Member]:
    """Return the arrays of an NPZ file by name.

    Raises InputError where it is no such file, is damaged, or holds pickled objects.
    """
    regular_file(path)
    with _opened(path) as archive:
        members = [_member(archive, info, path) for info in archive.infolist()]
    if len({member.name for member in members}) != len(members):
        raise InputError(f"{shown(path)}: holds two arrays of one name; save it again")
    return {member.name: member for member in members}


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (zipfile.BadZipFile, EOFError, OSError, NotImplementedError, zlib.error) as error:
        raise InputError(f"{shown(path)}: cannot be read ({error}); copy it again") from error


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> Member:
    name = info.filename.removesuffix(".npy")
    where = f"{shown(path)}: {shown(name)}"
    if name == info.filename or "/" in name or "\\" in name:
        raise InputError(f"{where}: is no array of an NPZ file; give a file made by numpy.savez")
    with archive.open(info) as values:
        try:
            shape, fortran, kind = _READERS[np.lib.format.read_magic(values)](values)
        except (ValueError, KeyError, EOFError) as error:
            raise InputError(f"{where}: is no array ({error}); save the file again") from error
        start = values.tell()
    if kind.hasobject:
        raise InputError(f"{where}: holds pickled objects, which are never loaded; save numbers")
    if fortran and len(shape) > 1:
        raise InputError(f"{where}: is in Fortran order; save numpy.ascontiguousarray of it")
    length = math.prod(shape) * kind.itemsize
    if not shape or length > _MAX_BYTES or start + length != info.file_size:
        raise InputError(f"{where}: claims {shape} {kind} and is not that long; save it again")
    return Member(path, name, shape, kind, start)
