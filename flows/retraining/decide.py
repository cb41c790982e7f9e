"""Decide whether to retrain, and record retrainings. Imports neither torch, MLflow nor Prefect."""

import contextlib
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from pydantic import JsonValue

from flows.datasets.files import raw_version
from flows.datasets.versions import images_since
from flows.records import ledger
from flows.records.champion import (
    MLFLOW_DATABASE,
    WEIGHTS_TAG,
    is_own_database,
    weights_of,
)
from flows.records.ledger import LedgerAction
from flows.records.retraining import DatasetName, Request, Retraining
from flows.retraining.expected_gain import expected_gain
from models.config import Params, RetrainingParams, load_params, read_record, read_record_lines
from models.config.start import PRETRAINED
from models.decision import (
    Completed,
    Decision,
    Fingerprint,
    NewData,
    PastRetraining,
    TriggerContext,
    should_retrain,
)
from models.digests import digest_file, digest_of
from models.errors import ConfigError, PitchpipeError, can_heal
from models.files import PARAMS, append_line, write_text
from models.training.source import training_source_digest

LAST = Path("mlruns/last_retraining.json")
COMPLETED = Path("mlruns/completed")
"""Folder with the last retraining of each params, named by the params' digest."""
PAST = Path("mlruns/retrainings.jsonl")
"""When each retraining ended, and how long it took."""

_NOT_FOUND = "not found"
"""In place of the digest of weights that are not there; the retraining says what is amiss."""
IGNORED_SECTIONS = {"notify", "drift", "inbox", "retention", "retraining", "guard"}
"""Sections of the params that do not affect a version: a change in them is no reason to retrain."""


def fingerprint(params: Params) -> Fingerprint:
    """Return the digests of everything that a retraining with these params now depends on."""
    return Fingerprint(
        data=raw_version(params.data.name).digest,
        params=params_digest(params),
        source=training_source_digest(),
        environment=digest_of(installed_dependencies()),
        start=_start_digest(params),
    )


def misses_weights(params: Params) -> bool:
    """Whether `trial.start` names weights of a version or a file that are not there now."""
    start = params.trial.start
    named = start is not None and start.origin != PRETRAINED
    return named and _start_digest(params) == _NOT_FOUND


def _start_digest(params: Params) -> str | None:
    """Digest of the weights that `trial.start` names now; None: it is null."""
    start = params.trial.start
    if start is None:
        return None
    where = start.where
    if where.file is not None:
        return digest_file(Path(where.file)) if Path(where.file).is_file() else _NOT_FOUND
    name = where.name or params.registered_name
    if is_own_database():
        return weights_of(name, where.version) or _NOT_FOUND
    from flows.registry.listing import find_version  # noqa: PLC0415 - imports MLflow
    from flows.tracking.store import open_tracking  # noqa: PLC0415 - imports MLflow

    try:
        return find_version(open_tracking(name), where.version).tags.get(WEIGHTS_TAG, _NOT_FOUND)
    except PitchpipeError:
        return _NOT_FOUND


def params_digest(params: Params) -> str:
    """Return the digest of the params that affect a version."""
    return digest_of(params.model_dump(mode="json", exclude=IGNORED_SECTIONS))


def decide(params: Params, request: Request, *, now: Fingerprint | None = None) -> Decision:
    """Decide whether to retrain with these params now.

    now: the fingerprint, if the caller has it already. A manual request is compared with the last
    retraining. A schedule's is compared with the last one of the same params: else two schedules
    with different params would each always find that the params changed.
    """
    now = now or fingerprint(params)
    last = last_retraining() if request.trigger == "manual" else last_with_params(now.params)
    context = TriggerContext(
        trigger=request.trigger,
        time=datetime.now(UTC),
        drift=request.drift,
        expected=request.expected,
        new=(new := new_data(last, params)),
        gain=expected_gain(params, new),
        past=past_retrainings(params.retraining),
    )
    return should_retrain(
        now,
        last,
        context=context,
        limits=params.retraining,
        force=request.force,
    )


def new_data(last: Completed | None, params: Params) -> NewData | None:
    """Count the images that came or were relabelled since a retraining; None: not known."""
    if last is None or last.dataset not in (None, params.data.name):
        return None
    found = images_since(last.fingerprint.data, params.data.name)
    if found is None:
        return None
    came, before, relabelled = found
    return NewData(images=came, before=before, relabelled=relabelled)


def last_retraining() -> Completed | None:
    """Return the last retraining that reached a verdict."""
    return _read_completed(LAST)


def last_with_params(digest: str) -> Completed | None:
    """Return the last retraining with params of this digest; if there is none, with any params."""
    return _read_completed(COMPLETED / f"{digest}.json") or last_retraining()


