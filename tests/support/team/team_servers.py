"""What a team runs: PostgreSQL, an S3-compatible store, MLflow that asks who one is."""

import secrets
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from postgres_server import Postgres, postgres_server

from flows.runtime.servers import LOOPBACK, MLFLOW_LOG, Server, free_port

ADMIN = "admin"
BUCKET = "team"


@dataclass(frozen=True, slots=True)
class Store:
    """An S3-compatible store."""

    url: str

    @property
    def keys(self) -> dict[str, str]:
        """Environment by which all of a process's S3 clients find the store."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "team-key",
            "AWS_SECRET_ACCESS_KEY": "team-secret-4711",
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    @property
    def client(self) -> Any:
        """A client of the store."""
        keys = self.keys
        return boto3.client(
            "s3",
            endpoint_url=self.url,
            aws_access_key_id=keys["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=keys["AWS_SECRET_ACCESS_KEY"],
            region_name=keys["AWS_DEFAULT_REGION"],
        )

    def objects(self, prefix: str) -> list[str]:
        """Keys of the bucket below a prefix."""
        found = self.client.list_objects_v2(Bucket=BUCKET, Prefix=prefix)
        return [entry["Key"] for entry in found.get("Contents", [])]


@dataclass(frozen=True, slots=True)
class Databases:
    """Names of MLflow's databases."""

    mlflow: str
    auth: str

    @classmethod
    def made(cls, postgres: Postgres) -> "Databases":
        """Create two that nobody has used."""
        which = secrets.token_hex(4)
        names = cls(f"mlflow_{which}", f"auth_{which}")
        postgres.create(names.mlflow, names.auth)
        return names


@dataclass(frozen=True, slots=True)
class Team:
    """Addresses of the servers, and how to sign in."""

    postgres: Postgres
    store: Store
    databases: Databases
    mlflow: str
    password: str
    """Of MLflow's administrator."""

    def rows(self, query: str) -> list[tuple[object, ...]]:
        """Ask MLflow's database."""
        return self.postgres.rows(self.databases.mlflow, query)

    @property
    def environment(self) -> dict[str, str]:
        """All that a host of the team sets."""
        return self.store.keys | {
            "MLFLOW_TRACKING_URI": self.mlflow,
            "MLFLOW_TRACKING_USERNAME": ADMIN,
            "MLFLOW_TRACKING_PASSWORD": self.password,
        }

    @property
    def secrets(self) -> tuple[str, ...]:
        """What nothing that is stored or shown may contain."""
        return (self.password, self.postgres.password, self.store.keys["AWS_SECRET_ACCESS_KEY"])


def store_server(port: int, log: Path) -> Server:
    """The S3-compatible store."""
    script = str(Path(__file__).with_name("object_store.py"))
    return Server("S3", [script, str(port)], port=port, health="/moto-api/", log=log)


def mlflow_server(port: int) -> Server:
    """MLflow's server with its own auth app, as deploy/compose.yaml starts it."""
    where = ["--host", LOOPBACK, "--port", str(port), "--workers", "1"]
    arguments = ["-m", "mlflow", "server", "--app-name", "basic-auth", *where]
    return Server("MLflow", arguments, port=port, health="/health", log=MLFLOW_LOG)


def mlflow_settings(team: Team, home: Path) -> Mapping[str, str]:
    """Environment of that server."""
    auth = home / "basic_auth.ini"
    auth.write_text(
        "[mlflow]\n"
        "default_permission = READ\n"
        "auth_cache_ttl_seconds = 60\n"
        f"database_uri = {team.postgres.uri(team.databases.auth)}\n"
        f"admin_username = {ADMIN}\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
    )
    auth.chmod(0o600)
    return team.store.keys | {
        "MLFLOW_AUTH_CONFIG_PATH": str(auth),
        "MLFLOW_AUTH_ADMIN_PASSWORD": team.password,
        "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_hex(16),
        "MLFLOW_BACKEND_STORE_URI": team.postgres.uri(team.databases.mlflow),
        "MLFLOW_ARTIFACTS_DESTINATION": f"s3://{BUCKET}/mlflow",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """PostgreSQL, for all tests of a worker: databases are theirs by name."""
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="session")
def _s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    home, port = tmp_path_factory.mktemp("s3"), free_port(0)
    with store_server(port, home / "log").start({}) as store:
        store.wait_ready()
        yield f"http://{LOOPBACK}:{port}"


@pytest.fixture(scope="module")
def store(_s3: str) -> Store:
    """The S3-compatible store with one bucket, emptied for the tests of a module."""
    reset = urllib.request.Request(f"{_s3}/moto-api/reset", method="POST")
    urllib.request.urlopen(reset, timeout=30).close()
    found = Store(_s3)
    found.client.create_bucket(Bucket=BUCKET)
    return found


@pytest.fixture(scope="module")
def team(
    postgres: Postgres, store: Store, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Team]:
    """All servers, MLflow's with databases of its own for the tests of a module."""
    home, port = tmp_path_factory.mktemp("team"), free_port(0)
    databases = Databases.made(postgres)
    running = Team(
        postgres, store, databases, f"http://{LOOPBACK}:{port}", secrets.token_urlsafe(12)
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        mlflow = mlflow_server(port)
        started = mlflow.start(mlflow_settings(running, home))
    with started:
        mlflow.wait_ready()
        yield running
