"""Adaptive search with Optuna's samplers: TPE (Bergstra et al., 2011) and Gaussian processes.

Optuna runs in this process and keeps nothing on disk (docs/adr/0006). Trial n is a function of
(search.seed, n) and the outcomes of trials up to n - search.ahead: it depends neither on the number
of workers and their speed nor on whether the search was killed and resumed.

With a pruner it depends on the scores at higher rungs, too, as far as they are told; their order is
in the search's journal. What is best after one epoch may not be after thirty: as in BOHB (Falkner
et al., 2018) the sampler learns from the largest budget with enough scores, |D_b| >= N_min + 2 with
N_min = axes + 1, and a third of the trials is drawn uniformly. And a trial that Hyperband does not
stop below some rung is not chosen by scores of lower ones, but drawn: those are what it is to be
spared. In BOHB, where such a trial begins at that rung, this comes by itself (bench/samplers.py).
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import JsonValue

from models.config import Params, Point
from models.config.search import Range
from models.config.space import applicable
from models.digests import digest_of
from models.errors import ConfigError
from models.search.proposals import Proposal, make_proposal
from models.search.search_space import uniform
from models.trials import Scores

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial

STARTUP_TRIALS = 10
"""Trials drawn uniformly before the sampler chooses; Optuna's own default."""
ATTEMPTS = {"tpe": 8, "gp": 2}
"""Times a sampler is asked for a point that is new; after that one is drawn uniformly. A Gaussian
process takes 0.3 s to answer, and mostly repeats itself."""


DRAWN = 1 / 3
"""Share of the trials that are drawn uniformly, with a pruner; that of BOHB."""


