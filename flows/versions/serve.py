"""A version served over HTTP, on loopback unless told otherwise, until SIGTERM or Ctrl-C."""

import contextlib
import copy
import logging
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field

import uvicorn
import uvicorn.config

from flows.records.shadow_log import LogLimits
from flows.registry.listing import aliases, find_version
from flows.registry.loading import load_version
from flows.runtime.guard import HOSTS, guarded
from flows.runtime.servers import LOOPBACK
from flows.tracking.store import Tracking
from flows.versions.serving.app import Service
from flows.versions.serving.draining import Draining
from flows.versions.serving.following import Follower, Source
from flows.versions.serving.metrics import Metrics
from flows.versions.serving.records import Batching, InService, Limits, ServedVersion
from flows.versions.serving.shadow import Shadow, ShadowSource
from models.errors import BusyError, ConfigError

log = logging.getLogger(__name__)

AUTH = "PITCHPIPE_SERVE_AUTH"
"""Variable that holds `user:password`; without it whoever reaches the port is answered."""
DRAIN_SECONDS = 4
"""That requests which were let in have to be answered after SIGTERM."""


@dataclass(frozen=True, slots=True)
class ServeSettings:
    """How a version is served."""

    port: int
    host: str = LOOPBACK
    """Address to listen on."""
    hostnames: tuple[str, ...] = ()
    """Names by which clients ask for it, besides the address and those of loopback."""
    threads: int | None = None
    """Of the network; None: those that the version was trained with."""
    limits: Limits = field(default_factory=Limits)
    batching: Batching = field(default_factory=Batching)
    shadow: str | None = None
    """Version or alias that is asked beside the one in service; None: none is."""
    shadow_limits: LogLimits = field(default_factory=LogLimits)

    @property
    def hosts(self) -> tuple[str, ...]:
        """Names that a request's Host may have."""
        return (*HOSTS, self.host, *self.hostnames)


def serve_version(tracking: Tracking, wanted: str, settings: ServeSettings) -> None:
    """Serve a version; where an alias was wanted, whichever it names while the server runs.

    Its files are checked before anything is loaded, and its network is built again from its config
    and weights, at the start and at every swap. Raises as `load_version` does, ConfigError where
    the address needs a name or a password, BusyError where the port is taken.
    """
    auth = _required_auth(settings)
    with _bound(settings) as bound:
        metrics = Metrics()
        first = _load(tracking, wanted, settings)
        in_service = InService(first, follows=None if wanted.isdecimal() else wanted)
        shadow = _shadow(tracking, settings)
        service = Service(in_service, settings.limits, settings.batching, metrics, shadow=shadow)
        source = Source(
            number=lambda: aliases(tracking).get(wanted),
            load=lambda number: _load(tracking, number, settings),
        )
        follower = Follower(source, in_service, metrics)
        if in_service.follows is not None:
            follower.start()
        try:
            _run(http_server(service, settings, auth), bound)
        finally:
            follower.end()
            if shadow is not None:
                shadow.end()


def _shadow(tracking: Tracking, settings: ServeSettings) -> Shadow | None:
    """Begin to ask another version; raises ConfigError where there is none of that name."""
    wanted = settings.shadow
    if wanted is None:
        return None
    if wanted.isdecimal() or wanted not in aliases(tracking):
        find_version(tracking, wanted)

    def number() -> int | None:
        return int(wanted) if wanted.isdecimal() else aliases(tracking).get(wanted)

    def load(version: int, threads: int) -> ServedVersion:
        return ServedVersion.of(load_version(tracking, version), threads=threads)

    shadow = Shadow(
        ShadowSource(number, load),
        settings.shadow_limits,
        images_at_once=settings.batching.images,
    )
    shadow.start()
    return shadow


def _load(tracking: Tracking, wanted: str | int, settings: ServeSettings) -> ServedVersion:
    version = ServedVersion.of(load_version(tracking, wanted), threads=settings.threads)
    version.warm_up(settings.batching.images)
    return version


def _required_auth(settings: ServeSettings) -> str | None:
    """`user:password`, which a server needs that others than this machine reach."""
    auth = os.environ.get(AUTH)
    if auth is not None and not all(auth.partition(":")[::2]):
        raise ConfigError(f"{AUTH}: is not user:password; set it to that, or unset it")
    if settings.host in HOSTS:
        return auth
    if auth is None:
        raise ConfigError(
            f"--host {settings.host}: other machines could ask it; set {AUTH}=user:password, which "
            "they must bring, or serve on 127.0.0.1 behind a proxy of yours"
        )
    # Compared with, not listened on.
    if settings.host == "0.0.0.0" and not settings.hostnames:  # noqa: S104  # nosec B104
        raise ConfigError(
            "--host 0.0.0.0: by which names may it be asked? Give each with --hostname NAME; "
            "requests for others are refused"
        )
    return auth


@contextlib.contextmanager
def _bound(settings: ServeSettings) -> Iterator[socket.socket]:
    """Take the port before the network is loaded."""
    # Of protocol 0, as by default, asyncio would leave Nagle's algorithm on: 40 ms an answer.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as bound:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            bound.bind((settings.host, settings.port))
        except OSError as error:
            raise BusyError(
                f"{settings.host}:{settings.port}: cannot be listened on "
                f"({error.strerror or error}); stop what does, or choose another --port"
            ) from error
        yield bound


def http_server(service: Service, settings: ServeSettings, auth: str | None) -> uvicorn.Server:
    """Return the server of a service, which does not listen yet; auth: `user:password`."""
    logs = copy.deepcopy(uvicorn.config.LOGGING_CONFIG)
    logs["loggers"]["flows"] = {"handlers": ["default"], "level": "INFO", "propagate": False}
    logs["loggers"]["python_multipart"] = {"level": "CRITICAL"}  # a client's faults are its own
    config = uvicorn.Config(
        Draining(guarded(service.app(), auth=auth, hosts=settings.hosts), settings.limits),
        host=settings.host,
        port=settings.port,
        log_config=logs,
        access_log=False,  # /metrics counts; a line a request costs time and disk
        lifespan="on",
        ws="none",
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )
    return _Server(config)


def _run(server: uvicorn.Server, bound: socket.socket) -> None:
    # After it has drained uvicorn raises the signal again, for `main` to end by: 130 or 143.
    server.run(sockets=[bound])


class _Server(uvicorn.Server):
    """uvicorn, which says nothing of a socket that it was given."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and say so."""
        await super().startup(sockets)
        address = f"http://{self.config.host}:{self.config.port}"
        log.info("Uvicorn running on %s: POST %s/predict; Ctrl-C ends it", address, address)
