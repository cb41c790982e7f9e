"""`pitchpipe gc`: what nobody needs any more is removed."""

from pathlib import Path
from typing import Annotated

import typer

from flows.console import JsonOption, ParamsOption, SetOption, emit, enter_project


def mount(app: typer.Typer) -> None:
    """Add these commands."""
    app.command("gc")(gc)


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
    from flows import cleaning, cleaning_table
    from flows.requests import Request

    path = project.user_path(params_file) if params_file else Path("params.yaml")
    request = Request(params_file=str(path), overrides=overrides or [])
    cleaned = cleaning.clean(request, dry_run=dry_run)
    emit(cleaned.document()) if as_json else cleaning_table.print_cleaning(cleaned)
