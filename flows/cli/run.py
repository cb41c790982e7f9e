"""`pitchpipe run | tune | params`."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.options import (
    JsonOption,
    ParamsOption,
    Project,
    SetOption,
    emit,
    enter_project,
    with_params,
)
from flows.records.choices import AskedDevice, EngineName
from models.files import PARAMS

if TYPE_CHECKING:
    from flows.records.retraining import Request

WorkersOption = Annotated[
    int | None,
    typer.Option("--workers", min=1, max=1024, help="Trials at once; default: one per core."),
]
EngineOption = Annotated[
    EngineName, typer.Option("--engine", help="Where trials run: here, or on a cluster.")
]
AddressOption = Annotated[
    str | None,
    typer.Option(
        "--engine-address",
        help="HOST:PORT of an existing cluster; default: one is started, and ends with the search.",
    ),
]
DeviceOption = Annotated[
    AskedDevice, typer.Option("--device", help="auto: a GPU where this machine has one.")
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Show what would be trained; train nothing.")
]


def mount(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (run, tune, params):
        app.command(command.__name__)(command)


@with_params()
def run(
    project: Project,
    *,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Retrain even if nothing changed; try trials that timed out again."
        ),
    ] = False,
    dry_run: DryRunOption = False,
    no_promote: Annotated[
        bool, typer.Option("--no-promote", help="Register, but leave the champion.")
    ] = False,
    workers: WorkersOption = None,
    engine: EngineOption = "processes",
    engine_address: AddressOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Retrain once: prepare, tune, evaluate, register, promote.

    Where neither data nor params nor code changed since the last retraining, nothing is done.

    Example: pitchpipe run --params examples/fashion_mnist.yaml --set search.epochs=3
    """
    request = project.request(
        force=force,
        promote=not no_promote,
        workers=workers,
        engine=engine,
        engine_address=engine_address,
        device=device,
    )
    _execute(project, request, dry_run=dry_run, as_json=as_json)


@with_params()
def tune(
    project: Project,
    *,
    dry_run: DryRunOption = False,
    workers: WorkersOption = None,
    engine: EngineOption = "processes",
    engine_address: AddressOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Run the search alone: no test score, no version, no promotion.

    Example: pitchpipe tune --set 'search.axes={minibatch_size: [32, 64]}'
    """
    request = project.request(
        tune_only=True,
        force=True,
        workers=workers,
        engine=engine,
        engine_address=engine_address,
        device=device,
    )
    _execute(project, request, dry_run=dry_run, as_json=as_json)


def _execute(project: Project, request: "Request", *, dry_run: bool, as_json: bool) -> None:
    """Carry out a request, or forecast it; print the outcome and exit with its code."""
    from flows.cli.display.retraining import print_forecast, print_retraining
    from flows.retraining.forecast import forecast_retraining
    from flows.run import run_retraining

    if dry_run:
        forecast = forecast_retraining(request)
        emit(forecast.document()) if as_json else print_forecast(forecast)
        return
    result = run_retraining(request)
    emit(result.document()) if as_json else print_retraining(result)
    if result.promotion is not None:
        _print_as_default(project)
    raise typer.Exit(result.exit_code)


def _print_as_default(project: Project) -> None:
    """After a retraining of another dataset than params.yaml names: what would make it the default.

    On standard error, so that --json stays one document.
    """
    from flows.cli.display.retraining import format_differences
    from models.config import load_params

    params, default = project.params, load_params()
    if params.data.name != default.data.name:
        lines = "".join(f"  {line}" for line in format_differences(params, default))
        sys.stderr.write(
            f"{PARAMS} names {default.data.name}. To make this retraining of {params.data.name} "
            f"the default of all commands and schedules, put into {PARAMS}:\n{lines}"
        )


def params(
    context: typer.Context,
    *,
    params_file: ParamsOption = None,
    overrides: SetOption = None,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON schema of a params file.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Print the resolved params: defaults, params file, overrides.

    Example: pitchpipe params --set trial.optimizer.name=sgd
    """
    from models.config import Params

    if schema:  # outside a project, too
        emit(Params.model_json_schema())
        return
    resolved = enter_project(context, params_file, overrides).params
    if as_json:
        emit(resolved)
        return
    import yaml

    typer.echo(yaml.safe_dump(resolved.model_dump(mode="json"), sort_keys=False), nl=False)
