"""Reproduce a version in a scratch folder, from its data, config and seed, and compare it."""

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from flows.datasets.files import data_lock
from flows.datasets.restore import copy_batches, find_version
from flows.datasets.versions import arrivals
from flows.engines.local import LocalEngine, stop_on_signals, warm_up
from flows.records.lineage import Lineage, environment_facts
from flows.records.trial_store import directory_of
from flows.registry.loading import VersionFiles, open_version
from flows.registry.records import another_release
from flows.registry.starting import find_weights, place_start
from flows.runtime.scratch import discard_abandoned, scratch_folder
from flows.search.progress import format_scores
from flows.tracking.store import Tracking
from flows.versions.differences import (
    ASYNCHRONOUS,
    UNEXPLAINED,
    Environment,
    Results,
    compare_asynchronous,
    compare_results,
    find_causes,
)
from models.config import DataParams, EvaluationParams, Record
from models.datasets.prepare import prepare
from models.datasets.prepared import Manifest
from models.errors import PitchpipeError
from models.evaluation.served import TrainedTrial, score_served
from models.training.processor import instruction_set
from models.training.source import package_versions, training_source_digest
from models.training.worker import TrialJob
from models.trials import (
    EpochRecord,
    TrialFailure,
    TrialFiles,
    TrialResult,
    TrialSpec,
    read_history,
)

log = logging.getLogger(__name__)

Say = Callable[[str], None]
"""Receives progress, a line at a time."""


@dataclass(frozen=True, slots=True)
class Reproduction:
    """Result of reproducing a version."""

    version: int
    bit_equal: bool
    """Weights, history, validation scores and test scores are those of the version."""
    as_promised: bool
    """bit_equal; of a trial trained asynchronously also: test accuracy within chance."""
    differences: tuple[str, ...]
    """Each begins with its kind: code, environment, data; weights, history, scores."""


def reproduce_version(tracking: Tracking, wanted: str, *, say: Say) -> Reproduction:
    """Restore a version's data into a scratch folder, prepare, train, evaluate, and compare.

    data/ and the trial store are not changed; DVC's cache may be filled from its remote.
    Raises as `open_version` does; data that cannot be restored is a difference, not an error.
    """
    warm_up()  # imports what training needs while the data is prepared
    files = open_version(tracking, wanted)
    version, lineage = files.record.version, files.lineage
    sections = _read_sections(files)
    discard_abandoned()
    with scratch_folder(".reproducing-") as folder:
        try:
            manifest = _prepare(lineage, sections.data, folder, say=say)
        except PitchpipeError as error:
            return _lost(version, lineage, f"data: {error}")
        try:
            _place_start(lineage, folder / "trial")
        except PitchpipeError as error:
            return _lost(version, lineage, f"weights: {error}")
        causes = find_causes(lineage, _environment(manifest))
        for cause in causes:
            say(cause)
        found = _train_and_compare(files, manifest, folder, sections.evaluation, say=say)
    promised = all(one.startswith(ASYNCHRONOUS) for one in found)
    if not promised and not causes:
        found.append(UNEXPLAINED)
    return Reproduction(version, not found, promised, differences=(*causes, *found))


def _lost(version: int, lineage: Lineage, what: str) -> Reproduction:
    found = (*find_causes(lineage, _environment(None)), what)
    return Reproduction(version, bit_equal=False, as_promised=False, differences=found)


def _place_start(lineage: Lineage, directory: Path) -> None:
    """Put the weights that training began with, where it did, into the directory of the trial."""
    start = lineage.spec.config.begins_with
    if start is not None:
        stored = directory_of(lineage.result.key) / TrialFiles.START
        place_start(find_weights(start.weights or "", stored), directory)


class _Sections(Record):
    """Sections of a version's params that reproducing it needs."""

    data: DataParams
    evaluation: EvaluationParams


def _read_sections(files: VersionFiles) -> _Sections:
    """Read these sections. Raises IntegrityError where another release wrote them."""
    kept = {name: files.lineage.params.get(name) for name in _Sections.model_fields}
    _ = files.evaluation  # raises for another release now, not after hours of training
    try:
        # From JSON: its lists are tuples in the records.
        return _Sections.model_validate_json(json.dumps(kept))
    except ValidationError as error:
        raise another_release(error, whose=files.called, where="params") from None


def _prepare(lineage: Lineage, data: DataParams, folder: Path, *, say: Say) -> Manifest:
    raw, dataset = folder / "raw", lineage.dataset
    raw.mkdir()
    say(f"restoring {dataset.name} {dataset.digest[:12]}")
    logged = find_version(dataset.digest, dataset=dataset.name)
    with data_lock():
        copy_batches(logged, raw)
    say(f"preparing {logged.images:,} images")
    return prepare(raw, folder / "prepared", data, arrivals=arrivals(dataset.name))


def _environment(manifest: Manifest | None) -> Environment:
    return Environment(
        source=training_source_digest(),
        environment=environment_facts(package_versions()),
        instructions=instruction_set(),
        raw_digest=manifest.raw_digest if manifest else None,
        prepared_digest=manifest.digest if manifest else None,
    )


def _train_and_compare(
    files: VersionFiles, manifest: Manifest, folder: Path, params: EvaluationParams, *, say: Say
) -> list[str]:
    """Train and evaluate again; list the differences in the results."""
    lineage = files.lineage
    spec = lineage.spec.model_copy(
        update={
            "dataset": manifest.digest,
            "source": training_source_digest(),
            "versions": package_versions(),
            "instructions": None if lineage.spec.device == "cuda" else instruction_set(),
        }
    )
    trained: list[TrainedTrial] = []
    for one in (spec.refitted, spec) if spec.refit else (spec,):
        outcome = _train(one, folder, budget=lineage.result.budget, say=say)
        if isinstance(outcome, TrialFailure):
            return [f"weights: the trial failed after {outcome.epochs} epochs: {outcome.reason}"]
        prepared = folder / "prepared"
        trained.append(TrainedTrial(folder / one.key, outcome, prepared, manifest))
    say("scoring on test")
    last = trained[-1]
    now = Results(
        trained=last.result,
        history=read_history(last.directory)[: last.result.epochs],
        test=score_served(last, params, selected=trained[0]).evaluation,
    )
    then = _recorded_results(files)
    found = compare_results(then, now)
    if found and spec.config.is_asynchronous:
        return compare_asynchronous(then, now, processes=spec.config.devices)
    return found


def _train(spec: TrialSpec, folder: Path, *, budget: int, say: Say) -> TrialResult | TrialFailure:
    def report(record: EpochRecord) -> None:
        say(f"epoch {record.epoch} of {budget}: validation {format_scores(record.scores)}")

    engine = LocalEngine()
    job = TrialJob(
        spec=spec,
        directory=folder / spec.key,
        prepared=folder / "prepared",
        budget=budget,
        label="reproduction",
    )
    try:
        with stop_on_signals(engine):
            return engine.train(job, report)
    finally:
        engine.stop()


def _recorded_results(files: VersionFiles) -> Results:
    """Results in the version's files; its history is in the trial store where it was trained."""
    result = files.lineage.result
    history = read_history(directory_of(result.key))[: result.epochs]
    if not history:
        log.warning("trial %s is not in the store: its history is not compared", result.key[:12])
    return Results(trained=result, history=history, test=files.evaluation)
