"""Checks of schedules and deliveries."""

import os
from collections.abc import Iterator

from flows.datasets.deliveries import QUARANTINE, quarantined_deliveries
from flows.runtime.prefect_server import running_services
from flows.schedules.config import SCHEDULES, Schedule, read_schedules
from flows.upkeep.doctor.finding import Finding, error, warning
from models.errors import ConfigError, PitchpipeError


def schedules() -> Iterator[Finding]:
    """Validate schedules.yaml and the params of each schedule, and see whether they are served."""
    try:
        found = read_schedules()
    except ConfigError as fault:
        for line in str(fault).splitlines():
            yield error(line, f"fix that in {SCHEDULES}; no schedule is served until then")
        return
    for schedule in found:
        yield from _params_of(schedule)
    active = [schedule.name for schedule in found if schedule.active]
    # Only the user's own Prefect knows whether a worker serves its pool.
    if active and running_services() is None and not os.environ.get("PREFECT_API_URL"):
        yield warning(f"schedules are not served: {', '.join(active)}", "pitchpipe up")


def _params_of(schedule: Schedule) -> Iterator[Finding]:
    try:
        schedule.request().params()
    except PitchpipeError as fault:
        what = " ".join(str(fault).split())
        yield error(
            f"schedule {schedule.name} cannot retrain: {what}",
            f"fix {schedule.params} or `set` in {SCHEDULES}; "
            f"or: pitchpipe schedule remove {schedule.name}",
        )


def quarantine() -> Iterator[Finding]:
    """Find quarantined deliveries."""
    names = quarantined_deliveries()
    if names:
        yield warning(
            f"{len(names)} deliveries are quarantined in {QUARANTINE}: {', '.join(names[:3])}"
            + (", ..." if names[3:] else ""),
            f"read {QUARANTINE / names[0]}/report.txt; fix the delivery and move it into the "
            "inbox again, or remove that folder",
        )
