"""What must stay together, and does it? Leaks by copies that came later, and near copies found.

Usage: nice python bench/near_copies.py [--photos FOLDER] [--images N]
       [--output bench/results/near_copies.txt] (two minutes)

Leaks. 2,000 colour pictures are prepared with `channels: 1`; a version is trained on train and
selected on validation. Then grey copies of all of them arrive, equal to them once they are prepared
and others before. How many of the old ones leave their split, or the arrays? How many images of the
new test split has the version seen, pixel for pixel, and how many does the gate count? Before:
nothing is known of the order in which batches came, and the gate compares ids. Guard: the gate
compares what the version took, too. After: the order is known, and no old picture moves.

Near copies. Squares of 64 and 96 pixels are cut from photographs, side by side: scikit-learn's two,
matplotlib's one, and those of a folder; 400 at most are drawn. Each is changed in one way. How many
of the changed ones are found to be near copies of theirs? False: how many squares are found to be
near one of the others, of which parts of one sky or meadow may truly be; and pairs, of all. Before:
difference hashes within 4 bits, thumbnails within 3 levels.

Together. Half of the changed squares come with the others, half later. How many are in another
split than the square that they were made of?

Honestly alike. Of Fashion-MNIST (its test images) and the digits, enlarged to 56 pixels, so many
are near another one, and so large is the largest cluster: why images of fewer than 48 pixels have
no outline. As they are, none is.

Speed. Outlines of random blotches, a tenth of them near copies; seconds of `cluster`.
"""

from __future__ import annotations

import argparse
import io
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from matplotlib import cbook
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageOps
from sklearn.datasets import load_sample_images

from flows.datasets.ingest import fashion_mnist_folder
from models.config import DataParams
from models.config.data import ImageForm
from models.datasets.batches import write_batch
from models.datasets.by_id import among, prints_of
from models.datasets.image_statistics import ImageStatistics, image_statistics
from models.datasets.labelled_images import SPLITS, PixelRows
from models.datasets.near_duplicates.clusters import cluster
from models.datasets.near_duplicates.held_out import MAX_BITS, MAX_LEVELS
from models.datasets.near_duplicates.near_copies import near_copies
from models.datasets.pixels import conform, content_ids
from models.datasets.prepare import prepare
from models.datasets.prepared import Split, open_split
from models.datasets.raw import Arrivals
from models.datasets.sources.detect import find_source

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


def compressed(square: Image.Image) -> Image.Image:
    """JPEG of quality 30."""
    buffer = io.BytesIO()
    square.save(buffer, "JPEG", quality=30)
    return Image.open(buffer)


def cut(square: Image.Image) -> Image.Image:
    """Without 5 % at the top and at the left."""
    edge = max(1, round(0.05 * square.width))
    return square.crop((edge, edge, square.width, square.height))


def trimmed(square: Image.Image) -> Image.Image:
    """Without 2.5 % on each side, in the old size."""
    edge = max(1, round(0.025 * square.width))
    inner = square.crop((edge, edge, square.width - edge, square.height - edge))
    return inner.resize(square.size, Image.Resampling.BILINEAR)


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "JPEG 30": compressed,
    "shifted 2 px": lambda square: ImageChops.offset(square, 2, 2),
    "cut 5 %": cut,
    "trimmed 5 %": trimmed,
    "brightness 0.8": lambda square: square.point([round(0.8 * level) for level in range(256)] * 3),
    "rotated 3": lambda square: square.rotate(3, Image.Resampling.BICUBIC),
    "mirrored": ImageOps.mirror,
}
"""What becomes of a square; pixels that come in are black, or those that left."""


def squares(photos: Sequence[Image.Image], side: int, most: int = 400) -> list[Image.Image]:
    """Cut squares that do not overlap; a random choice of them."""
    cut_out = [
        photo.crop((left, top, left + side, top + side))
        for photo in photos
        for top in range(0, photo.height - side + 1, side)
        for left in range(0, photo.width - side + 1, side)
    ]
    chosen = np.random.default_rng(side).permutation(len(cut_out))[:most]
    return [cut_out[place] for place in chosen]


def photographs(folder: Path | None) -> list[Image.Image]:
    """Return those of libraries that are there anyway, and those of a folder."""
    found = [Image.fromarray(one) for one in load_sample_images().images]
    files = [Path(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))]
    files += sorted(folder.iterdir()) if folder else []
    return [*found, *(Image.open(file).convert("RGB") for file in files)]


def looks(images: Sequence[Image.Image]) -> ImageStatistics:
    """Statistics of images."""
    return image_statistics([np.asarray(image.convert("RGB")) for image in images])


def nearest_hashes(one: ImageStatistics, other: ImageStatistics) -> NDArray[np.bool_]:
    """Whether each of one is near each of other, (n, m), as it was found before."""
    bits = np.bitwise_count(one.hashes[:, None] ^ other.hashes[None])
    levels = one.thumbnails[:, None].astype(np.float32) - other.thumbnails[None]
    return np.asarray((bits <= MAX_BITS) & (levels.std(axis=(2, 3)) <= MAX_LEVELS))


