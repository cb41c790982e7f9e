"""`pitchpipe schedule ...`: scheduled and triggered retraining."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.options import JsonOption, Project, emit, enter_project, with_params
from models.errors import ConfigError

if TYPE_CHECKING:
    from flows.schedules.config import Schedule

schedule_app = typer.Typer(invoke_without_command=True)

NameArgument = Annotated[str, typer.Argument(help="Name of the schedule.", show_default=False)]
CronOption = Annotated[
    str | None, typer.Option("--cron", help='Minute, hour, day, month, weekday: "0 3 * * *".')
]
TimezoneOption = Annotated[
    str | None,
    typer.Option("--timezone", help="Zone of --cron, such as Europe/Berlin; default: UTC."),
]
IntervalOption = Annotated[
    int | None, typer.Option("--interval", help="Seconds between two retrainings.")
]
NewDataOption = Annotated[
    bool, typer.Option("--on-new-data", help="When files arrive in the inbox.")
]
DriftOption = Annotated[
    bool, typer.Option("--on-drift", help="When files in the inbox have drifted.")
]
InboxOption = Annotated[
    str | None,
    typer.Option("--inbox", help="s3://BUCKET/FOLDER whose deliveries are taken, too."),
]
NewNameOption = Annotated[str | None, typer.Option("--name", help="Name; default: its trigger.")]


def mount(app: typer.Typer) -> None:
    """Add these commands."""
    app.add_typer(schedule_app, name="schedule")


@schedule_app.callback()
@with_params()
def schedule(
    project: Project,
    *,
    cron: CronOption = None,
    timezone: TimezoneOption = None,
    interval: IntervalOption = None,
    on_new_data: NewDataOption = False,
    on_drift: DriftOption = False,
    inbox: InboxOption = None,
    name: NewNameOption = None,
    as_json: JsonOption = False,
) -> None:
    """Retrain automatically: add a schedule, by a clock, on new data or on drift.

    Schedules are kept in schedules.yaml and served by `pitchpipe up`.

    Example: pitchpipe schedule --cron "0 3 * * *" --timezone Europe/Berlin --name nightly
    """
    if (on_new_data and on_drift) or (timezone is not None and cron is None):
        raise ConfigError(
            "give one of --cron, --interval, --on-new-data, --on-drift; --timezone goes with --cron"
        )
    on = "drift" if on_drift else "new data" if on_new_data else None
    when = {"cron": cron, "interval": interval, "timezone": timezone, "on": on, "inbox": inbox}
    fields: dict[str, object] = {key: value for key, value in when.items() if value is not None}
    _ = project.params  # invalid params are refused now, and not at the first tick
    fields |= {"params": _params_in_project(project), "set": project.overrides}
    from flows.schedules.config import add_schedule

    add_schedule(_new(fields, name))
    _print_schedules(as_json=as_json)


def _new(fields: dict[str, object], name: str | None) -> "Schedule":
    from flows.schedules.config import new_schedule, unused_name

    if "interval" in fields:
        fields = fields | {"since": datetime.now(UTC).replace(microsecond=0)}
    made = new_schedule(name=name or "unnamed", **fields)
    return made if name else made.model_copy(update={"name": unused_name(made.trigger)})


def _params_in_project(project: Project) -> str:
    """Path of the params file, relative where it is in the project, whose folder may move."""
    path, root = project.params_path.resolve(), project.root.resolve()
    return str(path.relative_to(root) if path.is_relative_to(root) else path)


@schedule_app.command("list")
def list_(context: typer.Context, *, as_json: JsonOption = False) -> None:
    """List the schedules with their next times.

    Example: pitchpipe schedule list
    """
    enter_project(context)
    _print_schedules(as_json=as_json)


@schedule_app.command("pause")
def pause(context: typer.Context, name: NameArgument, *, as_json: JsonOption = False) -> None:
    """Pause a schedule.

    Example: pitchpipe schedule pause nightly
    """
    _set_active(context, name, active=False, as_json=as_json)


@schedule_app.command("resume")
def resume(context: typer.Context, name: NameArgument, *, as_json: JsonOption = False) -> None:
    """Resume a paused schedule.

    Example: pitchpipe schedule resume nightly
    """
    _set_active(context, name, active=True, as_json=as_json)


def _set_active(context: typer.Context, name: str, *, active: bool, as_json: bool) -> None:
    enter_project(context)
    from flows.schedules.config import set_active

    set_active(name, active=active)
    _print_schedules(as_json=as_json)


@schedule_app.command("remove")
def remove(context: typer.Context, name: NameArgument, *, as_json: JsonOption = False) -> None:
    """Remove a schedule.

    Example: pitchpipe schedule remove nightly
    """
    enter_project(context)
    from flows.schedules.config import remove_schedule

    remove_schedule(name)
    _print_schedules(as_json=as_json)


@schedule_app.command("run-now")
def run_now(context: typer.Context, name: NameArgument, *, as_json: JsonOption = False) -> None:
    """Run a schedule now: in `pitchpipe up` or a worker, else in this process.

    Example: pitchpipe schedule run-now nightly
    """
    enter_project(context)
    from flows.cli.display.retraining import print_retraining
    from flows.schedules.commands import run_schedule

    result = run_schedule(name)
    if result is None:
        typer.echo(f"{name} was started; `pitchpipe up` and Prefect show its result", err=True)
    elif not as_json:
        print_retraining(result)
    if as_json:
        _print_schedules(as_json=True)
    raise typer.Exit(result.exit_code if result else 0)


@schedule_app.command("apply")
def apply(context: typer.Context, *, as_json: JsonOption = False) -> None:
    """Update Prefect's deployments from schedules.yaml; `pitchpipe up` does so automatically.

    Example: pitchpipe schedule apply
    """
    enter_project(context)
    from flows.schedules.commands import apply_now

    apply_now()
    _print_schedules(as_json=as_json)


def _print_schedules(*, as_json: bool) -> None:
    from flows.schedules.config import read_schedules

    now, schedules = datetime.now(UTC), read_schedules()
    if as_json:
        emit([one.document(now) for one in schedules])
        return
    from flows.cli.display.project import print_schedules

    print_schedules(schedules, now)
