"""`pitchpipe up | status | doctor | gc`: services, state and upkeep of the project."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from flows.cli.options import JsonOption, Project, emit, with_params


def mount(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (up, gc, status, doctor):
        app.command(command.__name__)(command)


@with_params(warn=False)
def up(
    project: Project,
    *,
    mlflow_port: Annotated[
        int, typer.Option(min=1, max=65535, help="Port of the MLflow UI, if it is free.")
    ] = 5000,
    prefect_port: Annotated[
        int, typer.Option(min=1, max=65535, help="Port of the Prefect server, if it is free.")
    ] = 4200,
) -> None:
    """Start MLflow's UI and Prefect's server on loopback and serve the schedules until Ctrl-C.

    Decisions of the schedules are shown in words on a terminal, as JSON elsewhere.

    Example: pitchpipe up
    """
    from flows.schedules.up import serve_until_interrupted

    serve_until_interrupted(project.load_params, mlflow_port=mlflow_port, prefect_port=prefect_port)


@with_params(warn=False)
def status(project: Project, *, as_json: JsonOption = False) -> None:
    """Show services, schedules, the champion, the retraining in progress and the last one.

    Each fact names the file or server that it was read from.

    Example: pitchpipe status --json
    """
    from flows.schedules.status import read_status

    found = read_status(project.params, ask_servers=True)
    if as_json:
        emit(found)
        return
    from flows.cli.display.project import print_status

    print_status(found, datetime.now(UTC))


@with_params(warn=False)
def doctor(
    project: Project,
    *,
    deep: Annotated[
        bool, typer.Option("--deep", help="Also hash all weights and DVC's cache.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Examine stores, locks, ports, packages and disk; each finding comes with its remedy.

    Changes nothing. Exits 1 where a finding is an error.

    Example: pitchpipe doctor --json
    """
    from flows.upkeep.doctor import examine_project

    findings = examine_project(project.load_params, deep=deep)
    if as_json:
        emit({"findings": findings})
    else:
        from flows.cli.display.project import print_findings

        print_findings(findings)
    if any(finding.level == "error" for finding in findings):
        raise typer.Exit(1)


@with_params()
def gc(
    project: Project,
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List what would be removed; remove nothing.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Remove old trials, runs, flow runs and leftovers, by `retention:` of the params.

    What a version, the ledger or a running process needs is kept.

    Example: pitchpipe gc --dry-run --set retention.trials_days=30
    """
    from flows.cli.display.project import print_cleaning
    from flows.upkeep.gc import clean

    cleaned = clean(project.request(), dry_run=dry_run)
    emit(cleaned.document()) if as_json else print_cleaning(cleaned)
