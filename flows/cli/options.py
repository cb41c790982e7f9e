"""What every command shares: the project's root, options, and JSON on standard output."""

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.runtime.environment import SAFE_DEFAULTS, check_address
from models.errors import ConfigError
from models.files import PARAMS

if TYPE_CHECKING:
    from flows.tracking.store import Tracking
    from models.config import Params

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document, nothing else.")]
ParamsOption = Annotated[
    Path | None, typer.Option("--params", help="Params file; default: params.yaml of the project.")
]
ModelOption = Annotated[
    str | None,
    typer.Option("--model", help="Registered name; default: registry.name of the params."),
]
VersionArgument = Annotated[str, typer.Argument(help="Number or alias.", show_default=False)]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="Override a key, such as --set search.epochs=3 (repeatable)."),
]


@dataclass(frozen=True, slots=True)
class Project:
    """Where the project is, and where the user stands; the process works in the root."""

    root: Path
    stood: Path

    def user_path(self, path: Path) -> Path:
        """Resolve a path that the user typed against where they stand."""
        return path if path.is_absolute() else self.stood / path

    def params_path(self, chosen: Path | None) -> Path:
        """Path of the params file: of `--params`, else the project's own."""
        return self.user_path(chosen) if chosen else PARAMS

    def params(
        self, chosen: Path | None = None, overrides: Sequence[str] | None = None
    ) -> "Params":
        """Load the params that `--params` and `--set` name."""
        from models.config import load_params

        return load_params(self.params_path(chosen), overrides or ())

    def tracking(self, model: str | None) -> "Tracking":
        """Open MLflow for a registered name: of `--model`, else the params'."""
        from flows.tracking.store import open_tracking

        return open_tracking(model or self.params().registered_name)


def enter_project(context: typer.Context) -> Project:
    """Find the project's root, make it the working directory, and quieten telemetry.

    Root: --root, else PITCHPIPE_ROOT, else the nearest folder upwards that holds params.yaml.
    Raises ConfigError where there is none, where a file is in the place of one of its folders, or
    where PREFECT_API_URL is no address: Prefect, once imported, would say so in fifty lines.
    """
    stood = Path.cwd()
    chosen = context.obj or os.environ.get("PITCHPIPE_ROOT")
    root = Path(chosen).resolve() if chosen else _nearest_root(stood)
    if not (root / PARAMS).is_file():
        raise ConfigError(f"{root}: holds no params.yaml; name the project with --root DIR")
    _check_folders(root)
    check_address("PREFECT_API_URL")
    os.chdir(root)
    context.obj = root  # a relative --root would mean another folder at a second entry
    for name, value in SAFE_DEFAULTS.items():
        os.environ.setdefault(name, value)
    return Project(root=root, stood=stood)


def _check_folders(root: Path) -> None:
    for name in FOLDERS:
        if (root / name).exists() and not (root / name).is_dir():
            raise ConfigError(
                f"{root / name}: is a file, where pitchpipe keeps a folder; move it away"
            )


FOLDERS = ("data", "mlruns", "mlruns/trials", ".prefect")


def _nearest_root(stood: Path) -> Path:
    for folder in (stood, *stood.parents):
        if (folder / PARAMS).is_file():
            return folder
    raise ConfigError(
        f"{stood}: neither this folder nor one above holds params.yaml; "
        "go into the project or name it with --root DIR"
    )


_json_descriptor: int | None = None


def reserve_standard_output(arguments: Sequence[str]) -> None:
    """With --json, send whatever libraries print to standard error; `emit` keeps the real one."""
    global _json_descriptor  # noqa: PLW0603 - one process has one standard output
    if "--json" in arguments:
        sys.stdout.flush()
        _json_descriptor = os.dup(1)
        os.dup2(2, 1)


def emit(document: object) -> None:
    """Print one JSON document on standard output."""
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    if _json_descriptor is None:
        sys.stdout.write(text)
        sys.stdout.flush()
    else:
        os.write(_json_descriptor, text.encode())
