"""The version in service follows an alias: a new one is loaded beside the old, then swapped."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from flows.versions.serving.metrics import Metrics
from flows.versions.serving.records import InService, Problem, ServedVersion
from models.errors import PitchpipeError

log = logging.getLogger(__name__)

EVERY_SECONDS = 1.0
RETRY_SECONDS = 30.0
"""After which a version that could not be loaded is tried again; another one is tried at once."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where versions come from."""

    number: Callable[[], int | None]
    """Version that the alias names; None: there is none. Raises PitchpipeError."""
    load: Callable[[int], ServedVersion]
    """That version, which has predicted once. Raises nearly anything."""


class Follower:
    """A thread that looks at the alias; whatever fails leaves the old version in service."""

    def __init__(
        self,
        source: Source,
        in_service: InService,
        metrics: Metrics,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = source
        self._in_service = in_service
        self._metrics = metrics
        self._clock = clock
        self._failed: tuple[int, float] | None = None
        """Version that could not be loaded, and when it is tried again."""
        self._ended = threading.Event()

    def start(self) -> None:
        """Look every second until `end`; a registry that hangs holds up nobody's exit."""
        threading.Thread(target=self._run, name="follower", daemon=True).start()

    def end(self) -> None:
        """Look no more."""
        self._ended.set()

    def look(self) -> None:
        """Look once, and swap where the alias names another version that can be loaded."""
        try:
            number = self._source.number()
        except PitchpipeError as error:
            self._fail(f"the registry cannot be read: {error}")
            return
        if number is None:
            self._fail(f"alias {self._in_service.follows} names no version; `pitchpipe promote`")
        elif number == self._in_service.version.version:
            self._failed = None
            self._recover()
        elif self._failed is None or self._failed[0] != number or self._clock() > self._failed[1]:
            self._swap(number)

    def _swap(self, number: int) -> None:
        before = self._in_service.version
        try:
            version = self._source.load(number)
        # Of damaged files and foreign networks: anything; the old version goes on.
        except Exception as error:  # noqa: BLE001
            self._failed = (number, self._clock() + RETRY_SECONDS)
            self._fail(f"version {number} cannot be loaded: {error or type(error).__name__}")
            return
        self._failed = None
        self._in_service.version = version
        self._metrics.serve(version)
        self._metrics.swaps.inc()
        log.info("version %s is in service, after version %s", number, before.version)
        self._recover()

    def _fail(self, reason: str) -> None:
        self._metrics.failures.inc()
        known, in_service = self._in_service.problem, self._in_service
        if known is None or known.reason != reason:
            in_service.problem = Problem(reason)
            log.warning("version %s stays in service: %s", in_service.version.version, reason)

    def _recover(self) -> None:
        if self._in_service.problem is not None:
            self._in_service.problem = None
            log.info("alias %s is followed again", self._in_service.follows)

    def _run(self) -> None:
        while not self._ended.wait(EVERY_SECONDS):
            try:
                self.look()
            except Exception:  # a fault of ours must not end the thread in silence
                log.exception("alias %s was not looked at", self._in_service.follows)
