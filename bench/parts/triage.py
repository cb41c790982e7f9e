"""Label triage on digits with flipped labels: what the ranking finds, and what correcting regains.

Labels of scikit-learn's digits are flipped before the data is prepared, 5 folds are trained by the
project's own training code, likely faults get the proposed label by a relabelling, and the arrays
are made and trained on again. Test accuracy is by the true labels, which nothing saw.
"""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from models.config import DataParams, TrialConfig
from models.datasets.ingest import ingest
from models.datasets.pixels import content_ids
from models.datasets.prepare import prepare
from models.datasets.prepared import Manifest, open_split
from models.datasets.sources.detect import find_source
from models.datasets.sources.relabelling import Relabel, write_relabelling
from models.evaluation.inference import predict_probabilities
from models.monitoring.labels.confident_learning import Suspicion, suspect_labels
from models.monitoring.labels.folds import Pool, open_pool, write_fold
from models.monitoring.labels.forecast import estimate_noise
from models.networks import CnnConfig
from models.networks.serving import ServingNetwork
from models.training.checkpoint import load_serving
from models.training.fit import train_trial
from models.training.source import package_versions, training_source_digest
from models.trials import TrialResult, TrialSpec

SEEDS, FOLDS, EPOCHS, SHARE = (0, 1, 2), 5, 10, 0.08
DATA = DataParams(name="digits", image_size=16)
NETWORK = CnnConfig(channels=(16, 32), hidden_units=64, dropout=0.25)
Labels = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Found:
    """One run; NaN where there is nothing of which it is a share."""

    wrong: float
    """Share of wrong labels in train and validation."""
    estimated: float
    covered: bool
    """Whether its interval holds the true share."""
    precision: float
    """Of the first 8 % of the ranking."""
    recall: float
    likely: float
    """Share of images that are likely faults."""
    likely_precision: float
    likely_recall: float
    accuracies: tuple[float, ...]
    """On test by true labels, trained on labels as given, with likely faults given the proposals,
    with the first 8 % of the ranking given their true labels (NaN: not asked), and on true ones."""


def uniform(rate: float) -> Callable[[Labels, np.random.Generator], Labels]:
    """Flip a share of all labels to any other class."""

    def flip(true: Labels, generator: np.random.Generator) -> Labels:
        flipped = true.copy()
        rows = generator.choice(len(true), round(rate * len(true)), replace=False)
        flipped[rows] = (true[rows] + generator.integers(1, 10, len(rows))) % 10
        return flipped

    return flip


def by_class(true: Labels, generator: np.random.Generator) -> Labels:
    """Of 3 a quarter is called 8, of 1 a quarter 7, of 4 a tenth 9: 5 to 6 % of all."""
    flipped = true.copy()
    for one, other, share in ((3, 8, 0.25), (1, 7, 0.25), (4, 9, 0.1)):
        rows = np.flatnonzero(true == one)
        flipped[generator.choice(rows, round(share * len(rows)), replace=False)] = other
    return flipped


NOISE = {
    **{f"{rate} % at random": uniform(rate / 100) for rate in (0, 2, 5, 10)},
    "3->8, 1->7: 25 %, 4->9: 10 %": by_class,
}


REVIEWED = ("5 % at random", "3->8, 1->7: 25 %, 4->9: 10 %")
"""Where a person, who is right, looks at the first 8 %."""


def measure() -> Iterator[str]:
    yield f"digits, {FOLDS} folds x {EPOCHS} epochs, seeds {SEEDS}: mean over seeds (worst seed)"
    yield (
        "noise                        | wrong | estimated, held | first 8 %: precision  recall"
        "        | likely faults: share precision recall | accuracy: given  proposals reviewed true"
    )
    for name, flip in NOISE.items():
        found = [run(flip, seed, reviewed=name in REVIEWED) for seed in SEEDS]

        def mean(field: str, found: list[Found] = found) -> str:
            values = [getattr(one, field) for one in found]
            if np.isnan(values).all():
                return "  -          "
            return f"{np.mean(values):.3f} ({np.min(values):.3f})"

        accuracies = np.mean([one.accuracies for one in found], axis=0)
        held = sum(one.covered for one in found)
        yield (
            f"{name:28} | {found[0].wrong:.3f} | {np.mean([one.estimated for one in found]):.3f}, "
            f"{held} of {len(found)}     | {mean('precision')} {mean('recall')} | "
            f"{np.mean([one.likely for one in found]):.4f} {mean('likely_precision')} "
            f"{mean('likely_recall')} | {'  '.join(f'{one:6.4f}' for one in accuracies)}"
        )


