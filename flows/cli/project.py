"""`pitchpipe init | up | status | doctor | gc`: a new project; services, state and upkeep."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from flows.cli.options import (
    JsonOption,
    Project,
    SkipBadOption,
    emit,
    enter_root,
    with_params,
)


def mount(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (init, up, gc, status, doctor):
        app.command(command.__name__)(command)


def init(
    folder: Annotated[Path, typer.Argument(help="Folder of the project; may be new.")],
    *,
    images: Annotated[
        Path | None,
        typer.Option("--from", help="Images to begin with: any source of `data add`."),
    ] = None,
    skip_bad: SkipBadOption = False,
    as_json: JsonOption = False,
) -> None:
    """Make a project of your own in a folder, with params for the images and these as first batch.

    Files that are there stay as they are. Needs no git; where there is git, DVC works with it.

    Example: pitchpipe init pets --from photos/
    """
    from flows.cli.display.project import print_new_project
    from flows.datasets.new_project import add_first_batch, create_project

    source = images.resolve() if images else None
    created = create_project(folder, source)
    enter_root(created.folder)
    added = add_first_batch(created, source, skip_bad=skip_bad) if source else None
    if as_json:
        emit({"project": created, "added": added})
    else:
        print_new_project(created, added)


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
    from flows.cli.display.status import print_status

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
    from flows.upkeep.gc import clean, list_removable

    cleaned = list_removable(project.request()) if dry_run else clean(project.request())
    emit(cleaned.document()) if as_json else print_cleaning(cleaned)
