"""Searches that learn: TPE (Bergstra et al., 2011) and Gaussian processes, both Optuna's.

Optuna is asked and told in this process and keeps nothing on disk (docs/adr/0006). Trial n is a
function of (search.seed, n) and of what trials up to n - search.ahead came to: not of how many
workers there are, who was faster, or whether the search was killed on its way.
"""

import math
from functools import cached_property
from typing import TYPE_CHECKING

from pydantic import JsonValue

from models.config import Params, Point
from models.config.search import Range
from models.config.space import applicable
from models.digests import digest_of
from models.errors import ConfigError
from models.search.proposals import Proposal, propose
from models.search.random_search import drawn
from models.trials import Scores

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.samplers import BaseSampler

EVEN_TRIALS = 10
"""Trials drawn evenly before a sampler has anything to learn from; Optuna's own default."""
ATTEMPTS = {"tpe": 8, "gp": 2}
"""A sampler that names points which were there before is asked so often; then one is drawn. A
Gaussian process takes 0.3 s to answer, and mostly the same."""


class Sampled:
    """Proposes search.trials different trials, fewer where the axes hold fewer."""

    def __init__(self, params: Params) -> None:
        """Raise ConfigError where a combination is impossible."""
        self._params = params
        even = tuple(drawn(params))
        self.total = len(even)
        self._even = iter(even)
        self._configs: set[str] = set()
        self._asked: list[int] = []
        self._heard: dict[int, Scores | None] = {}
        self._told = 0

    def propose(self) -> Proposal | None:
        """Return another trial; None: all were proposed, or what it is to learn from is awaited."""
        if len(self._asked) == self.total or not self._caught_up():
            return None
        if len(self._asked) < EVEN_TRIALS:
            return self._next_even()
        return self._sampled() or self._next_even()

    def learn(self, number: int, scores: Scores | None) -> None:
        """Hear how the trial with this number did; Optuna hears it in the order of numbers."""
        self._heard[number] = scores

    @cached_property
    def _study(self) -> "Study":
        import optuna  # noqa: PLC0415 - costs a second

        # It would say that axes which only some kinds have are sampled one by one.
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        return optuna.create_study(direction="maximize")

    def _caught_up(self) -> bool:
        while self._told <= len(self._asked) - self._params.search.ahead:
            if self._told not in self._heard:
                return False
            self._tell(self._asked[self._told], self._heard.pop(self._told))
            self._told += 1
        return True

    def _tell(self, trial: int, scores: Scores | None) -> None:
        gain = math.nan if scores is None else scores.gain(self._params.trial.objective)
        if math.isfinite(gain):
            self._study.tell(trial, gain)
        else:
            self._fail(trial)

    def _fail(self, trial: int) -> None:
        from optuna.trial import TrialState  # noqa: PLC0415 - costs a second

        self._study.tell(trial, state=TrialState.FAIL)

    def _sampled(self) -> Proposal | None:
        """Ask the sampler for a point that is new and possible; None: it has none to offer."""
        for attempt in range(ATTEMPTS[self._params.search.strategy]):
            self._study.sampler = _sampler(self._params, number=len(self._asked), attempt=attempt)
            trial = self._study.ask()
            try:
                proposal = propose(self._params, self._point(trial))
            except ConfigError:  # a combination that the even draws did not meet
                proposal = None
            if proposal is not None and self._enter(proposal, trial.number):
                return proposal
            self._fail(trial.number)
        return None

    def _next_even(self) -> Proposal:
        """Draw evenly: as many were drawn as there are trials in all, so one of them is new."""
        proposal = next(one for one in self._even if digest_of(one.config) not in self._configs)
        self._study.enqueue_trial(
            {axis: self._coded(axis, value) for axis, value in proposal.point.items()}
        )
        trial = self._study.ask()
        self._point(trial)
        self._enter(proposal, trial.number)
        return proposal

    def _enter(self, proposal: Proposal, trial: int) -> bool:
        """Note a proposal as made, unless its config was there before."""
        digest = digest_of(proposal.config)
        if digest in self._configs:
            return False
        self._configs.add(digest)
        self._asked.append(trial)
        return True

    def _point(self, trial: "Trial") -> Point:
        """Have the sampler choose on each axis that the kinds chosen before have."""
        axes = self._params.search.axes
        point: dict[str, JsonValue] = {}
        for axis in sorted(axes, key=lambda axis: not axis.endswith(".name")):
            if axis in applicable(self._params.trial, {**point, axis: None}):
                point[axis] = self._chosen(trial, axis)
        return {axis: point[axis] for axis in axes if axis in point}

    def _chosen(self, trial: "Trial", axis: str) -> JsonValue:
        values = self._params.search.axes[axis]
        if not isinstance(values, Range):
            return values[trial.suggest_categorical(axis, range(len(values)))]
        low, last, log = values.low, values.last, values.log
        if values.whole:
            step = int(values.step or 1)
            return trial.suggest_int(axis, int(low), int(last), step=step, log=log)
        return values.readable(trial.suggest_float(axis, low, last, step=values.step, log=log))

    def _coded(self, axis: str, value: JsonValue) -> JsonValue:
        """As Optuna knows a value: a listed one by its place, since lists may hold anything."""
        values = self._params.search.axes[axis]
        return value if isinstance(values, Range) else values.index(value)


def _sampler(params: Params, *, number: int, attempt: int) -> "BaseSampler":
    """Make a sampler without a past: all that it knows are the study and its seed."""
    from optuna.samplers import GPSampler, TPESampler  # noqa: PLC0415 - costs a second

    seed = int(digest_of([params.search.seed, number, attempt])[:8], 16)
    if params.search.strategy == "gp":
        import torch  # noqa: PLC0415 - three seconds, and no other strategy needs it here

        torch.set_num_threads(1)  # the cores are the trials'
        return GPSampler(seed=seed, n_startup_trials=1)
    return TPESampler(seed=seed, n_startup_trials=1)
