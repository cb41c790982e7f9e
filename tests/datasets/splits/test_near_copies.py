"""Near copies: found whatever was done to them, and kept together for life where that is wanted."""

import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from models.config import DataParams
from models.datasets.batches import write_batch
from models.datasets.image_statistics import LEAST_SIDE, image_statistics
from models.datasets.labelled_images import SPLITS, PixelRows
from models.datasets.near_duplicates import near_duplicates
from models.datasets.near_duplicates.clusters import cluster
from models.datasets.near_duplicates.near_copies import near_copies, unexplained
from models.datasets.pixels import content_ids
from models.datasets.prepare import prepare
from models.datasets.prepared import open_split
from models.datasets.splits import TEST, TRAIN

SIDE = 64
Picture = NDArray[np.uint8]


def scenes(count: int, *, seed: int = 0) -> Picture:
    """Pictures of soft blotches, with light and shade as of photographs, (count, 64, 64, 1)."""
    source = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        layers = [
            np.asarray(
                Image.fromarray(source.normal(size=(cells, cells)).astype(np.float32)).resize(
                    (SIDE, SIDE), Image.Resampling.BICUBIC
                )
            )
            / cells**0.5
            for cells in (3, 5, 9, 20)
        ]
        made.append(np.clip(110 + 60 * sum(layers), 0, 255).astype(np.uint8)[:, :, None])
    return np.stack(made)


def of_pillow(change: Callable[[Image.Image], Image.Image]) -> Callable[[Picture], Picture]:
    return lambda picture: np.asarray(change(Image.fromarray(picture[:, :, 0])))[:, :, None]