class OptunaProposer:
    """Proposes as many different trials as it gets draws."""

    def __init__(self, params: Params, draws: Sequence[Proposal]) -> None:
        """draws: different trials drawn uniformly; used at first, and if the sampler has no new."""
        self._params = params
        self._total = len(draws)
        self._draws = iter(draws)
        self._configs: set[str] = set()
        self._proposed: list[_Asked] = []
        self._untold: dict[int, Scores | None] = {}
        """Number of a trial -> its scores at the lowest budget, not told to Optuna yet."""
        self._told = 0
        self._studies: dict[int, Study] = {}
        """Budget -> the trials with scores there; a trial without any runs where it was asked."""
        self._scored: Counter[int] = Counter()
        """Budget -> number of scores."""
        search = params.search
        self._lowest = search.epochs if search.pruner == "none" else search.rungs[0]
        self._enough = len(search.axes) + 3
        """Scores at a budget from which the sampler learns, with a pruner: N_min + 2 of BOHB."""

    def propose(self, *, least: int = 1) -> Proposal | None:
        """Return the next trial; None: all were proposed, or trial n - ahead is not known yet."""
        if len(self._proposed) == self._total or not self._tell_known():
            return None
        budget = self._largest_with_enough()
        study = self._study_of(budget)
        if budget < least or self._is_drawn(budget):
            return self._draw(study)
        return self._sample(study) or self._draw(study)

    def learn(self, number: int, scores: Scores | None, *, budget: int) -> None:
        """Keep the scores; of the lowest budget Optuna is told in order of numbers."""
        if number >= self._told and number not in self._untold:
            self._untold[number] = scores
        else:
            self._add_scores(number, budget, self._gain(scores))

    def _tell_known(self) -> bool:
        """Tell Optuna the outcomes that the next trial depends on; False: one is not known yet."""
        while self._told <= len(self._proposed) - self._params.search.ahead:
            if self._told not in self._untold:
                return False
            self._tell(self._told, self._gain(self._untold.pop(self._told)))
            self._told += 1
        return True

    def _tell(self, number: int, gain: float | None) -> None:
        """End a trial in the study that was asked for it; the lowest budget's gets its gain."""
        asked = self._proposed[number]
        if asked.study is self._study_of(self._lowest):
            asked.end(gain)
            self._scored[self._lowest] += gain is not None
        else:
            asked.end(None)
            self._add_scores(number, self._lowest, gain)

    def _add_scores(self, number: int, budget: int, gain: float | None) -> None:
        if gain is not None:
            self._study_of(budget).add_trial(self._proposed[number].scored(gain))
            self._scored[budget] += 1

    def _gain(self, scores: Scores | None) -> float | None:
        """Return the objective's score, more is better; None: it failed, or is no number."""
        gain = math.nan if scores is None else scores.gain(self._params.trial.objective)
        return gain if math.isfinite(gain) else None

    def _study_of(self, budget: int) -> "Study":
        if budget not in self._studies:
            self._studies[budget] = _new_study()
        return self._studies[budget]

    def _largest_with_enough(self) -> int:
        """Return the largest budget with enough scores to learn from; the lowest if none has."""
        scored = (one for one, count in self._scored.items() if count >= self._enough)
        return max(scored, default=self._lowest)

    def _is_drawn(self, budget: int) -> bool:
        """Whether the next trial is drawn uniformly, and not chosen by the scores of a budget."""
        number, search = len(self._proposed), self._params.search
        if number < STARTUP_TRIALS or search.pruner == "none":
            return number < STARTUP_TRIALS
        if self._scored[budget] < self._enough:
            return True
        return uniform(search.seed, number, "drawn") < DRAWN

    def _sample(self, study: "Study") -> Proposal | None:
        """Ask the sampler for a point that is new and possible; None: it found none."""
        for attempt in range(ATTEMPTS[self._params.search.strategy]):
            study.sampler = _sampler(self._params, number=len(self._proposed), attempt=attempt)
            asked = _Asked(study, study.ask())
            try:
                proposal = make_proposal(self._params, self._point(asked.trial))
            except ConfigError:  # a combination that is among no draws
                proposal = None
            if proposal is not None and self._add(proposal, asked):
                return proposal
            asked.end(None)
        return None

    def _draw(self, study: "Study") -> Proposal:
        """Take the next draw that is new; there are as many draws as trials, so one is left."""
        proposal = next(one for one in self._draws if digest_of(one.config) not in self._configs)
        study.enqueue_trial(
            {axis: self._encoded(axis, value) for axis, value in proposal.point.items()}
        )
        trial = study.ask()
        self._point(trial)
        self._add(proposal, _Asked(study, trial))
        return proposal

    def _add(self, proposal: Proposal, asked: "_Asked") -> bool:
        """Add a proposal unless its config was proposed before; return whether it is new."""
        digest = digest_of(proposal.config)
        if digest in self._configs:
            return False
        self._configs.add(digest)
        self._proposed.append(asked)
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


@dataclass(frozen=True, slots=True)
class _Asked:
    """A trial, and the study that was asked for it, in which it runs until it has scores."""

    study: "Study"
    trial: "Trial"

    def end(self, gain: float | None) -> None:
        """Tell the study its gain there; None: it has none there."""
        from optuna.trial import TrialState  # noqa: PLC0415 - costs a second

        if gain is None:
            self.study.tell(self.trial, state=TrialState.FAIL)
        else:
            self.study.tell(self.trial, gain)

    def scored(self, gain: float) -> "FrozenTrial":
        """Return it with a gain, for another study."""
        from optuna.trial import create_trial  # noqa: PLC0415 - costs a second

        return create_trial(
            params=self.trial.params, distributions=self.trial.distributions, value=gain
        )


def _new_study() -> "Study":
    import optuna  # noqa: PLC0415 - costs a second

    # It would warn that axes which only some kinds have are sampled independently.
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna.create_study(direction="maximize")


def _sampler(params: Params, *, number: int, attempt: int) -> "BaseSampler":
    """Return a new sampler: its choice depends on the study and this seed alone."""
    from optuna.samplers import GPSampler, TPESampler  # noqa: PLC0415 - costs a second

    seed = int(digest_of([params.search.seed, number, attempt])[:8], 16)
    if params.search.strategy == "gp":
        import torch  # noqa: PLC0415 - three seconds, and no other strategy needs it here

        torch.set_num_threads(1)  # the cores are the trials'
        return GPSampler(seed=seed, n_startup_trials=1)
    return TPESampler(seed=seed, n_startup_trials=1)
