"""A refusal reaches clients that send their whole body before they read an answer."""

import asyncio
import base64
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray
from starlette.types import Message, Receive, Scope, Send

from flows.versions.serve import ServeSettings, http_server
from flows.versions.serving.app import Service
from flows.versions.serving.draining import LARGEST, Draining
from flows.versions.serving.metrics import Metrics
from flows.versions.serving.records import Batching, InService, Limits, ServedVersion
from models.config.data import ImageForm

LIMITS = Limits(request_bytes=4 * 2**20, seconds=5)
PASSWORD = "someone:secret"


def even(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Two classes, equally probable."""
    return np.full((len(images), 2), 0.5, np.float32)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Address of a server that asks for a password, whose network is a function."""
    form = ImageForm(image_size=4, channels=1)
    version = ServedVersion("halves", 3, "d" * 64, ("a", "b"), form, even)
    service = Service(InService(version, follows="champion"), LIMITS, Batching(), Metrics())
    with socket.create_server(("127.0.0.1", 0)) as bound:
        port = bound.getsockname()[1]
        server = http_server(service, ServeSettings(port=port, limits=LIMITS), PASSWORD)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
        thread.start()
        yield f"http://127.0.0.1:{port}/predict"
        server.should_exit = True
        thread.join()


def refused(address: str, size: int, user: str = PASSWORD) -> int:
    """Send a body by urllib, which sends all of it and then reads; return the answer's code."""
    headers = {"Authorization": f"Basic {base64.b64encode(user.encode()).decode()}"}
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    request = urllib.request.Request(address, bytes(size), headers)
    with pytest.raises(urllib.error.HTTPError) as error:
        opener.open(request, timeout=30)
    with error.value:
        assert error.value.read()
        return error.value.code


def test_who_sends_first_and_reads_later_is_answered(address: str) -> None:
    """Too long a body is a 413, and no reset connection; so is a wrong password a 401."""
    for size in (2 * LIMITS.request_bytes, 3 * LIMITS.request_bytes):
        assert refused(address, size) == 413
        assert refused(address, size, "someone:else") == 401


class Client:
    """A client whose pieces of body have no end, or whose body never comes."""

    def __init__(self, piece: bytes) -> None:
        self.piece = piece
        self.read = 0
        self.answer: list[Message] = []

    async def receive(self) -> Message:
        """Return a piece; an empty one never comes."""
        if not self.piece:
            await asyncio.Event().wait()
        self.read += len(self.piece)
        return {"type": "http.request", "body": self.piece, "more_body": True}

    async def send(self, message: Message) -> None:
        """Keep what is answered."""
        self.answer.append(message)


def drained(client: Client, status: int, *headers: tuple[bytes, bytes]) -> list[bytes]:
    """Answer a client without reading its body; return the pieces of the answer."""

    async def answers(scope: Scope, receive: Receive, send: Send) -> None:
        del scope, receive
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b"no"})

    limits = Limits(request_bytes=1000, seconds=0.01)
    scope = {"type": "http", "headers": list(headers)}
    asyncio.run(Draining(answers, limits)(scope, client.receive, client.send))
    assert [message.get("more_body", False) for message in client.answer][-1] is False
    return [message["body"] for message in client.answer[1:]]


def test_a_body_without_an_end_is_read_within_bounds() -> None:
    """Of bytes and of seconds; the answer comes before the rest is read."""
    endless, silent = Client(bytes(300)), Client(b"")

    assert drained(endless, 413) == [b"no", b""]
    assert drained(silent, 413) == [b"no", b""]

    assert LARGEST * 1000 <= endless.read < LARGEST * 1000 + 300


@pytest.mark.parametrize(
    ("status", "headers"), [(200, []), (408, []), (413, [(b"expect", b"100-continue")])]
)
def test_nothing_more_is_read_of_others(status: int, headers: list[tuple[bytes, bytes]]) -> None:
    """Who is answered, who was too slow, and who waits to be told to send."""
    client = Client(bytes(300))

    assert drained(client, status, *headers) == [b"no"]
    assert client.read == 0
