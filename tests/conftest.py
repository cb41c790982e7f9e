"""Fixtures of every test: a new project, and one that was retrained once."""

from pathlib import Path

import pytest
from project_folder import QUICK, ProjectFolder, Ran, make_project, overrides


@pytest.fixture
def project(tmp_path: Path) -> ProjectFolder:
    """A new project."""
    return make_project(tmp_path / "project")


@pytest.fixture(scope="session")
def retrained(tmp_path_factory: pytest.TempPathFactory) -> tuple[ProjectFolder, Ran]:
    """A project after one quick retraining of the digits, and what the command printed."""
    folder = make_project(tmp_path_factory.mktemp("retrained") / "project")
    return folder, folder.pitchpipe("run", "--json", *overrides(*QUICK))
