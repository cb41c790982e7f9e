"""What each remedy does alone: the article's CNN with and without it, pairs over seeds.

    python bench/effects.py [--seeds 5] [--only NAME ...] > bench/results/effects.txt

Fashion-MNIST with few images: of the train images 200 a class to train and 100 a class to choose
the epoch by cross-entropy, another draw each seed; the official 10,000 test images. A second table
has classes of unequal size: 200 images of five classes, 20 of the others, in train and in
validation alike. In each pair nothing but the remedy differs: data, seed and budget are the same.
Differences to the plain trial: mean over seeds, 95 % interval of Student's t over the pairs.
"""

import argparse
import gzip
import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from fine_tuning import Images, Labels, write_manifest, write_split
from numpy.typing import NDArray
from scipy import stats

from models.config import SplitName, TrialConfig
from models.datasets.prepared import Manifest, open_split
from models.evaluation.inference import predict_probabilities
from models.evaluation.outcomes import outcomes_of
from models.evaluation.scores import score
from models.training.checkpoint import load_serving
from models.training.fit import train_trial
from models.training.source import package_versions
from models.trials import TrialResult, TrialSpec

FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")
EPOCHS = 30
TRAIN, VALIDATION = 200, 100
FEW = 20
CLASSES = tuple(str(label) for label in range(10))
PLAIN = {"objective": "cross_entropy"}


@dataclass(frozen=True, slots=True)
class Remedy:
    """What differs from the plain trial."""

    name: str
    config: Mapping[str, object] = field(default_factory=dict)
    flips: bool = False
    """Mirror images are asked as well, on test."""
    refit: bool = False
    """Trained on validation's images as well, for as many epochs as were the best."""


@dataclass(frozen=True, slots=True)
class Scored:
    """Scores of a trial on test."""

    accuracy: float
    f1_macro: float
    cross_entropy: float


