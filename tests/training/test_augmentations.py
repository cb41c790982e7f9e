"""Augmentations: what they change, and by which random numbers."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageOps
from pydantic import TypeAdapter, ValidationError
from training_fixtures import SMALL_CNN, Trials

from models.augmentations import (
    AffineAugmentation,
    AugmentationConfig,
    ColorAugmentation,
    CropAugmentation,
    ErasingAugmentation,
    NoAugmentation,
    RandAugmentation,
    SequenceAugmentation,
    ShiftAugmentation,
)
from models.augmentations.mixing import Cutmix, Mixup, NoMixing
from models.augmentations.rand_operations import DEGREES, OPERATIONS, SHEAR, apply_operations
from models.config import Params, TrialConfig

EVERY: tuple[AugmentationConfig, ...] = (
    ShiftAugmentation(pixels=2, mirror=True),
    AffineAugmentation(mirror=True),
    ColorAugmentation(saturation=0.3),
    ErasingAugmentation(probability=1.0),
    CropAugmentation(padding=3, mirror=True),
    RandAugmentation(),
    SequenceAugmentation(steps=(AffineAugmentation(), ColorAugmentation())),
)
NOTHING: tuple[AugmentationConfig, ...] = (
    NoAugmentation(),
    ShiftAugmentation(pixels=0),
    AffineAugmentation(degrees=0, scale=0, translate=0),
    ColorAugmentation(brightness=0, contrast=0, saturation=0),
    ErasingAugmentation(probability=0),
    CropAugmentation(padding=0),
    SequenceAugmentation(steps=(NoAugmentation(), ShiftAugmentation(pixels=0))),
)


def noise(count: int, *, channels: int = 3, side: int = 12, seed: int = 0) -> torch.Tensor:
    """Images of random pixels."""
    source = torch.Generator().manual_seed(seed)
    shape = (count, channels, side, side)
    return torch.randint(256, shape, generator=source, dtype=torch.uint8)


@given(
    augmentation=st.sampled_from(EVERY),
    channels=st.sampled_from([1, 3]),
    side=st.integers(8, 20),
    count=st.integers(1, 5),
    seed=st.integers(0, 2**63 - 1),
)
def test_shape_and_type_stay_and_the_seed_decides(
    augmentation: AugmentationConfig, channels: int, side: int, count: int, seed: int
) -> None:
    """uint8 in, uint8 of the same shape out; the same seed gives the same bits."""
    images = noise(count, channels=channels, side=side)
    before = images.clone()

    changed = augmentation.augment(images, seed)

    assert (changed.shape, changed.dtype) == (images.shape, torch.uint8)
    assert torch.equal(changed, augmentation.augment(images, seed))
    assert torch.equal(images, before)


@pytest.mark.parametrize("augmentation", EVERY, ids=lambda one: one.name)
def test_each_image_is_changed_in_its_own_way(augmentation: AugmentationConfig) -> None:
    """Copies of one image become different ones, and another seed gives others."""
    copies = noise(1).expand(16, -1, -1, -1)

    changed = augmentation.augment(copies, 1)

    assert len({image.numpy().tobytes() for image in changed}) > 8
    assert not torch.equal(changed, augmentation.augment(copies, 2))


@pytest.mark.parametrize("augmentation", NOTHING, ids=lambda one: one.name)
def test_at_no_strength_nothing_changes(augmentation: AugmentationConfig) -> None:
    """Every pixel is what it was."""
    images = noise(8)

    assert torch.equal(augmentation.augment(images, 1), images)


def test_a_turn_by_a_right_angle_is_one() -> None:
    """The affine map at 90 degrees is torch's rot90, and its mirror image is flip."""
    from models.augmentations.geometry import affine  # noqa: PLC0415 - beside its one use

    images, one = noise(2), torch.ones(2)
    still = {"moved": torch.zeros(2, 2), "zoom": one}

    turned = affine(images, angle=one * torch.pi / 2, side=one, **still)
    mirrored = affine(images, angle=one * 0, side=-one, **still)

    assert torch.equal(turned, torch.rot90(images, 1, (2, 3)))
    assert torch.equal(mirrored, images.flip(3))


def test_light_is_changed_by_the_factors_worked_by_hand() -> None:
    """Brightness alone multiplies; what would be above 255 is 255."""
    images = torch.full((1, 1, 2, 2), 100, dtype=torch.uint8)
    source = torch.Generator().manual_seed(5)
    drawn = [float(2 * torch.rand(1, 1, 1, 1, generator=source) - 1) for _ in range(3)]

    lit = ColorAugmentation(brightness=0.5, contrast=0).augment(images, 5)

    assert set(lit.flatten().tolist()) == {round(100 * (1 + 0.5 * drawn[2]))}


