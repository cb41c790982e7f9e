"""Peer: Optuna's GridSampler, two trials at a time: threads of one process, or two processes."""

import functools
import json
import multiprocessing
import tempfile
from dataclasses import asdict
from pathlib import Path

import optuna
import torch
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from plain import (
    AXES,
    Arguments,
    Images,
    Point,
    Trained,
    arguments,
    grid,
    load_images,
    report,
    train,
)

TRIALS = len(list(grid()))


def objective(trial: optuna.Trial, images: Images, given: Arguments) -> float:
    point = Point(
        learning_rate=trial.suggest_categorical("learning_rate", AXES["learning_rate"]),
        minibatch_size=trial.suggest_categorical("minibatch_size", AXES["minibatch_size"]),
        hidden_units=trial.suggest_categorical("hidden_units", AXES["hidden_units"]),
    )
    trained = train(point, images, given.epochs, form=given.form)
    trial.set_user_attr("trained", json.dumps(asdict(trained)))
    return trained.accuracy


def search(given: Arguments, journal: Path | None, *, trials: int, threads: int) -> list[Trained]:
    """Search in this process, in threads with a core each: torch lets go of Python's lock."""
    torch.set_num_threads(1)
    study = optuna.create_study(
        study_name="grid",
        direction="maximize",
        sampler=optuna.samplers.GridSampler(AXES),
        storage=None if journal is None else JournalStorage(JournalFileBackend(str(journal))),
        load_if_exists=True,
    )
    asked = functools.partial(objective, images=load_images(given.prepared), given=given)
    study.optimize(asked, n_trials=trials, n_jobs=threads)
    done = [trial for trial in study.trials if "trained" in trial.user_attrs]
    return [Trained(**json.loads(trial.user_attrs["trained"])) for trial in done]


if __name__ == "__main__":
    given = arguments()
    if given.processes:
        with tempfile.TemporaryDirectory() as folder:
            half = functools.partial(search, given, trials=TRIALS // 2, threads=1)
            with multiprocessing.get_context("forkserver").Pool(2) as pool:
                found = pool.map(half, [Path(folder) / "journal"] * 2, chunksize=1)
        report(max(found, key=len))
    else:
        report(search(given, None, trials=TRIALS, threads=2))
