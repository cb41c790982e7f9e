"""What a version made again differs in: its causes (code, environment, data) and its results."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from flows.records.lineage import Lineage
from models.evaluation.records import Evaluation
from models.trials import EpochRecord, TrialResult

UNEXPLAINED = (
    "cause unknown: code, environment and data are the same; another kind of processor may round "
    "otherwise"
)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """All that a trial's bits depend on beside its config, as found now."""

    source: str
    """Digest of the source files that training uses."""
    environment: Mapping[str, str]
    """Package -> version, and python's own."""
    raw_digest: str | None
    """Of the batches; None where they cannot be had again."""
    prepared_digest: str | None
    """Of the arrays."""


@dataclass(frozen=True, slots=True)
class Results:
    """What training and evaluation came to."""

    trained: TrialResult
    history: Sequence[EpochRecord]
    """An entry an epoch; empty where it was not kept, and then not compared."""
    test: Evaluation


def causes(then: Lineage, now: Surroundings) -> list[str]:
    """Name what differs in code, environment and data; nothing where all is the same."""
    return [*_code(then, now), *_environment(then, now), *_data(then, now)]


def results(then: Results, now: Results) -> list[str]:
    """Name what differs in weights, history and scores; nothing where all bits are equal."""
    weights = {"digest": then.trained.weights_digest}
    found = [
        *_changed("weights", weights, {"digest": now.trained.weights_digest}),
        *_history(then.history, now.history),
    ]
    validation = (result.trained.scores.model_dump() for result in (then, now))
    found += _changed("validation scores", *validation)
    found += _changed("test scores", then.test.model_dump(), now.test.model_dump())
    return found


def _code(then: Lineage, now: Surroundings) -> Iterator[str]:
    if then.spec.source != now.source:
        commit = f", at commit {then.code.commit[:12]}" if then.code.commit else ""
        yield (
            f"code: the training source has digest {now.source[:12]} now, "
            f"{then.spec.source[:12]} then{commit}"
        )


def _environment(then: Lineage, now: Surroundings) -> Iterator[str]:
    for package in sorted({*then.environment, *now.environment}):
        before, after = then.environment.get(package), now.environment.get(package)
        if before != after:
            yield f"environment: {package} {after or 'absent'} now, {before or 'unrecorded'} then"


def _data(then: Lineage, now: Surroundings) -> Iterator[str]:
    raw, arrays = now.raw_digest, now.prepared_digest
    if raw is not None and raw != then.dataset.digest:
        yield f"data: batches {raw[:12]} now, {then.dataset.digest[:12]} then"
    if arrays is not None and arrays != then.spec.dataset:
        yield f"data: prepared arrays {arrays[:12]} now, {then.spec.dataset[:12]} then"


def _history(then: Sequence[EpochRecord], now: Sequence[EpochRecord]) -> Iterable[str]:
    """Say where the histories part."""
    if not then:
        return []
    if len(then) != len(now):
        return [f"history: {len(now)} epochs now, {len(then)} then"]
    for before, after in zip(then, now, strict=True):
        # Wall time is no part of what is to be made again.
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
