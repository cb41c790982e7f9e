"""`pitchpipe trials`, `trials show KEY`, `trials compare A B`: the trial store."""

from typing import Annotated

import typer

from flows.cli.options import JsonOption, emit, enter_project

trials_app = typer.Typer(invoke_without_command=True)


def mount(app: typer.Typer) -> None:
    """Add these commands."""
    app.add_typer(trials_app, name="trials")


@trials_app.callback()
def trials(
    context: typer.Context,
    *,
    everything: Annotated[
        bool, typer.Option("--all", help="Also trials of other datasets and older code.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """List the trials on the current dataset, best first by validation.

    Example: pitchpipe trials --all --json
    """
    if context.invoked_subcommand:
        return
    enter_project(context)
    from flows.cli.display.trials import leaderboard, print_rows

    rows = leaderboard(everything=everything)
    if as_json:
        emit([row.document() for row in rows])
    else:
        print_rows(rows)


@trials_app.command("show")
def show(
    context: typer.Context,
    key: Annotated[str, typer.Argument(help="The trial's key, or its first digits.")],
    *,
    as_json: JsonOption = False,
) -> None:
    """Show one trial: config, scores, and its curve.

    Example: pitchpipe trials show 3fa9
    """
    enter_project(context)
    from flows.cli.display.trials import print_trial, row_of

    row = row_of(key)
    if as_json:
        emit(row.document(history=True))
    else:
        print_trial(row)


@trials_app.command("compare")
def compare(
    context: typer.Context,
    first: Annotated[str, typer.Argument(help="A trial's key, or its first digits.")],
    second: Annotated[str, typer.Argument(help="Another's.")],
    *,
    as_json: JsonOption = False,
) -> None:
    """Compare two trials: what they differ in, scores side by side, and both curves.

    Example: pitchpipe trials compare 3fa9 07c2
    """
    enter_project(context)
    from flows.cli.display.trial_comparison import comparison, pair_of, print_comparison

    one, other = pair_of(first, second)
    if as_json:
        emit(comparison(one, other))
    else:
        print_comparison(one, other)
