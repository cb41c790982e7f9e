"""Label triage: likely faults among labels, by probabilities of networks that did not see them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from flows.datasets.current import PREPARED, manifest_of, prepare_dataset
from flows.datasets.files import TRIAGES, data_lock
from flows.datasets.split_moves import shared_keys
from flows.records.trial_store import directory_of, find_trial
from flows.registry.loading import open_version
from flows.registry.promotion.judge import score_on_test
from flows.tracking.store import Tracking
from flows.versions.evaluate import names_trial
from flows.versions.label_folds import FoldTraining, Tick, cross_validated, read_probabilities
from models.config import Params
from models.config.data import SplitName
from models.config.start import PRETRAINED
from models.datasets.labelled_images import SPLITS
from models.datasets.prepared import Manifest, Split, open_split
from models.datasets.splits import Ids
from models.digests import digest_of
from models.errors import ConfigError, PitchpipeError
from models.evaluation.outcomes import Floats
from models.monitoring.labels.confident_learning import Suspicion, suspect_labels
from models.monitoring.labels.folds import Pool, open_pool
from models.monitoring.labels.forecast import estimate_noise, forecast_gain
from models.monitoring.labels.records import LabelFault, NoiseEstimate, Triage, TriagePlan
from models.trials import TrialResult, TrialSpec

MOST_FOLDS = 20
_PROBABILITIES = "probabilities.npy"


@dataclass(frozen=True, slots=True)
class TriageRequest:
    """What is asked for."""

    of: str = "champion"
    """Version, alias or key of a trial, whose config is trained on the folds."""
    folds: int = 5
    epochs: int | None = None
    """Budget of each fold; None: that of the trial."""
    splits: tuple[SplitName, ...] = ("train", "validation", "test")
    """Whose faults are listed."""


def splits_named(names: Sequence[str]) -> tuple[SplitName, ...]:
    """Return the splits of these names; all where none is named. Raises ConfigError for others."""
    for name in names:
        if name not in SPLITS:
            raise ConfigError(f"--split {name}: must be one of {', '.join(SPLITS)}")
    return tuple(split for split in SPLITS if not names or split in names)


@dataclass(frozen=True, slots=True)
class _Subject:
    """Whose config is trained, and what it says of test."""

    called: str
    spec: TrialSpec
    result: TrialResult
    version: str | None
    """None: it is a trial."""
    own_start: bool
    """Whether its training began with weights of a version."""


@dataclass(frozen=True, slots=True)
class OpenTriage:
    """A triage that is planned; nothing was trained."""

    request: TriageRequest
    plan: TriagePlan
    manifest: Manifest
    pool: Pool
    training: FoldTraining
    folder: Path
    tracking: Tracking
    subject: _Subject

    def carry_out(self, tick: Tick) -> Triage:
        """Train the folds, ask the version about test, and rank; tick: after each epoch."""
        found = cross_validated(
            self.training, self.pool, self.manifest, folder=self.folder, tick=tick
        )
        classes, pool = self.manifest.classes, self.pool
        suspicion = suspect_labels(found, pool.labels)
        noise_of_pool = estimate_noise(suspicion, classes, "cross-validated")
        parts = [_Part(suspicion, _Rows(_hex(pool.ids), _names(pool)), noise_of_pool)]
        notes = [*self._notes()]
        if "test" in self.request.splits:
            test, note = self._test()
            parts += [test] if test is not None else []
            notes += [note] if note else []
        noise = tuple(part.noise for part in parts)
        return Triage(
            id=self.folder.name,
            dataset=self.manifest.name,
            dataset_digest=self.manifest.digest,
            of=self.plan.of,
            folds=self.plan.folds,
            epochs=self.plan.epochs,
            noise=noise,
            faults=_ranked(parts, classes, self.request.splits),
            forecast=forecast_gain(noise),
            notes=tuple(notes),
        )

    def _notes(self) -> list[str]:
        if not self.subject.own_start:
            return []
        began = "began with weights that may have seen these labels; the folds begin with new ones"
        return [f"the training of {self.subject.called} {began}"]

    def _test(self) -> "tuple[_Part | None, str | None]":
        """What the version's own held-out probabilities say of test, or why they cannot."""
        split = open_split(PREPARED, "test", verify=True)
        classes = self.manifest.classes
        try:
            probabilities = _on_test(self.tracking, self.subject, self.manifest, split)
        except PitchpipeError as error:
            return None, f"test is left out: {error}"
        suspicion = suspect_labels(probabilities, np.asarray(split.labels))
        rows = _Rows(_hex(split.ids), tuple[SplitName, ...]("test" for _ in split.labels))
        return _Part(suspicion, rows, estimate_noise(suspicion, classes, "held-out")), None


