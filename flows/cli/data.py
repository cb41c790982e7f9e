"""`pitchpipe data ...` and `pitchpipe prepare`: batches, versions and arrays of a dataset."""

import math
from pathlib import Path
from typing import Annotated, Literal

import typer

from flows.cli.data_value import worth
from flows.cli.labels import relabel, triage
from flows.cli.options import (
    DatasetOption,
    JsonOption,
    Project,
    SkipBadOption,
    emit,
    with_params,
)
from models.errors import ConfigError

data_app = typer.Typer(help="Add, check, list and restore images.", no_args_is_help=True)

SourceArgument = Annotated[
    Path,
    typer.Argument(
        help="Folder of class folders, Parquet (Hugging Face layout), IDX, NPZ, or `digits`.",
        show_default=False,
    ),
]
FormatOption = Annotated[
    str | None,
    typer.Option("--format", help="folder, parquet, idx, npz or digits; default: detected."),
]
SplitOption = Annotated[
    Literal["train", "validation", "test"] | None,
    typer.Option("--split", help="Split of all images, where the source declares none."),
]


def mount(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (triage, relabel, worth):
        data_app.command(command.__name__)(command)
    app.add_typer(data_app, name="data")
    app.command("prepare")(prepare)


@data_app.command("add")
@with_params()
def add(
    project: Project,
    source: SourceArgument,
    *,
    dataset: DatasetOption = None,
    name: Annotated[str | None, typer.Option("--name", help="Name of the batch.")] = None,
    kind: FormatOption = None,
    split: SplitOption = None,
    skip_bad: SkipBadOption = False,
    as_json: JsonOption = False,
) -> None:
    """Add images as a new immutable batch, checked and versioned.

    Example: pitchpipe data add photos/ --dataset pets
    """
    data = project.of_dataset(dataset).params.data
    from flows.cli.display.datasets import print_added
    from flows.datasets.ingest import add_source

    added = add_source(
        project.user_path(source), data, name=name, kind=kind, split=split, skip_bad=skip_bad
    )
    emit(added) if as_json else print_added(added)


@data_app.command("check")
@with_params()
def check(
    project: Project,
    source: SourceArgument,
    *,
    dataset: DatasetOption = None,
    kind: FormatOption = None,
    split: SplitOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run the checks of `data add` and write nothing; exits 2 where there are errors.

    Example: pitchpipe data check photos/
    """
    data = project.of_dataset(dataset).params.data
    from flows.cli.display.datasets import print_report
    from flows.datasets.ingest import check_source

    report = check_source(project.user_path(source), data, kind=kind, split=split)
    emit(report) if as_json else print_report(report)
    raise typer.Exit(2 if report.errors else 0)


@data_app.command("status")
@with_params()
def status(project: Project, *, dataset: DatasetOption = None, as_json: JsonOption = False) -> None:
    """Show the dataset and its changes since its last version.

    Every file of DVC's cache is hashed. Exits 1 where one is missing or corrupted.

    Example: pitchpipe data status
    """
    params = project.of_dataset(dataset).params
    from flows.cli.display.datasets import print_status
    from flows.datasets.status import dataset_status

    found = dataset_status(params.data, params.inbox)
    emit(found) if as_json else print_status(found)
    raise typer.Exit(1 if found.problems else 0)


@data_app.command("inbox")
@with_params()
def inbox(
    project: Project,
    *,
    dataset: DatasetOption = None,
    remote: Annotated[
        str | None, typer.Option("--from", help="s3://BUCKET/FOLDER of deliveries, fetched first.")
    ] = None,
    most_gb: Annotated[
        float, typer.Option("--most-gb", help="Of a delivery fetched, at most; above 0.")
    ] = 20,
    as_json: JsonOption = False,
) -> None:
    """Add the deliveries in data/inbox/<dataset>/; bad ones are quarantined.

    Exits 0 in either case: `quarantined` of the JSON document lists what could not be added.

    Example: pitchpipe data inbox --dataset pets
    """
    params = project.of_dataset(dataset).params
    from flows.cli.display.datasets import print_taken
    from flows.datasets.inbox import take_deliveries
    from flows.datasets.remote_inbox import GB, RemoteInbox
    from flows.runtime.object_store import Place

    place = Place.parse(remote, variable="--from") if remote else None
    if not 0 < most_gb < math.inf:
        raise ConfigError(f"--most-gb {most_gb:g}: is no size; say how many GB, as --most-gb 20")
    there = RemoteInbox(place, int(most_gb * GB)) if place else None
    taken = take_deliveries(params.data, params.inbox, remote=there)
    emit(taken) if as_json else print_taken(taken)


@data_app.command("log")
@with_params()
def log(project: Project, *, dataset: DatasetOption = None, as_json: JsonOption = False) -> None:
    """List the versions of the dataset, newest first, with the runs and models made from each.

    Runs and registered versions are those of the params' registry.name.

    Example: pitchpipe data log --dataset pets
    """
    params = project.of_dataset(dataset).params
    from flows.cli.display.datasets import print_log
    from flows.registry.dataset_uses import used_versions

    versions = used_versions(params.data.name, registered=params.registered_name)
    emit(versions) if as_json else print_log(params.data.name, versions)


@data_app.command("restore")
@with_params()
def restore(
    project: Project,
    digest: Annotated[str, typer.Argument(help="Digest of a version, or its first digits.")],
    *,
    dataset: DatasetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Restore an older version, byte for byte, from DVC's cache or remote, and prepare it.

    Example: pitchpipe data restore 3f2a9c
    """
    data = project.params.data
    from flows.cli.display.datasets import print_restored
    from flows.datasets.restore import restore_dataset

    restored = restore_dataset(digest, data, dataset=dataset)
    emit(restored) if as_json else print_restored(restored)


@with_params(warn=False)  # the command of DVC's stage, too
def prepare(
    project: Project,
    *,
    resolved: Annotated[
        bool, typer.Option("--resolved", help="Read data/prepare.yaml, as DVC's stage does.")
    ] = False,
    write_params: Annotated[
        bool,
        typer.Option(
            "--write-params",
            help="Only write data/prepare.yaml, as DVC's stage; --json prints its content.",
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Make data/prepared/ from the batches: check, resize, split. DVC is not called.

    Example: pitchpipe prepare --set data.image_size=32
    """
    from flows.cli.display.datasets import print_prepared
    from flows.datasets.current import prepare_here, read_resolved, write_resolved

    data = read_resolved() if resolved else project.params.data
    write_resolved(data)
    if write_params:
        if as_json:
            emit({"data": data})
        return
    manifest = prepare_here(data)
    if as_json:
        emit({**dict(manifest), "warnings": manifest.checks})
    else:
        print_prepared(manifest)
