"""`pitchpipe predict | evaluate | serve | reproduce | export | import | monitor`."""

import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.options import (
    JsonOption,
    Project,
    VersionArgument,
    VersionOption,
    emit,
    with_params,
)
from flows.cli.suggestions import suggest_versions
from models.errors import ConfigError, InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flows.versions.predict import Prediction


HostnameOption = Annotated[
    list[str] | None,
    typer.Option("--hostname", help="Name by which clients ask for it (repeatable)."),
]
ThreadsOption = Annotated[
    int | None, typer.Option("--threads", min=1, help="Of the network; default: as trained.")
]
BatchWaitOption = Annotated[
    float, typer.Option("--batch-wait-ms", min=0, help="An image waits for others so long.")
]

ShadowOption = Annotated[
    str | None,
    typer.Option(
        "--shadow",
        help="Version or alias asked, too, such as challenger; logs images.",
        autocompletion=suggest_versions,
    ),
]
ShadowLimitsOption = Annotated[
    tuple[int, int],
    typer.Option("--shadow-limits", help="Of its log: MB, and images; beyond, none is added."),
]


def mount(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (predict, evaluate, serve, reproduce, export, monitor):
        app.command(command.__name__)(command)
    app.command("import")(import_version)


@with_params(model=True)
def predict(
    project: Project,
    path: Annotated[Path, typer.Argument(help="Image, folder of images, Parquet, IDX or NPZ.")],
    *,
    version: VersionOption = "champion",
    output: Annotated[
        Path | None, typer.Option("--output", help="File ending in .csv, .jsonl or .parquet.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Predict the class of every image of a source.

    Example: pitchpipe predict photos/ --output labels.csv
    """
    source, target = project.user_path(path), project.user_path(output) if output else None
    if not source.exists():
        raise InputError(f"{path}: does not exist; name an image, a folder or a data source")
    tracking = project.reading()
    from flows.registry.loading import load_version
    from flows.versions.predict import predict_source
    from flows.versions.prediction_files import write_predictions, writer_for

    if target:
        writer_for(target)
    loaded = load_version(tracking, version)
    rows = predict_source(loaded, source)
    if target:
        classes = loaded.files.lineage.classes
        count = write_predictions(target, _with_progress(rows), classes=classes)
        if as_json:
            emit({"output": str(target), "images": count})
        else:
            typer.echo(f"{count} images -> {output}")
    elif as_json:
        emit([row.document() for row in _with_progress(rows)])
    else:
        for row in rows:
            typer.echo(row.line)


@with_params(model=True)
def evaluate(
    project: Project,
    target: Annotated[str, typer.Argument(help="Version, alias, or a trial's key.")],
    *,
    data: Annotated[
        Path | None, typer.Option("--data", help="Labelled images; default: the test split.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Score a version, alias or trial on the current test split, or on given images.

    Example: pitchpipe evaluate champion --data new-photos/
    """
    tracking = project.reading()
    from flows.cli.display.versions import print_scores
    from flows.versions.evaluate import evaluate_target

    bins = project.params.evaluation.calibration_bins
    source = project.user_path(data) if data else None
    found = evaluate_target(tracking, target, bins=bins, source=source)
    emit(found.model_dump(mode="json")) if as_json else print_scores(found)


@with_params(model=True)
def serve(
    project: Project,
    *,
    version: VersionOption = "champion",
    port: Annotated[int, typer.Option("--port", min=1, max=65535)] = 5001,
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    hostnames: HostnameOption = None,
    threads: ThreadsOption = None,
    max_mb: Annotated[int, typer.Option("--max-mb", min=1, help="Of one request.")] = 64,
    max_images: Annotated[int, typer.Option("--max-images", min=1, help="Of one request.")] = 1024,
    max_queue: Annotated[int, typer.Option("--max-queue", min=1, help="Requests at once.")] = 256,
    timeout: Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds a request.")] = 10,
    max_batch: Annotated[int, typer.Option("--max-batch", min=1, help="Images at once.")] = 64,
    batch_wait: BatchWaitOption = 0,
    shadow: ShadowOption = None,
    shadow_limits: ShadowLimitsOption = (256, 1000),
) -> None:
    """Serve a version over HTTP on loopback, until Ctrl-C; an alias is followed while it runs.

    POST /predict and /invocations; GET /ping, /version, /metrics. See docs/serving.md.

    Example: pitchpipe serve --port 5001
    """
    tracking = project.tracking()
    from flows.records.shadow_log import LogLimits
    from flows.versions.serve import ServeSettings, serve_version
    from flows.versions.serving.records import Batching, Limits

    limits = Limits(max_mb * 2**20, images=max_images, requests=max_queue, seconds=timeout)
    settings = ServeSettings(
        port,
        host=host,
        hostnames=tuple(hostnames or ()),
        threads=threads,
        limits=limits,
        batching=Batching(max_batch, wait_seconds=batch_wait / 1000),
        shadow=shadow,
        shadow_limits=LogLimits(shadow_limits[0] * 2**20, shadow_limits[1]),
    )
    serve_version(tracking, version, settings)


@with_params(model=True)
def reproduce(
    project: Project,
    version: VersionArgument,
    *,
    as_json: JsonOption = False,
) -> None:
    """Retrain a version from its data, config and seed, and compare the two bit by bit.

    Works in a scratch folder. Exits 1 where anything differs, and names it: code, environment or
    data; weights, history or scores. What was trained asynchronously has other bits each time: its
    test accuracy is compared, and 1 is for one that differs by more than chance.

    Example: pitchpipe reproduce champion
    """
    tracking = project.tracking()
    from flows.versions.reproduce import reproduce_version

    made = reproduce_version(tracking, version, say=lambda line: typer.echo(line, err=True))
    if as_json:
        emit(made)
    else:
        unequal = "as good, not bit-equal" if made.as_promised else "not bit-equal"
        equal = "bit-equal: weights, history and scores" if made.bit_equal else unequal
        typer.echo(f"version {made.version}: {equal}")
        for difference in made.differences:
            typer.echo(f"  - {difference}")
    if not made.as_promised:
        raise typer.Exit(1)


@with_params(model=True)
def export(
    project: Project,
    version: VersionArgument,
    file: Annotated[Path, typer.Argument(help="File to write.", show_default=False)],
    *,
    onnx: Annotated[bool, typer.Option("--onnx", help="Its network alone, as ONNX.")] = False,
    int8: Annotated[bool, typer.Option("--int8", help="With --onnx: weights of 8 bits.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Write a version with its lineage, scores, report and ledger entries into one zip file.

    --onnx: its network, compared on the test split with the version before it is written.

    Example: pitchpipe export champion digits.zip
    """
    if int8 and not onnx:
        raise ConfigError("--int8: is about ONNX files; give --onnx, too")
    tracking = project.reading()
    if onnx:
        _export_onnx(project, version, file, int8=int8, as_json=as_json)
        return
    from flows.versions.transfer import export_version

    exported = export_version(tracking, version, project.user_path(file))
    if as_json:
        emit(exported)
    else:
        typer.echo(f"version {exported.version} -> {file} (digest {exported.digest[:12]})")


def _export_onnx(project: Project, version: str, file: Path, *, int8: bool, as_json: bool) -> None:
    from flows.versions.onnx_export import export_onnx

    written = export_onnx(project.reading(), version, project.user_path(file), int8=int8)
    if as_json:
        emit(written)
    else:
        bits = "8 bits" if int8 else "32 bits"
        typer.echo(f"version {written.version} -> {file} (ONNX, {bits}, {written.bytes:,} bytes)")
        typer.echo(written.parity.sentence)


@with_params(model=True, warn=False)
def import_version(
    project: Project,
    file: Annotated[Path, typer.Argument(help="Zip file that `export` wrote.", show_default=False)],
    *,
    as_json: JsonOption = False,
) -> None:
    """Check a file that `export` wrote, and register its content as a version.

    It keeps the registered name that it had where it was exported; --model gives it another.

    Example: pitchpipe import digits.zip
    """
    source = project.user_path(file)
    from flows.versions.transfer import exported_name, import_file

    name = project.model or exported_name(source)
    imported = import_file(replace(project, model=name).tracking(), source)
    if as_json:
        emit(imported)
        return
    named = "" if name == project.params.registered_name else f" --model {shlex.quote(name)}"
    typer.echo(
        f"{file} -> version {imported.version} of {name} (digest {imported.digest[:12]}); "
        f"`pitchpipe promote {imported.version}{named}` asks the gate"
    )


def _with_progress(rows: "Iterator[Prediction]") -> "Iterator[Prediction]":
    """Yield the rows while a counter runs on standard error, where that is a terminal."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.completed:,.0f} images"), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("predict", total=None)
        for row in rows:
            progress.advance(task)
            yield row


@with_params(model=True)
def monitor(
    project: Project,
    path: Annotated[Path, typer.Argument(help="Folder of images, Parquet, IDX or NPZ.")],
    *,
    version: VersionOption = "champion",
    as_json: JsonOption = False,
) -> None:
    """Detect drift of images against the validation images of a version, without labels.

    Exits 0 with or without drift: see `drift` of the JSON document.

    Example: pitchpipe monitor photos/ --json
    """
    source = project.user_path(path)
    if not source.exists():
        raise InputError(f"{path}: does not exist; name a folder of images or a data source")
    from flows.cli.display.versions import monitor_document, print_monitored
    from flows.versions.monitor import monitor_version

    tracking = project.tracking()
    record = monitor_version(tracking, source, project.params.drift, version=version)
    if as_json:
        emit(monitor_document(record))
    else:
        print_monitored(record)