def open_triage(tracking: Tracking, params: Params, request: TriageRequest) -> OpenTriage:
    """Prepare the data as for a retraining, and plan what is trained.

    Raises ConfigError where there is no such version or trial, or where folds or epochs are out of
    range; InputError where the images are too few; as `prepare_dataset` does.
    """
    if not 2 <= request.folds <= MOST_FOLDS:
        raise ConfigError(f"--folds {request.folds}: must be from 2 to {MOST_FOLDS}")
    subject = _find(tracking, request.of)
    budget = subject.result.budget if request.epochs is None else request.epochs
    if not 1 <= budget <= subject.result.budget:
        raise ConfigError(
            f"--epochs {budget}: must be from 1 to {subject.result.budget}, the budget of "
            f"{subject.called}"
        )
    dataset = prepare_dataset(params.data)
    manifest = manifest_of(dataset)
    training = FoldTraining.of(
        subject.spec.config,
        manifest,
        budget=budget,
        folds=request.folds,
        stored=directory_of(subject.result.key),
    )
    with data_lock():
        keys = shared_keys(params.data)
    pool = open_pool(PREPARED, keys, folds=request.folds, seed=training.config.seed)
    folder = TRIAGES / manifest.name / _identity(training, keys)[:16]
    return OpenTriage(
        request=request,
        plan=_plan(subject, training, pool, cached=_is_kept(folder, pool, manifest)),
        manifest=manifest,
        pool=pool,
        training=training,
        folder=folder,
        tracking=tracking,
        subject=subject,
    )


def _identity(training: FoldTraining, keys: dict[bytes, bytes]) -> str:
    together = {key.hex(): value.hex() for key, value in keys.items()}
    return digest_of({"training": training.id, "together": digest_of(dict(together))})


def _is_kept(folder: Path, pool: Pool, manifest: Manifest) -> bool:
    return read_probabilities(folder, pool, len(manifest.classes)) is not None


def _find(tracking: Tracking, target: str) -> _Subject:
    if names_trial(tracking, target):
        trial = find_trial(target)
        if not isinstance(trial.outcome, TrialResult):
            raise ConfigError(f"trial {trial.key[:12]} has no weights: it is {trial.state}")
        called, spec, result, version = f"trial {trial.key[:12]}", trial.spec, trial.outcome, None
    else:
        files = open_version(tracking, target)
        called, version = files.called, str(files.record.version)
        spec, result = files.lineage.spec, files.lineage.result
    start = spec.config.begins_with
    own = start is not None and start.origin != PRETRAINED
    return _Subject(called, spec.refitted, result, version, own)


def _plan(subject: _Subject, training: FoldTraining, pool: Pool, *, cached: bool) -> TriagePlan:
    result, folds = subject.result, training.folds
    rounds = -(-folds // training.workers)
    a_fold = result.seconds / result.epochs * training.budget * (folds - 1) / folds
    return TriagePlan(
        of=subject.called,
        folds=folds,
        epochs=training.budget,
        images=len(pool.labels),
        workers=training.workers,
        seconds=round(a_fold * rounds, 1) if result.seconds else None,
        cached=cached,
    )


def _on_test(tracking: Tracking, subject: _Subject, manifest: Manifest, test: Split) -> Floats:
    """Return what the version, or the trial, says of test: as stored, else predicted anew.

    Raises PitchpipeError where it saw test images, or does not know today's classes.
    """
    spec, result = subject.spec, subject.result
    stored = directory_of(result.key) / "evaluations" / f"{result.budget:06d}" / _PROBABILITIES
    if spec.dataset == manifest.digest and not subject.own_start:
        found = _stored(stored, (len(test.labels), len(manifest.classes)))
        if found is not None:
            return found
    if subject.version is None:
        raise PitchpipeError(f"{subject.called} has no probabilities of today's test images")
    scored = score_on_test(tracking, subject.version)
    if scored.unknown or scored.trained_on_test != 0:
        why = f"does not know {scored.unknown[0]!r}" if scored.unknown else "saw test images"
        raise PitchpipeError(f"{subject.called} {why}")
    return scored.probabilities.astype(np.float64)


def _stored(path: Path, shape: tuple[int, int]) -> Floats | None:
    try:
        found = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    whole = found.shape == shape and np.isfinite(found).all()
    return found.astype(np.float64) if whole else None


def _names(pool: Pool) -> tuple[SplitName, ...]:
    return tuple(name for name, split in pool.splits.items() for _ in range(len(split.labels)))


def _hex(ids: Ids) -> tuple[str, ...]:
    return tuple(one.tobytes().hex() for one in ids)


@dataclass(frozen=True, slots=True)
class _Rows:
    """Which images they are."""

    ids: tuple[str, ...]
    splits: tuple[SplitName, ...]


@dataclass(frozen=True, slots=True)
class _Part:
    """Images whose probabilities have one origin."""

    suspicion: Suspicion
    rows: _Rows
    noise: NoiseEstimate

    def fault(self, place: int, rank: int, classes: Sequence[str]) -> LabelFault:
        """Describe the image at a place."""
        one = self.suspicion
        return LabelFault(
            rank=rank,
            id=self.rows.ids[place],
            split=self.rows.splits[place],
            given=classes[one.labels[place]],
            proposed=classes[one.proposed[place]],
            given_probability=float(one.own[place]),
            proposed_probability=float(one.others[place]),
            margin=float(one.margins[place]),
            likely=bool(one.likely[place]),
        )


def _ranked(
    parts: Sequence[_Part], classes: Sequence[str], splits: Sequence[SplitName]
) -> tuple[LabelFault, ...]:
    """What is contradicted, of all parts in one list: likely faults, then doubts, by margin."""
    places = [
        (not part.suspicion.likely[place], float(part.suspicion.margins[place]), number, int(place))
        for number, part in enumerate(parts)
        for place in np.flatnonzero(part.suspicion.contradicted)
        if part.rows.splits[place] in splits
    ]
    return tuple(
        parts[number].fault(place, rank, classes)
        for rank, (_, _, number, place) in enumerate(sorted(places), start=1)
    )
