"""A real MLflow server for tests."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from flows.runtime.servers import LOOPBACK, MLFLOW_LOG, Server, free_port


class TrackingServer:
    """An MLflow server over a database of its own, which can be killed and started again."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._port = free_port(0)
        self.url = f"http://127.0.0.1:{self._port}"
        self._server = self._new()

    def start(self) -> None:
        """Start it and wait until it answers."""
        before = Path.cwd()
        os.chdir(self._home)
        try:
            self._server = self._new()
            self._server.start(
                {
                    "MLFLOW_BACKEND_STORE_URI": f"sqlite:///{self._home}/mlflow.db",
                    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
                }
            )
            self._server.wait_ready()
        finally:
            os.chdir(before)

    def kill(self) -> None:
        """Kill it and all its processes."""
        self._server.stop(grace_seconds=0)

    def rows(self, query: str) -> list[Any]:
        """Ask its database."""
        with closing(sqlite3.connect(self._home / "mlflow.db")) as connection:
            return connection.execute(query).fetchall()

    def _new(self) -> Server:
        where = ["--host", LOOPBACK, "--port", str(self._port), "--workers", "1"]
        arguments = ["-m", "mlflow", "server", *where]
        return Server("MLflow", arguments, port=self._port, health="/health", log=MLFLOW_LOG)
