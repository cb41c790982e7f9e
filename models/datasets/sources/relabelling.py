"""Relabellings: immutable files that give images of the batches other labels, or drop them.

JSON lines, an image each, in the order of their ids: `{"id": ..., "label": ..., "was": ...}`. A
label is the name of a class; null drops the image. Of several files the later one counts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
from pydantic import Field, ValidationError

from models.config import Record
from models.datasets.labelled_images import Labels
from models.datasets.raw import RawDataset
from models.datasets.scanning import Scanned
from models.datasets.split_assignment import NO_LABEL, Pictures
from models.errors import InputError, IntegrityError

Overrides: TypeAlias = Mapping[bytes, str | None]
"""Id (32 bytes) -> name of the class; None: the image is dropped."""


class Relabel(Record):
    """Another label of one image."""

    id: str = Field(pattern=r"^[0-9a-f]{64}$")
    label: str | None
    """Name of the class; null: the image is dropped."""
    was: str | None = None
    """Name of its class before; null: it was dropped, or had labels that contradict each other."""


def write_relabelling(path: Path, lines: Sequence[Relabel]) -> None:
    """Write lines in the order of their ids; not atomic. The same lines give the same bytes."""
    ordered = sorted(lines, key=lambda line: line.id)
    text = "".join(f"{line.model_dump_json()}\n" for line in ordered)
    path.write_text(text, encoding="utf-8", newline="\n")


def read_relabelling(path: Path) -> tuple[Relabel, ...]:
    """Read a file of `write_relabelling`. Raises IntegrityError where it is damaged."""
    try:
        lines = path.read_bytes().split(b"\n")
        read = tuple(Relabel.model_validate_json(line) for line in lines[:-1])
        whole = lines[-1] == b"" and len({line.id for line in read}) == len(read) > 0
    except (OSError, ValidationError):
        whole = False
    if not whole:
        raise IntegrityError(
            f"{path}: is no relabelling that `pitchpipe data relabel` wrote; bring it back with "
            "`pitchpipe data restore`, or delete it to have the labels of before"
        )
    return read


def overrides_of(paths: Sequence[Path]) -> dict[bytes, str | None]:
    """Return what relabellings come to, the last one first where they differ."""
    found: dict[bytes, str | None] = {}
    for path in paths:
        found |= {bytes.fromhex(line.id): line.label for line in read_relabelling(path)}
    return found


def relabelled(scanned: Scanned, raw: RawDataset) -> Scanned:
    """Return rows with the labels that the dataset's relabellings give them.

    Raises InputError for a class that the dataset does not have any more.
    """
    if not raw.relabellings:
        return scanned
    try:
        labels = new_labels(scanned.pictures, overrides_of(raw.relabellings), raw.classes)
    except InputError as error:
        raise InputError(
            f"{raw.relabellings[-1].parent}: {error}; bring back the batches that had it, or "
            "delete the relabelling"
        ) from None
    return replace(scanned, pictures=replace(scanned.pictures, labels=labels))


def new_labels(pictures: Pictures, overrides: Overrides, classes: Sequence[str]) -> Labels:
    """Return the label of each row, (n,); NO_LABEL where an override drops it.

    Copies have the id, and with it the label, of the image. An image that has none of its own takes
    that of one it equals once resized: they are one image to a network. Raises InputError for a
    class that is none of the classes.
    """
    known = {name: place for place, name in enumerate(classes)}
    gone = sorted({name for name in overrides.values() if name is not None} - known.keys())
    if gone:
        raise InputError(f"images are relabelled {gone[0]!r}, and there is no such class")
    numbers = {key: NO_LABEL if name is None else known[name] for key, name in overrides.items()}
    ids = [row.tobytes() for row in np.ascontiguousarray(pictures.ids)]
    prints = [row.tobytes() for row in np.ascontiguousarray(pictures.prints)]
    alike = {
        print_: numbers[key] for key, print_ in zip(ids, prints, strict=True) if key in numbers
    }
    labels = pictures.labels.tolist()
    return np.array(
        [
            numbers.get(key, alike.get(print_, label))
            for key, print_, label in zip(ids, prints, labels, strict=True)
        ],
        np.int64,
    )
