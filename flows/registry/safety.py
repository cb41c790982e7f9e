"""Files of a version looked at before MLflow does: nothing in them may name code to run."""

from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from models.errors import IntegrityError

DATA = "data"
"""Folder of the exported network."""


class _Flavour(BaseModel):
    """What of a flavour decides which code and which file MLflow loads."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", protected_namespaces=())

    loader_module: str | None = None
    code: str | None = None
    data: str | None = None
    model_data: str | None = None


class _MLmodel(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")

    flavors: dict[str, _Flavour]


def check_safe(directory: Path, *, whose: str = "") -> None:
    """Raise IntegrityError where loading these files could run code that comes with them.

    MLflow imports whatever loader and code folder MLmodel names, before it looks at weights.
    whose: how the message calls the files; by default the directory.
    """
    called = whose or str(directory)
    flavours = _flavours(directory, called)
    code = [name for name, flavour in flavours.items() if flavour.code]
    archives = [path.name for path in (directory / DATA).rglob("*") if path.is_file()]
    served, network = flavours.get("python_function"), flavours.get("pytorch")
    plain = (
        set(flavours) == {"python_function", "pytorch"}
        and served is not None
        and network is not None
        and served.loader_module == "mlflow.pytorch"
        and served.data == network.model_data == DATA
    )
    if not plain or code or archives != ["model.pt2"]:
        loader = served.loader_module if served else None
        raise IntegrityError(
            f"{called}: is more than an exported network (loader {loader!r}, code of {code}, "
            f"flavours {sorted(flavours)}, files {archives}); it is not loaded, for it could run "
            "code. Register versions with `pitchpipe run` or `pitchpipe import`"
        )


def _flavours(directory: Path, called: str) -> dict[str, _Flavour]:
    try:
        content = yaml.safe_load((directory / "MLmodel").read_text(encoding="utf-8"))
        return _MLmodel.model_validate(content).flavors
    # RecursionError: brackets nested by the thousand.
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError, ValidationError) as error:
        raise IntegrityError(
            f"{called}: has no MLmodel as MLflow writes it ({type(error).__name__}), so it is not "
            "loaded; export it again where it came from, or `pitchpipe run`"
        ) from error
