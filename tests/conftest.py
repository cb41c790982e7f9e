"""Fixtures of every test: a new project, and one that was retrained once."""

from pathlib import Path

import pytest
from hypothesis import settings

# Before any of them is imported, by a test or as a plugin.
pytest.register_assert_rewrite(
    *(path.stem for path in (Path(__file__).parent / "support").glob("*.py"))
)
from project_folder import (  # noqa: E402 - rewritten first, see above
    QUICK,
    ProjectFolder,
    Ran,
    make_project,
    overrides,
)

# Ours is how slow a machine may be: a property holds on a loaded one, too.
settings.register_profile("pitchpipe", deadline=None)
settings.load_profile("pitchpipe")


@pytest.fixture
def project(tmp_path: Path) -> ProjectFolder:
    """A new project."""
    return make_project(tmp_path / "project")


@pytest.fixture(scope="session")
def retrained(tmp_path_factory: pytest.TempPathFactory) -> tuple[ProjectFolder, Ran]:
    """A project after one quick retraining of the digits, and what the command printed."""
    folder = make_project(tmp_path_factory.mktemp("retrained") / "project")
    return folder, folder.pitchpipe("run", "--json", *overrides(*QUICK))
