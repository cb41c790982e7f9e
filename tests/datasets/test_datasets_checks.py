"""Checks: each finds what it is for, is silent otherwise, and has the level that params give it."""

import io
from pathlib import Path

import numpy as np
import pytest
from data_fixtures import noise
from numpy.typing import NDArray
from PIL import Image

from models.config import DataParams
from models.config.data import CheckParams
from models.datasets.batches import write_batch
from models.datasets.image_statistics import image_statistics
from models.datasets.ingest import align_classes, check
from models.datasets.labelled_images import EncodedRows, PixelRows, Source
from models.datasets.near_duplicates import near_duplicates
from models.datasets.prepare import prepare
from models.datasets.prepared import Finding
from models.datasets.sample_sheet import write_samples
from models.datasets.splits import TEST, TRAIN, VALIDATION
from models.errors import InputError


def source_of(
    images: NDArray[np.uint8],
    labels: list[int] | None = None,
    *,
    classes: tuple[str, ...] = ("a", "b"),
) -> Source:
    chosen = labels or [number % len(classes) for number in range(len(images))]
    rows = PixelRows(images, np.array(chosen, np.int64), (None,) * len(images))
    return Source("given", classes, rows=lambda: iter([rows]))


def warnings_of(
    source: Source, data: DataParams | None = None, *, known: dict[str, int] | None = None
) -> dict[str, Finding]:
    report = check(source, data or DataParams(), known=known or {})
    assert report.errors == ()
    return {finding.code: finding for finding in report.warnings}


GOOD = noise(60, side=28)


def test_good_images_are_not_complained_about() -> None:
    """Sixty different images of two classes: nothing to say."""
    assert warnings_of(source_of(GOOD)) == {}


def test_exact_copies_are_counted() -> None:
    """Three copies of one image."""
    copies = np.concatenate([GOOD, np.repeat(GOOD[:1], 3, axis=0)])
    found = warnings_of(source_of(copies, [n % 2 for n in range(60)] + [0, 0, 0]))
    assert found["duplicates"].message.startswith("3 images are exact copies")


def test_one_picture_under_two_labels_is_a_warning_or_an_error() -> None:
    """data.conflicts: drop warns, refuse makes it an error."""
    source = source_of(np.concatenate([GOOD, GOOD[:1]]), [n % 2 for n in range(60)] + [1])
    assert warnings_of(source)["conflicts"].message.startswith("2 images show a picture")
    report = check(source, DataParams(conflicts="refuse"), known={})
    assert [finding.code for finding in report.errors] == ["conflicts"]


def test_imbalance_names_the_classes() -> None:
    """Fifty-eight to two is beyond twenty to one."""
    found = warnings_of(source_of(GOOD, [1, 1] + [0] * 58))
    assert "58 of 'a' to 2 of 'b'" in found["imbalance"].message


def test_constant_and_outlying_images_are_counted() -> None:
    """One white image among noise is of one colour, and far brighter than the rest."""
    images = np.concatenate([GOOD, np.full((1, 28, 28, 1), 255, np.uint8)])
    found = warnings_of(source_of(images))
    assert found["constant"].message.startswith("1 images are of one colour")
    assert found["brightness"].message.startswith("1 images are far brighter")


def test_stretched_images_are_counted() -> None:
    """Images that are not square."""
    found = warnings_of(source_of(noise(60, side=28)[:, :20]))
    assert found["sizes"].message.startswith("60 images are not square")


def test_a_class_that_is_new_to_the_dataset_is_named() -> None:
    """Not an error: datasets grow; a misspelt folder shows."""
    found = warnings_of(source_of(GOOD), known={"a": 5, "c": 5})
    assert found["new_classes"].where == "b"


def encoded(images: NDArray[np.uint8]) -> EncodedRows:
    """Images as files a/00.png, b/01.png, ..."""
    files = tuple(png_of(image) for image in images)
    paths = tuple(f"{'ab'[number % 2]}/{number:02}.png" for number in range(len(images)))
    return EncodedRows(files, paths, np.arange(len(images)) % 2, (None,) * len(images))


