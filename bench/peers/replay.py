"""Optuna's successive halving and Ray Tune's ASHA over recorded curves, in simulated time.

Usage: python replay.py optuna|ray < question.json > steps.json

question: curves (validation accuracy of each trial after each epoch), seconds (an epoch of each
trial), orders (of the trials, one for each search), workers, reduction. steps: for each search the
[trial, epoch] that were trained, in the order they ended.
"""

import heapq
import json
import sys
from types import SimpleNamespace


class Optuna:
    """SuccessiveHalvingPruner, asked and told."""

    def __init__(self, epochs, reduction):
        import optuna  # noqa: PLC0415 - each peer needs its own alone

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=reduction)
        self.study = optuna.create_study(direction="maximize", pruner=pruner)
        self.trials = {}
        self.epochs = epochs
        self.stopped = optuna.trial.TrialState.PRUNED

    def begin(self, trial):
        self.trials[trial] = self.study.ask()

    def stops(self, trial, epoch, accuracy):
        asked = self.trials[trial]
        asked.report(accuracy, epoch)
        if epoch == self.epochs:
            self.study.tell(asked, accuracy)
            return True
        if asked.should_prune():
            self.study.tell(asked, state=self.stopped)
            return True
        return False


class Ray:
    """ASHAScheduler, told as Tune's controller tells it."""

    def __init__(self, epochs, reduction):
        from ray.tune.schedulers import ASHAScheduler  # noqa: PLC0415 - as above

        self.epochs = epochs
        self.scheduler = ASHAScheduler(
            metric="accuracy",
            mode="max",
            max_t=epochs,
            grace_period=1,
            reduction_factor=reduction,
        )

    def begin(self, trial):
        self.scheduler.on_trial_add(None, SimpleNamespace(trial_id=str(trial)))

    def stops(self, trial, epoch, accuracy):
        named = SimpleNamespace(trial_id=str(trial))
        result = {"training_iteration": epoch, "accuracy": accuracy}
        return self.scheduler.on_trial_result(None, named, result) == "STOP"


def search(scheduler, question, order):
    """Train trials in this order on as many workers; each goes on until it is stopped."""
    waiting, running, steps = list(order), [], []

    def begin(now):
        if waiting:
            trial = waiting.pop(0)
            scheduler.begin(trial)
            heapq.heappush(running, (now + question["seconds"][trial], trial, 1))

    for _ in range(question["workers"]):
        begin(0.0)
    while running:
        now, trial, epoch = heapq.heappop(running)
        steps.append((trial, epoch))
        if scheduler.stops(trial, epoch, question["curves"][trial][epoch - 1]):
            begin(now)
        else:
            heapq.heappush(running, (now + question["seconds"][trial], trial, epoch + 1))
    return steps


if __name__ == "__main__":
    asked = json.load(sys.stdin)
    kind = {"optuna": Optuna, "ray": Ray}[sys.argv[1]]
    length = len(asked["curves"][0])
    json.dump(
        [search(kind(length, asked["reduction"]), asked, order) for order in asked["orders"]],
        sys.stdout,
    )
