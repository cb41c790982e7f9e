"""`pitchpipe data ...` and `pitchpipe prepare`: images in, versions, arrays."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.console import JsonOption, ParamsOption, SetOption, emit, enter_project

if TYPE_CHECKING:
    from models.datasets.prepared import Manifest

data_app = typer.Typer(help="Add, check, list and restore images.", no_args_is_help=True)


def mount(app: typer.Typer) -> None:
    """Add these commands."""
    app.add_typer(data_app, name="data")
    app.command("prepare")(prepare)


def prepare(
    context: typer.Context,
    *,
    params_file: ParamsOption = None,
    overrides: SetOption = None,
    resolved: Annotated[
        bool, typer.Option("--resolved", help="Read data/prepare.yaml, as DVC's stage does.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Make data/prepared/ from the batches: check, resize, split. DVC is not called.

    Example: pitchpipe prepare --set data.image_size=32
    """
    project = enter_project(context)
    from flows import dataset_version  # half a second
    from models.config import load_params

    if resolved:
        data = dataset_version.read_resolved()
    else:
        path = project.user_path(params_file) if params_file else Path("params.yaml")
        data = load_params(path, overrides or ()).data
        dataset_version.write_resolved(data)
    manifest = dataset_version.prepare_here(data)
    emit(_prepared_document(manifest)) if as_json else _print_prepared(manifest)


def _prepared_document(manifest: "Manifest") -> dict[str, object]:
    shown = manifest.model_dump(mode="json", include={"digest", "dropped", "checks"})
    splits = {
        name: {"images": split.images, "digest": split.digest}
        for name, split in manifest.splits.items()
    }
    return {"digest": shown["digest"], "splits": splits} | shown


def _print_prepared(manifest: "Manifest") -> None:
    counts = ", ".join(f"{name} {split.images:,}" for name, split in manifest.splits.items())
    typer.echo(f"{manifest.name}: {counts} images, digest {manifest.digest[:12]}")
