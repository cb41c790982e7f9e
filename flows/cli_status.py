"""`pitchpipe status` and `pitchpipe doctor`: how the project is."""

from typing import Annotated

import typer

from flows.console import JsonOption, emit, enter_project


def mount(app: typer.Typer) -> None:
    """Add these commands."""
    app.command("status")(status)
    app.command("doctor")(doctor)


def status(context: typer.Context, *, as_json: JsonOption = False) -> None:
    """Show services, the champion, what retrains now and what came last.

    Example: pitchpipe status --json
    """
    enter_project(context)
    from flows.status import project_status

    found = project_status()
    if as_json:
        emit(found.model_dump(mode="json"))
        return
    from flows.status_tables import print_status

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
    from flows.doctor import examine_project

    findings = examine_project(deep=deep)
    if as_json:
        emit({"findings": [finding.model_dump(mode="json") for finding in findings]})
    else:
        from flows.status_tables import print_findings

        print_findings(findings)
    if any(finding.level == "error" for finding in findings):
        raise typer.Exit(1)
