"""Who is let in: how much may be in the server at once, and bodies read within limits."""

import asyncio
import contextlib
from collections.abc import Iterator
from http import HTTPStatus

from starlette.requests import Request

from flows.versions.serving.bodies import Body
from flows.versions.serving.records import Limits, RefusedError


class Intake:
    """Counts what is in the server; of the event loop's thread alone."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._requests = 0
        self._bytes = 0

    @contextlib.contextmanager
    def admitted(self, request: Request) -> Iterator[None]:
        """Count a request while the block lasts.

        Raises RefusedError where it is too long, or the server has enough to do; its body is not
        read then.
        """
        size = self._size(request)
        if self._requests >= self._limits.requests:
            raise self._full()
        with self.held(size):
            self._requests += 1
            try:
                yield
            finally:
                self._requests -= 1

    @contextlib.contextmanager
    def held(self, size: int) -> Iterator[None]:
        """Count bytes while the block lasts. Raises RefusedError where there are too many."""
        if self._bytes + size > self._limits.bytes_at_once:
            raise self._full()
        self._bytes += size
        try:
            yield
        finally:
            self._bytes -= size

    async def read(self, request: Request) -> Body:
        """Read a body of the allowed length, in the allowed time, or raise RefusedError."""
        content = bytearray()
        try:
            async with asyncio.timeout(self._limits.seconds):
                async for piece in request.stream():
                    content += piece
                    if len(content) > self._limits.request_bytes:
                        raise self._too_long(f"more than {self._limits.request_bytes}")
        except TimeoutError:
            raise RefusedError(
                HTTPStatus.REQUEST_TIMEOUT,
                f"{len(content)} bytes in {self._limits.seconds:g} s",
                "the body did not arrive in that time",
                "send it faster, or fewer images at once",
            ) from None
        return Body.of(request.headers.get("content-type", ""), bytes(content))

    def _size(self, request: Request) -> int:
        """Bytes to reserve: those that it announces, else as many as it may send."""
        announced = request.headers.get("content-length", "")
        if not announced.isdecimal():
            return self._limits.request_bytes
        if len(announced) > 18 or int(announced) > self._limits.request_bytes:
            raise self._too_long(announced[:20])
        return int(announced)

    def _full(self) -> RefusedError:
        return RefusedError(
            HTTPStatus.SERVICE_UNAVAILABLE,
            f"{self._requests} requests of {self._bytes} bytes",
            "are in the server, and it takes no more",
            "send it again after a second",
            retry_after=1,
        )

    def _too_long(self, length: str) -> RefusedError:
        return RefusedError(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"body of {length} bytes",
            f"at most {self._limits.request_bytes} are taken",
            "send fewer images at once, or start the server with a larger --max-mb",
        )
