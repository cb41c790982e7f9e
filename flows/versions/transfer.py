"""Versions between machines: one zip with files, lineage, report, ledger entries and checksums."""

import contextlib
import errno
import shutil
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Annotated, Literal

from pydantic import Field, ValidationError

from flows.records import ledger
from flows.records.ledger import Entry
from flows.registry.importing import Imported, check_files, register_files
from flows.registry.listing import find_version
from flows.registry.loading import VersionFiles, open_version
from flows.registry.promotion.commands import note_import
from flows.tracking.store import Tracking, TrackingError, mlflow_errors
from models.config import Record
from models.digests import digest_file, digest_of
from models.errors import InputError, IntegrityError, PitchpipeError
from models.files import replacing

INDEX, FILES, REPORT = "export.json", "model", "report"
MOST_BYTES = 4 * 2**30
"""Unpacked; more is taken for a bomb."""
MOST_INDEX = 16 * 2**20
"""Of the index: an entry of the ledger has about a thousand bytes."""
_MOST_MEMBERS = 10_000
_PIECE = 2**20
_UNREADABLE = (
    *(OSError, ValueError, OverflowError, struct.error),
    *(zipfile.BadZipFile, zlib.error, EOFError, RuntimeError),
)
"""RuntimeError: encrypted. ValueError: an offset that is none."""
_OF_DISKS = {getattr(errno, name) for name in ("ENOSPC", "EDQUOT", "EROFS", "EACCES", "EIO")}
_EPOCH = (1980, 1, 1, 0, 0, 0)
"""Time of every member: the same version gives the same bytes."""


class ExportIndex(Record):
    """export.json: what the other files are, and what they must hash to."""

    format: Literal[1] = 1
    name: Annotated[str, Field(pattern=r"^[^/:'\"\\\x00-\x1f\x7f]{1,250}$")]
    """Registered name; what MLflow takes for one, and can be looked for."""
    version: int
    tags: dict[str, str]
    description: str
    checksums: dict[str, str]
    """Member -> SHA-256."""
    ledger: tuple[Entry, ...]
    """Entries about this version, each with its digest."""
    digest: str
    """Of all the rest of this index."""

    def sealed(self) -> "ExportIndex":
        """Give the index the digest of its content."""
        return self.model_copy(update={"digest": self._content_digest()})

    def check(self, source: Path) -> None:
        """Raise IntegrityError where the index or a ledger entry in it is not what was written."""
        if self.digest != self._content_digest():
            raise IntegrityError(f"{source}: {INDEX} does not have its digest; export again")
        for entry in self.ledger:
            foreign = entry.name != self.name or self.version not in (entry.before, entry.after)
            if foreign or not ledger.is_sealed(entry):
                raise IntegrityError(
                    f"{source}: ledger entry {entry.number} is not as it was written; export again"
                )

    def _content_digest(self) -> str:
        return digest_of(self.model_dump(mode="json", exclude={"digest"}))


@dataclass(frozen=True, slots=True)
class Transferred:
    """A version that was written, or read."""

    name: str
    """Registered name here."""
    version: int
    digest: str
    """Of its files: the same on both sides."""


def export_version(tracking: Tracking, wanted: str, target: Path) -> Transferred:
    """Write a version into a zip file, whole or not at all; raises as `open_version` does."""
    files = open_version(tracking, wanted)
    with tempfile.TemporaryDirectory() as scratch:
        members = dict(_members(tracking, files, Path(scratch)))
        index = _index(tracking, files, members)
        with replacing(target) as temporary, zipfile.ZipFile(temporary, "w") as archive:
            _add(archive, INDEX, index.model_dump_json(indent=2, by_alias=True).encode())
            for name, path in sorted(members.items()):
                _add(archive, name, path.read_bytes())
    record = files.record
    return Transferred(record.name, record.version, record.tags["model.digest"])


def exported_name(source: Path) -> str:
    """Return the registered name that a version had where it was exported.

    Raises InputError where the file is no export.
    """
    with _opened(source) as archive:
        return _read_index(archive, source).name


def import_file(tracking: Tracking, source: Path) -> Transferred:
    """Check every file of an export, try its network, register it, and record that in the ledger.

    Files that are registered already are found. What was said of the version where it came from,
    its ledger entries included, is kept as evidence; its tags are made anew from its files.

    Raises InputError where the file is no export, IntegrityError where a checksum is not met or
    what was exported is no whole version that may be loaded, PitchpipeError where it cannot be
    unpacked here.
    """
    with _on_our_disk(source), tempfile.TemporaryDirectory(dir="mlruns", prefix=".import-") as made:
        folder = Path(made).resolve()
        index = _unpack(source, folder)
        report = folder / REPORT
        imported = Imported(
            directory=folder / FILES,
            digest=check_files(folder / FILES, index.tags, whose=str(source)),
            origin=f"{index.name} version {index.version}",
            description=index.description,
            report=report if report.is_dir() else None,
        )
        version = register_files(tracking, imported, whose=str(source))
        if find_version(tracking, version).tags.get("imported.from") is not None:
            evidence = index.model_dump_json(indent=2, by_alias=True)
            note_import(tracking, version, origin=_origin(index), evidence=evidence)
    return Transferred(tracking.name, version, imported.digest)


