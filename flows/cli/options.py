"""What commands share: the project and its params, common options, JSON on standard output."""

import functools
import inspect
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.suggestions import suggest_datasets, suggest_names, suggest_versions
from flows.runtime.environment import check_address, set_safe_defaults
from models.errors import ConfigError
from models.files import PARAMS

if TYPE_CHECKING:
    from flows.records.retraining import Request
    from flows.tracking.store import Tracking
    from models.config import Params

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document, nothing else.")]
ParamsOption = Annotated[
    Path | None, typer.Option("--params", help="Params file; default: params.yaml of the project.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="Override a key, such as --set search.epochs=3 (repeatable)."),
]
ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        help="Registered name; default: registry.name of the params.",
        autocompletion=suggest_names,
    ),
]
DatasetOption = Annotated[
    str | None,
    typer.Option(
        "--dataset",
        help="Dataset; default: data.name of the params.",
        autocompletion=suggest_datasets,
    ),
]
SkipBadOption = Annotated[
    bool,
    typer.Option("--skip-bad", help="Leave unreadable files out, with a warning for each."),
]
VersionArgument = Annotated[
    str,
    typer.Argument(help="Number or alias.", show_default=False, autocompletion=suggest_versions),
]
ChampionArgument = Annotated[
    str, typer.Argument(help="Number or alias.", autocompletion=suggest_versions)
]
"""A version, the champion where none is named."""
VersionOption = Annotated[
    str, typer.Option("--version", help="Number or alias.", autocompletion=suggest_versions)
]
FOLDERS = ("data", "mlruns", "mlruns/trials", ".prefect")
"""Folders of a project."""


@dataclass(frozen=True)  # no slots: params are loaded once, on first use
class Project:
    """The project that a command is about, and the params it was asked to use."""

    root: Path
    """Working directory of the process."""
    caller: Path
    """Working directory of the user."""
    params_file: Path | None = None
    """Value of --params."""
    overrides: tuple[str, ...] = ()
    """Values of --set."""
    model: str | None = None
    """Value of --model."""

    def user_path(self, path: Path) -> Path:
        """Resolve a path given by the user against their working directory."""
        return path if path.is_absolute() else self.caller / path

    @property
    def params_path(self) -> Path:
        """Params file of the command."""
        return self.user_path(self.params_file) if self.params_file else PARAMS

    def load_params(self) -> "Params":
        """Load the params of the command: params.yaml unless --params or --set say otherwise."""
        from models.config import load_params

        return load_params(self.params_path, self.overrides)

    @functools.cached_property
    def params(self) -> "Params":
        """Params of the command, loaded once."""
        return self.load_params()

    @property
    def names_dataset(self) -> bool:
        """Whether an option says which dataset or registered name the command is about."""
        keys = {override.partition("=")[0].strip() for override in self.overrides}
        named = keys & {"data", "data.name", "registry", "registry.name"}
        return bool(named) or self.params_file is not None or self.model is not None

    def of_dataset(self, name: str | None) -> "Project":
        """Return this project with another dataset, that of --dataset, where one is given."""
        return replace(self, overrides=(*self.overrides, f"data.name={name}")) if name else self

    def tracking(self) -> "Tracking":
        """Open MLflow for a registered name: that of --model, else of the params."""
        from flows.tracking.store import open_tracking

        return open_tracking(self.model or self.params.registered_name)

    def reading(self) -> "Tracking":
        """Open MLflow for a command that only reads it, also where it cannot be written."""
        from flows.tracking.reading import open_for_reading

        return open_for_reading(self.model or self.params.registered_name)

    def request(self, **fields: object) -> "Request":
        """Build a request with these params; ConfigError where they are invalid."""
        from flows.records.retraining import Request

        _ = self.params
        given = {"params_file": str(self.params_path), "overrides": list(self.overrides)}
        return Request.model_validate(given | fields)