def compressed(picture: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    picture.save(buffer, format="JPEG", quality=30)
    return Image.open(buffer)


CHANGES: dict[str, Callable[[Picture], Picture]] = {
    "compressed": of_pillow(compressed),
    "moved": lambda picture: np.roll(picture, (2, 2), (0, 1)),
    "cut": lambda picture: np.ascontiguousarray(picture[3:, 3:]),
    "darker": lambda picture: np.rint(picture * 0.8).astype(np.uint8),
    "turned": of_pillow(lambda picture: picture.rotate(3, Image.Resampling.BICUBIC)),
    "mirrored": lambda picture: np.ascontiguousarray(picture[:, ::-1]),
    "smaller": of_pillow(lambda picture: picture.resize((48, 48), Image.Resampling.BILINEAR)),
}


def outlines_of(*pictures: Sequence[Picture]) -> Picture:
    return np.concatenate([image_statistics(list(some)).outlines for some in pictures])


@pytest.mark.parametrize("change", CHANGES)
def test_a_near_copy_is_found_and_none_besides(change: str) -> None:
    """Of 60 pictures 9 in 10 at least, and no pair of two pictures in 100."""
    before = list(scenes(60))
    outlines = outlines_of(before, [CHANGES[change](picture) for picture in before])

    found = near_copies(outlines, np.arange(60, 120))

    own = found.second == found.first - 60
    assert len(set(found.first[own])) >= 54
    assert len(set(found.first[~own])) <= 1


def test_what_is_not_explained_is_a_share() -> None:
    """Nothing of a picture itself; all of a plain one, which is never told from others."""
    one = outlines_of(list(scenes(3)))
    plain = np.full_like(one, 80)

    assert unexplained(one, one).max() < 0.01
    assert unexplained(one, one[:, :, ::-1]).max() < 0.01
    assert np.isinf(unexplained(plain, plain)).all()
    assert unexplained(one, np.roll(one, 1, axis=0)).min() > 0.3


def test_small_images_are_only_told_apart_by_their_pixels() -> None:
    """Of 47 pixels no outline is kept, so that handwriting does not become one cluster."""
    small = scenes(4)[:, : LEAST_SIDE - 1, : LEAST_SIDE - 1]

    statistics = image_statistics([small[0], scenes(1)[0], small[1]])

    assert statistics.outlined.tolist() == [1]
    assert statistics.take(np.array([2, 1])).outlined.tolist() == [1]
    assert statistics.take(np.array([0, 2])).outlines.shape == (0, 16, 16)


def test_a_cluster_is_no_chain() -> None:
    """Each picture is moved on by a pixel: some begin clusters, and each is near its root."""
    (wide,) = scenes(1, seed=3)
    film = [np.roll(wide, step, axis=1) for step in range(0, 24, 2)]
    outlines = outlines_of(film)

    roots = cluster(outlines, np.zeros(len(film), np.int64))

    assert 1 < len(set(roots.tolist())) < len(film)
    assert (roots[roots] == roots).all()
    assert unexplained(outlines, outlines[roots]).max() <= 0.15


def test_arriving_near_copies_join_and_change_nothing() -> None:
    """In three deliveries or in two: what came before has the roots that it had."""
    pictures = list(scenes(20, seed=1))
    moved = [CHANGES["moved"](picture) for picture in pictures[:10]]
    darker = [CHANGES["darker"](picture) for picture in [*pictures[10:], *moved[:5]]]
    outlines, ranks = outlines_of(pictures, moved, darker), np.repeat([0, 1, 2], [20, 10, 15])

    roots = cluster(outlines, ranks)

    assert cluster(outlines[:30], ranks[:30]).tolist() == roots[:30].tolist()
    assert roots.tolist() == [*range(20), *range(10), *range(10, 20), *range(5)]


def test_a_held_out_near_copy_is_reported() -> None:
    """A mirrored, darker copy, of which a difference hash says nothing."""
    pictures = list(scenes(6, seed=2))
    pictures[5] = CHANGES["darker"](CHANGES["mirrored"](pictures[0]))
    splits = np.array([TRAIN] * 5 + [TEST], np.int8)

    found = near_duplicates(image_statistics(pictures), splits, max_comparisons=10**6)

    assert found.pairs == [(5, 0)]


def batch(folder: Path, name: str, pictures: Picture) -> None:
    labels = np.arange(len(pictures), dtype=np.int64) % 2
    rows = PixelRows(pictures, labels, (None,) * len(pictures))
    write_batch(folder / f"{name}.parquet", ("a", "b"), [rows])


def splits_of(raw: Path, data: DataParams) -> dict[bytes, str]:
    """Id -> split of what is prepared; batches came in the order of their names."""
    arrivals = {path.name: rank for rank, path in enumerate(sorted(raw.iterdir()))}
    prepare(raw, raw.parent / "prepared", data, arrivals=arrivals)
    return {
        identity.tobytes(): split
        for split in SPLITS
        for identity in open_split(raw.parent / "prepared", split, verify=False).ids
    }


def test_near_copies_share_a_split_for_life(tmp_path: Path) -> None:
    """By default each is by itself; together, none of 40 mirrored copies is elsewhere, and those
    that come later join, while nothing that was there moves.
    """
    (tmp_path / "raw").mkdir()
    pictures, data = scenes(40, seed=4), DataParams(name="some", image_size=16)
    mirrored = np.ascontiguousarray(pictures[:, :, ::-1])
    darker = np.stack([CHANGES["darker"](picture) for picture in pictures])
    own, others, later = (content_ids(some) for some in (pictures, mirrored, darker))
    batch(tmp_path / "raw", "a", np.concatenate([pictures, mirrored]))

    def torn(splits: dict[bytes, str], some: Picture) -> int:
        return sum(
            splits[a.tobytes()] != splits[b.tobytes()] for a, b in zip(own, some, strict=True)
        )

    assert torn(splits_of(tmp_path / "raw", data), others) > 10
    data = data.model_copy(update={"near_copies": "together"})
    before = splits_of(tmp_path / "raw", data)
    assert torn(before, others) == 0
    batch(tmp_path / "raw", "b", darker)
    after = splits_of(tmp_path / "raw", data)
    assert torn(after, later) == 0
    assert before.items() <= after.items()
