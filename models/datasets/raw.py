"""Raw datasets: the files of data/raw/<name>/, their digests and the batches' common classes."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from models.datasets.batches import Batch, label_counts, read_batch
from models.digests import digest_file, digest_of
from models.errors import InputError

Arrivals: TypeAlias = Mapping[str, int]
"""File name of a batch -> number of the dataset version that it came with, from 0."""
RELABELLING = ".labels.jsonl"
"""End of the name of a file that gives images of the batches other labels."""


@dataclass(frozen=True, slots=True)
class RawDataset:
    """All batches of a dataset."""

    batches: tuple[Batch, ...]
    classes: tuple[str, ...]
    ranks: tuple[int, ...]
    """Of each batch, by which it came before others."""
    relabellings: tuple[Path, ...] = ()
    """In the order in which they were made."""

    @property
    def images(self) -> int:
        """Rows, copies included."""
        return sum(batch.images for batch in self.batches)

    def class_counts(self) -> dict[str, int]:
        """Images of each class, copies included, in the order of the classes."""
        counts = dict.fromkeys(self.classes, 0)
        for batch in self.batches:
            for name, count in zip(batch.classes, label_counts(batch), strict=True):
                counts[name] += count
        return counts

    def digest(self) -> str:
        """Digest of batches and relabellings, from their bytes."""
        files = (*(batch.path for batch in self.batches), *self.relabellings)
        return raw_digest([digest_file(path) for path in files])


def batch_files(raw: Path) -> tuple[Path, ...]:
    """Return the dataset's batches, sorted by name; none where there is no folder."""
    return tuple(sorted(raw.glob("[!.]*.parquet")))


def relabelling_files(raw: Path) -> tuple[Path, ...]:
    """Return the dataset's relabellings, in the order in which they were made."""
    return tuple(sorted(raw.glob(f"[!.]*{RELABELLING}")))


def dataset_files(raw: Path) -> tuple[Path, ...]:
    """Return everything that the dataset's digest is over: its batches, then its relabellings."""
    return (*batch_files(raw), *relabelling_files(raw))


def raw_digest(file_digests: Sequence[str]) -> str:
    """Digest of a dataset from those of its files, independent of their names and order."""
    return digest_of([*sorted(file_digests)])


def open_raw(raw: Path, arrivals: Arrivals | None = None) -> RawDataset:
    """Read the footers of all batches. Raises InputError where there are none.

    arrivals: batches that it does not name came last; None: all came at once.
    """
    batches = tuple(read_batch(path) for path in batch_files(raw))
    if not batches:
        raise InputError(f"{raw}: holds no batches; add images with `pitchpipe data add SOURCE`")
    known = arrivals or {}
    last = max(known.values(), default=-1) + 1
    ranks = tuple(known.get(batch.path.name, last) for batch in batches)
    classes = common_classes([batch.classes for batch in batches])
    return RawDataset(batches, classes, ranks, relabelling_files(raw))


def common_classes(lists: list[tuple[str, ...]]) -> tuple[str, ...]:
    """Return all classes, in an order that does not depend on the order of the batches.

    The order of the one list that names all of them; otherwise sorted, with numbers as numbers.
    """
    union = set().union(*lists)
    whole = {names for names in lists if len(names) == len(union)}
    return whole.pop() if len(whole) == 1 else tuple(sorted(union, key=_natural_key))


def _natural_key(name: str) -> tuple[tuple[int, str], ...]:
    parts = re.split(r"(\d+)", name)
    return tuple((int(part), "") if part.isdecimal() else (-1, part) for part in parts)