def test_a_list_is_a_sequence_and_an_axis_takes_lists() -> None:
    """What YAML says as a list is validated item by item."""
    adapter: TypeAdapter[AugmentationConfig] = TypeAdapter(AugmentationConfig)

    parsed = adapter.validate_python([{"name": "affine"}, {"name": "color", "contrast": 0.1}])

    assert parsed == SequenceAugmentation(
        steps=(AffineAugmentation(), ColorAugmentation(contrast=0.1))
    )
    assert adapter.validate_json(parsed.model_dump_json()) == parsed
    trial = TrialConfig(augmentation=parsed)
    assert TrialConfig.model_validate_json(trial.model_dump_json()) == trial
    with pytest.raises(ValidationError, match="contrast"):
        adapter.validate_python([{"name": "color", "contrast": 2}])
    with pytest.raises(ValidationError, match="at least 1"):
        adapter.validate_python([])


@given(seed=st.integers(0, 2**63 - 1), count=st.integers(1, 9))
def test_mixup_is_the_weighted_mean_of_two(seed: int, count: int) -> None:
    """Each image and its labels are those of the same two, the first at least by half."""
    images, labels = noise(count), torch.arange(count)

    mixed = Mixup().mix(images, labels, seed)

    assert 0.5 <= mixed.share <= 1
    assert sorted(mixed.others.tolist()) == labels.tolist()
    expected = mixed.share * images.float() + (1 - mixed.share) * images[mixed.others].float()
    torch.testing.assert_close(mixed.images, expected)


@given(seed=st.integers(0, 2**63 - 1))
def test_cutmix_replaces_a_rectangle_and_weighs_by_its_area(seed: int) -> None:
    """Pixels are one image's or the other's, in the share that the loss is told."""
    labels = torch.arange(4)
    images = labels[:, None, None, None].expand(4, 1, 10, 10).to(torch.uint8)

    mixed = Cutmix().mix(images, labels, seed)

    own = (mixed.images == labels[:, None, None, None]).float().mean((1, 2, 3))
    alone = mixed.others == labels
    assert 0.5 <= mixed.share <= 1
    assert torch.allclose(own[~alone], torch.tensor(mixed.share))
    assert bool((own[alone] == 1).all())


def test_without_mixing_images_are_the_very_same() -> None:
    """Default bits stay."""
    images, labels = noise(3), torch.arange(3)

    mixed = NoMixing().mix(images, labels, 1)

    assert mixed.images is images
    assert mixed.labels is labels
    assert mixed.share == 1


def test_mixed_training_learns_and_is_repeatable(trials: Trials, tmp_path: Path) -> None:
    """Training accuracy counts the label with the greater share; validation is of plain images."""

    config = TrialConfig(
        network=SMALL_CNN, minibatch_size=16, mixing=Mixup(), augmentation=NOTHING[1]
    )

    one = trials.result(tmp_path / "a", config, 8)
    other = trials.result(tmp_path / "b", config, 8)

    assert one.weights_digest == other.weights_digest
    assert one.scores.accuracy > 0.6


@pytest.fixture(scope="module")
def trials(tmp_path_factory: pytest.TempPathFactory) -> Trials:
    """Trials on bars."""
    return Trials.of(tmp_path_factory.mktemp("augmented") / "prepared")


def test_erasing_fills_with_the_image_s_mean() -> None:
    """A black and white image gets grey pixels in one rectangle."""
    images = torch.zeros(40, 1, 10, 10, dtype=torch.uint8)
    images[:, :, ::2] = 200

    changed = ErasingAugmentation(probability=1, side=0.8).augment(images, 3)

    for image in changed:
        grey = (image[0] == 100).numpy()
        rows, columns = np.flatnonzero(grey.any(1)), np.flatnonzero(grey.any(0))
        assert grey.sum() == len(rows) * len(columns)
    assert int((changed == 100).sum()) > 0


@given(padding=st.integers(0, 7), seed=st.integers(0, 1000))
def test_a_crop_is_one_of_the_image_that_numpy_pads(padding: int, seed: int) -> None:
    """Reflected without its border, at one place for all channels."""
    images = noise(3, side=8, seed=seed)

    cropped = CropAugmentation(padding=padding).augment(images, seed)

    sides = ((0, 0), (padding, padding), (padding, padding))
    for image, found in zip(images.numpy(), cropped.numpy(), strict=True):
        padded = np.pad(image, sides, mode="reflect")
        windows = np.lib.stride_tricks.sliding_window_view(padded, (8, 8), (1, 2))
        assert (windows == found[:, None, None]).all((0, 3, 4)).any()


