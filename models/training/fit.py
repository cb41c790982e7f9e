"""Train one trial to an epoch budget; killed anywhere, it goes on to the bit-same result."""

import contextlib
import logging
import os
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytorch_lightning as pl
import torch
from filelock import FileLock

from models.config import TrialConfig
from models.datasets.prepared import open_split, read_manifest
from models.errors import IntegrityError
from models.training.asynchronous import AsynchronousClassifier, SharedWeights
from models.training.checkpoint import TrainingState, build_network
from models.training.classifier import Classifier, TrialData
from models.training.early_stopping import should_stop_early
from models.training.joined import JoinedSplits, joined_manifest
from models.training.nodes import nodes_of
from models.training.recorder import Recorder
from models.training.seeding import seed_global
from models.training.starting import begin_with
from models.training.subset import ChosenSplit, chosen_manifest
from models.training.trial_directory import TrialDirectory
from models.training.trial_faults import TrialFault, faults_of_processes, network_faults
from models.trials import (
    EpochRecord,
    Outcome,
    TrialFailure,
    TrialFiles,
    TrialSpec,
    read_history,
    read_outcome,
)


def train_trial(
    spec: TrialSpec,
    directory: Path,
    *,
    prepared: Path,
    budget: int,
    on_epoch: Callable[[EpochRecord], None],
) -> Outcome:
    """Train the trial to its budget of epochs, from wherever its directory says it stands.

    Returns at once what was trained before. on_epoch hears of each epoch trained now, once its
    checkpoint is on disk; earlier ones are in history.jsonl. A second process waits for the first
    and gets its outcome. Sets torch's threads, determinism and global generators.
    A refit finds the trial that it refits beside its own directory, by its key.
    Raises IntegrityError where prepared holds another dataset than the spec names, or where the
    trial that is refitted is not there to its budget.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with FileLock(directory / ".lock"):
        outcome = read_outcome(directory, budget)
        if outcome is not None and _settled(outcome, directory):
            return outcome
        trial = TrialDirectory(directory, spec)
        trial.open()
        data = _open(spec, prepared, directory=directory, budget=budget)
        try:
            return _train(trial, data, budget=budget, on_epoch=on_epoch)
        except TrialFault as fault:
            return _failed(trial, fault, budget)


def _settled(outcome: Outcome, directory: Path) -> bool:
    """Whoever asked for it decided whether a trial that timed out is tried again."""
    if isinstance(outcome, TrialFailure):
        return outcome.stands(limit_minutes=None)
    return (directory / outcome.checkpoint).is_file()


def _open(spec: TrialSpec, prepared: Path, *, directory: Path, budget: int) -> TrialData:
    manifest = read_manifest(prepared)
    if manifest.digest != spec.dataset:
        raise IntegrityError(
            f"{prepared}: holds dataset {manifest.digest[:12]}, the trial is of "
            f"{spec.dataset[:12]}; prepare that one again"
        )
    train, validation = (
        open_split(prepared, name, verify=False) for name in ("train", "validation")
    )
    start = directory / TrialFiles.START
    if spec.subset is not None:
        part, images = ChosenSplit.of(train, spec.subset), len(train.labels)
        counted = chosen_manifest(manifest, part)
        return TrialData(counted, part, validation, start, epoch_images=images)
    if not spec.refit:
        return TrialData(manifest, train, validation, start)
    refitted = directory.parent / spec.refitted.key
    validated = read_history(refitted)[:budget]
    if len(validated) < budget:
        raise IntegrityError(
            f"{refitted}: has {len(validated)} epochs of the trial to refit, not "
            f"{budget}; train it again with `pitchpipe run`"
        )
    both = JoinedSplits.of(train, validation)
    return TrialData(joined_manifest(manifest), both, validation, start, validated)


def _train(
    trial: TrialDirectory,
    data: TrialData,
    *,
    budget: int,
    on_epoch: Callable[[EpochRecord], None],
) -> Outcome:
    state = trial.resume()
    rule, objective = trial.spec.config.early_stopping, trial.spec.config.objective
    ended = should_stop_early(trial.history(), rule, objective)
    if state is None or (state.epoch < budget and not ended):
        state = _fit(trial, data, state=state, budget=budget, on_epoch=on_epoch)
    if state.epoch > budget and not trial.best_is_within(budget):
        return _train_shorter(trial, data, budget=budget)
    return trial.save_result(budget, state.best)


def _train_shorter(trial: TrialDirectory, data: TrialData, *, budget: int) -> Outcome:
    """Train anew to a budget that the trial went beyond: its best weights then were not kept."""
    shorter = TrialDirectory(trial.path / f"shorter-{budget:04d}", trial.spec)
    state = shorter.resume()
    if state is None or state.epoch < budget:
        state = _fit(shorter, data, state=state, budget=budget, on_epoch=_ignore)
    # Its own history: trained asynchronously it is another one, and the scores are of its weights.
    result = trial.save_result(budget, state.best, history=shorter.history())
    shutil.rmtree(shorter.path)
    return result


def _ignore(record: EpochRecord) -> None:
    del record


def _fit(
    trial: TrialDirectory,
    data: TrialData,
    *,
    state: TrainingState | None,
    budget: int,
    on_epoch: Callable[[EpochRecord], None],
) -> TrainingState:
    """Train from state to the budget, or to where early stopping ends it; return the last state."""
    config, manifest = trial.spec.config, data.manifest
    _prepare_process(config)
    seed_global(config.seed, "weights")
    with network_faults():
        network = build_network(config, manifest)
    if state is not None:
        network.load_state_dict(state.weights)
    elif config.begins_with is not None:
        begin_with(network, config, manifest, data.start)
    elif config.network.is_pretrained and config.start is None:
        raise IntegrityError(
            "network.pretrained was not looked up before the trial; a fault of ours"
        )
    recorder = Recorder(trial, state=state, validated=data.validated, on_epoch=on_epoch)
    epochs = budget - (state.epoch if state else 0)
    kind = AsynchronousClassifier if config.is_asynchronous else Classifier
    with _quiet("pytorch_lightning", "lightning_fabric"):
        trainer = _trainer(trial.spec, recorder, epochs=epochs)
        with faults_of_processes(lambda: getattr(trainer.strategy.launcher, "procs", ())):
            trainer.fit(kind(config, network, data, state))
    # Where several processes trained, this one has not seen their weights.
    state = trial.resume()
    if state is None:
        raise IntegrityError(f"{trial.path}: last.ckpt cannot be read back; check the disk")
    return state


def _prepare_process(config: TrialConfig) -> None:
    """Threads and modes of this process that a trial's bits or its speed depend on."""
    torch.set_num_threads(config.threads)
    # deterministic=True fills every new tensor with NaN first; here none is read unwritten.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined] # lazy


