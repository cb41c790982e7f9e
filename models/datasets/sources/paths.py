"""Paths of sources: which files may be opened, and the names that are derived from them."""

import re
import stat
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from models.config import SplitName
from models.errors import InputError

MAX_CLASSES = 32_767
"""More are probably a mistake, such as file names read as classes."""
MAX_NAME = 1000
"""Characters of a class name."""
_SPLIT_NAMES: dict[str, SplitName] = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}


def regular_file(path: Path) -> None:
    """Raise InputError unless path is a regular file: reading a FIFO would block for ever."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise InputError(f"{shown(path)}: {error.strerror}; check the path") from error
    if not stat.S_ISREG(mode):
        raise InputError(f"{shown(path)}: is no regular file; give a file or a folder of images")


def slug(name: str) -> str:
    """Derive the name of a batch from a path's: lower-case letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:48].strip("-") or "batch"


def shown(path: Path | str) -> str:
    """Escape newlines and other control characters of a path, so that it is safe to print."""
    return "".join(
        character if character.isprintable() else f"\\x{ord(character):02x}"
        for character in str(path)
    )


def split_named(name: str) -> SplitName | None:
    """Return the split that the name of a folder or file means; None: it means none."""
    return _SPLIT_NAMES.get(name.lower())


def class_names(names: Iterable[str], *, where: str) -> tuple[str, ...]:
    """Return class names in Unicode's composed form, in their order.

    Raises InputError for names that are empty, unprintable, too long or equal except in case, and
    for too many of them.
    """
    composed = tuple(unicodedata.normalize("NFC", str(name)) for name in names)
    if len(composed) > MAX_CLASSES:
        raise InputError(f"{where}: {len(composed)} classes; at most {MAX_CLASSES} are supported")
    seen: dict[str, str] = {}
    for name in composed:
        if not name.strip() or not name.isprintable() or len(name) > MAX_NAME:
            shortened = repr(name[:40])
            raise InputError(
                f"{where}: class name {shortened} is empty, unprintable or too long; rename it"
            )
        other = seen.get(name.casefold())
        if other is not None:
            raise InputError(f"{where}: classes {other!r} and {name!r} are alike; make them one")
        seen[name.casefold()] = name
    return composed
