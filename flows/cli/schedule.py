"""`pitchpipe schedule ...`: retraining by itself."""

from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.options import JsonOption, ParamsOption, Project, SetOption, emit, enter_project
from models.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from flows.schedules.config import Schedule

schedule_app = typer.Typer(help="Retrain by itself: on a schedule, on new data, on drift.")

NameArgument = Annotated[str, typer.Argument(help="Name of the schedule.", show_default=False)]


def mount(app: typer.Typer) -> None:
    """Add these commands."""
    app.add_typer(schedule_app, name="schedule")


CronOption = Annotated[
    str | None, typer.Option("--cron", help='Minute, hour, day, month, weekday: "0 3 * * *".')
]
TimezoneOption = Annotated[
    str | None,
    typer.Option("--timezone", help="Zone of --cron, such as Europe/Berlin; default: UTC."),
]
IntervalOption = Annotated[
    int | None, typer.Option("--interval", help="Seconds from one time to the next.")
]
NewDataOption = Annotated[
    bool, typer.Option("--on-new-data", help="Whenever files arrive in the inbox.")
]
DriftOption = Annotated[
    bool, typer.Option("--on-drift", help="Whenever files in the inbox differ from before.")
]
NewNameOption = Annotated[
    str | None, typer.Option("--name", help="Its name; default: after its trigger.")
]


@schedule_app.callback(invoke_without_command=True)
def schedule(
    context: typer.Context,
    *,
    cron: CronOption = None,
    timezone: TimezoneOption = None,
    interval: IntervalOption = None,
    on_new_data: NewDataOption = False,
    on_drift: DriftOption = False,
    name: NewNameOption = None,
    params_file: ParamsOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add a schedule to schedules.yaml; `pitchpipe up` serves it.

    Example: pitchpipe schedule --cron "0 3 * * *" --timezone Europe/Berlin --name nightly
    """
    on = "drift" if on_drift else "new data" if on_new_data else None
    when = {"cron": cron, "interval": interval, "timezone": timezone, "on": on}
    given: dict[str, object] = {key: value for key, value in when.items() if value is not None}
    if context.invoked_subcommand is not None:
        if given or name or params_file or overrides:
            raise ConfigError("options of a new schedule do not go before another command")
        return
    if (on_new_data and on_drift) or ("timezone" in given and "cron" not in given):
        raise ConfigError(
            "give one of --cron, --interval, --on-new-data, --on-drift; --timezone goes with --cron"
        )
    project = enter_project(context)
    project.params(params_file, overrides)  # refused now, and not at the first tick
    given |= {"params": _in_project(project, params_file), "set": tuple(overrides or ())}
    from flows.schedules.config import add_schedule

    add_schedule(_new(given, name))
    _show(as_json=as_json)


def _new(given: dict[str, object], name: str | None) -> "Schedule":
    from datetime import UTC, datetime

    from flows.schedules.config import new_schedule, unused_name

    if "interval" in given:
        given = given | {"since": datetime.now(UTC).replace(microsecond=0)}
    made = new_schedule(name=name or "unnamed", **given)
    return made if name else made.model_copy(update={"name": unused_name(made.trigger)})


def _in_project(project: Project, params_file: "Path | None") -> str:
    """Write a path so that it stays right when the project's folder moves, where that can be."""
    if params_file is None:
        return "params.yaml"
    path = project.user_path(params_file).resolve()
    root = project.root.resolve()
    return str(path.relative_to(root) if path.is_relative_to(root) else path)


@schedule_app.command("list")
def list_(context: typer.Context, *, as_json: JsonOption = False) -> None:
    """List the schedules, and when each comes next.

    Example: pitchpipe schedule list
    """
    enter_project(context)
    _show(as_json=as_json)


@schedule_app.command("pause")
def pause(context: typer.Context, name: NameArgument, *, as_json: JsonOption = False) -> None:
    """Let a schedule rest until it is resumed.

    Example: pitchpipe schedule pause nightly
    """
    enter_project(context)
    from flows.schedules.config import set_active

    set_active(name, active=False)
    _show(as_json=as_json)


@schedule_app.command("resume")
def resume(context: typer.Context, name: NameArgument, *, as_json: JsonOption = False) -> None:
    """Let a paused schedule go on.

    Example: pitchpipe schedule resume nightly
    """
    enter_project(context)
    from flows.schedules.config import set_active

    set_active(name, active=True)
    _show(as_json=as_json)


@schedule_app.command("remove")
def remove(context: typer.Context, name: NameArgument, *, as_json: JsonOption = False) -> None:
    """Remove a schedule.

    Example: pitchpipe schedule remove nightly
    """
    enter_project(context)
    from flows.schedules.config import remove_schedule

    remove_schedule(name)
    _show(as_json=as_json)


@schedule_app.command("run-now")
def run_now(context: typer.Context, name: NameArgument, *, as_json: JsonOption = False) -> None:
    """Ask at once what a schedule asks: by `pitchpipe up` or a worker, else in this process.

    Example: pitchpipe schedule run-now nightly
    """
    enter_project(context)
    from flows.cli.display.retraining import print_retraining
    from flows.schedules.commands import run_schedule

    result = run_schedule(name)
    if result is None:
        typer.echo(f"{name} runs now; `pitchpipe up` and Prefect show how it ends", err=True)
    elif not as_json:
        print_retraining(result)
    if as_json:
        _show(as_json=True)
    raise typer.Exit(result.exit_code if result else 0)


@schedule_app.command("apply")
def apply(context: typer.Context, *, as_json: JsonOption = False) -> None:
    """Make Prefect's deployments agree with schedules.yaml; `pitchpipe up` does so by itself.

    Example: pitchpipe schedule apply
    """
    enter_project(context)
    from flows.schedules.commands import apply_now

    apply_now()
    _show(as_json=as_json)


def _show(*, as_json: bool) -> None:
    from datetime import UTC, datetime

    from flows.schedules.config import read_schedules

    now = datetime.now(UTC)
    if as_json:
        emit([one.document(now) for one in read_schedules()])
        return
    from flows.schedules.status_page import print_schedules

    print_schedules(read_schedules(), now)