def png_of(pixels: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels[:, :, 0]).save(file, format="PNG")
    return file.getvalue()


def files_source(*pieces: EncodedRows) -> Source:
    return Source("given", ("a", "b"), rows=lambda: iter(pieces))


def test_messages_name_up_to_five_images() -> None:
    """By file where there are files, else by number; of more, the first five."""
    levels = np.arange(100, 106, dtype=np.uint8)[:, None, None, None]
    images = np.concatenate([GOOD[:54], GOOD[:6], np.broadcast_to(levels, (6, 28, 28, 1))])
    rows = encoded(images)

    found = warnings_of(files_source(rows.take(range(30)), rows.take(range(30, 66))))
    unnamed = warnings_of(source_of(images))

    assert found["duplicates"].message.endswith(
        "one of each is kept: a/54.png, b/55.png, a/56.png, b/57.png, a/58.png, ..."
    )
    assert found["constant"].message.endswith(
        "of one colour all over: a/60.png, b/61.png, a/62.png, b/63.png, a/64.png, ..."
    )
    assert unnamed["constant"].message.endswith(
        "all over: image 60, image 61, image 62, image 63, image 64, ..."
    )


def test_copies_under_two_labels_are_named() -> None:
    """Both files, so that one can be corrected."""
    images = np.concatenate([GOOD, GOOD[:1], GOOD[1:2]])
    rows = encoded(images)
    labels = rows.labels.copy()
    labels[60] = 1  # image 0 is an `a`
    mixed = EncodedRows(rows.files, rows.paths, labels, rows.splits)
    message = warnings_of(files_source(mixed))["conflicts"].message
    assert message.endswith("refuse stops): a/00.png, a/60.png")


def test_tiny_images_are_refused_and_much_enlarged_ones_are_a_warning() -> None:
    """Below 4 pixels nothing is to be seen; 6 pixels become 28."""
    tiny = np.zeros((1, 2, 3, 1), np.uint8)
    tiny[0, 0, 0] = 200
    rows = encoded(GOOD)
    with_tiny = EncodedRows(
        (png_of(tiny[0]), *rows.files[1:]), rows.paths, rows.labels, rows.splits
    )
    report = check(files_source(with_tiny), DataParams(), known={})
    assert [(finding.code, finding.message) for finding in report.errors] == [
        ("tiny", "1 images have a side of fewer than 4 pixels; leave them out: a/00.png")
    ]
    small = warnings_of(source_of(noise(60, side=6)))
    assert small["small"].message.startswith("60 images are enlarged more than 4 times to 28")
    assert warnings_of(source_of(noise(60, side=8))) == {}


def test_a_class_without_test_images_is_named() -> None:
    """With the number of its images, and what follows from it."""
    images = noise(60, side=28)
    rows = PixelRows(images, np.arange(60) % 2, ("train",) * 50 + ("test",) * 10)
    one_class_in_test = PixelRows(images, np.where(np.arange(60) < 50, rows.labels, 0), rows.splits)
    source = Source("given", ("a", "b"), rows=lambda: iter([one_class_in_test]))
    found = warnings_of(source)["absent_in_split"]
    assert found.where == "test"
    assert found.message == (
        "1 classes have no image here and are never scored: 'b' (of 25 images); add images of them"
    )


@pytest.mark.parametrize("level", ["error", "warning", "off"])
def test_params_set_the_level(level: str) -> None:
    """The same finding stops, is reported, or is not looked for."""
    data = DataParams(checks=CheckParams.model_validate({"constant": level}))
    images = np.concatenate([GOOD, np.zeros((1, 28, 28, 1), np.uint8)])
    report = check(source_of(images), data, known={})
    assert ("constant" in {f.code for f in report.errors}) == (level == "error")
    assert ("constant" in {f.code for f in report.warnings}) == (level == "warning")


