"""Images found by their ids: which are known, and a prepared split in another image form.

An id is a digest of the decoded picture before resizing, so that it finds the same picture in the
batches whatever size the arrays in data/prepared have.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.config import SplitName
from models.config.data import ImageForm
from models.datasets.array_writer import write_split
from models.datasets.pixels import content_ids
from models.datasets.prepared import Split, open_split, read_manifest
from models.datasets.raw import open_raw
from models.datasets.scanning import scan
from models.datasets.splits import Ids, Indices
from models.errors import InputError


def among(ids: Ids, known: Ids) -> NDArray[np.bool_]:
    """Return for each of ids (n, 32) whether it is among the known ones (m, 32)."""
    there = {row.tobytes() for row in np.ascontiguousarray(known)}
    return np.fromiter((row.tobytes() in there for row in ids), np.bool_, len(ids))


def prints_of(images: NDArray[np.uint8]) -> Ids:
    """Return the prints (n, 32) of prepared images (n, channels, height, width).

    Two images have one print where a network that takes them so cannot tell them apart.
    """
    return content_ids(images.transpose(0, 2, 3, 1))


def open_split_as(
    prepared: Path, name: SplitName, *, raw: Path, form: ImageForm, scratch: Path
) -> Split:
    """Open a verified split with images of another form: the same images in the same order.

    They are made from the batches in raw, as `prepare` makes them, inside scratch, which may be
    deleted afterwards: the array stays mapped. Takes the time and the disk space of `prepare`.
    Raises InputError, to which the caller adds the way out, where the batches lack one of the
    images; IntegrityError where an array or a batch is damaged.
    """
    split = open_split(prepared, name, verify=True)
    batches, manifest = open_raw(raw), read_manifest(prepared)
    rows_file = scratch / "rows"
    data = manifest.params.model_copy(update=form.model_dump())
    pictures = scan(batches, rows_file, data).pictures
    channels, height, width = form.shape
    conformed = np.memmap(
        rows_file, np.uint8, mode="r", shape=(batches.images, height, width, channels)
    )
    rows = _rows_of(split.ids, pictures.ids, raw)
    write_split(scratch / name, conformed, pictures, rows=rows, n_classes=len(batches.classes))
    images = np.load(scratch / name / "images.npy", mmap_mode="r", allow_pickle=False)
    return Split(images=images, labels=split.labels, ids=split.ids)


def _rows_of(ids: Ids, all_ids: Ids, raw: Path) -> Indices:
    """Rows, (n,), in which ids (n, 32) are found among all ids (m, 32)."""
    row_of = {one.tobytes(): row for row, one in enumerate(all_ids)}
    rows = np.array([row_of.get(one.tobytes(), -1) for one in ids], np.int64)
    missing = int(np.count_nonzero(rows < 0))
    if missing:
        raise InputError(
            f"{raw} lacks {missing} of the {len(ids)} images: the split was made of other batches"
        )
    return rows
