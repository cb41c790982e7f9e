"""Files of a version looked at before MLflow or torch does: nothing in them may be code to run."""

import io
from pathlib import Path
from typing import Annotated, BinaryIO, Literal

import yaml
from pydantic import Field, ValidationError

from flows.registry.safety.archive import StrangeArchiveError, check_archive
from models.config import Record
from models.errors import IntegrityError

DATA, ARCHIVE = "data", "model.pt2"
"""Folder of the exported network, and its one file."""
_MOST_BYTES = 2**20
"""Of MLmodel, which has about 1,200."""

_Text = Annotated[str, Field(max_length=99_999)]


class _Config(Record):
    device: None


class _Environment(Record):
    """What `--env-manager local` does not look at."""

    conda: Literal["conda.yaml"]
    virtualenv: Literal["python_env.yaml"]


class _Served(Record):
    """How `mlflow.pyfunc` loads: it imports any module named here, and calls any function."""

    loader_module: Literal["mlflow.pytorch"]
    data: Literal["data"]
    code: None = None
    config: _Config | None = None
    env: _Environment | None = None
    pickle_module_name: Literal["mlflow.pytorch.pickle_module"] | None = None
    """MLflow names it in every version, and uses it for those that are pickled."""
    python_version: _Text | None = None


class _Network(Record):
    model_data: Literal["data"]
    code: None = None
    pytorch_version: _Text


class _Flavours(Record):
    python_function: _Served
    pytorch: _Network


class _Example(Record):
    """Files that MLflow reads when it loads a version."""

    artifact_path: Literal["input_example.json"]
    serving_input_path: Literal["serving_input_example.json"] | None = None
    type: Literal["ndarray"]


class _Signature(Record):
    inputs: _Text
    outputs: _Text
    params: None = None


class _MLmodel(Record):
    """MLmodel as MLflow 3.17 writes it for us."""

    flavors: _Flavours
    artifact_path: _Text | None = None
    is_signature_from_type_hint: Literal[False] = False
    mlflow_version: _Text | None = None
    model_id: _Text | None = None
    model_size_bytes: int | None = None
    model_uuid: _Text | None = None
    prompts: None = None
    run_id: _Text | None = None
    saved_input_example_info: _Example | None = None
    signature: _Signature | None = None
    type_hint_from_example: bool | None = None
    utc_time_created: _Text | None = None


def check_safe(directory: Path, *, whose: str = "") -> None:
    """Raise IntegrityError where loading these files could run code that comes with them.

    Neither torch nor MLflow is needed for that. Who can write to the directory is trusted not to do
    so after this check; `load_exported` checks the very bytes that it loads.
    whose: how the message calls the files; by default the directory.
    """
    called = whose or str(directory)
    _check_mlmodel(directory, called)
    found = [path.relative_to(directory / DATA).as_posix() for path in _files(directory / DATA)]
    if found != [ARCHIVE]:
        raise IntegrityError(_refusal(called, f"files {found}, not {ARCHIVE} alone"))
    with (directory / DATA / ARCHIVE).open("rb") as file:
        _check_archive(file, called)


def checked_archive(directory: Path) -> bytes:
    """Read the exported network, and check what was read; raises as `check_safe` does."""
    content = (directory / DATA / ARCHIVE).read_bytes()
    _check_archive(io.BytesIO(content), str(directory))
    return content


def _check_archive(file: BinaryIO, called: str) -> None:
    try:
        check_archive(file)
    except StrangeArchiveError as error:
        raise IntegrityError(_refusal(called, f"{ARCHIVE}: {error}")) from error


def _check_mlmodel(directory: Path, called: str) -> None:
    content = _mlmodel(directory, called)
    try:
        _MLmodel.model_validate(content)
    except ValidationError as error:
        first, *others = error.errors(include_url=False)
        if "model_type" in {one["type"] for one in (first, *others)}:
            raise _unreadable(called, f"{content!r:.80}") from error
        place = ".".join(str(part) for part in first["loc"])
        said = f"MLmodel: {place}: {first['msg']}: {first['input']!r:.80}"
        raise IntegrityError(_refusal(called, said)) from error


def _mlmodel(directory: Path, called: str) -> object:
    try:
        path = directory / "MLmodel"
        if path.stat().st_size <= _MOST_BYTES:
            return yaml.safe_load(path.read_text(encoding="utf-8"))
    # RecursionError: brackets nested by the thousand. ValueError: what YAML takes for a number.
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        raise _unreadable(called, type(error).__name__) from error
    raise _unreadable(called, f"more than {_MOST_BYTES} bytes")


def _unreadable(called: str, reason: str) -> IntegrityError:
    return IntegrityError(
        f"{called}: has no MLmodel as MLflow writes it ({reason}), so it is not "
        "loaded; export it again where it came from, or `pitchpipe run`"
    )


def _refusal(called: str, reason: str) -> str:
    return (
        f"{called}: is more than an exported network ({reason}); it is not loaded, for it could "
        "run code. Register versions with `pitchpipe run` or `pitchpipe import`"
    )


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if not path.is_dir() or path.is_symlink())
