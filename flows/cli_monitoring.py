"""`pitchpipe monitor`: says whether images have become others."""

from pathlib import Path
from typing import Annotated

import typer

from flows.cli_registry import ModelOption
from flows.console import JsonOption, ParamsOption, SetOption, emit, enter_project
from models.errors import InputError


def mount(app: typer.Typer) -> None:
    """Add this command."""
    app.command("monitor")(monitor)


def monitor(
    context: typer.Context,
    path: Annotated[Path, typer.Argument(help="Folder of images, Parquet, IDX or NPZ.")],
    *,
    version: Annotated[str, typer.Option("--version", help="Number or alias.")] = "champion",
    model: ModelOption = None,
    params_file: ParamsOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say whether images have become others than those that a version was selected on.

    Exits 0 whatever the answer, which is `drift` of the JSON document. Needs no labels.

    Example: pitchpipe monitor photos/ --json
    """
    project = enter_project(context)
    source = project.user_path(path)
    if not source.exists():
        raise InputError(f"{path}: is not there; name a folder of images or a data source")
    from flows import monitoring, monitoring_tables
    from flows.tracking import open_tracking
    from models.config import load_params

    chosen = project.user_path(params_file) if params_file else Path("params.yaml")
    params = load_params(chosen, overrides or ())
    tracking = open_tracking(model or params.registered_name)
    record = monitoring.monitor(tracking, source, params.drift, version=version)
    if as_json:
        emit(monitoring_tables.monitor_document(record))
    else:
        monitoring_tables.print_monitored(record)