def test_folders_are_read_as_the_datasets_classes() -> None:
    """By number where no class has such a name, and without the characters folders lack."""
    known = {"T-shirt/top": 1, "Ankle boot": 1, "Bag": 1}
    for given, meant in (
        (("0", "2"), ("T-shirt/top", "Bag")),
        (("T-shirt_top", "ankle_boot"), ("T-shirt/top", "Ankle boot")),
        (("Bag", "Hat"), ("Bag", "Hat")),
        (("0", "3"), ("0", "3")),
    ):
        assert align_classes(source_of(GOOD, classes=given), known)[0].classes == meant


def smooth(count: int, *, seed: int) -> NDArray[np.uint8]:
    """Pictures with something in them: blurred noise, 32 pixels a side."""
    return np.stack(
        [
            np.asarray(Image.fromarray(image[:, :, 0]).resize((32, 32)))[:, :, None]
            for image in noise(count, side=6, seed=seed)
        ]
    )


def test_near_duplicates_are_found_across_splits_only() -> None:
    """A test image changed by two levels is near its original in train; within train, silence."""
    images = smooth(40, seed=3)
    changed = np.clip(images[:3].astype(int) + 2, 0, 255).astype(np.uint8)
    looks = image_statistics(np.concatenate([images, changed]))
    across = np.array([TRAIN] * 38 + [VALIDATION] * 2 + [TEST] * 3, np.int8)
    found = near_duplicates(looks, across, max_comparisons=10**9)
    assert sorted(found.pairs) == [(40, 0), (41, 1), (42, 2)]
    within = np.array([TRAIN] * 43, np.int8)
    assert near_duplicates(looks, within, max_comparisons=10**9).pairs == []
    none = near_duplicates(looks, across, max_comparisons=0)
    assert (none.pairs, none.compared, none.held_out) == ([], 0, 5)


def test_thumbs_are_means_of_cells() -> None:
    """Worked by hand: 16 x 18 pixels in 8 x 9 cells of four; another size by shares of pixels."""
    image = np.zeros((1, 16, 18, 1), np.uint8)
    image[0, 0, 0], image[0, 1, 1] = 100, 60
    assert image_statistics(image).thumbnails[0, 0].tolist() == [40, 0, 0, 0, 0, 0, 0, 0, 0]
    level = np.full((1, 7, 5, 1), 90, np.uint8)
    assert np.all(image_statistics(level).thumbnails == 90)


def test_the_manifest_keeps_the_warnings_and_errors_stop(tmp_path: Path) -> None:
    """What a check saw is in manifest.json; an error leaves prepared/ unmade."""
    images = np.concatenate([GOOD, np.zeros((1, 28, 28, 1), np.uint8)])
    (tmp_path / "raw").mkdir()
    source = source_of(images)
    write_batch(tmp_path / "raw" / "a.parquet", source.classes, source.rows())
    manifest = prepare(tmp_path / "raw", tmp_path / "prepared", DataParams())
    assert "constant" in [finding.code for finding in manifest.checks]
    strict = DataParams(checks=CheckParams(constant="error"))
    with pytest.raises(InputError, match="of one colour all over"):
        prepare(tmp_path / "raw", tmp_path / "strict", strict)
    assert not (tmp_path / "strict").exists()
    written = write_samples(tmp_path / "prepared", tmp_path / "samples.png", per_class=4)
    with Image.open(written) as sheet:
        assert sheet.size == (120 + 4 * 30, 2 * 30)


def test_large_images_are_shown_small_on_the_sheet(tmp_path: Path) -> None:
    """A sheet of 512-pixel photographs would be too large to look at."""
    (tmp_path / "raw").mkdir()
    source = source_of(GOOD)
    write_batch(tmp_path / "raw" / "a.parquet", source.classes, source.rows())
    prepare(tmp_path / "raw", tmp_path / "prepared", DataParams(image_size=200))
    written = write_samples(tmp_path / "prepared", tmp_path / "samples.png", per_class=4)
    with Image.open(written) as sheet:
        assert sheet.size == (120 + 4 * 98, 2 * 98)
