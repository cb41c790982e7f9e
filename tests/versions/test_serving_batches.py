"""Requests put together for the network, and the alias that the server follows."""

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from flows.tracking.store import Tracking, TrackingOutageError
from flows.versions import serve
from flows.versions.serve import AUTH, ServeSettings, serve_version
from flows.versions.serving.batching import Batcher
from flows.versions.serving.following import RETRY_SECONDS, Follower, Source
from flows.versions.serving.metrics import Metrics
from flows.versions.serving.records import Batching, InService, ServedVersion
from models.config.data import ImageForm
from models.errors import BusyError, ConfigError, IntegrityError

FORM = ImageForm(image_size=1, channels=1)
Images = NDArray[np.uint8]
Rows = NDArray[np.float32]


@dataclass(eq=False)
class Network:
    """Says of an image its pixel, and of which version it is; keeps the sizes of its batches."""

    number: int = 1
    sizes: list[int] = field(default_factory=list)
    free: threading.Event = field(default_factory=threading.Event)
    begun: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.free.set()

    def __call__(self, images: Images) -> Rows:
        self.sizes.append(len(images))
        self.begun.set()
        assert self.free.wait(30)
        if 13 in images:
            raise ZeroDivisionError("13")
        pixels = images[:, 0, 0, 0].astype(np.float32)
        return np.stack([pixels, np.full(len(images), self.number, np.float32)], axis=1)

    def version(self) -> ServedVersion:
        return ServedVersion("m", self.number, "d", ("a", "b"), FORM, self)


def pictures(*pixels: int) -> Images:
    return np.array(pixels, np.uint8).reshape(-1, 1, 1, 1)


def batched(
    batching: Batching, ask: Callable[[Batcher], Awaitable[Sequence[Rows | BaseException]]]
) -> Sequence[Rows | BaseException]:
    """What a batcher answers to those who ask."""

    async def run() -> Sequence[Rows | BaseException]:
        batcher = Batcher(batching, Metrics())
        async with batcher.running():
            return await ask(batcher)

    return asyncio.run(run())


@settings(max_examples=50)
@given(
    requests=st.lists(
        st.tuples(st.booleans(), st.lists(st.integers(0, 12), min_size=1, max_size=5)),
        min_size=1,
        max_size=12,
    ),
    most=st.integers(1, 7),
    wait=st.sampled_from([0, 0.0005]),
)
def test_everyone_gets_their_own_rows_by_their_own_version(
    requests: list[tuple[bool, list[int]]], most: int, wait: float
) -> None:
    """However requests are put together, and whichever version is in service by then."""
    networks = (Network(1), Network(2))
    versions = [network.version() for network in networks]

    async def ask(batcher: Batcher) -> Sequence[Rows | BaseException]:
        return await asyncio.gather(
            *(batcher.predict(versions[which], pictures(*pixels)) for which, pixels in requests)
        )

    found = batched(Batching(most, wait), ask)

    for (which, pixels), rows in zip(requests, found, strict=True):
        assert isinstance(rows, np.ndarray)
        assert rows.tolist() == [[pixel, which + 1] for pixel in pixels]
    sizes = [size for network in networks for size in network.sizes]
    assert sum(sizes) == sum(len(pixels) for _, pixels in requests)
    assert max(sizes) <= most


def test_what_came_while_the_network_was_busy_is_predicted_at_once() -> None:
    """Without any wait: one alone, then all the others in one batch."""
    network = Network()
    network.free.clear()

    async def ask(batcher: Batcher) -> Sequence[Rows | BaseException]:
        version = network.version()
        first = asyncio.create_task(batcher.predict(version, pictures(1)))
        await asyncio.to_thread(network.begun.wait, 30)
        others = [asyncio.create_task(batcher.predict(version, pictures(n))) for n in range(2, 7)]
        await asyncio.sleep(0)  # they are in the queue
        network.free.set()
        return await asyncio.gather(first, *others)

    assert len(batched(Batching(), ask)) == 6
    assert network.sizes == [1, 5]


def test_a_fault_is_heard_by_those_of_its_batch_alone() -> None:
    """The next is answered."""
    network = Network()

    async def ask(batcher: Batcher) -> Sequence[Rows | BaseException]:
        version = network.version()
        asked = (batcher.predict(version, pictures(pixel)) for pixel in (13, 2))
        failed = await asyncio.gather(*asked, return_exceptions=True)
        return [*failed, await batcher.predict(version, pictures(3))]

    first, second, third = batched(Batching(), ask)
    assert isinstance(first, ZeroDivisionError)
    assert isinstance(second, ZeroDivisionError)
    assert isinstance(third, np.ndarray)