REMEDIES = (
    Remedy("dropout 0.25", {"network": {"name": "cnn", "dropout": 0.25}}),
    Remedy("adamw, weight decay 0.05", {"optimizer": {"name": "adamw", "weight_decay": 0.05}}),
    Remedy("label smoothing 0.05", {"label_smoothing": 0.05}),
    Remedy("early stopping, patience 5", {"early_stopping": {"patience": 5}}),
    Remedy("shift by 2 pixels", {"augmentation": {"name": "shift", "pixels": 2}}),
    Remedy("crop and mirror", {"augmentation": {"name": "crop", "padding": 2, "mirror": True}}),
    Remedy("erasing", {"augmentation": {"name": "erasing", "probability": 0.3}}),
    Remedy("RandAugment", {"augmentation": {"name": "rand_augment"}}),
    Remedy("mixup 0.2", {"mixing": {"name": "mixup", "alpha": 0.2}}),
    Remedy("cutmix 1.0", {"mixing": {"name": "cutmix", "alpha": 1.0}}),
    Remedy("running mean of weights", {"ema_decay": 0.99}),
    Remedy("mirror images asked as well", flips=True),
    Remedy("refit on validation as well", refit=True),
    Remedy("batch norm", {"network": {"name": "cnn", "normalisation": "batch"}}),
    Remedy("resnet, width 16", {"network": {"name": "resnet", "width": 16}}),
    Remedy("cosine", {"schedule": {"name": "cosine"}}),
    Remedy("one cycle", {"schedule": {"name": "one_cycle"}}),
    Remedy("restarts", {"schedule": {"name": "restarts"}}),
    Remedy("plateau", {"schedule": {"name": "plateau"}}),
    Remedy("minibatch 128", {"minibatch_size": 128}),
    Remedy(
        "minibatch 128, rate scaled",
        {"minibatch_size": 128, "learning_rate_scaling": {"rule": "linear", "base": 32}},
    ),
    Remedy("adamw", {"optimizer": {"name": "adamw", "weight_decay": 0.0}}),
    Remedy("rmsprop", {"optimizer": {"name": "rmsprop", "learning_rate": 0.001}}),
    Remedy("adagrad 0.01", {"optimizer": {"name": "adagrad", "learning_rate": 0.01}}),
    Remedy("muon", {"optimizer": {"name": "muon"}}),
    Remedy("bf16", {"precision": "bf16"}),
)
FOR_FEW = (
    Remedy("class weights", {"class_weights": "balanced"}),
    Remedy("balanced sampling", {"sampling": "balanced"}),
    Remedy("focal loss, gamma 2", {"focal_gamma": 2.0}),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", nargs="+", default=None, metavar="NAME")
    asked = parser.parse_args()
    for title, sizes, remedies in (
        (f"{TRAIN} train images a class", [TRAIN] * 10, REMEDIES),
        (f"{TRAIN} and {FEW} train images a class", [TRAIN] * 5 + [FEW] * 5, FOR_FEW),
    ):
        print(f"{title}, {EPOCHS} epochs, {asked.seeds} seeds; points on test, plain below")
        chosen = [one for one in remedies if asked.only is None or one.name in asked.only]
        with tempfile.TemporaryDirectory() as scratch:
            table(chosen, sizes, seeds=asked.seeds, folder=Path(scratch))


def table(remedies: list[Remedy], sizes: list[int], *, seeds: int, folder: Path) -> None:
    """Print a row for each remedy: its differences to the plain trial."""
    data = [Few(folder / f"data-{seed}", sizes, seed) for seed in range(seeds)]
    plain = [one.scored(Remedy("plain")) for one in data]
    for remedy in remedies:
        found = [one.scored(remedy) for one in data]
        cells = [
            f"{difference(found, plain, of)}"
            for of in (lambda s: s.accuracy, lambda s: s.f1_macro, lambda s: s.cross_entropy)
        ]
        print(f"{remedy.name:28}  {'  '.join(cells)}", flush=True)
    means = [np.mean([getattr(one, name) for one in plain]) for name in Scored.__slots__]
    print(f"{'plain':28}  {'  '.join(f'{100 * mean:<26.2f}' for mean in means)}\n")


def difference(found: list[Scored], plain: list[Scored], of: Callable[[Scored], float]) -> str:
    """Show 100 times the mean difference, and its interval."""
    pairs = 100 * np.array([of(a) - of(b) for a, b in zip(found, plain, strict=True)])
    if not pairs.any():
        return f"{0:+8.2f} (all the same)   "
    half = stats.t.ppf(0.975, len(pairs) - 1) * pairs.std(ddof=1) / len(pairs) ** 0.5
    return f"{pairs.mean():+8.2f} ({pairs.mean() - half:+6.2f} to {pairs.mean() + half:+6.2f})"


def fashion_images(split: Literal["train", "t10k"]) -> tuple[Images, Labels]:
    """Read images (n, 1, 28, 28) and labels (n,) of Debian's package dataset-fashion-mnist."""
    arrays = []
    for kind, header in (("images-idx3", 16), ("labels-idx1", 8)):
        with gzip.open(FASHION_MNIST / f"{split}-{kind}-ubyte.gz") as file:
            arrays.append(np.frombuffer(file.read(), np.uint8, offset=header))
    images, labels = arrays
    return images.reshape(-1, 1, 28, 28), labels.astype(np.int64)


class Few:
    """Few images of Fashion-MNIST, drawn by the seed, as prepared data."""

    def __init__(self, folder: Path, sizes: list[int], seed: int) -> None:
        images, labels = fashion_images("train")
        random = np.random.default_rng(seed)
        drawn = [random.permutation(np.flatnonzero(labels == one)) for one in range(len(sizes))]
        ends = [size + VALIDATION * size // TRAIN for size in sizes]
        rows: dict[SplitName, NDArray[np.intp]] = {
            "train": np.concatenate([one[:size] for one, size in zip(drawn, sizes, strict=True)]),
            "validation": np.concatenate(
                [one[size:end] for one, size, end in zip(drawn, sizes, ends, strict=True)]
            ),
        }
        self._seed = seed
        self._folder = folder
        parts = {name: (images[some], labels[some]) for name, some in rows.items()}
        self._manifest = self._write(folder / "data", {**parts, "test": fashion_images("t10k")})

    def scored(self, remedy: Remedy) -> Scored:
        """Train with it and score on test."""
        config = TrialConfig.model_validate_json(
            json.dumps({**PLAIN, "seed": self._seed, **remedy.config})
        )
        result = self._trained(config.for_epochs(EPOCHS), EPOCHS)
        if remedy.refit:
            result = self._trained(result.config, result.best_epoch, refit=True)
        directory = self._folder / result.key
        network = load_serving(directory, result, self._manifest, mirror=remedy.flips)
        test = open_split(self._folder / "data", "test", verify=False)
        probabilities = predict_probabilities(network, test.images, threads=1)
        found = score(outcomes_of(probabilities, test.labels), classes=CLASSES, bins=15)
        return Scored(found.accuracy, found.f1_macro, found.cross_entropy)

    def _trained(self, config: TrialConfig, epochs: int, *, refit: bool = False) -> TrialResult:
        spec = TrialSpec(
            config=config,
            dataset=self._manifest.digest,
            source="0" * 64,
            versions=package_versions(),
            refit=refit,
        )
        result = train_trial(
            spec,
            self._folder / spec.key,  # a refit finds the trial that it refits by its key
            prepared=self._folder / "data",
            budget=epochs,
            on_epoch=lambda _: None,
        )
        assert isinstance(result, TrialResult)
        return result

    @staticmethod
    def _write(folder: Path, parts: Mapping[SplitName, tuple[Images, Labels]]) -> Manifest:
        splits = {name: write_split(folder / name, *arrays) for name, arrays in parts.items()}
        return write_manifest(folder, CLASSES, splits, name="fashion-mnist")


if __name__ == "__main__":
    main()
