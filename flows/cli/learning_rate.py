"""`pitchpipe lr-find`: a learning rate for the params' network, by a range test."""

from typing import Annotated

import typer

from flows.cli.options import JsonOption, Project, emit, with_params
from models.errors import ConfigError

MOST = 100.0
"""Highest learning rate that any optimiser takes."""


def mount(app: typer.Typer) -> None:
    """Add this command."""
    app.command("lr-find")(lr_find)


@with_params()
def lr_find(
    project: Project,
    *,
    low: Annotated[float, typer.Option("--low", help="Learning rate of the first step.")] = 1e-6,
    high: Annotated[float, typer.Option("--high", help="Learning rate of the last step.")] = 10.0,
    as_json: JsonOption = False,
) -> None:
    """Suggest a learning rate: train once for 100 steps while it rises (Smith, 2017).

    The rate at which the loss falls fastest, at most a tenth of the one where it is lowest. The
    curve is drawn in mlruns/lr_find/ and in MLflow's run lr-find.

    Example: pitchpipe lr-find --set trial.optimizer.name=sgd
    """
    if not 0 < low < high <= MOST:
        raise ConfigError(
            f"--low {low:g} and --high {high:g}: rates must be above 0, low below high, and at "
            f"most {MOST:g}"
        )
    params = project.params
    from flows.retraining.learning_rate import describe_range_test, find_learning_rate

    record = find_learning_rate(params, low=low, high=high)
    emit(record) if as_json else typer.echo(describe_range_test(record))