def run(
    flip: Callable[[Labels, np.random.Generator], Labels], seed: int, *, reviewed: bool
) -> Found:
    digits = load_digits()
    images = (digits.images / 16 * 255).astype(np.uint8)
    labels = flip(digits.target, np.random.default_rng(seed))
    ids = [one.tobytes() for one in content_ids(images[:, :, :, None])]
    truth = dict(zip(ids, digits.target.tolist(), strict=True))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        manifest = prepared(folder, "given", images, labels)
        pool = open_pool(folder / "given", {}, folds=FOLDS, seed=seed)
        suspicion = suspect_labels(held_out(folder, pool, manifest, seed), pool.labels)
        true = np.array([truth[one.tobytes()] for one in pool.ids])
        made = {"given": manifest}
        likely = np.flatnonzero(suspicion.likely)
        made["proposals"] = relabelled(folder, pool, likely, suspicion.proposed)
        if reviewed:
            first = suspicion.ranking[: round(SHARE * len(true))]
            made["reviewed"] = relabelled(
                folder, pool, first[true[first] != pool.labels[first]], true
            )
        made["true"] = prepared(folder, "true", images, digits.target)
        scores = {name: accuracy(folder / name, one, truth, seed) for name, one in made.items()}
    names = ("given", "proposals", "reviewed", "true")
    accuracies = tuple(scores.get(name, np.nan) for name in names)
    return found_of(suspicion, true, accuracies)


def found_of(suspicion: Suspicion, true: Labels, accuracies: tuple[float, ...]) -> Found:
    wrong, likely = suspicion.labels != true, suspicion.likely
    noise = estimate_noise(suspicion, [str(one) for one in range(10)], "cross-validated")
    top = suspicion.ranking[: round(SHARE * len(true))]
    right = likely & wrong & (suspicion.proposed == true)
    return Found(
        wrong=float(wrong.mean()),
        estimated=noise.rate,
        covered=noise.interval.low <= wrong.mean() <= noise.interval.high,
        precision=float(wrong[top].mean()) if wrong.any() else np.nan,
        recall=share(wrong[top].sum(), wrong.sum()),
        likely=float(likely.mean()),
        likely_precision=share(right.sum(), likely.sum()) if wrong.any() else np.nan,
        likely_recall=share(right.sum(), wrong.sum()),
        accuracies=accuracies,
    )


def share(some: int, of: int) -> float:
    return float(some / of) if of else np.nan


def prepared(folder: Path, name: str, images: NDArray[np.uint8], labels: Labels) -> Manifest:
    np.savez(folder / f"{name}.npz", images=images, labels=labels)
    raw = folder / f"{name}-raw"
    raw.mkdir()
    ingest(find_source(folder / f"{name}.npz"), raw / "batch.parquet", DATA, known={})
    return prepare(raw, folder / name, DATA)


def held_out(folder: Path, pool: Pool, manifest: Manifest, seed: int) -> NDArray[np.float64]:
    found = np.zeros((len(pool.labels), 10))
    for fold in range(FOLDS):
        place = folder / f"fold-{fold}"
        made = write_fold(place, pool, manifest, fold)
        network, start = trained(place, made, seed), 0
        for name, rows in pool.held(fold).items():
            images = pool.splits[name].images
            found[start + rows] = predict_probabilities(network, images[rows], threads=1)
            start += len(images)
    return found


def relabelled(folder: Path, pool: Pool, places: Labels, labels: Labels) -> Manifest:
    """Prepare the data with other labels at some places, under the name of this relabelling."""
    name = "reviewed" if (folder / "proposals").exists() else "proposals"
    file = folder / "given-raw" / "relabel-000001-bench.labels.jsonl"
    file.unlink(missing_ok=True)
    lines = [
        Relabel(id=pool.ids[place].tobytes().hex(), label=str(labels[place])) for place in places
    ]
    if lines:
        write_relabelling(file, lines)
    return prepare(folder / "given-raw", folder / name, DATA)


def accuracy(folder: Path, manifest: Manifest, truth: dict[bytes, int], seed: int) -> float:
    test = open_split(folder, "test", verify=True)
    true = np.array([truth[one.tobytes()] for one in test.ids])
    predicted = predict_probabilities(trained(folder, manifest, seed), test.images, threads=1)
    return float((predicted.argmax(axis=1) == true).mean())


def trained(folder: Path, manifest: Manifest, seed: int) -> ServingNetwork:
    spec = TrialSpec(
        config=TrialConfig(network=NETWORK, objective="cross_entropy", seed=seed),
        dataset=manifest.digest,
        source=training_source_digest(),
        versions=package_versions(),
    )
    trial = folder / "trial"
    result = train_trial(spec, trial, prepared=folder, budget=EPOCHS, on_epoch=lambda _: None)
    assert isinstance(result, TrialResult)
    return load_serving(trial, result, manifest)
