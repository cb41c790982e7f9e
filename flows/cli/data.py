"""`pitchpipe data ...` and `pitchpipe prepare`: images in, versions, arrays."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from flows.cli.options import JsonOption, ParamsOption, Project, SetOption, emit, enter_project

if TYPE_CHECKING:
    from models.config import DataParams, Params

data_app = typer.Typer(help="Add, check, list and restore images.", no_args_is_help=True)

SourceArgument = Annotated[
    Path,
    typer.Argument(
        help="Folder of class folders, Parquet (Hugging Face layout), IDX, NPZ, or `digits`.",
        show_default=False,
    ),
]
DatasetOption = Annotated[
    str | None, typer.Option("--dataset", help="Dataset; default: data.name of the params.")
]
FormatOption = Annotated[
    Literal["folder", "parquet", "idx", "npz", "digits"] | None,
    typer.Option("--format", help="Format; default: found by looking."),
]
SplitOption = Annotated[
    Literal["train", "validation", "test"] | None,
    typer.Option("--split", help="Split of all images, where the source declares none."),
]


def mount(app: typer.Typer) -> None:
    """Add these commands."""
    app.add_typer(data_app, name="data")
    app.command("prepare")(prepare)


@data_app.command("add")
def add(
    context: typer.Context,
    source: SourceArgument,
    *,
    dataset: DatasetOption = None,
    name: Annotated[str | None, typer.Option("--name", help="Name of the batch.")] = None,
    kind: FormatOption = None,
    split: SplitOption = None,
    skip_bad: Annotated[
        bool,
        typer.Option("--skip-bad", help="Leave unreadable files out, with a warning for each."),
    ] = False,
    params_file: ParamsOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add images as a new immutable batch, checked and versioned.

    Example: pitchpipe data add photos/ --dataset pets
    """
    project = enter_project(context)
    data = _data(project, params_file, overrides, dataset=dataset)
    from flows.cli.data_documents import add_source
    from flows.cli.display.datasets import print_added

    document = add_source(
        project.user_path(source), data, name=name, kind=kind, split=split, skip_bad=skip_bad
    )
    emit(document.model_dump(mode="json")) if as_json else print_added(document)


@data_app.command("check")
def check(
    context: typer.Context,
    source: SourceArgument,
    *,
    dataset: DatasetOption = None,
    kind: FormatOption = None,
    split: SplitOption = None,
    params_file: ParamsOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run the checks that `data add` runs; write nothing. Exits 2 where there are errors.

    Example: pitchpipe data check photos/
    """
    project = enter_project(context)
    data = _data(project, params_file, overrides, dataset=dataset)
    from flows.cli.data_documents import source_report
    from flows.cli.display.datasets import print_report

    document = source_report(project.user_path(source), data, kind=kind, split=split)
    emit(document.model_dump(mode="json")) if as_json else print_report(document)
    raise typer.Exit(2 if document.errors else 0)


@data_app.command("status")
def status(
    context: typer.Context,
    *,
    dataset: DatasetOption = None,
    params_file: ParamsOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what the dataset is, and what changed since its last version.

    Every byte in DVC's cache is compared. Exits 1 where a file there is missing or corrupted.

    Example: pitchpipe data status
    """
    project = enter_project(context)
    params = _params(project, params_file, overrides, dataset=dataset)
    from flows.cli.data_documents import status_document
    from flows.cli.display.datasets import print_status

    document = status_document(params.data, params.inbox)
    emit(document.model_dump(mode="json")) if as_json else print_status(document)
    raise typer.Exit(1 if document.problems else 0)


@data_app.command("inbox")
def inbox(
    context: typer.Context,
    *,
    dataset: DatasetOption = None,
    params_file: ParamsOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add what was delivered into data/inbox/<dataset>/; a bad delivery is quarantined.

    Exits 0 in either case: `quarantined` of the JSON document says what could not be added.

    Example: pitchpipe data inbox --dataset pets
    """
    project = enter_project(context)
    params = _params(project, params_file, overrides, dataset=dataset)
    from flows.cli.data_documents import take
    from flows.cli.display.datasets import print_taken

    document = take(params.data, params.inbox)
    emit(document.model_dump(mode="json")) if as_json else print_taken(document)


@data_app.command("log")
def log(
    context: typer.Context,
    *,
    dataset: DatasetOption = None,
    params_file: ParamsOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the versions of the dataset, newest first, and what was made from each.

    Runs and registered versions are those of the params' registry.name.

    Example: pitchpipe data log --dataset pets
    """
    project = enter_project(context)
    params = _params(project, params_file, overrides, dataset=dataset)
    from flows.cli.data_documents import log_documents
    from flows.cli.display.datasets import print_log

    documents = log_documents(params.data.name, registered=params.registered_name)
    if as_json:
        emit([document.model_dump(mode="json") for document in documents])
    else:
        print_log(params.data.name, documents)


@data_app.command("restore")
def restore(
    context: typer.Context,
    digest: Annotated[str, typer.Argument(help="Digest of a version, or its first digits.")],
    *,
    dataset: DatasetOption = None,
    params_file: ParamsOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Bring an older version back, byte for byte, from DVC's cache or remote, and prepare it.

    Example: pitchpipe data restore 3f2a9c
    """
    project = enter_project(context)
    data = _data(project, params_file, overrides, dataset=None)
    from flows.cli.data_documents import restore_dataset
    from flows.cli.display.datasets import print_restored

    document = restore_dataset(digest, data, dataset=dataset)
    emit(document.model_dump(mode="json")) if as_json else print_restored(document)


def prepare(
    context: typer.Context,
    *,
    params_file: ParamsOption = None,
    overrides: SetOption = None,
    resolved: Annotated[
        bool, typer.Option("--resolved", help="Read data/prepare.yaml, as DVC's stage does.")
    ] = False,
    write_params: Annotated[
        bool,
        typer.Option(
            "--write-params",
            help="Write data/prepare.yaml, as DVC's stage, and stop; --json prints what it holds.",
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Make data/prepared/ from the batches: check, resize, split. DVC is not called.

    Example: pitchpipe prepare --set data.image_size=32
    """
    project = enter_project(context)
    from flows.cli.data_documents import prepare_document
    from flows.cli.display.datasets import print_prepared
    from flows.datasets.current import read_resolved, write_resolved

    data = read_resolved() if resolved else _data(project, params_file, overrides, dataset=None)
    if write_params:
        write_resolved(data)
        if as_json:
            emit({"data": data.model_dump(mode="json")})
        return
    document = prepare_document(data)
    emit(document.model_dump(mode="json")) if as_json else print_prepared(document)


def _data(
    project: Project, params_file: Path | None, overrides: list[str] | None, *, dataset: str | None
) -> "DataParams":
    return _params(project, params_file, overrides, dataset=dataset).data


def _params(
    project: Project, params_file: Path | None, overrides: list[str] | None, *, dataset: str | None
) -> "Params":
    named = [f"data.name={dataset}"] if dataset else []
    return project.params(params_file, [*(overrides or ()), *named])
