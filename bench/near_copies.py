"""What must stay together, and does it? Leaks by copies that came later.

Usage: nice python bench/near_copies.py [--output bench/results/near_copies.txt] (a minute)

Leaks. 2,000 colour pictures are prepared with `channels: 1`; a version is trained on train and
selected on validation. Then grey copies of all of them arrive, equal to them once they are prepared
and others before. How many of the old ones leave their split, or the arrays? How many images of the
new test split has the version seen, pixel for pixel, and how many does the gate count? Before:
nothing is known of the order in which batches came, and the gate compares ids. Guard: the gate
compares what the version took, too. After: the order is known, and no old picture moves.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.config import DataParams
from models.config.data import ImageForm
from models.datasets.batches import write_batch
from models.datasets.by_id import among, prints_of
from models.datasets.labelled_images import SPLITS, PixelRows
from models.datasets.pixels import conform
from models.datasets.prepare import prepare
from models.datasets.prepared import Split, open_split
from models.datasets.raw import Arrivals

Images = NDArray[np.uint8]
"""(n, height, width, channels)."""


def batch(folder: Path, name: str, images: Images) -> None:
    """Write images of two classes as a batch."""
    folder.mkdir(parents=True, exist_ok=True)
    labels = np.arange(len(images), dtype=np.int64) % 2
    rows = PixelRows(images, labels, (None,) * len(images))
    write_batch(folder / f"{name}.parquet", ("a", "b"), [rows])


def prepared(raw: Path, data: DataParams, arrivals: Arrivals | None) -> tuple[Split, ...]:
    """Prepare the batches; return train, validation and test, read into memory."""
    with tempfile.TemporaryDirectory() as folder:
        prepare(raw, Path(folder) / "prepared", data, arrivals=arrivals)
        opened = [open_split(Path(folder) / "prepared", split, verify=False) for split in SPLITS]
        return tuple(
            Split(np.array(one.images), np.array(one.labels), np.array(one.ids)) for one in opened
        )


def leak_row(
    name: str, raw: Path, before: tuple[Split, ...], *, arrivals: Arrivals | None, guard: bool
) -> str:
    """Format what became of the pictures, and what the gate sees of it."""
    after = prepared(raw, DataParams(name="bench", image_size=28), arrivals)
    stayed = sum(int(among(old.ids, new.ids).sum()) for old, new in zip(before, after, strict=True))
    old = sum(len(one.ids) for one in before)
    ids = np.concatenate([one.ids for one in before[:2]])
    prints = np.concatenate([prints_of(one.images) for one in before[:2]])
    test = after[2]
    by_id, by_print = among(test.ids, ids), among(prints_of(test.images), prints)
    counted = by_id | by_print if guard else by_id
    return (
        f"  {name:<8}{old - stayed:>8,} of {old:,}   {by_print.sum():>6,} of {len(test.ids):,}"
        f"   {counted.sum():>6,}"
    )


def leak_lines() -> list[str]:
    """Table of the leaks."""
    form = ImageForm(image_size=28, channels=1)
    colour = np.random.default_rng(0).integers(0, 256, (2000, 28, 28, 3), dtype=np.uint8)
    grey = np.stack([conform(picture, form) for picture in colour])
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "raw"
        batch(raw, "colour", colour)
        before = prepared(raw, DataParams(name="bench", image_size=28), None)
        batch(raw, "grey", grey)
        rows = [
            leak_row("before", raw, before, arrivals=None, guard=False),
            leak_row("guard", raw, before, arrivals=None, guard=True),
            leak_row(
                "after", raw, before, arrivals={"colour.parquet": 0, "grey.parquet": 1}, guard=True
            ),
        ]
    return [
        "2,000 colour pictures, channels: 1, and grey copies of them that come later.",
        "          old ones moved   test images seen   counted by the gate",
        *rows,
    ]


def main() -> None:
    """Print the tables, and write them where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path)
    asked = parser.parse_args()
    lines = ["python bench/near_copies.py", *leak_lines(), f"numpy {np.__version__}"]
    print("\n".join(lines))
    if asked.output:
        asked.output.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
