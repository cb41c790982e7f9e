"""`pitchpipe trials`, `trials show KEY`, `compare A B`, `curves`: the trial store."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from flows.cli.options import (
    JsonOption,
    Project,
    emit,
    enter_project,
    with_params,
)
from flows.cli.suggestions import suggest_datasets, suggest_trials

trials_app = typer.Typer(invoke_without_command=True)

PreparedOption = Annotated[
    str | None,
    typer.Option(
        "--dataset",
        help="Dataset; default: the one that is prepared.",
        autocompletion=suggest_datasets,
    ),
]
AllOption = Annotated[
    bool, typer.Option("--all", help="Also trials of other datasets and older code.")
]
KeyArgument = Annotated[
    str,
    typer.Argument(help="A trial's key, or its first digits.", autocompletion=suggest_trials),
]
OtherKeyArgument = Annotated[str, typer.Argument(help="Another's.", autocompletion=suggest_trials)]


def mount(app: typer.Typer) -> None:
    """Add these commands."""
    app.add_typer(trials_app, name="trials")


@trials_app.callback()
@with_params()
def trials(
    project: Project,
    *,
    everything: AllOption = False,
    limit: Annotated[
        int | None,
        typer.Option("--limit", min=1, help="Rows; default: 30 in the table, all with --json."),
    ] = None,
    dataset: PreparedOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the trials of the dataset that is prepared, best first by validation.

    Sorted by the trials' objective, or by that of the params where they have several.

    Example: pitchpipe trials --all --json
    """
    project = project.of_dataset(dataset)
    from flows.cli.display.trials import leaderboard, print_leaderboard

    params = project.params
    name = params.data.name if project.names_dataset else None
    board = leaderboard(params.trial.objective, dataset=name, everything=everything)
    if as_json:
        emit([row.document() for row in board.rows[:limit]])
    else:
        print_leaderboard(board, limit=limit)


@trials_app.command("show")
def show(
    context: typer.Context,
    key: KeyArgument,
    *,
    as_json: JsonOption = False,
) -> None:
    """Show one trial: config, scores, and its curve.

    Example: pitchpipe trials show 3fa9
    """
    enter_project(context)
    from flows.cli.display.trials import find_row, print_trial

    row = find_row(key)
    emit(row.document(history=True)) if as_json else print_trial(row)


@trials_app.command("compare")
def compare(
    context: typer.Context,
    first: KeyArgument,
    second: OtherKeyArgument,
    *,
    as_json: JsonOption = False,
) -> None:
    """Compare two trials: differing inputs, scores side by side, and both curves.

    Example: pitchpipe trials compare 3fa9 07c2
    """
    enter_project(context)
    from flows.cli.display.trial_comparison import comparison, pair_of, print_comparison

    pair = pair_of(first, second)
    emit(comparison(*pair)) if as_json else print_comparison(*pair)


@trials_app.command("curves")
@with_params()
def curves(
    project: Project,
    *,
    output: Annotated[
        Path | None, typer.Option("--output", help="CSV file; default: standard output.")
    ] = None,
    everything: AllOption = False,
    dataset: PreparedOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print every epoch of the trials that `trials` lists as CSV, best trial first.

    Scores, losses, learning rate and seconds by epoch, with each trial's config beside them.

    Example: pitchpipe trials curves --output curves.csv
    """
    project = project.of_dataset(dataset)
    from flows.cli.display.trials import leaderboard
    from flows.records.curves import curve_rows, save_curves, write_curves

    name = project.params.data.name if project.names_dataset else None
    board = leaderboard(project.params.trial.objective, dataset=name, everything=everything)
    trials = [row.trial for row in board.rows]
    if output is not None:
        save_curves(project.user_path(output), trials)
    elif not as_json:
        write_curves(sys.stdout, trials)
    if as_json:
        emit(list(curve_rows(trials)))
