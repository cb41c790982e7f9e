"""Trials on a part of the train split: which images, how many steps, and their own key."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from training_fixtures import SMALL_CNN, spec_of, write_prepared

from models.config import TrialConfig
from models.datasets.prepared import Split, open_split
from models.training.fit import train_trial
from models.training.minibatches import Minibatches, balanced_order
from models.training.subset import ChosenSplit, chosen, chosen_manifest
from models.trials import EpochRecord, Subset, TrialResult, TrialSpec


def split_of(seed: int, images: int = 400) -> Split:
    random = np.random.default_rng(seed)
    return Split(
        images=random.integers(0, 256, (images, 1, 2, 2)).astype(np.uint8),
        labels=random.integers(0, 3, images),
        ids=random.integers(0, 256, (images, 32)).astype(np.uint8),
    )


@given(
    seed=st.integers(0, 2**32 - 1),
    fractions=st.tuples(st.floats(0.01, 0.99), st.floats(0.01, 0.99)).map(sorted),
    draw=st.integers(0, 2**31 - 1),
    only=st.none() | st.integers(0, 2),
)
def test_a_smaller_fraction_is_within_a_larger_one(
    seed: int, fractions: list[float], draw: int, only: int | None
) -> None:
    """Of the same draw; whatever else is there, an image is in a fraction or not."""
    split = split_of(seed, 60)
    small, large = (chosen(split, Subset(fraction=one, draw=draw, only=only)) for one in fractions)
    some = slice(10, 40)
    part = Split(images=split.images[some], labels=split.labels[some], ids=split.ids[some])

    assert not np.any(small & ~large)
    assert np.array_equal(
        chosen(part, Subset(fraction=fractions[0], draw=draw, only=only)), small[some]
    )


def test_a_fraction_is_one_of_the_images_and_of_one_class_alone_where_asked() -> None:
    """Within four standard deviations of its binomial; draws have as many images in common as
    independent ones."""
    split = split_of(0, 20_000)
    first, other = (chosen(split, Subset(fraction=0.25, draw=draw)) for draw in (0, 1))
    one = chosen(split, Subset(fraction=0.25, only=2))

    reach = 4 * np.sqrt(0.25 * 0.75 / 20_000)
    assert abs(first.mean() - 0.25) < reach
    assert abs((first & other).mean() - 0.0625) < reach
    assert np.all(one[split.labels != 2])
    assert abs(one[split.labels == 2].mean() - 0.25) < 2 * reach


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.5])
def test_a_fraction_is_a_part(fraction: float) -> None:
    """The whole is no subset, and has the key of any trial."""
    with pytest.raises(ValidationError):
        Subset(fraction=fraction)


def test_an_epoch_of_a_subset_has_as_many_images_as_one_of_all() -> None:
    """Each comes once before any comes again; so with the same number of each class."""
    split = split_of(1, 100)
    part = ChosenSplit.of(split, Subset(fraction=0.3))
    images = len(part.labels)
    batches = Minibatches(part, TrialConfig(), images=100)

    rows = batches._rows(1)
    labels = torch.from_numpy(part.labels)
    balanced = balanced_order(labels, torch.Generator().manual_seed(0), images=99)

    assert len(rows) == 100
    assert np.array_equal(np.sort(rows[:images]), np.arange(images))
    assert np.bincount(rows, minlength=images).max() <= -(-100 // images)
    assert torch.bincount(labels[balanced]).tolist() == [33, 33, 33]


def test_a_trial_on_a_subset_has_its_own_key_and_goes_on_where_it_was_killed(
    tmp_path: Path,
) -> None:
    """To the bit; and it is not the trial on all images."""
    manifest = write_prepared(tmp_path / "prepared")
    whole = spec_of(TrialConfig(network=SMALL_CNN, class_weights="balanced"), manifest)
    spec = whole.model_copy(update={"subset": Subset(fraction=0.5)})

    def train(spec: TrialSpec, name: str, *, keep: str = "") -> TrialResult:
        def on_epoch(record: EpochRecord) -> None:
            if keep and record.epoch == 1:
                shutil.copytree(tmp_path / name, tmp_path / keep)

        found = train_trial(
            spec, tmp_path / name, prepared=tmp_path / "prepared", budget=2, on_epoch=on_epoch
        )
        assert isinstance(found, TrialResult)
        return found

    part, all_images = train(spec, "part", keep="killed"), train(whole, "whole")

    assert train(spec, "killed").weights_digest == part.weights_digest
    assert part.weights_digest != all_images.weights_digest
    assert TrialSpec.model_validate_json(spec.model_dump_json()).key == part.key != whole.key
    assert whole.key == TrialSpec.model_validate(whole.model_dump(exclude={"subset"})).key


def test_class_weights_are_those_of_the_subset(tmp_path: Path) -> None:
    """Its images are counted, not those of the whole split."""
    manifest = write_prepared(tmp_path)
    train = open_split(tmp_path, "train", verify=False)
    part = ChosenSplit.of(train, Subset(fraction=0.4))

    counted = chosen_manifest(manifest, part).splits["train"]

    assert sum(counted.class_counts) == counted.images == len(part.labels) < len(train.labels)
    rows = np.arange(len(part.labels))
    assert np.array_equal(part.images[rows], train.images[chosen(train, Subset(fraction=0.4))])
