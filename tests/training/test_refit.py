"""A refit: the selected config on train and validation together."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from training_fixtures import Trials, ignore, spec_of

from models.config import MlpConfig, TrialConfig
from models.config.schedules import PlateauSchedule
from models.datasets.prepared import open_split, read_manifest
from models.errors import IntegrityError
from models.optimizers import AdamConfig
from models.training.checkpoint import load_state, weights_digest
from models.training.fit import train_trial
from models.training.joined import JoinedImages, joined_manifest
from models.trials import EpochRecord, TrialFiles, TrialResult, TrialSpec, read_history

CONFIG = TrialConfig(
    network=MlpConfig(hidden_units=8, dropout=0.2),
    optimizer=AdamConfig(learning_rate=0.01),
    schedule=PlateauSchedule(patience=1, decay=0.5),
    objective="cross_entropy",
    class_weights="balanced",
    minibatch_size=16,
)


@dataclass(frozen=True, slots=True)
class Store:
    """A folder of trials by their keys, on one dataset."""

    folder: Path
    trials: Trials

    def train(self, spec: TrialSpec, budget: int, into: str | None = None) -> TrialResult:
        """Train to a budget, which must succeed."""
        outcome = train_trial(
            spec,
            self.folder / (into or spec.key),
            prepared=self.trials.prepared,
            budget=budget,
            on_epoch=ignore,
        )
        assert isinstance(outcome, TrialResult)
        return outcome


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store", Trials.of(tmp_path / "prepared"))


def refit_of(store: Store) -> tuple[TrialSpec, TrialResult]:
    """Spec of the refit of a trial, which is trained, and that trial's result."""
    spec = spec_of(CONFIG, store.trials.manifest)
    return spec.model_copy(update={"refit": True}), store.train(spec, 4)


@given(
    sizes=st.lists(st.integers(0, 5), min_size=1, max_size=3).filter(any),
    draws=st.lists(st.integers(0, 10**6), max_size=9),
)
def test_joined_images_are_those_of_one_array(sizes: list[int], draws: list[int]) -> None:
    """Whatever rows are asked for, in whatever order."""
    whole = np.arange(4 * sum(sizes), dtype=np.uint8).reshape(-1, 1, 2, 2)
    rows = np.array([draw % sum(sizes) for draw in draws], dtype=np.int64)

    joined = JoinedImages(np.split(whole, np.cumsum(sizes)[:-1]))

    assert np.array_equal(joined[rows], whole[rows])


def test_a_refit_is_a_trial_on_both_splits_and_has_the_scores_of_the_one_it_refits(
    store: Store, tmp_path: Path
) -> None:
    """To the bit the trial whose train split is both; what validation said is the other trial's."""
    spec, selected = refit_of(store)
    found = store.train(spec, selected.best_epoch)

    assert (found.scores, found.best_epoch) == (selected.scores, selected.best_epoch)
    assert (found.epochs, found.key) == (selected.best_epoch, spec.key)
    assert found.weights_digest != selected.weights_digest
    validated, expected = (
        [record.scores for record in read_history(store.folder / key)[: found.epochs]]
        for key in (spec.key, selected.key)
    )
    assert validated == expected
    both = tmp_path / "both"
    shutil.copytree(store.trials.prepared, both)
    for name in ("images", "labels", "ids"):
        parts = (np.load(both / split / f"{name}.npy") for split in ("train", "validation"))
        np.save(both / "train" / f"{name}.npy", np.concatenate(list(parts)))
    joined = joined_manifest(read_manifest(both))
    (both / "manifest.json").write_text(joined.model_dump_json())
    plain = CONFIG.model_copy(update={"schedule": TrialConfig().schedule})
    other = Store(tmp_path / "other", Trials(both, joined))
    one, peer = spec_of(plain, store.trials.manifest), spec_of(plain, joined)
    epochs = store.train(one, 3).best_epoch
    again = store.train(one.model_copy(update={"refit": True}), epochs)
    other.train(peer, epochs)
    state = load_state(other.folder / peer.key / TrialFiles.LAST)
    assert state is not None
    assert weights_digest(state.weights) == again.weights_digest


def test_a_refit_that_was_killed_ends_as_if_never_killed(store: Store) -> None:
    """From its checkpoint, as any trial."""
    spec, selected = refit_of(store)
    epochs = max(selected.best_epoch, 2)

    def keep(record: EpochRecord) -> None:
        if record.epoch == 1:
            shutil.copytree(store.folder / spec.key, store.folder / "killed")

    whole = train_trial(
        spec,
        store.folder / spec.key,
        prepared=store.trials.prepared,
        budget=epochs,
        on_epoch=keep,
    )

    killed = store.train(spec, epochs, into="killed")
    assert killed.model_copy(update={"seconds": 0.0}) == whole.model_copy(update={"seconds": 0.0})


def test_without_the_trial_that_it_refits_there_is_no_refit(store: Store) -> None:
    """Its directory may have been removed, or ends before the epochs asked for."""
    spec, _ = refit_of(store)
    with pytest.raises(IntegrityError, match="has 4 epochs of the trial to refit, not 5"):
        store.train(spec, 5)
    shutil.rmtree(store.folder / spec.refitted.key)
    with pytest.raises(IntegrityError, match="has 0 epochs"):
        store.train(spec, 2)


def test_classes_are_counted_in_both_splits(store: Store) -> None:
    """For their weights; pixels are normalised as before."""
    before, after = store.trials.manifest, joined_manifest(store.trials.manifest)
    labels = np.concatenate(
        [
            open_split(store.trials.prepared, name, verify=False).labels
            for name in ("train", "validation")
        ]
    )

    assert after.splits["train"].class_counts == tuple(np.bincount(labels).tolist())
    assert (after.mean, after.splits["test"]) == (before.mean, before.splits["test"])


def test_a_trial_keeps_its_key_and_its_refit_has_another(store: Store) -> None:
    """A spec of an earlier release, which knows of no refit, is the same trial."""
    spec = spec_of(CONFIG, store.trials.manifest)
    earlier = TrialSpec.model_validate_json(spec.model_dump_json(exclude={"refit"}))

    refit = spec.model_copy(update={"refit": True})

    assert earlier.key == spec.key != refit.key
    assert refit.refitted == spec
