"""`pitchpipe ...` in children of a server that has imported all of it: 0.05 s, not seconds.

Each command is a process of its own, forked where the console script would be started: kills and
limits hit it alone. Used by all tests but those that are about starting, and by those that signal
a command of theirs (`ProjectFolder.start`).
"""

import gc
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import IO, Any

import dying_command
from dying_command import Fate
from project_folder import CONSOLE_SCRIPT, REPOSITORY, Ran, clean_environment

HERE = Path(__file__).parent
KILLED = -signal.SIGKILL
TIMED_OUT = -signal.SIGALRM
"""Code of a command that was ended because it did not end."""
PRELOAD = (
    "flows.cli.main",
    "torch",
    "sklearn.metrics",
    "scipy.stats",
    "pyarrow.parquet",
    "torch.export",
    "mlflow",
    "mlflow.tracking.client",
    "mlflow.store.tracking.sqlalchemy_store",
    "mlflow.store.model_registry.sqlalchemy_store",
    "models.gate",
    "models.evaluation.scores",
    "models.evaluation.report.writing",
    "models.training.worker",
    "models.monitoring.report",
    "flows.registry.promotion.commands",
    "flows.registry.promotion.judge",
    "flows.registry.importing",
    "flows.registry.loading",
    "flows.datasets.dvc",
    "dvc.repo",
)


@dataclass(slots=True, eq=False)
class WarmCommands:
    """A server that forks commands, one at a time for each of its connections."""

    server: subprocess.Popen[str]
    outputs: Path
    asked: int = 0

    def start(
        self,
        root: Path,
        *arguments: str,
        fate: Fate | None = None,
        seconds: float = 120,
        **environment: str,
    ) -> "Started":
        """Begin a command; its result is waited for with `Started.wait`.

        environment: added to the clean one of this process.
        """
        self.asked += 1
        stem = self.outputs / f"{self.asked:06}"
        request = {
            "root": str(root),
            "arguments": arguments,
            "environment": clean_environment() | environment,
            "fate": asdict(fate or Fate()),
            "stem": str(stem),
            "seconds": seconds,
        }
        _pipe(self.server.stdin).write(json.dumps(request) + "\n")
        _pipe(self.server.stdin).flush()
        return Started(stem, seconds)

    def run(
        self,
        root: Path,
        *arguments: str,
        fate: Fate | None = None,
        seconds: float = 120,
        **environment: str,
    ) -> Ran:
        """Run a command to its end, or to that of its patience."""
        return self.start(root, *arguments, fate=fate, seconds=seconds, **environment).wait()


@dataclass(frozen=True, slots=True)
class Started:
    """A command that runs."""

    stem: Path
    seconds: float

    def wait(self) -> Ran:
        """What it came to."""
        ended = self.stem.with_suffix(".code")
        deadline = time.monotonic() + self.seconds + 60
        while not ended.exists():
            assert time.monotonic() < deadline, f"{self.stem}: no answer"
            time.sleep(0.01)  # a file of another process: no event without a library
        out, err = (
            self.stem.with_suffix(end).read_text(errors="replace") for end in (".out", ".err")
        )
        return Ran(int(ended.read_text()), out, err)


@contextmanager
def warm_commands() -> Iterator[WarmCommands]:
    """Serve commands; all that is left of them is ended at the end."""
    with tempfile.TemporaryDirectory(prefix="warm-") as outputs:
        server = subprocess.Popen(
            [sys.executable, __file__],
            cwd=outputs,
            env=clean_environment() | {"PYTHONPATH": f"{REPOSITORY}:{HERE}:{HERE}/hostile"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            assert _pipe(server.stdout).readline() == "ready\n"
            yield WarmCommands(server, Path(outputs))
        finally:
            server.communicate()  # it ends with its input
            with suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGKILL)  # what its commands left


_ending = ExitStack()


@cache
def shared() -> WarmCommands:
    """The server of this process, for all of its tests; started for the first that asks."""
    return _ending.enter_context(warm_commands())


def end_shared() -> None:
    """End it, if there is one."""
    _ending.close()
    shared.cache_clear()


def _pipe(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe


def _serve() -> None:
    import importlib  # noqa: PLC0415 - the server's side

    for name in PRELOAD:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # a collection in a child would copy every page
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        if os.fork() == 0:
            _watch(json.loads(line))
        _reap()
    _reap()


def _reap() -> None:
    """Take leave of watchers that have ended, so that their time counts as the server's."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _watch(request: Mapping[str, Any]) -> None:
    """In a child of the server: fork the command, wait for its end, write its code."""
    stem, pipes = Path(request["stem"]), [os.pipe(), os.pipe()]
    child = os.fork()
    if child == 0:
        _become(request, [writing for _, writing in pipes])
    copies = []
    for (reading, writing), suffix in zip(pipes, (".out", ".err"), strict=True):
        os.close(writing)
        copies.append(threading.Thread(target=_copy, args=(reading, stem.with_suffix(suffix))))
        copies[-1].daemon = True
        copies[-1].start()
    deadline = time.monotonic() + request["seconds"]
    status = None
    while status is None:
        pid, found = os.waitpid(child, os.WNOHANG)
        if pid:
            status = os.waitstatus_to_exitcode(found)
        elif time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            status = TIMED_OUT
        else:
            time.sleep(0.005)
    for copy in copies:
        copy.join(5)  # what outlives the command for a moment may hold its output
    ended = stem.with_suffix(".code")
    ended.with_suffix(".part").write_text(str(status))
    ended.with_suffix(".part").rename(ended)
    os._exit(0)


def _copy(reading: int, target: Path) -> None:
    """What a command says goes through a pipe: a limit on its files is none on its words."""
    with target.open("wb", buffering=0) as file:
        while piece := os.read(reading, 2**16):
            file.write(piece)


def _become(request: Mapping[str, Any], outputs: Sequence[int]) -> None:
    """In a grandchild: the command, with descriptors, folder and environment of its own."""
    for number, output in zip((1, 2), outputs, strict=True):
        os.dup2(output, number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.stdout, sys.stderr = (os.fdopen(os.dup(number), "w", buffering=1) for number in (1, 2))
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["root"])
    # As if it had been started: its own children import the file that is `__main__` again.
    sys.argv = [CONSOLE_SCRIPT, *request["arguments"]]
    sys.modules["__main__"].__file__ = CONSOLE_SCRIPT
    code: object = 0
    try:
        dying_command.command(Fate(**request["fate"]), request["arguments"])
    except SystemExit as ended:
        code = ended.code
    except BaseException:  # noqa: BLE001 - what the interpreter would print
        traceback.print_exc()
        code = 1
    if request["fate"]["count_into"]:
        import atexit  # noqa: PLC0415

        atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 1)


if __name__ == "__main__":
    _serve()
