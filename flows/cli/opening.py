"""`pitchpipe open`: pages of a running `up`, in the browser."""

import sys
from typing import Annotated, Literal

import typer

from flows.cli.options import Project, with_params


def mount(app: typer.Typer) -> None:
    """Add this command."""
    app.command("open")(open_page)


@with_params(model=True)
def open_page(
    project: Project,
    page: Annotated[
        Literal["runs", "flows", "report", "champion"],
        typer.Argument(help="In MLflow; in Prefect; the champion's report; its page in MLflow."),
    ] = "runs",
    *,
    only_print: Annotated[
        bool, typer.Option("--print", help="Print the address; open nothing.")
    ] = False,
) -> None:
    """Open a page of a running `pitchpipe up` in the browser, signed in.

    Prints its address, too; with a password on a terminal alone, as `up` does. Exits 1 where `up`
    does not run; the report needs none.

    Example: pitchpipe open champion
    """
    from flows.runtime.prefect_server import SERVICES
    from flows.schedules.opening import open_in_browser, page_link

    link = page_link(page, project.reading)
    opened = not only_print and open_in_browser(link)
    needs_password = link.password is not None and not opened
    shown = link.signed_in if needs_password and sys.stdout.isatty() else link.public
    typer.echo(shown)
    if needs_password and shown == link.public:
        typer.echo(f"the page asks for the password in {SERVICES}", err=True)
