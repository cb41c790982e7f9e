"""Schedules: `schedules.yaml`, read and written whole; light to import.

`pitchpipe up` and `pitchpipe schedule apply` update Prefect's deployments from it
(flows.schedules.deployments).
"""

import contextlib
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo

import yaml
from filelock import FileLock
from pydantic import (
    Field,
    JsonValue,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

from flows.datasets.remote_inbox import GB, RemoteInbox
from flows.records.retraining import Request
from flows.runtime.object_store import Place
from flows.schedules.config_edit import with_entry, with_field, without_entry
from flows.schedules.cron import next_of_cron, zone_of
from models.config import Record
from models.config.yaml_reader import parse_yaml, read_yaml_text
from models.decision import Trigger
from models.errors import ConfigError
from models.files import write_text

log = logging.getLogger(__name__)

SCHEDULES = Path("schedules.yaml")
_HEADER = (
    "# Written by `pitchpipe schedule`, served by `pitchpipe up`; edit it by hand as you like.\n"
)
_LOCK = Path("mlruns/schedules.lock")


class Schedule(Record):
    """A trigger of retraining: a cron line, an interval, new data or drift."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
    cron: str | None = None
    """Minute, hour, day, month, weekday."""
    timezone: str = "UTC"
    """IANA name of the cron line's time zone."""
    interval: Annotated[int, Field(gt=0, le=366 * 86_400)] | None = None
    """Seconds from one tick to the next: at most a year."""
    since: datetime | None = None
    """A tick of the interval, from which the others follow; null: 1970-01-01 00:00 UTC."""
    on: Literal["new data", "drift"] | None = None
    inbox: str | None = None
    """`s3://BUCKET/FOLDER`, whose deliveries are taken beside those of data/inbox/<dataset>/."""
    inbox_gb: float = Field(20, gt=0, le=100_000)
    """Of one delivery there, at most."""
    params: str = "params.yaml"
    """Params file, relative to the project."""
    set: tuple[str, ...] = ()
    """`K=V`, applied to the file."""
    active: bool = True

    @field_validator("inbox")
    @classmethod
    def _is_a_place(cls, inbox: str | None) -> str | None:
        if inbox is not None:
            try:
                Place.parse(inbox, variable="inbox")
            except ConfigError as error:
                raise ValueError(str(error)) from None
        return inbox

    @model_validator(mode="after")
    def _has_one_trigger(self) -> Self:
        if sum(given is not None for given in (self.cron, self.interval, self.on)) != 1:
            raise ValueError("give exactly one of cron, interval, on")
        if self.since is not None and (self.interval is None or self.since.tzinfo is None):
            raise ValueError("since: belongs to an interval, with its offset from UTC")
        zone = zone_of(self.timezone)
        if self.cron is not None:
            next_of_cron(self.cron, datetime.now(zone))
        return self

    @property
    def trigger(self) -> Trigger:
        """Kind of trigger, as in decisions."""
        return self.on or ("cron" if self.cron is not None else "interval")

    @property
    def trigger_text(self) -> str:
        """The trigger in words."""
        if self.cron is not None:
            return f"cron {self.cron} {self.timezone}"
        return f"interval {self.interval} s" if self.interval is not None else self.trigger

    @property
    def remote(self) -> RemoteInbox | None:
        """The remote inbox; null: the local one is all."""
        if self.inbox is None:
            return None
        return RemoteInbox(Place.parse(self.inbox, variable="inbox"), int(self.inbox_gb * GB))

    def request(self) -> Request:
        """Build the request for a retraining by this schedule."""
        return Request(params_file=self.params, overrides=list(self.set), trigger=self.trigger)

    def next_tick(self, after: datetime) -> datetime | None:
        """Return the first tick after a time; None where it is paused or has no clock."""
        if not self.active or self.on is not None:
            return None
        if self.cron is not None:
            return next_of_cron(self.cron, after.astimezone(ZoneInfo(self.timezone)))
        assert self.interval is not None
        step, anchor = timedelta(seconds=self.interval), self.anchor
        return anchor + ((after - anchor) // step + 1) * step

    @property
    def anchor(self) -> datetime:
        """A tick of the interval."""
        return self.since or datetime(1970, 1, 1, tzinfo=UTC)

    def document(self, now: datetime) -> dict[str, JsonValue]:
        """As `--json` prints it."""
        tick = self.next_tick(now)
        return {
            "name": self.name,
            "trigger": self.trigger_text,
            "next": tick.isoformat() if tick else None,
            "active": self.active,
            "params": self.params,
            "set": list(self.set),
            "inbox": self.inbox,
        }


_File = TypeAdapter(tuple[Schedule, ...])


def read_schedules(path: Path = SCHEDULES) -> tuple[Schedule, ...]:
    """Read the project's schedules; none where there is no file.

    Raises ConfigError with every fault found.
    """
    return _parse(read_yaml_text(path), path) if path.exists() else ()


def _parse(text: str, path: Path) -> tuple[Schedule, ...]:
    tree = parse_yaml(text, where=str(path))
    try:
        schedules = _File.validate_json(json.dumps(tree or []))
    except ValidationError as error:
        raise ConfigError("\n".join(_faults(error, path))) from None
    names = [schedule.name for schedule in schedules]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ConfigError(f"{path}: the name {repeated[0]!r} is given twice; rename one")
    return schedules


def new_schedule(**fields: object) -> Schedule:
    """Make a schedule from a user's input; ConfigError with the first fault."""
    try:
        return Schedule.model_validate(fields)
    except ValidationError as error:
        raise ConfigError(next(_faults(error, None))) from None


def add_schedule(schedule: Schedule) -> None:
    """Add a schedule; ConfigError where its name is taken."""
    with _locked_file() as (text, schedules):
        if schedule.name in (one.name for one in schedules):
            raise ConfigError(
                f"schedule {schedule.name!r}: this name is taken; choose another with "
                f"--name, or `pitchpipe schedule remove {schedule.name}` first"
            )
        intended = (*schedules, schedule)
        _write(intended, lambda: with_entry(text or _HEADER, _dump([schedule])))


def set_active(name: str, *, active: bool) -> None:
    """Pause or resume a schedule; ConfigError where there is none of this name."""
    with _locked_file() as (text, schedules):
        place = schedules.index(find_schedule(schedules, name))
        changed = schedules[place].model_copy(update={"active": active})
        if changed != schedules[place]:
            intended = (*schedules[:place], changed, *schedules[place + 1 :])
            value = json.dumps(active)
            _write(intended, lambda: with_field(text, place, name="active", value=value))


def remove_schedule(name: str) -> None:
    """Remove a schedule; ConfigError where there is none of this name."""
    with _locked_file() as (text, schedules):
        place = schedules.index(find_schedule(schedules, name))
        intended = (*schedules[:place], *schedules[place + 1 :])
        _write(intended, lambda: without_entry(text, place))


def find_schedule(schedules: Sequence[Schedule], name: str) -> Schedule:
    """Return the schedule of this name; ConfigError where there is none."""
    for schedule in schedules:
        if schedule.name == name:
            return schedule
    names = ", ".join(schedule.name for schedule in schedules) or "none yet"
    raise ConfigError(f"schedule {name!r}: no such schedule; there are: {names}")


def unused_name(trigger: Trigger) -> str:
    """Return a free name for a schedule, made of its trigger."""
    taken = {schedule.name for schedule in read_schedules()}
    plain = trigger.replace(" ", "-")
    numbered = (f"{plain}-{number}" for number in range(2, len(taken) + 3))
    return next(name for name in (plain, *numbered) if name not in taken)


@contextlib.contextmanager
def _locked_file() -> Iterator[tuple[str, tuple[Schedule, ...]]]:
    """Lock the file against other writers; yield its text and the schedules in it."""
    _LOCK.parent.mkdir(exist_ok=True)
    with FileLock(_LOCK):
        schedules = read_schedules()
        yield read_yaml_text(SCHEDULES) if SCHEDULES.exists() else "", schedules


def _write(intended: tuple[Schedule, ...], edit: Callable[[], str]) -> None:
    """Write the edited text, which keeps comments, where it parses as intended; else rewrite all.

    Small edits do not handle all of YAML: anchors, a list in brackets, `- ` alone.
    """
    with contextlib.suppress(ConfigError, yaml.YAMLError):
        text = edit()
        if _parse(text, SCHEDULES) == intended:
            write_text(SCHEDULES, text)
            return
    log.warning("%s is rewritten: its comments are lost", SCHEDULES)
    write_text(SCHEDULES, _HEADER + _dump(intended))


def _dump(schedules: Sequence[Schedule]) -> str:
    documents = [one.model_dump(mode="json", exclude_defaults=True) for one in schedules]
    return yaml.safe_dump(documents, sort_keys=False)


def _faults(error: ValidationError, path: Path | None) -> Iterator[str]:
    for fault in error.errors():
        place = ".".join(str(part) for part in fault["loc"])
        where = ": ".join(part for part in (str(path) if path else "", place) if part)
        rule = fault["msg"].removeprefix("Value error, ")
        value = "" if fault["type"] == "value_error" else f"{fault['input']!r}: "
        yield f"{where}: {value}{rule}" if where else f"{value}{rule}"
