"""Decisions on what to remove, by the `retention:` policy; pure and total."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from models.config import RetentionParams


@dataclass(frozen=True, slots=True)
class Stored:
    """An item on disk or in a database that may be removed."""

    name: str
    days: float
    """Since it was last written or ended."""
    bytes: int = 0
    needed_by: str | None = None
    """What needs it, in words; None: nothing."""


@dataclass(frozen=True, slots=True)
class RankedTrial:
    """A trial of the store, with its rank among those of its dataset."""

    stored: Stored
    rank: int | None
    """From 0, the best by validation; None: it has no result."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A decision: whether an item is removed, and why."""

    stored: Stored
    goes: bool
    why: str


def judge_by_age(stored: Sequence[Stored], days: float | None) -> tuple[Judged, ...]:
    """Decide on items that are removed when older than so many days; None: never."""
    return tuple(_by_age(one, days) for one in stored)


def judge_trials(trials: Sequence[RankedTrial], policy: RetentionParams) -> tuple[Judged, ...]:
    """Decide on the trials of a store by age, rank and size, in that order.

    Returns decisions in the order of the trials. After removal the store is within `trials_bytes`,
    or holds only the best trials and those that are needed.
    """
    judged = [_trial_by_age(trial, policy) for trial in trials]
    excess = _excess(judged, policy.trials_bytes)
    for place in sorted(range(len(trials)), key=lambda place: _worth(trials[place])):
        if excess <= 0:
            break
        trial = trials[place]
        if judged[place].goes or _stays_because(trial, policy):
            continue
        excess -= trial.stored.bytes
        judged[place] = Judged(trial.stored, goes=True, why="the store exceeds trials_bytes")
    return tuple(judged)


def gone(judged: Sequence[Judged]) -> Iterator[Stored]:
    """Yield what is removed, in order."""
    return (one.stored for one in judged if one.goes)


def _by_age(stored: Stored, days: float | None) -> Judged:
    if stored.needed_by is not None:
        return Judged(stored, goes=False, why=f"needed by {stored.needed_by}")
    if days is None or stored.days <= days:
        limit = "kept for ever" if days is None else f"not older than {days:g} days"
        return Judged(stored, goes=False, why=limit)
    return Judged(stored, goes=True, why=f"older than {days:g} days")


def _trial_by_age(trial: RankedTrial, policy: RetentionParams) -> Judged:
    reason = _stays_because(trial, policy)
    if reason is not None:
        return Judged(trial.stored, goes=False, why=reason)
    return _by_age(trial.stored, policy.trials_days)


def _stays_because(trial: RankedTrial, policy: RetentionParams) -> str | None:
    if trial.stored.needed_by is not None:
        return f"needed by {trial.stored.needed_by}"
    if trial.rank is not None and trial.rank < policy.keep_best:
        return f"among the best {policy.keep_best} of its dataset"
    return None


def _excess(judged: Sequence[Judged], limit: int | None) -> int:
    """Bytes by which what is kept exceeds the limit."""
    if limit is None:
        return 0
    return sum(one.stored.bytes for one in judged if not one.goes) - limit


def _worth(trial: RankedTrial) -> tuple[bool, float, float]:
    """Sorting key, lowest worth first: without a result, then by rank, then by age."""
    rank = float("inf") if trial.rank is None else float(trial.rank)
    return (trial.rank is not None, -rank, -trial.stored.days)