def found_lines(photos: Sequence[Image.Image], side: int) -> list[str]:
    """Table of what is found among the squares of a size."""
    own = squares(photos, side)
    known, n = looks(own), len(own)
    before = nearest_hashes(known, known) & ~np.eye(n, dtype=bool)
    after = near_copies(known.outlines, np.arange(n))
    lines = [f"{n} squares of {side} pixels      before     after"]
    for name, change in CHANGES.items():
        changed = looks([change(square) for square in own])
        hashes = float(np.diag(nearest_hashes(changed, known)).mean())
        pairs = near_copies(np.concatenate([known.outlines, changed.outlines]), np.arange(n, 2 * n))
        hit = len(np.unique(pairs.first[pairs.second == pairs.first - n])) / n
        lines.append(f"  {name:<26}{100 * hashes:7.1f} %{100 * hit:8.1f} %")
    false = [100 * np.any(before, axis=1).mean(), 100 * len(np.unique(after.first)) / n]
    pairs_of = [100 * before.sum() / n / (n - 1), 100 * len(after.first) / n / (n - 1)]
    lines.append(f"  {'false, of squares':<26}{false[0]:7.1f} %{false[1]:8.1f} %")
    lines.append(f"  {'false, of pairs':<26}{pairs_of[0]:7.3f} %{pairs_of[1]:8.3f} %")
    return lines


def together_lines(photos: Sequence[Image.Image]) -> list[str]:
    """Table of changed squares in another split than their own."""
    own = squares(photos, 64)
    lines = ["changed squares in another split   report  together"]
    for name, change in CHANGES.items():
        if name == "cut 5 %":  # of another size: no array holds both
            continue
        changed = [change(square) for square in own]
        half = len(own) // 2
        with tempfile.TemporaryDirectory() as folder:
            raw = Path(folder) / "raw"
            batch(raw, "a", np.stack([np.asarray(one) for one in [*own, *changed[:half]]]))
            batch(raw, "b", np.stack([np.asarray(one) for one in changed[half:]]))
            apart = [share_apart(raw, own, changed, kept) for kept in ("report", "together")]
        lines.append(f"  {name:<26}{100 * apart[0]:12.1f} %{100 * apart[1]:8.1f} %")
    return lines


def share_apart(
    raw: Path, own: Sequence[Image.Image], changed: Sequence[Image.Image], kept: str
) -> float:
    """Share of changed squares that are in another split than their own."""
    data = DataParams.model_validate({"name": "bench", "channels": 3, "near_copies": kept})
    split_of_id = {
        row.tobytes(): split
        for split, one in zip(
            SPLITS, prepared(raw, data, {"a.parquet": 0, "b.parquet": 1}), strict=True
        )
        for row in one.ids
    }
    pairs = [
        [split_of_id.get(row.tobytes()) for row in content_ids([np.asarray(a), np.asarray(b)])]
        for a, b in zip(own, changed, strict=True)
    ]
    both = [pair for pair in pairs if None not in pair]
    return float(np.mean([one != other for one, other in both]))


def alike_lines() -> list[str]:
    """Table of low-resolution images, enlarged."""
    lines = ["honestly alike, enlarged to 56 px   images   near another   largest cluster"]
    sources = {"fashion-mnist": fashion_mnist_folder(), "digits": Path("digits")}
    for name, path in sources.items():
        rows = [one for piece in find_source(path).rows() for one in getattr(piece, "pixels", ())]
        chosen = [Image.fromarray(one[:, :, 0]).resize((56, 56)) for one in rows[-2000:]]
        outlines = looks(chosen).outlines
        found = near_copies(outlines, np.arange(len(outlines)))
        _, sizes = np.unique(cluster(outlines, np.zeros(len(outlines), int)), return_counts=True)
        share = len(np.unique(found.first)) / len(outlines)
        lines.append(f"  {name:<32}{len(outlines):>8,}{100 * share:>13.1f} %{sizes.max():>12,}")
    return lines


def speed_line(images: int) -> str:
    """Time clustering."""
    source = np.random.default_rng(0)
    coarse = source.integers(0, 256, (images * 9 // 10, 4, 4)).astype(np.uint8)
    made = np.repeat(np.repeat(coarse, 4, axis=1), 4, axis=2)
    made = np.concatenate([made, made[: images - len(made), :, ::-1]])
    began = time.perf_counter()
    roots = cluster(made, np.zeros(len(made), np.int64))
    took = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    joined = int((roots != np.arange(len(roots))).sum())
    return (
        f"{images:,} outlines: {took:.1f} s, {joined:,} joined a cluster, "
        f"peak of the process {peak:,.0f} MB"
    )


def main() -> None:
    """Print the tables, and write them where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--output", type=Path)
    asked = parser.parse_args()
    photos = photographs(asked.photos)
    command = f"python bench/near_copies.py{' --photos FOLDER' if asked.photos else ''}"
    lines = [
        f"{command}: {len(photos)} photographs",
        *leak_lines(),
        "",
        *found_lines(photos, 64),
        *found_lines(photos, 96),
        "",
        *together_lines(photos),
        "",
        *alike_lines(),
        "",
        speed_line(asked.images),
        f"numpy {np.__version__}",
    ]
    print("\n".join(lines))
    if asked.output:
        asked.output.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
