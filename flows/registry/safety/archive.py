"""model.pt2 looked into before torch does: nothing in it may be executed by being loaded.

`torch.export.load` unpickles, evaluates, compiles and imports what an archive says (ADR 0007 lists
where), so only what torch 2.13 writes of a network like ours is let through, member by member.
Neither torch nor MLflow is needed for that.
"""

import io
import json
import os
import pickletools
import re
import struct
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from typing import BinaryIO, TypeVar

from pydantic import ValidationError

from flows.registry.safety.program import Program
from flows.registry.safety.stored_tensors import StoredTensors
from models.config import Record
from models.errors import PitchpipeError

MOST_BYTES = 4 * 2**30
"""Of an archive: what has more needs another form of zip, which readers read differently."""
MOST_JSON = 8 * 2**20
"""Of a record; a network of 200 layers has less than one MiB."""
MOST_EXAMPLE = 64 * 2**20
"""Of the images that it was exported with: four of them."""
_MOST_MEMBERS = 10_000

_PROGRAM, _EXAMPLE = "model/models/model.json", "model/data/sample_inputs/model.pt"
_FOLDERS = {
    "model/data/weights/": "model/data/weights/model_weights_config.json",
    "model/data/constants/": "model/data/constants/model_constants_config.json",
}
"""Folder of tensors -> what lies in it."""
_TENSORS = re.compile(r"model/data/(weights/weight|constants/tensor)_[0-9]{1,6}")
_TEXTS = {
    "model/archive_format": "pt2",
    "model/archive_version": "0",
    "model/.data/version": "[0-9]{1,3}\n",
    "model/byteorder": "little",
    "model/.data/serialization_id": "[0-9]{1,64}",
}
_EXAMPLE_TEXTS = {
    "archive/version": "[0-9]{1,3}\n",
    "archive/byteorder": "little",
    "archive/.format_version": "[0-9]{1,3}",
    "archive/.storage_alignment": "[0-9]{1,4}",
    "archive/.data/serialization_id": "[0-9]{1,64}",
}
_EXAMPLE_PICKLE, _EXAMPLE_TENSOR = "archive/data.pkl", "archive/data/0"
# ((tensor of four dimensions,), {}): the statements of its pickle but for numbers and memo.
_ONE_TENSOR = (
    *("PROTO", "GLOBAL torch._utils _rebuild_tensor_v2", "MARK"),
    *("MARK", "BINUNICODE storage", "GLOBAL torch ByteStorage", "BINUNICODE 0", "BINUNICODE cpu"),
    *("INT", "TUPLE", "BINPERSID", "INT"),
    *("MARK", "INT", "INT", "INT", "INT", "TUPLE", "MARK", "INT", "INT", "INT", "INT", "TUPLE"),
    *("NEWFALSE", "GLOBAL collections OrderedDict", "EMPTY_TUPLE", "REDUCE", "TUPLE", "REDUCE"),
    *("TUPLE1", "EMPTY_DICT", "TUPLE2", "STOP"),
)
# Last records of a zip archive: the short one, where the long one is, and that.
_END, _LOCATOR, _LONG_END = (struct.Struct(form) for form in ("<4s4H2LH", "<4sLQL", "<4sQ2H2L4Q"))

_Kind = TypeVar("_Kind", bound=Record)


class StrangeArchiveError(PitchpipeError):
    """An archive holds what torch.export does not write of a network; says where."""


def check_archive(file: BinaryIO) -> None:
    """Raise StrangeArchiveError unless an archive is one that loading cannot make run code."""
    with _opened(file) as archive:
        sizes = _sizes(archive, _length(file))
        _allow(sizes, exactly={_PROGRAM, _EXAMPLE, *_TEXTS, *_FOLDERS.values()}, tensors=_TENSORS)
        _check_texts(archive, _TEXTS)
        _parsed(Program, archive, _PROGRAM)
        for folder, config in _FOLDERS.items():
            tensors = _parsed(StoredTensors, archive, config)
            there = {
                name.removeprefix(folder): sizes[name] for name in sizes if _is_in(folder, name)
            }
            if fault := tensors.fault(there):
                raise StrangeArchiveError(f"{config}: {fault}")
        _check_example(io.BytesIO(_read(archive, _EXAMPLE, most=MOST_EXAMPLE)))


def _check_example(file: BinaryIO) -> None:
    """Refuse example images that are not a tensor of bytes: torch unpickles whatever they are."""
    with _opened(file) as archive:
        sizes = _sizes(archive, _length(file))
        # Releases of torch differ in which of the texts they write.
        exactly = {_EXAMPLE_PICKLE, _EXAMPLE_TENSOR, *(_EXAMPLE_TEXTS.keys() & sizes.keys())}
        _allow(sizes, exactly=exactly)
        _check_texts(archive, {name: _EXAMPLE_TEXTS[name] for name in exactly & {*_EXAMPLE_TEXTS}})
        content = _read(archive, _EXAMPLE_PICKLE, most=9999)
        if tuple(_statements(content)) != _ONE_TENSOR:
            raise StrangeArchiveError(f"{_EXAMPLE}: is no tensor of images")