def with_params(
    *, model: bool = False, warn: bool = True
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a command with --params and --set of a function whose first argument is the Project.

    model: with --model, too.  warn: say on standard error, before the command runs, where
    params.yaml names another dataset than the last retraining and no option names any.
    A group of commands does nothing when one of its commands is called.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command, assigned=("__name__", "__doc__"))
        def run(
            context: typer.Context,
            *,
            params_file: ParamsOption = None,
            overrides: SetOption = None,
            registered: ModelOption = None,
            **options: object,
        ) -> None:
            if context.invoked_subcommand is not None:
                _refuse_options(context)
                return
            project = replace(enter_project(context, params_file, overrides), model=registered)
            if warn and not (project.names_dataset or options.get("dataset")):
                _warn_of_other_dataset()
            command(project, **options)

        _, *own = inspect.signature(command).parameters.values()
        context, *shared = inspect.signature(run, follow_wrapped=False).parameters.values()
        added = shared[: 3 if model else 2]
        run.__signature__ = inspect.Signature([context, *own, *added])  # type: ignore[attr-defined] # typer reads it
        return run

    return decorate


def _refuse_options(context: typer.Context) -> None:
    """Refuse options of a group that stand before one of its commands: they would be ignored."""
    given = [name for name in context.params if _is_given(context, name)]
    if given:
        group, command = context.info_name, context.invoked_subcommand
        raise ConfigError(f"options of `{group} {command}` go after it, not after `{group}`")


def _is_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _warn_of_other_dataset() -> None:
    from flows.retraining.decide import other_default

    if notice := other_default():
        sys.stderr.write(f"pitchpipe: {notice}\n")


def enter_project(
    context: typer.Context,
    params_file: Path | None = None,
    overrides: Sequence[str] | None = None,
) -> Project:
    """Find the project's root, make it the working directory, and turn telemetry off.

    params_file, overrides: values of --params and --set.
    Root: --root, else PITCHPIPE_ROOT, else the nearest folder upwards that holds params.yaml.
    Raises ConfigError where there is none, where a file is in the place of one of its folders, or
    where PREFECT_API_URL is no address: Prefect, once imported, would say so in fifty lines.
    """
    caller = Path.cwd()
    chosen = context.obj or os.environ.get("PITCHPIPE_ROOT")
    root = Path(chosen).resolve() if chosen else _nearest_root(caller)
    enter_root(root)
    return Project(root, caller, params_file, tuple(overrides or ()))


def enter_root(root: Path) -> None:
    """Make a project's root the working directory, and turn telemetry off; raises as above."""
    if not (root / PARAMS).is_file():
        raise ConfigError(f"{root}: holds no params.yaml; name the project with --root DIR")
    for folder in (root / name for name in FOLDERS):
        if folder.exists() and not folder.is_dir():
            raise ConfigError(f"{folder}: is a file, where pitchpipe keeps a folder; move it away")
    check_address("PREFECT_API_URL")
    os.chdir(root)
    set_safe_defaults()


def _nearest_root(folder: Path) -> Path:
    for candidate in (folder, *folder.parents):
        if (candidate / PARAMS).is_file():
            return candidate
    raise ConfigError(
        f"{folder}: neither this folder nor one above holds params.yaml; "
        "go into the project or name it with --root DIR"
    )


_json_descriptor: int | None = None


def reserve_standard_output(arguments: Sequence[str]) -> None:
    """With --json, send what libraries print to standard error; `emit` keeps standard output."""
    global _json_descriptor  # noqa: PLW0603 - one process has one standard output
    if "--json" in arguments:
        sys.stdout.flush()
        _json_descriptor = os.dup(1)
        os.dup2(2, 1)


def emit(document: object) -> None:
    """Print records, or what is made of records, as one JSON document on standard output."""
    from pydantic_core import to_jsonable_python

    plain = to_jsonable_python(document)
    text = json.dumps(plain, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    if _json_descriptor is None:
        sys.stdout.write(text)
        sys.stdout.flush()
    else:
        os.write(_json_descriptor, text.encode())
