"""Ray clusters: an existing one, or one that is started here and ends with us."""

import contextlib
import secrets
import tempfile
from collections.abc import Iterator

from flows.engines.cluster import Cluster, WorkerRequirements
from flows.engines.cluster_head import running_head
from flows.engines.devices import cuda_devices
from flows.runtime.environment import environment_variables
from models.processes import short_temporary_folder

_PREFIX = "pitchpipe-ray-"
_SESSION = "session_2026-01-01_00-00-00_000000_1234567/sockets/plasma_store"
ROOM_BYTES = len(f"/{_PREFIX}12345678/{_SESSION}")
"""What Ray appends to the folder of its sockets."""


@contextlib.contextmanager
def ray_cluster(
    address: str | None, *, workers: int, needs: WorkerRequirements
) -> Iterator[Cluster]:
    """Connect to the cluster at an address; None: to one that is started here and ends with us."""
    with contextlib.ExitStack() as stack:
        if address is None:
            address = stack.enter_context(_own_cluster(workers, needs))
        # Ray reads its variables when it is imported.
        from flows.engines.ray_client import ray_connection  # noqa: PLC0415

        yield stack.enter_context(ray_connection(address, needs))


@contextlib.contextmanager
def _own_cluster(workers: int, needs: WorkerRequirements) -> Iterator[str]:
    gpus = len(cuda_devices()) if needs.gpus else 0
    with (
        # Its processes may still write when they are killed.
        tempfile.TemporaryDirectory(
            prefix=_PREFIX,
            dir=short_temporary_folder(ROOM_BYTES),
            ignore_cleanup_errors=True,
        ) as folder,
        environment_variables(own_environment()),
        running_head(
            "flows.engines.ray_head",
            [str(workers * needs.cores), str(gpus), folder],
            environment={},
        ) as address,
    ):
        yield address


def own_environment() -> dict[str, str]:
    """Return the environment variables of a cluster of our own and of its clients."""
    return {
        "RAY_AUTH_MODE": "token",
        # Otherwise Ray writes a token into the user's home.
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        # With 0 Ray listens on loopback only, as on macOS; otherwise on every interface.
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        # The monitor would kill workers, which are small; trials are not processes of Ray.
        "RAY_memory_monitor_refresh_ms": "0",
    }
