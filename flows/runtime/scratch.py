"""Scratch folders, locked while in use, and removal of those whose process is dead."""

import contextlib
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock

from flows.runtime.locks import is_held

KEPT = Path("mlruns")
TRASH = KEPT / ".trash"
"""Holds what is being deleted, renamed first so that nothing half deleted is taken for whole."""
SCRATCH = tuple(
    f".{verb}-"
    for verb in ("reproducing", "packing", "rereading", "fetching", "showing", "resizing")
)
"""Prefixes of scratch folders."""
TEMPORARY = ".*.tmp"
"""Pattern of files that were not renamed to their place yet (models.files)."""
_HELD = ".held"
_GATE = KEPT / "scratch.lock"
_DAY_SECONDS = 86_400.0


@contextlib.contextmanager
def scratch_folder(prefix: str, *, within: Path = KEPT) -> Iterator[Path]:
    """Yield a new folder, locked while in use and removed at the end."""
    assert prefix in SCRATCH
    within.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        with FileLock(_GATE):  # no other process may find it before it is locked
            folder = Path(tempfile.mkdtemp(dir=within, prefix=prefix))
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            stack.enter_context(FileLock(folder / _HELD))
        work = folder / "work"
        work.mkdir()
        yield work


def abandoned_scratch() -> list[Path]:
    """Return scratch folders that no process holds, and what was being deleted."""
    if not KEPT.is_dir():
        return []
    with FileLock(_GATE):
        folders = [
            folder
            for prefix in SCRATCH
            for folder in (*KEPT.glob(f"{prefix}*"), *KEPT.glob(f"versions/{prefix}*"))
            if not _is_in_use(folder)
        ]
    return [*folders, *(TRASH.iterdir() if TRASH.is_dir() else ())]


def old_temporary_files() -> list[Path]:
    """Return files older than a day that were never renamed to their place."""
    yesterday = time.time() - _DAY_SECONDS
    begun = (path for path in KEPT.rglob(TEMPORARY) if path.is_file())
    return [path for path in begun if path.stat().st_mtime < yesterday]


def discard(path: Path) -> None:
    """Delete a file or folder; if killed meanwhile, it is whole in its place or gone from there."""
    if path.parent != TRASH:
        TRASH.mkdir(parents=True, exist_ok=True)
        path = path.rename(Path(tempfile.mkdtemp(dir=TRASH)) / path.name).parent
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def discard_abandoned() -> None:
    """Delete what `abandoned_scratch` finds; what cannot be deleted is left to the next time."""
    for path in abandoned_scratch():
        with contextlib.suppress(OSError):
            discard(path)


def bytes_of(path: Path) -> int:
    """Return the bytes of a file, or of all files in a folder that do not vanish meanwhile."""
    if path.is_file():
        return path.stat().st_size
    total = 0
    for file in path.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            total += file.lstat().st_size if not file.is_dir() else 0
    return total


def _is_in_use(folder: Path) -> bool:
    lock = folder / _HELD
    if lock.exists():
        return is_held(lock)
    # Of an earlier release, without locks: after a day no process works in it.
    return folder.exists() and folder.stat().st_mtime > time.time() - _DAY_SECONDS
