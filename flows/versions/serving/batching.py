"""Requests put together for the network: what came while it was busy is predicted at once."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flows.versions.serving.metrics import Metrics
from flows.versions.serving.records import Batching, ServedVersion


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    """Images of one request."""

    version: ServedVersion
    """For which they were resized; it answers even if another is in service by now."""
    images: NDArray[np.uint8]
    answer: "asyncio.Future[NDArray[np.float32]]"


class Batcher:
    """One queue before one network: one thread predicts, the event loop goes on."""

    def __init__(self, batching: Batching, metrics: Metrics) -> None:
        self._batching = batching
        self._metrics = metrics
        self._queue: asyncio.Queue[_Waiting] = asyncio.Queue()
        self._next: _Waiting | None = None
        self._thread = ThreadPoolExecutor(1, "network")

    async def predict(
        self, version: ServedVersion, images: NDArray[np.uint8]
    ) -> NDArray[np.float32]:
        """Probabilities (n, classes) of images (n, channels, height, width); raises as the network.

        Who is cancelled while waiting is not predicted.
        """
        answer: asyncio.Future[NDArray[np.float32]] = asyncio.get_running_loop().create_future()
        self._metrics.waiting.inc(len(images))
        try:
            self._queue.put_nowait(_Waiting(version, images, answer))
            return await answer
        finally:
            self._metrics.waiting.dec(len(images))

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Predict what waits, until the block is left."""
        task = asyncio.create_task(self._run())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            self._thread.shutdown(wait=False, cancel_futures=True)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            batch = [one for one in await self._collect() if not one.answer.done()]
            if not batch:
                continue
            try:
                found = await loop.run_in_executor(self._thread, self._predict, batch)
            except Exception as error:  # noqa: BLE001 - each of those who wait must hear of it
                for one in batch:
                    _settle(one, error)
            else:
                for one, probabilities in zip(batch, found, strict=True):
                    _settle(one, probabilities)

    async def _collect(self) -> list[_Waiting]:
        """Wait for a request, and take those that follow, of the same version, up to the most."""
        first = self._next or await self._queue.get()
        batch, count, self._next = [first], len(first.images), None
        deadline = time.monotonic() + self._batching.wait_seconds
        while count < self._batching.images:
            following = await self._following(deadline)
            if following is None:
                break
            count += len(following.images)
            if following.version is not first.version or count > self._batching.images:
                self._next = following
                break
            batch.append(following)
        return batch

    async def _following(self, deadline: float) -> _Waiting | None:
        """Return the next request, if it is there before the deadline."""
        with contextlib.suppress(asyncio.QueueEmpty):
            return self._queue.get_nowait()
        left = deadline - time.monotonic()
        if left <= 0:
            return None
        try:
            return await asyncio.wait_for(self._queue.get(), left)
        except TimeoutError:
            return None

    def _predict(self, batch: list[_Waiting]) -> list[NDArray[np.float32]]:
        """In the network's thread; a long request goes through it in pieces."""
        version = batch[0].version
        images = np.concatenate([one.images for one in batch]) if batch[1:] else batch[0].images
        began = time.perf_counter()
        most = max(1, self._batching.images)
        parts = [
            version.predict(images[start : start + most]) for start in range(0, len(images), most)
        ]
        self._metrics.network_seconds.observe(time.perf_counter() - began)
        self._metrics.batch_images.observe(len(images))
        self._metrics.images.labels(str(version.version)).inc(len(images))
        ends = np.cumsum([len(one.images) for one in batch])[:-1]
        return np.split(np.concatenate(parts), ends)


def _settle(one: _Waiting, outcome: NDArray[np.float32] | Exception) -> None:
    if one.answer.done():  # nobody waits any more
        return
    if isinstance(outcome, Exception):
        one.answer.set_exception(outcome)
    else:
        one.answer.set_result(outcome)
