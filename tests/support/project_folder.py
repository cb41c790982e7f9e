"""Projects of their own for tests, and the command line as its users call it."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from flows.runtime import guarded_apps
from flows.runtime.prefect_server import SERVICES, RunningServices
from flows.runtime.servers import LOOPBACK, PREFECT_HOME, Server, server_environment

REPOSITORY = Path(__file__).resolve().parents[2]
CONSOLE_SCRIPT = str(Path(sys.executable).parent / "pitchpipe")
OURS = ("MLFLOW_", "PREFECT_", "PITCHPIPE_", "AWS_")
"""Beginnings of variables that would lead a test into the developer's own stores."""
PROJECT_FILES = ("params.yaml", "dvc.yaml", ".dvcignore", ".dvc/config", ".dvc/.gitignore")

QUICK = (
    "search.epochs=2",
    "search.axes={optimizer.learning_rate: [0.001, 0.003]}",
    "trial.network={name: cnn, channels: [8, 8, 8]}",
    "trial.augmentation={name: none}",
    "trial.objective=accuracy",
)
"""Overrides that make a retraining of the digits a matter of seconds."""


@dataclass(frozen=True, slots=True)
class Ran:
    """What a command came to."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on standard output."""
        return json.loads(self.out)


@dataclass(frozen=True, slots=True)
class ProjectFolder:
    """A project in a folder of its own, without git."""

    root: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    cold: bool = False
    """Every command imports what it needs, as its users start it."""

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """Start `pitchpipe ...` in the project."""
        return self._start(arguments, environment, subprocess.PIPE)

    def start_into(
        self, output: Path, *arguments: str, **environment: str
    ) -> subprocess.Popen[str]:
        """Start `pitchpipe ...` in the project; all it says is appended to a file."""
        with output.open("a") as file:
            return self._start(arguments, environment, file)

    def _start(
        self, arguments: Sequence[str], environment: Mapping[str, str], where: IO[str] | int
    ) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [CONSOLE_SCRIPT, *arguments],
            cwd=self.root,
            env={**clean_environment(), **self.environment, **environment},
            stdout=where,
            stderr=where,
            text=True,
        )

    def pitchpipe(self, *arguments: str, timeout: float = 240, **environment: str) -> Ran:
        """Run `pitchpipe ...` in the project, in a process that need not import it all again.

        Cold, too, where a variable is not one of OURS: Python and libraries may read it once, when
        they are imported.
        """
        given = {**self.environment, **environment}
        if not self.cold and all(name.startswith(OURS) for name in given):
            from warm_commands import TIMED_OUT, shared  # noqa: PLC0415 - it imports this module

            ran = shared().run(self.root, *arguments, fate=None, seconds=timeout, **given)
            assert ran.code != TIMED_OUT, ran.err
            return ran
        with self.start(*arguments, **environment) as process:
            out, err = process.communicate(timeout=timeout)
        return Ran(process.returncode, out, err)


def clean_environment() -> dict[str, str]:
    """The environment without what would lead a test into the developer's own stores."""
    dropped = (*OURS, "COV_CORE", "COVERAGE")
    return {name: value for name, value in os.environ.items() if not name.startswith(dropped)}


def users_prefect(port: int) -> Server:
    """A Prefect server as a user may run one: it asks for no password."""
    application = ["--factory", "prefect.server.api.server:create_app", "--lifespan", "on"]
    bind = ["--host", LOOPBACK, "--port", str(port), "--log-level", "error"]
    arguments = ["-m", "uvicorn", *application, *bind]
    log = PREFECT_HOME / "server.log"
    return Server("Prefect", arguments, port=port, health="/api/health", log=log)


def users_prefect_environment(server: Server) -> dict[str, str]:
    """Environment of such a server; its database is where the process stands."""
    ours = server_environment(f"{server.url}/api", "none")
    protected = (guarded_apps.AUTH, "PREFECT_API_AUTH_STRING")
    return {name: value for name, value in ours.items() if name not in protected}


def services_of(root: Path) -> RunningServices:
    """Where the living `up` of a project serves, and its password."""
    return RunningServices.model_validate_json((root / SERVICES).read_bytes())


def code_blocks(language: str, document: str = "README.md") -> list[str]:
    """Fenced blocks of a document of the repository, in a language."""
    text = (REPOSITORY / document).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


def make_project(root: Path, environment: Mapping[str, str] | None = None) -> ProjectFolder:
    """Lay out a new project: the files a clone begins with, no data, no runs."""
    for name in PROJECT_FILES:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, root / name)
    return ProjectFolder(root, environment or {})


def overrides(*pairs: str) -> list[str]:
    """`--set` for each pair."""
    return [word for pair in pairs for word in ("--set", pair)]


def read_until(process: subprocess.Popen[str], text: str) -> str:
    """Read standard output up to a line with the text."""
    assert process.stdout is not None
    read = ""
    for line in process.stdout:
        read += line
        if text in line:
            return read
    raise AssertionError(read + str(process.communicate()))
