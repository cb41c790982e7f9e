"""A PostgreSQL server of our own on loopback, for a run of tests."""

import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg2
import pytest

from flows.runtime.servers import LOOPBACK, free_port

USER = "team"


class Postgres:
    """A running server, and the password of its one user."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port(0)
        self.password = secrets.token_hex(12)
        self._account = _account()

    def uri(self, database: str, driver: str = "") -> str:
        """Address of a database with user and password, as SQLAlchemy takes it."""
        scheme = f"postgresql+{driver}" if driver else "postgresql"
        return f"{scheme}://{USER}:{self.password}@{LOOPBACK}:{self.port}/{database}"

    def create(self, *databases: str) -> None:
        """Create databases."""
        with closing(psycopg2.connect(self.uri("postgres"))) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                for database in databases:
                    cursor.execute(f"CREATE DATABASE {database}")

    def rows(self, database: str, query: str) -> list[tuple[object, ...]]:
        """Ask a database."""
        asked = closing(psycopg2.connect(self.uri(database)))
        with asked as connection, connection.cursor() as cursor:
            cursor.execute(query)
            return list(cursor.fetchall())

    def start(self) -> subprocess.Popen[bytes]:
        """Make the cluster, start the server and wait until it takes connections."""
        secret = self.folder / "password"
        secret.write_text(self.password)
        if self._account:
            for path in (self.folder, secret):
                shutil.chown(path, self._account)
        data = self.folder / "data"
        made = ["--auth=scram-sha-256", f"--username={USER}", f"--pwfile={secret}", "--no-sync"]
        subprocess.run(
            [program("initdb"), f"--pgdata={data}", *made],
            user=self._account,
            cwd=self.folder,
            check=True,
            capture_output=True,
        )
        options = ["fsync=off", "unix_socket_directories=", f"listen_addresses={LOOPBACK}"]
        words = [word for option in options for word in ("-c", option)]
        with (self.folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [program("postgres"), "-D", str(data), "-p", str(self.port), *words],
                user=self._account,
                cwd=self.folder,
                stdout=log,
                stderr=log,
            )
        self._wait(process)
        return process

    def _wait(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + 60
        while True:
            try:
                psycopg2.connect(self.uri("postgres")).close()
            except psycopg2.OperationalError:
                ended = process.poll() is not None or time.monotonic() > deadline
                assert not ended, (self.folder / "log").read_text()
                time.sleep(0.05)  # no event without a socket of its own
            else:
                return


@contextmanager
def postgres_server() -> Iterator[Postgres]:
    """Serve while inside, in a folder that is removed afterwards."""
    # pytest's own folders are closed to the account that the server runs as.
    with tempfile.TemporaryDirectory(prefix="postgres-") as folder:
        server = Postgres(Path(folder))
        process = server.start()
        try:
            yield server
        finally:
            process.terminate()
            process.wait(30)


def program(name: str) -> str:
    """Path of one of PostgreSQL's programs; Debian keeps them off PATH."""
    found = [*sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))]
    path = shutil.which(name) or (str(found[-1]) if found else None)
    if path is None:
        pytest.fail(
            f"{name} is missing: these tests need PostgreSQL: `apt-get install postgresql`, or "
            "leave them out: -m 'slow and not team'",
            pytrace=False,
        )
    return path


def _account() -> str | None:
    """Whom it runs as where we are root, which it refuses to be."""
    if os.geteuid() != 0:
        return None
    names = {account.pw_name for account in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"