def _statements(content: bytes) -> Iterator[str]:
    """What a pickle does, without doing it."""
    try:
        for code, argument, _ in pickletools.genops(content):
            if code.name in {"GLOBAL", "BINUNICODE"}:
                yield f"{code.name} {argument}"
            elif code.name in {"BININT", "BININT1", "BININT2", "LONG1"}:
                yield "INT"
            elif code.name not in {"BINPUT", "LONG_BINPUT"}:
                yield code.name
    except Exception as error:  # whatever bytes of no pickle make it raise
        raise StrangeArchiveError(f"{_EXAMPLE}: is no pickle ({error})") from error


def _opened(file: BinaryIO) -> zipfile.ZipFile:
    """Open an archive that every reader of zip files reads alike."""
    try:
        if _length(file) <= MOST_BYTES:
            archive = zipfile.ZipFile(file)
            if len(archive.infolist()) == _members_listed(file):
                return archive
    # zipfile raises nearly anything on bytes that were made for it.
    except Exception as error:
        raise StrangeArchiveError(f"cannot be read ({error})") from error
    raise StrangeArchiveError("is no archive as torch.export writes it")


def _members_listed(file: BinaryIO) -> int | None:
    """How many members the list says to have; None unless it ends right where the archive does.

    MLflow's reader of archives, zipfile, and torch's look for that list in different ways, and
    would find different ones in an archive made for that.
    """
    end = _length(file) - _END.size
    mark, *disks, here, total, size, offset, comment = _END.unpack(_at(file, end, _END.size))
    locator = _at(file, end - _LOCATOR.size, _LOCATOR.size)
    if locator.startswith(b"PK\x06\x07"):  # torch writes the long form too, whatever the size
        end -= _LOCATOR.size + _LONG_END.size
        long_mark, length, _, _, *rest = _LONG_END.unpack(_at(file, end, _LONG_END.size))
        told = (long_mark, length, *rest, *_LOCATOR.unpack(locator)[1:])
        if told != (b"PK\x06\x06", 44, 0, 0, total, total, size, offset, 0, end, 1):
            return None
    plain = (mark, *disks, here, comment) == (b"PK\x05\x06", 0, 0, total, 0)
    return total if plain and offset + size == end else None


def _sizes(archive: zipfile.ZipFile, length: int) -> dict[str, int]:
    """Name -> bytes of members, none of which is packed, twice there, or more than it seems."""
    infos = archive.infolist()
    sizes = {info.filename: info.file_size for info in infos}
    plain = all(
        info.compress_type == zipfile.ZIP_STORED
        and info.compress_size == info.file_size
        and info.orig_filename == info.filename
        and not info.flag_bits & 1  # encrypted
        and not info.extra
        for info in infos
    )
    if not plain or len(sizes) != len(infos) or sum(sizes.values()) > length:
        raise StrangeArchiveError("has members that torch does not write so")
    return sizes


def _allow(
    sizes: Mapping[str, int], *, exactly: set[str], tensors: re.Pattern[str] | None = None
) -> None:
    """Refuse members beyond those named, and their absence."""
    others = {name for name in sizes if not (tensors and tensors.fullmatch(name))}
    if others != exactly or len(sizes) > _MOST_MEMBERS:
        strange = sorted(others ^ exactly)[:3]
        raise StrangeArchiveError(f"has not the members of an exported network: {strange}")


def _check_texts(archive: zipfile.ZipFile, patterns: Mapping[str, str]) -> None:
    for name, pattern in patterns.items():
        text = _read(archive, name, most=99).decode("ascii", errors="replace")
        if not re.fullmatch(pattern, text):
            raise StrangeArchiveError(f"{name}: holds {text[:40]!r}")


def _parsed(kind: type[_Kind], archive: zipfile.ZipFile, name: str) -> _Kind:
    """Read a record as torch reads it: by Python's parser, whose result is what is checked."""
    content = _read(archive, name, most=MOST_JSON)
    try:
        parsed = json.loads(content.decode("utf-8"), object_pairs_hook=_each_once)
        return kind.model_validate_json(json.dumps(parsed))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        given = repr(first["input"])[:80]
        raise StrangeArchiveError(
            f"{name}: {place}: {first['msg'].removeprefix('Value error, ')}: {given}"
        ) from error
    except (ValueError, RecursionError) as error:
        raise StrangeArchiveError(f"{name}: is no JSON as torch writes it ({error})") from error


def _each_once(pairs: Iterable[tuple[str, object]]) -> dict[str, object]:
    found = dict[str, object]()
    for key, value in pairs:
        if key in found:
            raise ValueError(f"{key[:80]!r} is there twice")
        found[key] = value
    return found


def _is_in(folder: str, name: str) -> bool:
    return name.startswith(folder) and _TENSORS.fullmatch(name) is not None


def _read(archive: zipfile.ZipFile, name: str, *, most: int) -> bytes:
    if archive.getinfo(name).file_size > most:
        raise StrangeArchiveError(f"{name}: has more than {most} bytes")
    try:
        return archive.read(name)
    except Exception as error:  # as when it is opened
        raise StrangeArchiveError(f"{name}: cannot be read ({error})") from error


def _length(file: BinaryIO) -> int:
    return file.seek(0, os.SEEK_END)


def _at(file: BinaryIO, start: int, count: int) -> bytes:
    file.seek(start)
    return file.read(count)
