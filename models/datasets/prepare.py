"""Preparation of a dataset's batches as arrays that training maps into memory."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from models.config import DataParams, SplitName
from models.datasets.array_writer import mean_and_std, write_split
from models.datasets.checks import Examined, describe, examine
from models.datasets.labelled_images import SPLITS
from models.datasets.near_duplicates.clusters import together
from models.datasets.prepared import MANIFEST, Finding, Manifest, SplitInfo
from models.datasets.raw import Arrivals, RawDataset, open_raw
from models.datasets.scanning import scan
from models.datasets.sources.origins import origins_of, write_origins
from models.datasets.sources.relabelling import relabelled
from models.datasets.split_assignment import Assignment, Pictures, assign
from models.datasets.splits import TEST
from models.digests import digest_of
from models.errors import InputError
from models.files import write_text


def prepare(
    raw: Path, prepared: Path, data: DataParams, *, arrivals: Arrivals | None = None
) -> Manifest:
    """Make prepared/ from the batches in raw/; the same arguments give the same bytes.

    arrivals: in what order the batches came; None: at once. It is built beside prepared/ and
    swapped in whole, with scratch space of its own size. Raises InputError where there is nothing
    to prepare or a split would be empty, IntegrityError where a batch is damaged.
    """
    batches = open_raw(raw, arrivals)
    with _replacement_for(prepared) as building:
        scratch = building / "scratch"
        scanned = relabelled(together(scan(batches, scratch, data), data), batches)
        assignment = assign(scanned.pictures, data)
        _refuse_empty_splits(assignment)
        checks = _check(Examined(scanned, batches.classes, assignment, {}), data)
        splits = _write_splits(building, scanned.pictures, assignment, data=data, raw=batches)
        scratch.unlink()
        write_origins(building, origins_of(assignment.rows[TEST], scanned, batches, data))
        manifest = _manifest(building, splits, assignment, data=data, raw=batches).model_copy(
            update={"checks": checks}
        )
        write_text(building / MANIFEST, manifest.model_dump_json(indent=1) + "\n")
    return manifest


def _check(examined: Examined, data: DataParams) -> tuple[Finding, ...]:
    report = examine(examined, data)
    if report.errors:
        raise InputError(
            f"{data.name}: {describe(report.errors)}; data.checks sets what is an error"
        )
    return report.warnings


def _refuse_empty_splits(assignment: Assignment) -> None:
    for split, rows in zip(SPLITS, assignment.rows, strict=True):
        if len(rows) == 0:
            counts = ", ".join(
                f"{name} {len(rows)}" for name, rows in zip(SPLITS, assignment.rows, strict=True)
            )
            raise InputError(
                f"split {split} would be empty ({counts} images); add more images, or raise its "
                "share in data.fractions"
            )


def _write_splits(
    building: Path, pictures: Pictures, assignment: Assignment, *, data: DataParams, raw: RawDataset
) -> dict[SplitName, SplitInfo]:
    scratch = np.memmap(
        building / "scratch",
        np.uint8,
        mode="r",
        shape=(raw.images, data.image_size, data.image_size, data.channels),
    )
    return {
        split: write_split(
            building / split, scratch, pictures, rows=rows, n_classes=len(raw.classes)
        )
        for split, rows in zip(SPLITS, assignment.rows, strict=True)
    }


def _manifest(
    building: Path,
    splits: dict[SplitName, SplitInfo],
    assignment: Assignment,
    *,
    data: DataParams,
    raw: RawDataset,
) -> Manifest:
    mean, std = mean_and_std(np.load(building / "train" / "images.npy", mmap_mode="r"))
    return Manifest(
        name=data.name,
        digest=digest_of(
            {
                "splits": {split: info.digest for split, info in splits.items()},
                "classes": list(raw.classes),
                "image_size": data.image_size,
                "channels": data.channels,
            }
        ),
        raw_digest=raw.digest(),
        classes=raw.classes,
        image_size=data.image_size,
        channels=data.channels,
        mean=mean,
        std=std,
        splits=splits,
        images=raw.images,
        dropped=assignment.dropped,
        params=data,
    )


@contextmanager
def _replacement_for(target: Path) -> Iterator[Path]:
    """Yield a folder beside target; on success it replaces target, otherwise it is removed."""
    target.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent))
    building.chmod(0o755)
    try:
        yield building
        replace_folder(building, target)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def remove_abandoned(target: Path) -> None:
    """Remove the folders that a killed preparation of target left; none may be running."""
    for pattern in (f".{target.name}.*.tmp", f".{target.name}.*.old"):
        for folder in target.parent.glob(pattern):
            shutil.rmtree(folder)


def replace_folder(new: Path, target: Path) -> None:
    """Rename new to target. A process that has the old files open or mapped keeps them."""
    old = new.with_suffix(".old")
    if target.exists():
        target.rename(old)
    new.rename(target)
    shutil.rmtree(old, ignore_errors=True)
