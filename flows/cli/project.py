"""`pitchpipe up | status | doctor | gc`: the project's services, state and upkeep."""

from typing import Annotated

import typer

from flows.cli.options import JsonOption, ParamsOption, SetOption, emit, enter_project


def mount(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (up, gc, status, doctor):
        app.command(command.__name__)(command)


def up(
    context: typer.Context,
    *,
    mlflow_port: Annotated[
        int, typer.Option(min=1, max=65535, help="Port of the MLflow UI, if it is free.")
    ] = 5000,
    prefect_port: Annotated[
        int, typer.Option(min=1, max=65535, help="Port of the Prefect server, if it is free.")
    ] = 4200,
) -> None:
    """Start MLflow's UI and Prefect's server on loopback and serve the schedules; Ctrl-C stops all.

    Example: pitchpipe up
    """
    enter_project(context)
    from flows.schedules.up import serve_until_interrupted

    serve_until_interrupted(mlflow_port=mlflow_port, prefect_port=prefect_port)


def status(context: typer.Context, *, as_json: JsonOption = False) -> None:
    """Show services, the champion, what retrains now and what came last.

    Example: pitchpipe status --json
    """
    enter_project(context)
    from flows.upkeep.status import project_status

    found = project_status()
    if as_json:
        emit(found.model_dump(mode="json"))
        return
    from flows.cli.display.project import print_status

    print_status(found)


def doctor(
    context: typer.Context,
    *,
    deep: Annotated[
        bool, typer.Option("--deep", help="Also hash all weights and DVC's cache.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Examine stores, locks, ports, packages and disk; each finding comes with its remedy.

    Exit code 1 where a finding is an error. Changes nothing.

    Example: pitchpipe doctor --json
    """
    enter_project(context)
    from flows.upkeep.doctor import examine_project

    findings = examine_project(deep=deep)
    if as_json:
        emit({"findings": [finding.model_dump(mode="json") for finding in findings]})
    else:
        from flows.cli.display.project import print_findings

        print_findings(findings)
    if any(finding.level == "error" for finding in findings):
        raise typer.Exit(1)


def gc(
    context: typer.Context,
    *,
    params_file: ParamsOption = None,
    overrides: SetOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would go; remove nothing.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Remove old trials, runs, flow runs and leftovers, as `retention:` in the params says.

    What a version, the ledger or a running process needs always stays.

    Example: pitchpipe gc --dry-run --set retention.trials_days=30
    """
    project = enter_project(context)
    from flows.cli.display.project import print_cleaning
    from flows.records.retraining import Request
    from flows.upkeep.gc import clean

    path = project.params_path(params_file)
    request = Request(params_file=str(path), overrides=overrides or [])
    cleaned = clean(request, dry_run=dry_run)
    emit(cleaned.document()) if as_json else print_cleaning(cleaned)
