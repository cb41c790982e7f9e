"""What is left of a refused request's body is read, within bounds, before the connection closes.

A socket that is closed with bytes unread is reset, and a reset takes the answer with it: programs
that send their whole body before they read, as Python's urllib does, would see no refusal.
"""

import asyncio
import contextlib
from http import HTTPStatus

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from flows.versions.serving.records import Limits

LARGEST = 4
"""Times `Limits.request_bytes`: at most so much is read of what is refused."""


class Draining:
    """ASGI middleware: answers a refused request, then reads the rest of its body.

    At most LARGEST times the bytes of the longest body that is taken, for at most `limits.seconds`;
    beyond, the connection is closed as it is. Nothing is kept of what is read. A client that waits
    for `100 Continue` was not told to send, and has sent nothing.
    """

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self._app = app
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand the request on; what is no HTTP request as it is."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        waits = any(name == b"expect" for name, _ in scope["headers"])
        exchange = _Exchange(receive, send, self._limits, invited=not waits)
        await self._app(scope, exchange.receive, exchange.send)


class _Exchange:
    """A request and its answer."""

    def __init__(self, receive: Receive, send: Send, limits: Limits, *, invited: bool) -> None:
        self._receive = receive
        self._send = send
        self._limits = limits
        self._invited = invited
        self._ended = False
        self._refused = False

    async def receive(self) -> Message:
        """Return the next piece of the body."""
        self._invited = True
        message = await self._receive()
        self._ended = not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        """Send a piece of the answer; before the end of a refusal read what is left."""
        if message["type"] == "http.response.start":
            status = message["status"]
            # Whoever was too slow to send is not waited for once more.
            too_slow = status == HTTPStatus.REQUEST_TIMEOUT
            self._refused = status >= HTTPStatus.BAD_REQUEST and not too_slow
        last = message["type"] == "http.response.body" and not message.get("more_body", False)
        if last and self._refused and self._invited and not self._ended:
            await self._send({**message, "more_body": True})
            await self._drain()
            message = {"type": "http.response.body", "body": b"", "more_body": False}
        await self._send(message)

    async def _drain(self) -> None:
        left = LARGEST * self._limits.request_bytes
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._limits.seconds):
                while not self._ended and left > 0:
                    left -= len((await self.receive()).get("body", b""))
