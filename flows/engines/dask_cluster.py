"""Dask's workers, through distributed's own client."""

import contextlib
import logging
import secrets
import threading
from collections.abc import Iterator

from distributed import Client, Future, KilledWorker

from flows.engines import cluster_worker
from flows.engines.cluster import Needs
from flows.engines.cluster_head import running_head
from flows.engines.devices import cuda_devices
from models.errors import ConfigError, PitchpipeError

SECONDS_TO_ANSWER = 10


@contextlib.contextmanager
def dask_cluster(address: str | None, *, workers: int, needs: Needs) -> Iterator["DaskCluster"]:
    """Connect to the cluster at an address, else to one that is started and ends with us."""
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    with contextlib.ExitStack() as stack:
        if address is None:
            gpus = cuda_devices() if needs.gpus else ()
            arguments = [str(workers), str(needs.gpus), *gpus]
            head = running_head("flows.engines.dask_head", arguments, environment={})
            address = stack.enter_context(head)
        try:
            client = Client(address, timeout=SECONDS_TO_ANSWER, set_as_default=False)
        except (OSError, ValueError) as error:
            raise ConfigError(f"--engine-address {address}: no Dask scheduler: {error}") from None
        yield DaskCluster(stack.enter_context(client), needs)


class DaskCluster:
    """A client of a scheduler."""

    def __init__(self, client: Client, needs: Needs) -> None:
        self._client, self._needs = client, needs

    @property
    def slots(self) -> int:
        """A thread of a worker for each core that a trial uses."""
        return max(1, int(sum(self._client.nthreads().values())) // self._needs.cores)

    def inspect(self, premises_json: str) -> list[str]:
        """Ask every worker that there is now; those that come later look before they train."""
        answers = self._client.run(cluster_worker.inspect, premises_json, on_error="return")
        if not answers:
            return ["the Dask cluster has no worker; start some, or leave --engine-address out"]
        return [
            f"worker {worker}: {answer}"
            for worker, answer in answers.items()
            if answer  # an exception where it cannot import pitchpipe
        ]

    def submit(self, order_json: str) -> "DaskAsked":
        """Give an order to a worker that is free."""
        key = f"pitchpipe-{secrets.token_hex(8)}"
        return DaskAsked(self._client.submit(cluster_worker.train, order_json, key=key, pure=False))


class DaskAsked:
    """A future of distributed's."""

    def __init__(self, future: Future) -> None:
        self._future = future
        self._over = threading.Event()
        future.add_done_callback(lambda _: self._over.set())

    def ended(self, *, within: float) -> bool:
        """Wait; a scheduler that is gone ends it too."""
        return self._over.wait(within) or bool(self._future.done())

    def answer(self) -> str | None:
        """Return the worker's answer; None where it died."""
        try:
            answer: str | None = self._future.result()
        except KilledWorker:
            return None
        except Exception as error:
            raise PitchpipeError(f"the Dask cluster failed: {error}; run again to go on") from error
        return answer

    def forget(self) -> None:
        """Cancel it."""
        self._future.cancel()
