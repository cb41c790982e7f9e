"""`pitchpipe run | tune | params`."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.options import JsonOption, ParamsOption, Project, SetOption, emit, enter_project
from flows.records.choices import AskedDevice, EngineName

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
    bool, typer.Option("--dry-run", help="Say what would be trained; train nothing.")
]


@dataclass(frozen=True, slots=True)
class _Where:
    """Where trials run, in the words of a Request."""

    workers: int | None
    engine: EngineName
    engine_address: str | None
    device: AskedDevice


def mount(app: typer.Typer) -> None:
    """Add these commands."""
    app.command("run")(run)
    app.command("tune")(tune)
    app.command("params")(params)


def run(
    context: typer.Context,
    *,
    params_file: ParamsOption = None,
    overrides: SetOption = None,
    force: Annotated[
        bool, typer.Option("--force", help="Retrain even if nothing changed.")
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
    """Retrain once, whole: prepare, tune, evaluate, register, promote.

    Does nothing, and says so, when neither data nor params nor code changed since the last time.

    Example: pitchpipe run --params examples/fashion_mnist.yaml --set search.epochs=3
    """
    project = enter_project(context)
    where = _Where(workers, engine, engine_address, device)
    request = _request(project, params_file, overrides, where)
    request = request.model_copy(update={"force": force, "promote": not no_promote})
    _answer(request, dry_run=dry_run, as_json=as_json)


def tune(
    context: typer.Context,
    *,
    params_file: ParamsOption = None,
    overrides: SetOption = None,
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
    project = enter_project(context)
    where = _Where(workers, engine, engine_address, device)
    request = _request(project, params_file, overrides, where)
    request = request.model_copy(update={"tune_only": True, "force": True})
    _answer(request, dry_run=dry_run, as_json=as_json)


def _answer(request: "Request", *, dry_run: bool, as_json: bool) -> None:
    """Carry out a request, or say what it would do; print that, and exit."""
    from flows.cli.display.retraining import print_forecast, print_retraining
    from flows.retraining.forecast import forecast_retraining
    from flows.run import run_retraining

    if dry_run:
        ahead = forecast_retraining(request)
        emit(ahead.document()) if as_json else print_forecast(ahead)
        return
    result = run_retraining(request)
    emit(result.document()) if as_json else print_retraining(result)
    raise typer.Exit(result.exit_code)


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
    """Print the params as they resolve: file, overrides, defaults.

    Example: pitchpipe params --set trial.optimizer.name=sgd
    """
    from models.config import Params

    if schema:
        emit(Params.model_json_schema())
        return
    project = enter_project(context)
    resolved = project.params(params_file, overrides)
    document = resolved.model_dump(mode="json")
    if as_json:
        emit(document)
        return
    import yaml

    typer.echo(yaml.safe_dump(document, sort_keys=False), nl=False)


def _request(
    project: Project, params_file: Path | None, overrides: list[str] | None, where: _Where
) -> "Request":
    from flows.records.retraining import Request

    project.params(params_file, overrides)  # refused now, before anything is begun
    return Request(
        params_file=str(project.params_path(params_file)),
        overrides=overrides or [],
        **asdict(where),
    )
