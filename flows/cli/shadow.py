"""`pitchpipe shadow report`: what a challenger says of the images that users ask."""

from pathlib import Path
from typing import Annotated

import typer

from flows.cli.options import JsonOption, Project, emit, with_params

shadow_app = typer.Typer(
    no_args_is_help=True, help="A challenger beside the champion: `pitchpipe serve --shadow`."
)


def mount(app: typer.Typer) -> None:
    """Add these commands."""
    app.add_typer(shadow_app, name="shadow")


@shadow_app.command("report")
@with_params(model=True)
def report(
    project: Project,
    *,
    labels: Annotated[
        Path | None, typer.Option("--labels", help="CSV of logged images: image, label.")
    ] = None,
    open_page: Annotated[bool, typer.Option("--open", help="Open the sheet in a browser.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Report where the challenger disagreed, and by labels which of the two was right.

    Images delivered with their class label disagreements, too, once they are prepared.

    Example: pitchpipe shadow report --labels labels.csv
    """
    from flows.versions.shadow_report import report_shadow

    name = project.model or project.params.registered_name
    given = project.user_path(labels) if labels else None
    found = report_shadow(name, project.params.gate, labels=given)
    if as_json:
        emit(found)
    else:
        typer.echo(found.sentence)
        for one in found.classes:
            typer.echo(f"  {one.name}: {one.agreed:,} of {one.images:,}")
        typer.echo(found.test.sentence)
        typer.echo(found.page)
    if open_page:
        typer.launch(Path(found.page).resolve().as_uri())
