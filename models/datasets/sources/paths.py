"""Paths of sources: what may be opened, and what names are taken from them."""

import re
import stat
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from models.config import SplitName
from models.errors import InputError

MAX_CLASSES = 32_767
"""More are far likelier to be a mistake, such as file names read as classes."""
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
    """Raise InputError unless path is a readable regular file: a FIFO would block for ever."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise InputError(f"{shown(path)}: {error.strerror}; check the path") from error
    if not stat.S_ISREG(mode):
        raise InputError(f"{shown(path)}: is no regular file; give a file or a folder of images")


def slug(name: str) -> str:
    """Make a batch's name of a path's: lower-case letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:48].strip("-") or "batch"


def shown(path: Path | str) -> str:
    """Make a path safe to print: no newline or other control character of its is kept."""
    return "".join(
        character if character.isprintable() else f"\\x{ord(character):02x}"
        for character in str(path)
    )


def split_named(name: str) -> SplitName | None:
    """Return the split that a folder's or file's name means; None: it means none."""
    return _SPLIT_NAMES.get(name.lower())


def class_names(names: Iterable[str], *, where: str) -> tuple[str, ...]:
    """Return class names in Unicode's composed form, in their order.

    Raises InputError for names that are empty, unprintable or alike but for case, and for too many.
    """
    composed = tuple(unicodedata.normalize("NFC", str(name)) for name in names)
    if len(composed) > MAX_CLASSES:
        raise InputError(f"{where}: {len(composed)} classes; at most {MAX_CLASSES} are supported")
    seen: dict[str, str] = {}
    for name in composed:
        if not name.strip() or not name.isprintable():
            raise InputError(f"{where}: class name {name!r} is empty or unprintable; rename it")
        other = seen.get(name.casefold())
        if other is not None:
            raise InputError(f"{where}: classes {other!r} and {name!r} are alike; make them one")
        seen[name.casefold()] = name
    return composed
