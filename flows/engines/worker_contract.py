"""What workers of a cluster must share with us: folder, locks, code and packages."""

import contextlib
import secrets
import socket
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from models.config import Record
from models.errors import BusyError
from models.files import write_text
from models.training.source import package_versions, training_source_digest

LOCK = Path("mlruns/engine.lock")
TOKEN = Path("mlruns/engine.token")


class Premises(Record):
    """What holds as long as the retraining that has trials trained."""

    root: str
    """The project's folder, by the path that all machines see it under."""
    token: str
    """What `mlruns/engine.token` holds while the retraining lives."""
    source: str
    """Digest of the code that trains."""
    versions: dict[str, str]
    """Package -> version."""

    def gone(self) -> bool:
        """Whether the retraining has ended, however it did: the kernel then drops its lock."""
        try:
            return not self._token_is_there() or not self._lock_is_held()
        except OSError:  # a network's file system that is late to answer says nothing
            return False

    def broken(self) -> str | None:
        """Say what this worker does not share, and the way out; None: all is there."""
        host = socket.gethostname()
        if not self._token_is_there():
            return (
                f"{host} does not see {self.root} as we do; share the project's folder "
                "with every worker, at the same path"
            )
        if not self._lock_is_held():
            return (
                f"{host} does not see our locks in {self.root}; use a file system that has "
                "flock between machines, such as NFS 4"
            )
        return self._other_packages(host) or self._other_source(host)

    def _other_packages(self, host: str) -> str | None:
        versions = package_versions()
        for package, ours in self.versions.items():
            if versions.get(package) != ours:
                return (
                    f"{host} has {package} {versions.get(package)}, we have {ours}; install the "
                    "same versions on every worker, with -c constraints.txt"
                )
        return None

    def _other_source(self, host: str) -> str | None:
        source = training_source_digest()
        if source == self.source:
            return None
        return (
            f"{host} trains with other code of pitchpipe (digest {source[:12]}, ours "
            f"{self.source[:12]}); install the same commit on every worker"
        )

    def _token_is_there(self) -> bool:
        try:
            return (Path(self.root) / TOKEN).read_text(encoding="utf-8") == self.token
        except FileNotFoundError:
            return False

    def _lock_is_held(self) -> bool:
        try:
            with FileLock(Path(self.root) / LOCK, timeout=0):
                return False
        except Timeout:
            return True


@contextlib.contextmanager
def standing_premises() -> Iterator[Premises]:
    """Hold what workers look for in the project, our working directory, while inside.

    Raises BusyError where another process holds it.
    """
    LOCK.parent.mkdir(exist_ok=True)
    premises = Premises(
        root=str(Path.cwd()),
        token=secrets.token_hex(16),
        source=training_source_digest(),
        versions=package_versions(),
    )
    lock = FileLock(LOCK, timeout=5)  # a worker that looks whether it is held holds it for a moment
    try:
        lock.acquire()
    except Timeout:
        raise BusyError(f"{LOCK}: is held; another retraining uses a cluster here") from None
    try:
        write_text(TOKEN, premises.token)
        yield premises
    finally:
        lock.release()
