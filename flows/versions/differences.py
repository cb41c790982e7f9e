"""Differences between a version and its reproduction: causes (code, environment, data), results."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from flows.records.lineage import Lineage
from models.evaluation.records import Evaluation
from models.trials import EpochRecord, TrialResult

UNEXPLAINED = (
    "cause unknown: code, environment and data are equal; another kind of processor may round "
    "differently"
)


ASYNCHRONOUS = "asynchronous: "
"""Begins the line of a difference that is as promised."""


@dataclass(frozen=True, slots=True)
class Environment:
    """Everything beside its config that a trial's bits depend on, as of now."""

    source: str
    """Digest of the source files that training uses."""
    environment: Mapping[str, str]
    """Package -> version, and python's own."""
    instructions: str
    """Instruction set of the CPU."""
    raw_digest: str | None
    """Of the batches; None where they cannot be restored."""
    prepared_digest: str | None
    """Of the arrays."""


@dataclass(frozen=True, slots=True)
class Results:
    """Results of training and evaluation."""

    trained: TrialResult
    history: Sequence[EpochRecord]
    """One record per epoch; empty where it was not kept, and then not compared."""
    test: Evaluation


def find_causes(then: Lineage, now: Environment) -> list[str]:
    """List differences in code, environment and data."""
    return [*_code(then, now), *_environment(then, now), *_processor(then, now), *_data(then, now)]


def compare_results(then: Results, now: Results) -> list[str]:
    """List differences in weights, history and scores; none where all bits are equal."""
    weights = {"digest": then.trained.weights_digest}
    found = [
        *_changed("weights", weights, {"digest": now.trained.weights_digest}),
        *_history(then.history, now.history),
    ]
    validation = (result.trained.scores.model_dump() for result in (then, now))
    found += _changed("validation scores", *validation)
    found += _changed("test scores", *({**one.test.first, **one.test.later} for one in (then, now)))
    return found


def compare_asynchronous(then: Results, now: Results, *, processes: int) -> list[str]:
    """Compare two trainings by processes that wait for none, whose bits always differ.

    Their test accuracies are expected within half the 95 % interval of the difference of two shares
    (Agresti and Caffo, 2000). It is wide: it is of independent images, and these are the same.
    """
    pair = [(one.test.accuracy * one.test.n + 1) / (one.test.n + 2) for one in (then, now)]
    variance = sum(share * (1 - share) for share in pair) / (then.test.n + 2)
    margin = 1.96 * math.sqrt(variance)
    kind = ASYNCHRONOUS if abs(pair[0] - pair[1]) <= margin else "scores: "
    said = (
        f"trained by {processes} processes that wait for none: scores are expected within "
        f"{margin:.4f} of accuracy, not bits; test accuracy {now.test.accuracy:.4f} now, "
        f"{then.test.accuracy:.4f} then"
    )
    return [kind + said]


def _code(then: Lineage, now: Environment) -> Iterator[str]:
    if then.spec.source != now.source:
        commit = f", at commit {then.code.commit[:12]}" if then.code.commit else ""
        yield (
            f"code: the training source has digest {now.source[:12]} now, "
            f"{then.spec.source[:12]} then{commit}"
        )


def _environment(then: Lineage, now: Environment) -> Iterator[str]:
    for package in sorted({*then.environment, *now.environment}):
        before, after = then.environment.get(package), now.environment.get(package)
        if before != after:
            yield f"environment: {package} {after or 'absent'} now, {before or 'unrecorded'} then"


def _processor(then: Lineage, now: Environment) -> Iterator[str]:
    before = then.spec.instructions
    if before not in (None, now.instructions):
        yield f"environment: the CPU computes with {now.instructions} now, {before} then"


def _data(then: Lineage, now: Environment) -> Iterator[str]:
    raw, arrays = now.raw_digest, now.prepared_digest
    if raw is not None and raw != then.dataset.digest:
        yield f"data: batches {raw[:12]} now, {then.dataset.digest[:12]} then"
    if arrays is not None and arrays != then.spec.dataset:
        yield f"data: prepared arrays {arrays[:12]} now, {then.spec.dataset[:12]} then"


def _history(then: Sequence[EpochRecord], now: Sequence[EpochRecord]) -> Iterable[str]:
    """Describe the first epoch in which the histories differ."""
    if not then:
        return []
    if len(then) != len(now):
        return [f"history: {len(now)} epochs now, {len(then)} then"]
    for before, after in zip(then, now, strict=True):
        # Wall time is not reproducible.
        pair = (record.model_dump(exclude={"seconds"}) for record in (before, after))
        found = _changed(f"history, epoch {before.epoch}", *pair)
        if found:
            return found
    return []


def _changed(what: str, then: Mapping[str, object], now: Mapping[str, object]) -> list[str]:
    parts = [
        f"{name} {_short(now.get(name))} now, {_short(then.get(name))} then"
        for name in then
        if then[name] != now.get(name)
    ]
    return [f"{what}: {'; '.join(parts)}"] if parts else []


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 24 else f"{text[:21]}..."
