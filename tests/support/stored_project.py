"""The stored project of tests/golden, unpacked: two versions, trials, schedules, a ledger."""

import shutil
import sqlite3
import tarfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from made_once import made_once
from PIL import Image
from project_folder import REPOSITORY
from sklearn.datasets import load_digits
from warm_commands import WarmCommands, shared

SAMPLE = REPOSITORY / "tests/golden/project_ed72c48.tar.xz"
NAME = "digits-classifier"


@pytest.fixture(scope="session")
def warm() -> WarmCommands:
    """Commands forked from a server that has imported all of it."""
    return shared()


@pytest.fixture(scope="session")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project to copy from, with pictures to be added or asked about."""
    return made_once(tmp_path_factory, "stored", _unpack) / "digits"


def _unpack(folder: Path) -> None:
    with tarfile.open(SAMPLE) as archive:
        archive.extractall(folder, filter="data")
    write_delivery(folder / "digits/delivery")


def write_delivery(folder: Path) -> None:
    """Forty digits a pixel lower: none is in the project yet."""
    digits = load_digits()
    for row in range(100, 140):
        target = folder / str(digits.target[row])
        target.mkdir(parents=True, exist_ok=True)
        pixels = np.roll(digits.images[row] * 15, 1, axis=0).astype("uint8")
        Image.fromarray(pixels).save(target / f"{row:04}.png")


def copied(stored: Path, root: Path, change: Callable[[Path], object] | None = None) -> Path:
    """A project of its own, changed where asked."""
    shutil.copytree(stored, root)
    if change is not None:
        change(root)
    return root


def change_database(root: Path, *statements: str) -> None:
    """Write into MLflow's database as somebody with an editor would."""
    with closing(sqlite3.connect(root / "mlruns/mlflow.db")) as connection, connection:
        for statement in statements:
            connection.execute(statement)


def move_by_hand(root: Path) -> None:
    """Make version 2 the champion past pitchpipe."""
    moved = "update registered_model_aliases set version = 2 where alias = 'champion'"
    change_database(root, moved)


def forget_runs(root: Path) -> None:
    """Empty MLflow's tables of runs: `sync` has them all to tell anew."""
    of_runs = ("metrics", "latest_metrics", "params", "tags", "inputs", "input_tags", "datasets")
    change_database(root, *(f"delete from {table}" for table in (*of_runs, "runs")))