def test_who_gave_up_is_not_predicted() -> None:
    """The network's time is for those who wait."""
    network = Network()
    network.free.clear()

    async def ask(batcher: Batcher) -> Sequence[Rows | BaseException]:
        version = network.version()
        first = asyncio.create_task(batcher.predict(version, pictures(1)))
        await asyncio.to_thread(network.begun.wait, 30)
        second = asyncio.create_task(batcher.predict(version, pictures(2)))
        await asyncio.sleep(0)
        second.cancel()
        network.free.set()
        answers = await asyncio.gather(first, second, return_exceptions=True)
        return [*answers, await batcher.predict(version, pictures(3))]

    batched(Batching(), ask)
    assert network.sizes == [1, 1]


class Registry:
    """An alias that points where it is told, and versions that load or do not."""

    def __init__(self) -> None:
        self.alias: int | Exception | None = 1
        self.broken: set[int] = set()
        self.loaded: list[int] = []
        self.seconds = 0.0
        self.in_service = InService(Network(1).version(), follows="champion")
        self.metrics = Metrics()
        source = Source(number=self._number, load=self._load)
        clock = lambda: self.seconds  # noqa: E731 - read when it is asked
        self.follower = Follower(source, self.in_service, self.metrics, clock=clock)

    def _number(self) -> int | None:
        if isinstance(self.alias, Exception):
            raise self.alias
        return self.alias

    def _load(self, number: int) -> ServedVersion:
        self.loaded.append(number)
        if number in self.broken:
            raise IntegrityError(f"the files of version {number} have another digest")
        return Network(number).version()

    def after(self, alias: int | Exception | None) -> tuple[int, str | None]:
        """The version in service, and the problem, once the alias was looked at."""
        self.alias = alias
        self.follower.look()
        problem = self.in_service.problem
        return self.in_service.version.version, problem.reason if problem else None


def test_the_version_in_service_is_that_of_the_alias() -> None:
    """After a promotion and a rollback; each is loaded once, and looked at again costs nothing."""
    registry = Registry()

    assert [registry.after(alias)[0] for alias in (1, 2, 2, 1, 1, 3)] == [1, 2, 2, 1, 1, 3]
    assert registry.loaded == [2, 1, 3]
    metrics = registry.metrics.exposition(registry.in_service).decode()
    assert 'pitchpipe_version{model="m"} 3.0' in metrics
    assert "pitchpipe_swaps_total 3.0" in metrics


def test_a_version_that_cannot_be_loaded_leaves_the_old_one_in_service(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is said once, tried again after half a minute, and another version at once."""
    registry = Registry()
    registry.broken = {2}

    number, problem = registry.after(2)
    assert number == 1
    assert problem == "version 2 cannot be loaded: the files of version 2 have another digest"
    assert registry.after(2) == (1, problem)
    assert registry.loaded == [2]
    registry.seconds = RETRY_SECONDS + 1
    assert registry.after(2) == (1, problem)
    assert registry.loaded == [2, 2]
    assert registry.after(3) == (3, None)
    assert caplog.text.count("version 1 stays in service") == 1


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (TrackingOutageError("MLflow at http://127.0.0.1:1: refused"), "cannot be read: MLflow at"),
        (None, "alias champion names no version"),
    ],
)
def test_a_registry_that_does_not_say_leaves_the_old_one_in_service(
    fault: Exception | None, said: str
) -> None:
    """Until it says again."""
    registry = Registry()

    number, problem = registry.after(fault)

    assert number == 1
    assert said in (problem or "")
    failures = registry.metrics.exposition(registry.in_service).decode()
    assert "pitchpipe_follow_failures_total 1.0" in failures
    assert registry.after(1) == (1, None)
    assert registry.loaded == []


@pytest.mark.parametrize(
    ("settings", "auth", "said"),
    [
        (ServeSettings(5001, host="192.0.2.1"), None, "other machines could ask it"),
        (ServeSettings(5001, host="0.0.0.0"), "a:b", "Give each with --hostname"),
        (ServeSettings(5001), "password", "is not user:password"),
    ],
)
def test_who_would_serve_other_machines_says_to_whom(
    settings: ServeSettings, auth: str | None, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is listened on, nor loaded, before."""
    monkeypatch.delenv(AUTH, raising=False)
    if auth:
        monkeypatch.setenv(AUTH, auth)
    with pytest.raises(ConfigError, match=said):
        serve_version(Tracking("nowhere", "m"), "champion", settings)


def test_a_port_that_is_taken_is_named_before_anything_is_loaded() -> None:
    """Whoever has it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BusyError, match=f"127.0.0.1:{port}: cannot be listened on"):
            serve_version(Tracking("nowhere", "m"), "champion", ServeSettings(port))


def test_what_is_answered_is_sent_at_once() -> None:
    """asyncio turns Nagle's algorithm off for sockets of this protocol alone."""
    with serve._bound(ServeSettings(0)) as bound:
        assert bound.proto == socket.IPPROTO_TCP
