"""Fixtures of every test: a new project, and one that was retrained once."""

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from hypothesis import settings

# Before any of them is imported, by a test or as a plugin.
pytest.register_assert_rewrite(
    *(path.stem for path in (Path(__file__).parent / "support").rglob("*.py"))
)
from made_once import made_once, make_databases, put_databases  # noqa: E402 - see above
from project_folder import (  # noqa: E402
    QUICK,
    ProjectFolder,
    Ran,
    make_project,
    overrides,
    users_prefect,
    users_prefect_environment,
)
from warm_commands import end_shared  # noqa: E402

from flows.runtime.servers import free_port  # noqa: E402

# Ours is how slow a machine may be: a property holds on a loaded one, too.
settings.register_profile("pitchpipe", deadline=None)
settings.load_profile("pitchpipe")


ADDRESS = "MLFLOW_TRACKING_URI"
WAITING = "house"
"""Folder of tests that mostly wait, for services and processes."""
LONGEST = (
    "house/test_readme.py",
    "house/test_by_itself.py",
    "house/test_kills.py",
    "upkeep/test_services.py",
    "house/test_guarded_servers.py",
    "house/test_old_project.py",
    "retraining/test_retrain.py",
    "search/test_search_flow.py",
    "house/test_extending.py",
    "datasets/test_data_fuzz.py",
)
"""Files of more than half a minute, the longest first."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest files, which at the end would be alone with an idle core.

    Then those that wait are spread among those that compute: side by side, workers would be idle.
    """
    files = list(dict.fromkeys(item.path for item in items))
    longest = [Path(__file__).parent / name for name in LONGEST]
    assert all(path.is_file() for path in longest)
    place = dict[Path, float]()
    for waits in (True, False):
        alike = [path for path in files if (path.parent.name == WAITING) is waits]
        place |= {path: number / len(alike) for number, path in enumerate(alike)}
    place |= {path: number - len(longest) for number, path in enumerate(longest)}
    items.sort(key=lambda item: place[item.path])  # stable: the order within a file stays


@pytest.fixture(autouse=True)
def _address_of_mlflow_is_put_back() -> Iterator[None]:
    """MLflow sets it in a process that opens a store; the next test has another store."""
    before = os.environ.get(ADDRESS)
    yield
    if before is None:
        os.environ.pop(ADDRESS, None)
    else:
        os.environ[ADDRESS] = before


@pytest.fixture(scope="session", autouse=True)
def _warm_commands_are_ended() -> Iterator[None]:
    yield
    end_shared()


@pytest.fixture
def project(tmp_path: Path) -> ProjectFolder:
    """A new project."""
    return make_project(tmp_path / "project")


@pytest.fixture(scope="session")
def databases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's and Prefect's databases of a project in which nothing has happened."""
    return made_once(tmp_path_factory, "databases", make_databases)


@pytest.fixture
def with_databases(project: ProjectFolder, databases: Path) -> None:
    """The new project has its databases: its first server need not make them."""
    put_databases(databases, project.root)


@pytest.fixture(scope="session")
def prefect_api(databases: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """PREFECT_API_URL of a server for all tests of a worker that do not look at its database."""
    root = tmp_path_factory.mktemp("prefect")
    put_databases(databases, root)
    server = users_prefect(free_port(0))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)  # its database is where the process stands
        running = server.start(users_prefect_environment(server))
    with running:
        server.wait_ready()
        yield f"{server.url}/api"


@pytest.fixture(scope="session")
def retrained(tmp_path_factory: pytest.TempPathFactory) -> tuple[ProjectFolder, Ran]:
    """A project after one quick retraining of the digits, and what the command printed.

    Nothing was there before, and nothing is imported: the command is as its users know it.
    """
    made = made_once(tmp_path_factory, "retrained", _retrain)
    folder = ProjectFolder(tmp_path_factory.mktemp("retrained") / "project")
    shutil.copytree(made / "project", folder.root)
    return folder, Ran(**json.loads((made / "ran.json").read_text()))


def _retrain(folder: Path) -> None:
    new = replace(make_project(folder / "project"), cold=True)
    ran = new.pitchpipe("run", "--json", *overrides(*QUICK))
    (folder / "ran.json").write_text(json.dumps(asdict(ran)))


@pytest.fixture(scope="module")
def own_retrained(
    retrained: tuple[ProjectFolder, Ran], tmp_path_factory: pytest.TempPathFactory
) -> tuple[ProjectFolder, Ran]:
    """A copy of that project, for the tests of a module that schedule or train in it."""
    folder, ran = retrained
    root = tmp_path_factory.mktemp("own") / "project"
    shutil.copytree(folder.root, root)
    return ProjectFolder(root, folder.environment), ran