def _origin(index: ExportIndex) -> str:
    """Where a version comes from, and the last that was decided about it there."""
    came = f"came from {index.name} version {index.version}"
    if not index.ledger:
        return f"{came}, about which nothing was decided there"
    last = index.ledger[-1]
    return f"{came}, of which the ledger there says last: {last.action}, {last.time}"


def _members(tracking: Tracking, files: VersionFiles, scratch: Path) -> Iterator[tuple[str, Path]]:
    yield from _files_below(files.directory, FILES)
    report = _report(tracking, files, scratch)
    if report is not None:
        yield from _files_below(report, REPORT)


def _files_below(folder: Path, prefix: str) -> Iterator[tuple[str, Path]]:
    for path in sorted(folder.rglob("*")):
        # MLflow writes registered_model_meta beside what it downloads.
        if path.is_file() and path.name != "registered_model_meta":
            yield f"{prefix}/{path.relative_to(folder).as_posix()}", path


def _report(tracking: Tracking, files: VersionFiles, scratch: Path) -> Path | None:
    """Fetch the report of the version's run; None where there is none any more."""
    run_id = files.record.run_id
    if run_id is None:
        return None
    try:
        with mlflow_errors():
            if not tracking.client.list_artifacts(run_id, REPORT):
                return None
            return Path(tracking.client.download_artifacts(run_id, REPORT, str(scratch)))
    except (TrackingError, OSError):
        return None


def _index(tracking: Tracking, files: VersionFiles, members: dict[str, Path]) -> ExportIndex:
    record = files.record
    about = ledger.read().of(record.name)
    version = tracking.client.get_model_version(record.name, str(record.version))
    return ExportIndex(
        name=record.name,
        version=record.version,
        tags=record.tags,
        description=version.description or "",
        checksums={name: digest_file(path) for name, path in sorted(members.items())},
        ledger=tuple(one for one in about if record.version in (one.before, one.after)),
        digest="",
    ).sealed()


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    info = zipfile.ZipInfo(name, _EPOCH)
    info.compress_type = zipfile.ZIP_DEFLATED
    info.external_attr = 0o644 << 16
    archive.writestr(info, content)


def _unpack(source: Path, folder: Path) -> ExportIndex:
    with _opened(source) as archive:
        index = _read_index(archive, source)
        _refuse_strange(archive, index, source)
        index.check(source)
        for name, checksum in index.checksums.items():
            target = folder / PurePosixPath(name)
            target.parent.mkdir(parents=True, exist_ok=True)
            with _blaming(source):
                packed = archive.open(name)
            with packed, target.open("wb") as file:
                while piece := _piece(packed, source):
                    file.write(piece)
            if digest_file(target) != checksum:
                raise IntegrityError(f"{source}: {name} does not have its checksum")
        return index


def _piece(packed: IO[bytes], source: Path) -> bytes:
    with _blaming(source):
        return packed.read(_PIECE)


@contextlib.contextmanager
def _blaming(source: Path) -> Iterator[None]:
    """Say of the file what goes wrong while nothing but it is read."""
    try:
        yield
    except _UNREADABLE as error:
        raise InputError(
            f"{source}: cannot be read ({error}); write it with `pitchpipe export`"
        ) from error


@contextlib.contextmanager
def _on_our_disk(source: Path) -> Iterator[None]:
    """Say of this machine what goes wrong while files are written: a full disk is no bad file."""
    try:
        yield
    except OSError as error:
        # Of a tracking server that is away, MLflow's client raises OSError, too.
        if error.errno not in _OF_DISKS and not isinstance(error, shutil.Error):
            raise
        raise PitchpipeError(
            f"{source} could not be unpacked in mlruns/ ({error.strerror or error}), nothing was "
            "registered; make room, `pitchpipe gc` may help, then import it again"
        ) from error


def _opened(source: Path) -> zipfile.ZipFile:
    """Open an archive whose members are packed as `export` does: others take memory untold."""
    with _blaming(source):
        archive = zipfile.ZipFile(source)
    ways = {info.compress_type for info in archive.infolist()}
    if not ways <= {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        raise InputError(f"{source}: is not packed as `pitchpipe export` does it; export again")
    return archive


def _read_index(archive: zipfile.ZipFile, source: Path) -> ExportIndex:
    try:
        info = archive.getinfo(INDEX)
        if info.file_size > MOST_INDEX:
            raise InputError(f"{source}: {INDEX} has more than {MOST_INDEX} bytes; it is not read")
        with _blaming(source):
            content = archive.read(info)
        return ExportIndex.model_validate_json(content)
    except (KeyError, ValidationError) as error:
        raise InputError(
            f"{source}: holds no {INDEX} as `pitchpipe export` writes it; export again"
        ) from error


def _refuse_strange(archive: zipfile.ZipFile, index: ExportIndex, source: Path) -> None:
    """Refuse members that are not listed, lie outside the folder, or unpack to too much."""
    infos = archive.infolist()
    listed, found = {INDEX, *index.checksums}, [info.filename for info in infos]
    strange = [name for name in listed if ".." in name or name.startswith("/") or "\\" in name]
    if strange or sorted(found) != sorted(listed):
        raise InputError(f"{source}: its members are not those its index lists; export again")
    if sum(info.file_size for info in infos) > MOST_BYTES or len(infos) > _MOST_MEMBERS:
        raise InputError(
            f"{source}: unpacks to more than {MOST_BYTES} bytes or {_MOST_MEMBERS} files; it is "
            "not read"
        )
