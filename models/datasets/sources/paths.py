"""Paths of sources: what may be opened, and what a batch is called after it."""

import re
import stat
from pathlib import Path

from models.errors import InputError


def regular_file(path: Path) -> None:
    """Raise InputError unless path is a readable regular file: a FIFO would block for ever."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; check the path") from error
    if not stat.S_ISREG(mode):
        raise InputError(f"{path}: is no regular file; give a file or a folder of images")


def slug(name: str) -> str:
    """Make a batch's name of a path's: lower-case letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:48] or "batch"
