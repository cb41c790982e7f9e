"""Adaptive search with Optuna's samplers: TPE (Bergstra et al., 2011) and Gaussian processes.

Optuna runs in this process and keeps nothing on disk (docs/adr/0006). Trial n is a function of
(search.seed, n) and the outcomes of trials up to n - search.ahead: it depends neither on the number
of workers and their speed nor on whether the search was killed and resumed.
"""

import math
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from pydantic import JsonValue

from models.config import Params, Point
from models.config.search import Range
from models.config.space import applicable
from models.digests import digest_of
from models.errors import ConfigError
from models.search.proposals import Proposal, make_proposal
from models.trials import Scores

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.samplers import BaseSampler

STARTUP_TRIALS = 10
"""Trials drawn uniformly before the sampler chooses; Optuna's own default."""
ATTEMPTS = {"tpe": 8, "gp": 2}
"""Times a sampler is asked for a point that is new; after that one is drawn uniformly. A Gaussian
process takes 0.3 s to answer, and mostly repeats itself."""


class OptunaProposer:
    """Proposes as many different trials as it gets draws."""

    def __init__(self, params: Params, draws: Sequence[Proposal]) -> None:
        """draws: different trials drawn uniformly; used at first, and if the sampler has no new."""
        self._params = params
        self._total = len(draws)
        self._draws = iter(draws)
        self._configs: set[str] = set()
        self._proposed: list[int] = []
        """Optuna's number of each trial."""
        self._untold: dict[int, Scores | None] = {}
        self._told = 0

    def propose(self) -> Proposal | None:
        """Return the next trial; None: all were proposed, or trial n - ahead is not known yet."""
        if len(self._proposed) == self._total or not self._tell_known():
            return None
        if len(self._proposed) < STARTUP_TRIALS:
            return self._draw()
        return self._sample() or self._draw()

    def learn(self, number: int, scores: Scores | None) -> None:
        """Keep the scores of the trial with this number; Optuna is told in order of numbers."""
        self._untold[number] = scores

    @cached_property
    def _study(self) -> "Study":
        import optuna  # noqa: PLC0415 - costs a second

        # It would warn that axes which only some kinds have are sampled independently.
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        return optuna.create_study(direction="maximize")

    def _tell_known(self) -> bool:
        """Tell Optuna the outcomes that the next trial depends on; False: one is not known yet."""
        while self._told <= len(self._proposed) - self._params.search.ahead:
            if self._told not in self._untold:
                return False
            self._tell(self._proposed[self._told], self._untold.pop(self._told))
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

    def _sample(self) -> Proposal | None:
        """Ask the sampler for a point that is new and possible; None: it found none."""
        for attempt in range(ATTEMPTS[self._params.search.strategy]):
            self._study.sampler = _sampler(
                self._params, number=len(self._proposed), attempt=attempt
            )
            trial = self._study.ask()
            try:
                proposal = make_proposal(self._params, self._point(trial))
            except ConfigError:  # a combination that is among no draws
                proposal = None
            if proposal is not None and self._add(proposal, trial.number):
                return proposal
            self._fail(trial.number)
        return None

    def _draw(self) -> Proposal:
        """Take the next draw that is new; there are as many draws as trials, so one is left."""
        proposal = next(one for one in self._draws if digest_of(one.config) not in self._configs)
        self._study.enqueue_trial(
            {axis: self._encoded(axis, value) for axis, value in proposal.point.items()}
        )
        trial = self._study.ask()
        self._point(trial)
        self._add(proposal, trial.number)
        return proposal

    def _add(self, proposal: Proposal, trial: int) -> bool:
        """Add a proposal unless its config was proposed before; return whether it is new."""
        digest = digest_of(proposal.config)
        if digest in self._configs:
            return False
        self._configs.add(digest)
        self._proposed.append(trial)
        return True

    def _point(self, trial: "Trial") -> Point:
        """Have the sampler choose a value on each axis that the chosen kinds have."""
        axes = self._params.search.axes
        point: dict[str, JsonValue] = {}
        for axis in sorted(axes, key=lambda axis: not axis.endswith(".name")):
            if axis in applicable(self._params.trial, {**point, axis: None}):
                point[axis] = self._suggested(trial, axis)
        return {axis: point[axis] for axis in axes if axis in point}

    def _suggested(self, trial: "Trial", axis: str) -> JsonValue:
        values = self._params.search.axes[axis]
        if not isinstance(values, Range):
            return values[trial.suggest_categorical(axis, range(len(values)))]
        low, last, log = values.low, values.last, values.log
        if values.whole:
            step = int(values.step or 1)
            return trial.suggest_int(axis, int(low), int(last), step=step, log=log)
        return values.readable(trial.suggest_float(axis, low, last, step=values.step, log=log))

    def _encoded(self, axis: str, value: JsonValue) -> JsonValue:
        """Return a value as Optuna knows it: a listed one by its index, as it may be any JSON."""
        values = self._params.search.axes[axis]
        return value if isinstance(values, Range) else values.index(value)


def _sampler(params: Params, *, number: int, attempt: int) -> "BaseSampler":
    """Return a new sampler: its choice depends on the study and this seed alone."""
    from optuna.samplers import GPSampler, TPESampler  # noqa: PLC0415 - costs a second

    seed = int(digest_of([params.search.seed, number, attempt])[:8], 16)
    if params.search.strategy == "gp":
        import torch  # noqa: PLC0415 - three seconds, and no other strategy needs it here

        torch.set_num_threads(1)  # the cores are the trials'
        return GPSampler(seed=seed, n_startup_trials=1)
    return TPESampler(seed=seed, n_startup_trials=1)
