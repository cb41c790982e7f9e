"""Files that are whole or absent: written beside the target, flushed, then renamed."""

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

PARAMS = Path("params.yaml")
"""The project's params file, seen from its root."""

_BLOCK = 4096


@contextlib.contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Give a temporary path in the target's folder; on success flush it and rename it over target.

    A reader sees the old file or the new one, never a part; on an error nothing is left behind.
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
    """Append one line and flush it; a torn last line left by a crash is cut off first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab+") as file:
        _cut_torn_line(file.fileno())
        file.write(line.encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def read_lines(path: Path) -> list[str]:
    """Return the whole lines of an append-only file; none where it is missing, no torn last one."""
    if not path.exists():
        return []
    # Not splitlines: it splits at U+2028 and its like, which JSON leaves as they are.
    return [line.decode() for line in path.read_bytes().split(b"\n")[:-1]]


def last_line(path: Path) -> str | None:
    """Return the last whole line of an append-only file, reading no more than its end.

    None where there is none; a torn line is none.
    """
    if not path.exists():
        return None
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        tail = b""
        # Two line feeds hold the line between them; the first line of all has only its own.
        while end > 0 and tail.count(b"\n") < 2:
            start = max(0, end - _BLOCK)
            file.seek(start)
            tail, end = file.read(end - start) + tail, start
    lines = tail.split(b"\n")[:-1]
    return lines[-1].decode() if lines else None


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
