"""Peer: Optuna's GridSampler; two trials at a time in threads of one process, a core each."""

import json
from dataclasses import asdict

import optuna
import torch
from plain import AXES, Point, Trained, arguments, grid, load_images, report, train

if __name__ == "__main__":
    given = arguments()
    images = load_images(given.prepared)
    torch.manual_seed(0)
    # Two threads with a core each, since torch lets go of Python's lock while it computes.
    torch.set_num_threads(1)

    def objective(trial: optuna.Trial) -> float:
        point = Point(
            learning_rate=trial.suggest_categorical("learning_rate", AXES["learning_rate"]),
            minibatch_size=trial.suggest_categorical("minibatch_size", AXES["minibatch_size"]),
            hidden_units=trial.suggest_categorical("hidden_units", AXES["hidden_units"]),
        )
        trained = train(point, images, given.epochs)
        trial.set_user_attr("trained", json.dumps(asdict(trained)))
        return trained.accuracy

    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.GridSampler(AXES))
    study.optimize(objective, n_trials=len(list(grid())), n_jobs=2)
    report([Trained(**json.loads(trial.user_attrs["trained"])) for trial in study.trials])
