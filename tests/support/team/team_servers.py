"""What a team runs: PostgreSQL, an S3-compatible store, MLflow that asks who one is."""

import secrets
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
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
class Team:
    """Addresses of the servers, and how to sign in."""

    postgres: Postgres
    s3: str
    mlflow: str
    password: str
    """Of MLflow's administrator."""

    @property
    def keys(self) -> dict[str, str]:
        """Environment by which all of a process's S3 clients find the store."""
        return {
            "AWS_ENDPOINT_URL": self.s3,
            "AWS_ACCESS_KEY_ID": "team-key",
            "AWS_SECRET_ACCESS_KEY": "team-secret-4711",
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    @property
    def environment(self) -> dict[str, str]:
        """All that a host of the team sets."""
        return self.keys | {
            "MLFLOW_TRACKING_URI": self.mlflow,
            "MLFLOW_TRACKING_USERNAME": ADMIN,
            "MLFLOW_TRACKING_PASSWORD": self.password,
        }

    @property
    def secrets(self) -> tuple[str, ...]:
        """What nothing that is stored or shown may contain."""
        return (self.password, self.postgres.password, self.keys["AWS_SECRET_ACCESS_KEY"])

    @property
    def client(self) -> Any:
        """A client of the store."""
        keys = self.keys
        return boto3.client(
            "s3",
            endpoint_url=self.s3,
            aws_access_key_id=keys["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=keys["AWS_SECRET_ACCESS_KEY"],
            region_name=keys["AWS_DEFAULT_REGION"],
        )

    def objects(self, prefix: str) -> list[str]:
        """Keys of the bucket below a prefix."""
        found = self.client.list_objects_v2(Bucket=BUCKET, Prefix=prefix)
        return [entry["Key"] for entry in found.get("Contents", [])]


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
        f"database_uri = {team.postgres.uri('auth')}\n"
        f"admin_username = {ADMIN}\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
    )
    auth.chmod(0o600)
    return team.keys | {
        "MLFLOW_AUTH_CONFIG_PATH": str(auth),
        "MLFLOW_AUTH_ADMIN_PASSWORD": team.password,
        "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_hex(16),
        "MLFLOW_BACKEND_STORE_URI": team.postgres.uri("mlflow"),
        "MLFLOW_ARTIFACTS_DESTINATION": f"s3://{BUCKET}/mlflow",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }


@contextmanager
def team_servers(home: Path) -> Iterator[Team]:
    """Serve while inside."""
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        store_port, mlflow_port = free_port(0), free_port(0)
        store = stack.enter_context(store_server(store_port, home / "s3.log").start({}))
        postgres = stack.enter_context(postgres_server())
        postgres.create("mlflow", "auth", "prefect")
        team = Team(
            postgres,
            f"http://{LOOPBACK}:{store_port}",
            f"http://{LOOPBACK}:{mlflow_port}",
            secrets.token_urlsafe(12),
        )
        mlflow = mlflow_server(mlflow_port)
        stack.enter_context(mlflow.start(mlflow_settings(team, home)))
        store.wait_ready()
        team.client.create_bucket(Bucket=BUCKET)
        mlflow.wait_ready()
        yield team


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    """The servers, for the tests of a module: none finds what another registered."""
    with team_servers(tmp_path_factory.mktemp("team")) as running:
        yield running
