"""Atomic and durable file writes, and append-only files of lines."""

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

PARAMS = Path("params.yaml")
"""The project's params file, relative to its root."""

_BLOCK = 4096


@contextlib.contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Yield a temporary path beside target; on success flush it and rename it over target.

    A reader sees the old file or the new one, never a part. On an error the temporary is removed.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        yield temporary
        _flush(temporary)
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _flush(target.parent)


def write_text(target: Path, text: str) -> None:
    """Write text to target, atomically and durably."""
    with replacing(target) as temporary:
        temporary.write_text(text, encoding="utf-8")


def append_line(path: Path, line: str) -> None:
    """Append one line durably, after cutting off an incomplete last line left by a crash."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab+") as file:
        _cut_torn_line(file.fileno())
        file.write(line.encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def read_lines(path: Path) -> list[bytes]:
    """Return the complete lines of an append-only file, undecoded; none if the file is missing.

    Bytes, so that a damaged line is invalid JSON to its reader and the other lines stay readable.
    """
    return path.read_bytes().split(b"\n")[:-1] if path.exists() else []


def last_line(path: Path) -> bytes | None:
    """Return the last complete line of an append-only file, reading only the end of the file."""
    if not path.exists():
        return None
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        tail = b""
        # A line lies between two line feeds; only the first line of the file has one.
        while end > 0 and tail.count(b"\n") < 2:
            start = max(0, end - _BLOCK)
            file.seek(start)
            tail, end = file.read(end - start) + tail, start
    lines = tail.split(b"\n")[:-1]
    return lines[-1] if lines else None


def _cut_torn_line(descriptor: int) -> None:
    length = os.fstat(descriptor).st_size
    if length == 0 or os.pread(descriptor, 1, length - 1) == b"\n":
        return
    content = os.pread(descriptor, length, 0)
    os.ftruncate(descriptor, content.rfind(b"\n") + 1)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
