"""What people read of schedules: when each comes next."""

from collections.abc import Sequence
from datetime import datetime

from rich.console import Console
from rich.table import Table

from flows.schedules import Schedule


def print_schedules(schedules: Sequence[Schedule], now: datetime) -> None:
    """Print the project's schedules, in the order of their file."""
    console = Console(markup=False)
    if not schedules:
        console.print('No schedules yet: pitchpipe schedule --cron "0 3 * * *"', highlight=False)
        return
    console.print(schedules_table(schedules, now))


def schedules_table(schedules: Sequence[Schedule], now: datetime) -> Table:
    """Show name, trigger and next tick of each, in its own time zone."""
    table = Table(box=None, padding=(0, 2, 0, 0), highlight=False)
    for heading in ("schedule", "trigger", "next"):
        table.add_column(heading, justify="left", overflow="fold")
    for schedule in schedules:
        table.add_row(schedule.name, schedule.shown_trigger, shown_next(schedule, now))
    return table


def shown_next(schedule: Schedule, now: datetime) -> str:
    """Say when a schedule comes next, in words."""
    if not schedule.active:
        return "paused"
    tick = schedule.next_tick(now)
    return f"{tick:%Y-%m-%d %H:%M:%S %Z}" if tick else "when there is any"
