"""MLflow on PostgreSQL, artifacts in S3, accounts: the commands do there what they do at a desk."""

import json
import shutil
import signal
import urllib.request
from base64 import b64encode
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from project_folder import QUICK, ProjectFolder, Ran, make_project, overrides, read_until
from team_servers import ADMIN, Team

from flows.runtime.servers import answers

pytest_plugins = ["team_servers"]
pytestmark = [pytest.mark.team, pytest.mark.timeout(900)]
NAME = "digits-classifier"


@pytest.fixture(scope="module")
def desk(
    team: Team,
    retrained: tuple[ProjectFolder, Ran],
    prefect_api: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> ProjectFolder:
    """A project that knows the team's servers, after one retraining there."""
    here = {**team.environment, "PREFECT_API_URL": prefect_api}
    folder = make_project(tmp_path_factory.mktemp("desk") / "project", here)
    for name in ("data", ".dvc", ".prefect", "mlruns/trials"):
        shutil.copytree(retrained[0].root / name, folder.root / name, dirs_exist_ok=True)
    shutil.copy(retrained[0].root / "dvc.lock", folder.root)
    ran = folder.pitchpipe("run", "--json", *overrides(*QUICK), timeout=600)
    assert ran.code == 0, ran.err
    assert (ran.document["verdict"], ran.document["version"]) == ("PROMOTE", 1)
    return folder


def test_what_is_tracked_lies_on_the_servers_alone(desk: ProjectFolder, team: Team) -> None:
    """Runs and aliases in PostgreSQL, files in the bucket, no database in the project."""
    assert team.rows("select status, count(*) from runs group by 1") == [("FINISHED", 3)]
    assert team.rows("select version from registered_model_aliases") == [(1,)]
    assert any(key.endswith("MLmodel") for key in team.store.objects("mlflow/"))
    assert not (desk.root / "mlruns/mlflow.db").exists()


@pytest.mark.parametrize(
    "command",
    [
        ("versions", "--json"),
        ("audit", "--json"),
        ("trace", "champion", "--json"),
        ("evaluate", "champion", "--json"),
        ("sync", "--json"),
        ("gc", "--dry-run", "--json"),
        ("doctor", "--json"),
        ("status", "--json"),
        ("card", "champion"),
        ("reproduce", "1", "--json"),
    ],
    ids=lambda command: command[0],
)
def test_commands_work_against_the_servers(desk: ProjectFolder, command: tuple[str, ...]) -> None:
    """As they do against the database of a project."""
    ran = desk.pitchpipe(*command)

    assert ran.code == 0, ran.err + ran.out
    assert "Traceback" not in ran.err


def test_a_version_leaves_as_a_file_and_comes_back(desk: ProjectFolder, tmp_path: Path) -> None:
    """Export and import go through the store of artifacts; the same version is known again."""
    exported = desk.pitchpipe("export", "1", str(tmp_path / "one.zip"))
    assert exported.code == 0, exported.err
    imported = desk.pitchpipe("import", str(tmp_path / "one.zip"), "--model", "other-classifier")

    assert imported.code == 0, imported.err
    listed = desk.pitchpipe("versions", "--model", "other-classifier", "--json").document
    assert [version["version"] for version in listed] == [1]


@pytest.mark.parametrize(
    ("changes", "code", "way_out"),
    [
        ({"MLFLOW_TRACKING_PASSWORD": "wrong-4712"}, 2, "MLFLOW_TRACKING_PASSWORD"),
        ({"MLFLOW_TRACKING_USERNAME": "", "MLFLOW_TRACKING_PASSWORD": ""}, 2, "USERNAME"),
        ({"MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}, 1, "see that it runs"),
    ],
    ids=["wrong", "missing", "down"],
)
def test_being_kept_out_is_one_message(
    desk: ProjectFolder, changes: dict[str, str], code: int, way_out: str
) -> None:
    """What is wrong, the way out, no password; 2 where the environment is wrong, 1 where a server
    is."""
    ran = replace(desk, environment={**desk.environment, **changes}).pitchpipe("versions")

    assert ran.code == code, ran.err
    assert ran.err.count("\n") == 1
    assert way_out in ran.err
    assert "wrong-4712" not in ran.err


def test_a_wrong_password_is_refused_before_anything_is_trained(desk: ProjectFolder) -> None:
    """Nothing that would be trained could be registered."""
    before = sorted((desk.root / "mlruns/trials").iterdir())
    new = overrides("search.epochs=1", "trial.seed=77")
    ran = desk.pitchpipe("run", "--force", *new, MLFLOW_TRACKING_PASSWORD="wrong")

    assert ran.code == 2, ran.err
    assert "MLFLOW_TRACKING_PASSWORD" in ran.err
    assert sorted((desk.root / "mlruns/trials").iterdir()) == before


def test_an_account_that_may_only_read_reads(desk: ProjectFolder, team: Team) -> None:
    """It sees the versions; a move is refused, names the account's variable and moves nothing."""
    as_admin(team, "users/create", {"username": "guest", "password": "guest-secret-12"})
    guest = {"MLFLOW_TRACKING_USERNAME": "guest", "MLFLOW_TRACKING_PASSWORD": "guest-secret-12"}
    theirs = replace(desk, environment={**desk.environment, **guest})
    seen = theirs.pitchpipe("versions", "--json")
    moved = theirs.pitchpipe("reject", "1", "--reason", "no", "--model", "other-classifier")

    assert seen.code == 0, seen.err
    assert moved.code == 2, moved.err
    assert "guest-secret" not in moved.err


def test_no_secret_is_kept_anywhere(desk: ProjectFolder, team: Team) -> None:
    """Neither in a file of the project nor in a param, a tag or a name that MLflow has."""
    kept = [path for path in desk.root.rglob("*") if path.is_file()]
    tables = (
        "tags",
        "params",
        "runs",
        "model_version_tags",
        "registered_model_tags",
        "experiments",
    )
    told = " ".join(str(team.rows(f"select * from {one}")) for one in tables)

    for secret in team.secrets:
        assert not [path for path in kept if secret.encode() in path.read_bytes()]
        assert secret not in told


def test_a_bucket_that_is_not_there_is_named(
    team: Team, desk: ProjectFolder, tmp_path: Path
) -> None:
    """Artifacts that a client writes to S3 itself: the bucket is missing, and says so; exit 2."""
    as_admin(
        team, "experiments/create", {"name": "lost-classifier", "artifact_location": "s3://lost/x"}
    )
    exported = desk.pitchpipe("export", "1", str(tmp_path / "one.zip"))
    ran = desk.pitchpipe("import", str(tmp_path / "one.zip"), "--model", "lost-classifier")

    assert exported.code == 0, exported.err
    assert ran.code == 2, ran.err
    assert "no such bucket" in ran.err
    assert ran.err.count("\n") == 1


def test_up_starts_no_server_beside_those_of_the_team(desk: ProjectFolder, team: Team) -> None:
    """The worker alone; its links lead to the team's servers, which outlive it."""
    process = desk.start("up")
    printed = read_until(process, "Ctrl-C")
    family = psutil.Process(process.pid).children(recursive=True)
    commands = [" ".join(child.cmdline()) for child in family]
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)

    prefect = desk.environment["PREFECT_API_URL"].removesuffix("/api")
    assert process.returncode == 130, err
    assert team.mlflow in printed
    assert prefect in printed
    assert any("flows.schedules.worker" in one for one in commands)
    assert not [one for one in commands if "uvicorn" in one or "mlflow" in one]
    assert not (desk.root / ".prefect/services.json").exists()
    assert answers(f"{prefect}/api/health")
    assert answers(f"{team.mlflow}/health")


def as_admin(team: Team, what: str, body: dict[str, str]) -> None:
    """Ask MLflow's API as its administrator."""
    signed = b64encode(f"{ADMIN}:{team.password}".encode()).decode()
    request = urllib.request.Request(
        f"{team.mlflow}/api/2.0/mlflow/{what}",
        json.dumps(body).encode(),
        {"Content-Type": "application/json", "Authorization": f"Basic {signed}"},
    )
    urllib.request.urlopen(request, timeout=30).close()
