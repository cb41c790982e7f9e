"""The contract of a cluster's workers: they share folder, locks, code and packages with us."""

import contextlib
import secrets
import socket
from collections.abc import Iterator
from pathlib import Path

from flows.runtime.locks import hold, is_held
from models.config import Record
from models.files import write_text
from models.training.source import package_versions, training_source_digest

LOCK = Path("mlruns/engine.lock")
TOKEN = Path("mlruns/engine.token")


class WorkerContract(Record):
    """Conditions that hold for as long as the retraining whose trials are trained."""

    root: str
    """The project's folder, at the same path on all machines."""
    token: str
    """Content of `mlruns/engine.token` during the retraining."""
    source: str
    """Digest of the training code."""
    versions: dict[str, str]
    """Package -> version."""

    def gone(self) -> bool:
        """Whether the retraining has ended, however it did: the kernel then releases its lock."""
        try:
            return not self._sees_token() or not self._sees_lock()
        except OSError:  # a network file system that does not answer yet
            return False

    def violation(self) -> str | None:
        """Return what this worker does not share, and the way out; None where it shares all."""
        host = socket.gethostname()
        if not self._sees_token():
            return (
                f"{host} does not see {self.root} as we do; share the project's folder "
                "with every worker, at the same path"
            )
        if not self._sees_lock():
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

    def _sees_token(self) -> bool:
        try:
            return (Path(self.root) / TOKEN).read_text(encoding="utf-8") == self.token
        except FileNotFoundError:
            return False

    def _sees_lock(self) -> bool:
        return is_held(Path(self.root) / LOCK)


@contextlib.contextmanager
def open_contract() -> Iterator[WorkerContract]:
    """Hold the lock and write the token that workers look for, in the working directory.

    Raises BusyError where another process holds the lock.
    """
    contract = WorkerContract(
        root=str(Path.cwd()),
        token=secrets.token_hex(16),
        source=training_source_digest(),
        versions=package_versions(),
    )
    busy = f"{LOCK}: is held; another retraining uses a cluster here; wait for it, or end it"
    with hold(LOCK, seconds=5, busy=lambda: busy):  # a worker that looks at it holds it a moment
        write_text(TOKEN, contract.token)
        yield contract
