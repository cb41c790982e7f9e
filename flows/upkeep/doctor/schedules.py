"""Retraining by itself: can the schedules be asked, who asks them, which deliveries lie aside."""

import os
from collections.abc import Iterator

from flows.datasets.deliveries import QUARANTINE, quarantined_deliveries
from flows.runtime.prefect_server import running_services
from flows.schedules.config import SCHEDULES, Schedule, read_schedules
from flows.upkeep.doctor.finding import Finding, error, warning
from models.errors import ConfigError, PitchpipeError


def schedules() -> Iterator[Finding]:
    """Read schedules.yaml whole, the params of each schedule, and whether anybody serves them."""
    try:
        found = read_schedules()
    except ConfigError as fault:
        for line in str(fault).splitlines():
            yield error(line, f"mend that in {SCHEDULES}; no schedule is served until then")
        return
    for schedule in found:
        yield from _params_of(schedule)
    active = [schedule.name for schedule in found if schedule.active]
    # Whether a worker serves the pool of a Prefect of the user's own, only that Prefect knows.
    if active and running_services() is None and not os.environ.get("PREFECT_API_URL"):
        yield warning(f"nobody serves the schedules: {', '.join(active)}", "pitchpipe up")


def _params_of(schedule: Schedule) -> Iterator[Finding]:
    try:
        schedule.request().params()
    except PitchpipeError as fault:
        what = " ".join(str(fault).split())
        yield error(
            f"schedule {schedule.name} cannot retrain: {what}",
            f"mend {schedule.params} or `set` in {SCHEDULES}; "
            f"or: pitchpipe schedule remove {schedule.name}",
        )


def quarantine() -> Iterator[Finding]:
    """Look for deliveries that were set aside."""
    names = quarantined_deliveries()
    if names:
        yield warning(
            f"{len(names)} deliveries are quarantined in {QUARANTINE}: {', '.join(names[:3])}"
            + (", ..." if names[3:] else ""),
            f"read {QUARANTINE / names[0]}/report.txt; mend the delivery and move it into the "
            "inbox again, or remove that folder",
        )