def _trainer(spec: TrialSpec, recorder: Recorder, *, epochs: int) -> pl.Trainer:
    nodes = nodes_of(spec.config, os.environ)
    return pl.Trainer(
        accelerator="gpu" if spec.device == "cuda" else "cpu",
        devices=spec.config.devices // nodes,
        num_nodes=nodes,
        strategy=_strategy(spec.config),
        precision="bf16-mixed" if spec.config.precision == "bf16" else "32-true",
        max_epochs=epochs,
        limit_val_batches=0 if spec.refit else None,
        callbacks=[recorder],
        deterministic=True,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )


def _strategy(config: TrialConfig) -> str | SharedWeights:
    """Return what Lightning shares the work by.

    Forked processes have the images mapped and everything imported: nothing is pickled.
    """
    if config.is_asynchronous:
        return SharedWeights(start_method="fork")
    return "ddp_fork" if config.devices > 1 else "auto"


@contextlib.contextmanager
def _quiet(*names: str) -> Iterator[None]:
    """Let the loggers named speak of errors only: no tips, no list of absent accelerators."""
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            # Lightning 2.6.6 makes a LeafSpec, which torch 2.13 deprecates; nothing of ours does.
            warnings.filterwarnings("ignore", message=".*LeafSpec", category=FutureWarning)
            # Frozen layers are meant to be.
            warnings.filterwarnings("ignore", message="Found .* module.s. in eval mode")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _failed(trial: TrialDirectory, fault: TrialFault, budget: int) -> TrialFailure:
    failure = TrialFailure(
        key=trial.spec.key,
        config=trial.spec.config,
        budget=budget,
        epochs=len(trial.history()),
        reason=fault.reason,
        kind=fault.kind,
    )
    trial.save_failure(failure)
    return failure
