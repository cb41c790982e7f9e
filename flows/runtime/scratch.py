"""Scratch folders of ours: whoever works in one holds it, and what the dead left is removed."""

import contextlib
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

KEPT = Path("mlruns")
TRASH = KEPT / ".trash"
"""What is being deleted: renamed to here first, so that nothing half deleted is taken for whole."""
SCRATCH = tuple(
    f".{verb}-"
    for verb in ("reproducing", "packing", "rereading", "fetching", "showing", "resizing")
)
"""What names of scratch folders begin with."""
TEMPORARY = ".*.tmp"
"""Files that were to be renamed to their place (models.files)."""
_HELD = ".held"
_GATE = KEPT / "scratch.lock"
_DAY_SECONDS = 86_400.0


@contextlib.contextmanager
def scratch_folder(prefix: str, *, within: Path = KEPT) -> Iterator[Path]:
    """Give a new folder, which is removed at the end; a lock on it says that we live."""
    assert prefix in SCRATCH
    within.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        with FileLock(_GATE):  # nobody may find it before it is held
            folder = Path(tempfile.mkdtemp(dir=within, prefix=prefix))
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            stack.enter_context(FileLock(folder / _HELD))
        work = folder / "work"
        work.mkdir()
        yield work


def abandoned_scratch() -> list[Path]:
    """Scratch folders that nobody holds, and what was being deleted."""
    if not KEPT.is_dir():
        return []
    with FileLock(_GATE):
        folders = [
            folder
            for prefix in SCRATCH
            for folder in (*KEPT.glob(f"{prefix}*"), *KEPT.glob(f"versions/{prefix}*"))
            if not _is_held(folder)
        ]
    return [*folders, *(TRASH.iterdir() if TRASH.is_dir() else ())]


def old_temporary_files() -> list[Path]:
    """Files of more than a day ago that were to be renamed to their place, and were not."""
    yesterday = time.time() - _DAY_SECONDS
    begun = (path for path in KEPT.rglob(TEMPORARY) if path.is_file())
    return [path for path in begun if path.stat().st_mtime < yesterday]


def discard(path: Path) -> None:
    """Delete a file or folder; killed anywhere, it is whole in its place or gone from there."""
    if path.parent != TRASH:
        TRASH.mkdir(parents=True, exist_ok=True)
        path = path.rename(Path(tempfile.mkdtemp(dir=TRASH)) / path.name).parent
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def discard_abandoned() -> None:
    """Delete what `left_by_the_dead` finds; what cannot be deleted is left to the next time."""
    for path in abandoned_scratch():
        with contextlib.suppress(OSError):
            discard(path)


def bytes_of(path: Path) -> int:
    """Bytes of a file, or of all files in a folder; what vanishes meanwhile counts nothing."""
    if path.is_file():
        return path.stat().st_size
    total = 0
    for file in path.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            total += file.lstat().st_size if not file.is_dir() else 0
    return total


def _is_held(folder: Path) -> bool:
    lock = folder / _HELD
    if not lock.exists():
        # Of an earlier release, which held none: after a day nobody works in it.
        return folder.exists() and folder.stat().st_mtime > time.time() - _DAY_SECONDS
    try:
        with FileLock(lock, timeout=0):
            return False
    except Timeout:
        return True