def test_a_crop_of_black_padding_is_a_shift() -> None:
    """The same random numbers, to the bit."""
    images = noise(20)
    crop = CropAugmentation(padding=3, fill="zeros", mirror=True)

    shifted = ShiftAugmentation(pixels=3, mirror=True).augment(images, 5)

    assert torch.equal(crop.augment(images, 5), shifted)


def test_more_than_there_is_of_an_image_is_not_mirrored() -> None:
    """Refused with the params, in a list as well; of black there is as much as is asked for."""
    crop: dict[str, object] = {"name": "crop", "padding": 28}

    with pytest.raises(ValidationError, match="padding 28 must be below the image's 28 pixels"):
        Params.model_validate({"trial": {"augmentation": [{"name": "none"}, crop]}})
    Params.model_validate({"trial": {"augmentation": crop | {"fill": "zeros"}}})


def picture_of(image: torch.Tensor) -> Image.Image:
    """As Pillow has it."""
    pixels = image.permute(1, 2, 0).numpy()
    return Image.fromarray(pixels if len(image) == 3 else pixels[:, :, 0])


PILLOW: dict[str, Callable[[Image.Image, float], Image.Image]] = {
    "identity": lambda picture, _: picture,
    "brightness": lambda picture, level: ImageEnhance.Brightness(picture).enhance(1 + 0.9 * level),
    "colour": lambda picture, level: ImageEnhance.Color(picture).enhance(1 + 0.9 * level),
    "contrast": lambda picture, level: ImageEnhance.Contrast(picture).enhance(1 + 0.9 * level),
    "sharpness": lambda picture, level: ImageEnhance.Sharpness(picture).enhance(1 + 0.9 * level),
    "posterize": lambda picture, level: ImageOps.posterize(picture, round(8 - 4 * abs(level))),
    "solarize": lambda picture, level: ImageOps.solarize(
        picture, math.ceil(256 * (1 - abs(level)))
    ),
    "autocontrast": lambda picture, _: ImageOps.autocontrast(picture),
    "equalize": lambda picture, _: ImageOps.equalize(picture),
}
"""Operations on light and colour by the library that the paper's code used."""


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", PILLOW)
def test_light_and_colour_change_as_pillow_changes_them(name: str, channels: int) -> None:
    """To two levels of 255: Pillow cuts fractions off, and where it blurs it does so twice."""
    ranges = torch.tensor([1, 2, 4, 8], dtype=torch.uint8).repeat(3).reshape(-1, 1, 1, 1)
    images = noise(12, channels=channels) // ranges
    images[0] = 77
    levels = torch.linspace(-1, 1, 12)

    changed = OPERATIONS[name](images, levels)

    for image, level, found in zip(images, levels, changed, strict=True):
        expected = np.atleast_3d(np.asarray(PILLOW[name](picture_of(image), float(level))))
        assert np.abs(found.permute(1, 2, 0).numpy().astype(int) - expected).max() <= 2


def test_maps_worked_by_hand() -> None:
    """One bright pixel beside the centre: a slope moves it by rows, a turn by its angle."""
    images = torch.zeros(1, 1, 21, 21, dtype=torch.uint8)
    images[0, 0, 0, 10] = 255
    full = torch.ones(1)

    sheared = OPERATIONS["shear x"](images, full)[0, 0]
    turned = OPERATIONS["rotate"](images, full)[0, 0]
    moved = OPERATIONS["translate y"](images, full)[0, 0]

    assert brightest(sheared) == (0, 10 + 10 * SHEAR)
    angle = math.radians(DEGREES)
    assert brightest(turned) == (round(10 - 10 * math.cos(angle)), round(10 - 10 * math.sin(angle)))
    assert int(moved.sum()) == 0  # by 9.5 pixels upwards, out of the image


def brightest(image: torch.Tensor) -> tuple[int, int]:
    """Row and column."""
    place = int(image.flatten().argmax())
    return place // image.shape[1], place % image.shape[1]


def test_every_operation_is_drawn_alike_and_each_image_has_its_own() -> None:
    """Of 1,400 images each of the 14 gets about 100; images for none of them stay."""
    chosen = torch.arange(28) % 14
    images = noise(28)
    changed = apply_operations(images, chosen, torch.full((28,), 0.5))
    for number, operation in enumerate(OPERATIONS.values()):
        rows = chosen == number
        assert torch.equal(changed[rows], operation(images[rows], torch.full((2,), 0.5)))

    flat = torch.full((1400, 1, 4, 4), 100, dtype=torch.uint8)
    found = RandAugmentation(operations=1, magnitude=30).augment(flat, 3)
    # Of a flat grey image brightness, solarize and posterize alone change anything.
    assert 230 <= int((found[:, 0, 0, 0] != 100).sum()) <= 370
