"""`pitchpipe predict | evaluate | serve | reproduce | export | import`: versions put to use."""

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli_registry import ModelOption, VersionArgument, open_project
from flows.console import JsonOption, emit, enter_project
from models.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flows.prediction import Prediction


def mount(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (predict, evaluate, serve, reproduce, export):
        app.command(command.__name__)(command)
    app.command("import")(import_version)


def predict(
    context: typer.Context,
    path: Annotated[Path, typer.Argument(help="Image, folder of images, Parquet, IDX or NPZ.")],
    *,
    version: Annotated[str, typer.Option("--version", help="Number or alias.")] = "champion",
    output: Annotated[
        Path | None, typer.Option("--output", help="File ending in .csv, .jsonl or .parquet.")
    ] = None,
    model: ModelOption = None,
    as_json: JsonOption = False,
) -> None:
    """Name the class of every image of a source.

    Example: pitchpipe predict photos/ --output labels.csv
    """
    project = enter_project(context)
    source, target = project.user_path(path), project.user_path(output) if output else None
    if not source.exists():
        raise InputError(f"{path}: is not there; name an image, a folder or a data source")
    tracking = open_project(context, model)
    from flows import prediction, prediction_files, registry

    if target:
        prediction_files.writer_for(target)
    loaded = registry.load_version(tracking, version)
    rows = prediction.predict(loaded, source)
    if target:
        classes = loaded.files.lineage.classes
        count = prediction_files.write_predictions(target, _shown(rows), classes=classes)
        if as_json:
            emit({"output": str(target), "images": count})
        else:
            typer.echo(f"{count} images -> {output}")
    elif as_json:
        emit([row.document() for row in _shown(rows)])
    else:
        for row in rows:
            share = f"{row.probabilities[row.label]:.4f}" if row.probabilities and row.label else ""
            typer.echo(f"{row.image}\t{row.label or row.error}\t{share}")


def evaluate(
    context: typer.Context,
    target: Annotated[str, typer.Argument(help="Version, alias, or a trial's key.")],
    *,
    data: Annotated[
        Path | None, typer.Option("--data", help="Labelled images; default: the test split.")
    ] = None,
    model: ModelOption = None,
    as_json: JsonOption = False,
) -> None:
    """Score a version, alias or trial on today's test split, or on images given.

    Example: pitchpipe evaluate champion --data new-photos/
    """
    project = enter_project(context)
    tracking = open_project(context, model)
    from flows import scoring, version_tables
    from models.config import load_params

    bins = load_params(Path("params.yaml")).evaluation.calibration_bins
    source = project.user_path(data) if data else None
    found = scoring.evaluate_target(tracking, target, bins=bins, source=source)
    emit(found.model_dump(mode="json")) if as_json else version_tables.print_scores(found)


def serve(
    context: typer.Context,
    *,
    version: Annotated[str, typer.Option("--version", help="Number or alias.")] = "champion",
    port: Annotated[int, typer.Option("--port", min=1, max=65535)] = 5001,
    model: ModelOption = None,
) -> None:
    """Serve a version on loopback by MLflow's scoring server, until Ctrl-C.

    Takes {"inputs": [image, ...]} at /invocations, an image as [channel][row][column] of 0..255.

    Example: pitchpipe serve --port 5001
    """
    tracking = open_project(context, model)
    from flows import serving

    serving.serve(tracking, version, port=port)


def reproduce(
    context: typer.Context,
    version: VersionArgument,
    *,
    model: ModelOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a version again from its data, config and seed, and compare it to the bit.

    Works in a scratch folder. Exits 1 where anything differs, and names it: code, environment or
    data; weights, history or scores.

    Example: pitchpipe reproduce champion
    """
    tracking = open_project(context, model)
    from flows import reproducing

    made = reproducing.reproduce(tracking, version, say=lambda line: typer.echo(line, err=True))
    if as_json:
        emit({"bit_equal": made.bit_equal, "differences": list(made.differences)})
    else:
        equal = "bit-equal: weights, history and scores" if made.bit_equal else "not the same"
        typer.echo(f"version {made.version}: {equal}")
        for difference in made.differences:
            typer.echo(f"  - {difference}")
    if not made.bit_equal:
        raise typer.Exit(1)


def export(
    context: typer.Context,
    version: VersionArgument,
    file: Annotated[Path, typer.Argument(help="Zip file to write.", show_default=False)],
    *,
    model: ModelOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a version with its lineage, scores, report and ledger entries into one file.

    Example: pitchpipe export champion digits.zip
    """
    project = enter_project(context)
    tracking = open_project(context, model)
    from flows import transfer

    exported = transfer.export_version(tracking, version, project.user_path(file))
    if as_json:
        emit(asdict(exported))
    else:
        typer.echo(f"version {exported.version} -> {file} (digest {exported.digest[:12]})")


def import_version(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="Zip file that `export` wrote.", show_default=False)],
    *,
    model: Annotated[
        str | None, typer.Option("--model", help="Registered name; default: the one in the file.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check a file that `export` wrote, and register what it holds as a version.

    It keeps the registered name it had where it was exported; --model gives it another.

    Example: pitchpipe import digits.zip
    """
    project = enter_project(context)
    source = project.user_path(file)
    from flows import transfer
    from models.config import load_params

    usual = load_params(Path("params.yaml")).registered_name
    tracking = open_project(context, model or transfer.exported_name(source))
    imported = transfer.import_version(tracking, source)
    named = "" if imported.name == usual else f" --model {shlex.quote(imported.name)}"
    if as_json:
        emit(asdict(imported))
    else:
        typer.echo(
            f"{file} -> version {imported.version} of {imported.name} (digest "
            f"{imported.digest[:12]}); `pitchpipe promote {imported.version}{named}` asks the gate"
        )


def _shown(rows: "Iterator[Prediction]") -> "Iterator[Prediction]":
    """Count on standard error while rows go by; nothing where that is no terminal."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.completed:,.0f} images"), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("predict", total=None)
        for row in rows:
            progress.advance(task)
            yield row