def last_of_name(name: str) -> Completed | None:
    """Return the last retraining of a registered name."""
    records = (_read_completed(path) for path in [LAST, *COMPLETED.glob("*.json")])
    of_name = [one for one in records if one is not None and one.name in (name, None)]
    return max(of_name, key=lambda one: one.finished, default=None)


def other_default() -> str | None:
    """Say of what the last retraining was, where params.yaml names another dataset or name.

    None where they agree, where params.yaml is invalid, and where nothing is known: records of
    earlier releases name no dataset.
    """
    last = last_retraining()
    if last is None or last.dataset is None:
        return None
    try:
        params = load_params()
    except ConfigError:
        return None
    section, key, mine, other = "data", "data.name", params.data.name, last.dataset
    if mine == other and last.name is not None:
        section, key, mine, other = "registry", "registry.name", params.registered_name, last.name
    if mine == other:
        return None
    return (
        f"{PARAMS} names {mine}; the last retraining was of {other}: put "
        f"`{section}: {{name: {other}}}` into {PARAMS}, or pass --set {key}={other}"
    )


def _read_completed(path: Path) -> Completed | None:
    if is_own_database() and not MLFLOW_DATABASE.exists():
        return None  # without the database there is no champion, whatever was completed
    return read_record(path, Completed)


def remember(completed: Completed) -> None:
    """Record a retraining that reached a verdict."""
    text = completed.model_dump_json(indent=2)
    write_text(COMPLETED / f"{completed.fingerprint.params}.json", text)
    write_text(LAST, text)


def past_retrainings(limits: RetrainingParams) -> tuple[PastRetraining, ...]:
    """Return the retrainings that count towards the limits, in the order they were recorded."""
    # The longest budget is of seven days; a day more, as clocks may be set back.
    period = max(timedelta(days=7), timedelta(hours=limits.cool_down_hours)) + timedelta(days=1)
    since = datetime.now(UTC) - period
    # A line that cannot be read is damaged or of another release.
    lines = read_record_lines(PAST, PastRetraining.model_validate_json)
    return tuple(past for past in lines if past is not None and past.finished > since)


@contextlib.contextmanager
def recording_duration(request: Request) -> Iterator[None]:
    """Record when the retraining inside ended and how long it took, also if it failed.

    One that was interrupted, or stopped by an error that may heal, is not recorded: it will be
    continued. Neither is a search alone.
    """
    began = time.monotonic()
    try:
        yield
    except Exception as error:
        if not can_heal(error):
            _record_duration(request, began)
        raise
    _record_duration(request, began)


def _record_duration(request: Request, began: float) -> None:
    if not request.tune_only:
        seconds = round(time.monotonic() - began, 3)
        past = PastRetraining(finished=datetime.now(UTC), seconds=seconds)
        append_line(PAST, past.model_dump_json())


def installed_dependencies(project: str = "pitchpipe") -> dict[str, JsonValue]:
    """Package -> version of all that a project needs, and what that needs in turn.

    Its own extras are left out: tools and engines come and go (`make lint`), and decide nothing of
    a version. So is the project, whose source has a digest of its own.
    """
    versions: dict[str, JsonValue] = {}
    waiting, seen = [(project, "")], set[tuple[str, str]]()
    while waiting:
        name, extra = one = waiting.pop()
        if one in seen:
            continue
        seen.add(one)
        try:
            described = metadata.metadata(name)
        except metadata.PackageNotFoundError:  # `doctor` says so
            continue
        versions[name] = described["Version"]
        for needed in _requirements(described.get_all("Requires-Dist") or (), extra):
            needs = canonicalize_name(needed.name)
            waiting += [(needs, also) for also in ("", *needed.extras)]
    return {name: version for name, version in versions.items() if name != project}


def _requirements(lines: Iterable[str], extra: str) -> Iterator[Requirement]:
    """Yield what a package requires with an extra ("": without one).

    Most lines are of other extras: unparsed, they saved a third of 0.17 s, and a package's metadata
    parsed once instead of twice another third.
    """
    for line in lines:
        _, _, marker = line.partition(";")
        if not extra and "extra" in marker:
            continue
        needed = Requirement(line)
        if needed.marker is None or needed.marker.evaluate({"extra": extra}):
            yield needed


def record_no_retraining(decision: Decision, params: Params) -> Retraining:
    """Append a decision not to retrain to the ledger; return it as a result."""
    ledger.append(
        LedgerAction(action="decision", name=params.registered_name, reasons=(decision.reason,))
    )
    raw = raw_version(params.data.name)
    return Retraining(decision=decision, dataset=DatasetName(name=raw.name, digest=raw.digest))
