"""Groups of pictures that must share a split, such as a patient, a camera or a video."""

import hashlib
import re
import unicodedata
from collections.abc import Sequence

import numpy as np

from models.config.data import DataParams
from models.datasets.labelled_images import EncodedRows, Rows
from models.datasets.splits import Ids

NO_GROUP = bytes(32)


def group_keys(rows: Rows, data: DataParams) -> Ids | None:
    """Return the key of each row's group, (n, 32); zeros: it has none. None: no row has one.

    A group comes from the source's column; else, where data.group is set, from the file's path.
    """
    paths = rows.paths if isinstance(rows, EncodedRows) else ()
    if not rows.groups and (data.group is None or not paths):
        return None if data.group is None else np.zeros((len(rows.labels), 32), np.uint8)
    named = group_names(rows.groups or (None,) * len(rows.labels), paths, data.group)
    joined = b"".join(NO_GROUP if name is None else _key(name) for name in named)
    return np.frombuffer(joined, np.uint8).reshape(-1, 32)


def group_names(
    named: Sequence[str | None], paths: Sequence[str], pattern: str | None
) -> tuple[str | None, ...]:
    """Return the group of each of n images by name: that of the source, else of the file's path.

    named: n of the source's column;  paths: n, or none at all;  pattern: data.group.
    """
    if pattern is None or not paths:
        return tuple(named)
    by_path = groups_of_paths(paths, pattern)
    return tuple(a if a is not None else b for a, b in zip(named, by_path, strict=True))


def groups_of_paths(paths: Sequence[str], pattern: str) -> tuple[str | None, ...]:
    """Return what {group} stands for in each path; None where the path is none of the pattern.

    As many parts of a path as the pattern has, from its end, are compared. Time is linear in the
    paths' length: every * and {group} takes as little as it can and never more later.
    """
    parts = pattern.count("/") + 1
    compiled = compiled_pattern(pattern)
    found = (compiled.fullmatch("/".join(path.split("/")[-parts:])) for path in paths)
    return tuple(None if match is None else match["group"] for match in found)


def compiled_pattern(pattern: str) -> re.Pattern[str]:
    """Compile a pattern that DataParams accepted."""
    return re.compile("/".join(map(_compiled_part, pattern.split("/"))), re.DOTALL)


def _compiled_part(part: str) -> str:
    first, *pieces = re.split(r"(\*|\{group\})", part)
    wildcards = [
        ("(?P<group>[^/]+" if piece == "{group}" else "(?:[^/]*", re.escape(after))
        for piece, after in zip(pieces[::2], pieces[1::2], strict=True)
    ]
    # Atomic: what was found for one wildcard is not tried again for the sake of the next.
    written = [f"(?>{some}?){after})" for some, after in wildcards[:-1]]
    last = [f"{some}){after}" for some, after in wildcards[-1:]]
    return "".join([re.escape(first), *written, *last])


def _key(name: str) -> bytes:
    composed = unicodedata.normalize("NFC", name)
    return hashlib.sha256(b"group\n" + composed.encode("utf-8", "surrogatepass")).digest()
