"""Origins of the test images: batch, original size and group of each, for people to look at.

Written beside the arrays, and no part of their digest: nothing is trained by them.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from models.config import DataParams
from models.datasets.batches import read_groups
from models.datasets.raw import RawDataset
from models.datasets.scanning import Scanned
from models.datasets.sources.groups import group_names
from models.datasets.splits import Indices
from models.errors import IntegrityError

_FILE = "test/origins.parquet"
"""In the prepared folder. Of train and validation nobody asks."""
_SCHEMA = pa.schema(
    [
        pa.field("batch", pa.string(), nullable=False),
        pa.field("height", pa.int32(), nullable=False),
        pa.field("width", pa.int32(), nullable=False),
        pa.field("group", pa.string()),
    ]
)


@dataclass(frozen=True, slots=True)
class Origins:
    """Where n images come from, in the order of their split."""

    batches: tuple[str, ...]
    """n names of files, without `.parquet`; of copies in several batches that of the one kept."""
    sizes: NDArray[np.int32]
    """(n, 2): height and width as decoded."""
    groups: tuple[str | None, ...]
    """n names of groups, such as a patient or a camera; None: it has none."""


def origins_of(rows: Indices, scanned: Scanned, raw: RawDataset, data: DataParams) -> Origins:
    """Look up the origins of some rows, (n,), of all scanned rows of the batches."""
    starts = np.cumsum([0, *(batch.images for batch in raw.batches)])
    batch_of = np.searchsorted(starts, rows, side="right") - 1
    groups: list[str | None] = [None] * len(rows)
    for number in np.unique(batch_of).tolist():
        batch, mine = raw.batches[number], np.flatnonzero(batch_of == number)
        within = (rows[mine] - starts[number]).tolist()
        column = read_groups(batch) or (None,) * batch.images
        paths = [scanned.paths[row] for row in rows[mine].tolist()]
        names = group_names([column[row] for row in within], paths, data.group)
        for place, name in zip(mine.tolist(), names, strict=True):
            groups[place] = name
    return Origins(
        batches=tuple(raw.batches[number].path.stem for number in batch_of.tolist()),
        sizes=scanned.statistics.sizes[rows],
        groups=tuple(groups),
    )


def write_origins(prepared: Path, origins: Origins) -> None:
    """Write them into a prepared folder; the same origins give the same bytes."""
    heights, widths = origins.sizes.T
    table = pa.table([origins.batches, heights, widths, origins.groups], schema=_SCHEMA)
    pq.write_table(table, prepared / _FILE, compression="ZSTD")


def read_origins(prepared: Path) -> Origins | None:
    """Read the origins of the test images; None where an earlier release prepared them.

    Raises IntegrityError where the file is damaged.
    """
    path = prepared / _FILE
    if not path.exists():
        return None
    try:
        table = pq.read_table(path, schema=_SCHEMA)
        sizes = [table[name].to_numpy() for name in ("height", "width")]
        batches, groups = (tuple(table[name].to_pylist()) for name in ("batch", "group"))
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise IntegrityError(
            f"{path}: is damaged ({reason}); make it again with `pitchpipe prepare`"
        ) from error
    return Origins(batches, np.stack(sizes, axis=1), groups)
