"""A challenger beside the version in service: asked the same images, off the way of the answer."""

import contextlib
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from flows.records.shadow_log import Guess, LogLimits, ShadowCounts, ShadowLog, disagreement_of
from flows.versions.serving.records import ServedVersion
from models.datasets.by_id import prints_of
from models.errors import PitchpipeError
from models.processes import LINUX

log = logging.getLogger(__name__)

WAITING_IMAGES = 1024
"""Beyond these, images are skipped: answers come first."""
LOOK_SECONDS = 5.0
"""Between two looks at which version the alias names."""
GATHER_SECONDS = 0.25
"""That images wait for others: one at a time they would take from the answers' time."""
SAVE_SECONDS = 1.0
"""Between two writes of the counts, each of which is flushed to disk."""
_NICE = 10


@dataclass(frozen=True, slots=True, eq=False)
class ShadowSource:
    """Where the challenger comes from."""

    number: Callable[[], int | None]
    """Its version; None: there is none. Raises PitchpipeError."""
    load: Callable[[int, int], ServedVersion]
    """That version, with so many threads. Raises nearly anything."""


@dataclass(frozen=True, slots=True, eq=False)
class Answered:
    """Images (n, channels, height, width), and the answer (n, classes) that they were given."""

    version: ServedVersion
    images: NDArray[np.uint8]
    probabilities: NDArray[np.float32]


class Shadow:
    """A thread of low priority that asks the challenger, and logs where it disagrees."""

    def __init__(self, source: ShadowSource, limits: LogLimits, *, images_at_once: int) -> None:
        self._source = source
        self._limits = limits
        self._most = max(1, images_at_once)
        # No queue that wakes its reader: each answer would hand the interpreter to this thread.
        self._queue: deque[Answered] = deque()
        self._ended = threading.Event()
        self._waiting, self._lock = 0, threading.Lock()
        self._skipped = 0
        self._challenger: ServedVersion | None = None
        self._looked = -LOOK_SECONDS
        self._log: tuple[tuple[int, int], ShadowLog] | None = None
        """Champion and challenger, and their log."""
        self._said = ""
        self._saved = 0.0
        self._thread = threading.Thread(target=self._run, name="shadow", daemon=True)

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def end(self, *, seconds: float = 5) -> None:
        """Ask what waits, at most for so long, and end."""
        self._ended.set()
        self._thread.join(seconds)

    def offer(self, answered: Answered) -> None:
        """Take what was answered, if there is room; never waits."""
        with self._lock:
            if self._waiting + len(answered.images) > WAITING_IMAGES:
                self._skipped += len(answered.images)
                return
            self._waiting += len(answered.images)
        self._queue.append(answered)

    def _run(self) -> None:
        if LINUX:  # there a priority is a thread's; answers come first
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
        ending = False
        while not ending:
            batch, ending = self._collect()
            try:
                self._compare(batch)
                if ending or time.monotonic() - self._saved > SAVE_SECONDS:
                    self._save()
            # Of a foreign network or a full disk: anything; answers go on.
            except Exception as error:  # noqa: BLE001
                self._say(f"{type(error).__name__}: {error}")
            with self._lock:
                self._waiting -= sum(len(one.images) for one in batch)

    def _collect(self) -> tuple[list[Answered], bool]:
        """Take what came in a while; and whether this is the end."""
        ending = self._ended.wait(GATHER_SECONDS)
        batch: list[Answered] = []
        while self._queue:
            batch.append(self._queue.popleft())
        return batch, ending

    def _save(self) -> None:
        """Write the counts, where any were counted."""
        self._saved = time.monotonic()
        if self._log is not None:
            self._log[1].save()

    def _compare(self, batch: list[Answered]) -> None:
        """Ask the challenger of each version's images, and log."""
        for champion in dict.fromkeys(one.version for one in batch):
            of_it = [one for one in batch if one.version is champion]
            challenger = self._found(champion)
            if challenger is None:
                continue
            images = np.concatenate([one.images for one in of_it])
            theirs = np.concatenate([one.probabilities for one in of_it])
            ours = np.concatenate(
                [
                    challenger.predict(images[start : start + self._most])
                    for start in range(0, len(images), self._most)
                ]
            )
            self._write(champion, challenger, images, probabilities=(theirs, ours))

    def _found(self, champion: ServedVersion) -> ServedVersion | None:
        """Return the challenger as the alias names it now; None: it cannot be compared."""
        if time.monotonic() - self._looked > LOOK_SECONDS:
            self._looked = time.monotonic()
            try:
                number = self._source.number()
            except PitchpipeError as error:
                self._say(str(error))
                return self._challenger
            if number is None or number == champion.version:
                self._challenger = None
                self._say("there is no challenger but the version in service")
            elif self._challenger is None or self._challenger.version != number:
                self._challenger = self._source.load(number, champion.threads)
                self._say(f"version {number} is asked beside version {champion.version}")
        found = self._challenger
        if found is not None and found.form != champion.form:
            self._say(f"version {found.version} takes images in another form; none is compared")
            return None
        return None if found is None or found.version == champion.version else found

    def _write(
        self,
        champion: ServedVersion,
        challenger: ServedVersion,
        images: NDArray[np.uint8],
        *,
        probabilities: tuple[NDArray[np.float32], NDArray[np.float32]],
    ) -> None:
        shadow_log = self._log_of(champion, challenger)
        theirs, ours = (
            [
                Guess(label=version.classes[at], probability=float(row[at]))
                for row, at in zip(rows, rows.argmax(axis=1), strict=True)
            ]
            for version, rows in zip((champion, challenger), probabilities, strict=True)
        )
        for image, one, other in zip(images, theirs, ours, strict=True):
            shadow_log.count(one.label, other.label)
            if one.label != other.label:
                print_ = prints_of(image[None])[0].tobytes().hex()
                shadow_log.add(disagreement_of(image, print_, pair=(one, other)))

    def _log_of(self, champion: ServedVersion, challenger: ServedVersion) -> ShadowLog:
        counts = ShadowCounts(
            name=champion.model,
            champion=champion.version,
            challenger=challenger.version,
            since=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        key = (champion.version, challenger.version)
        if self._log is None or self._log[0] != key:
            self._save()
            self._log = (key, ShadowLog(counts, self._limits))
        with self._lock:
            self._log[1].skipped += self._skipped
            self._skipped = 0
        return self._log[1]

    def _say(self, line: str) -> None:
        """Log a line once, until another follows."""
        if line != self._said:
            log.info("shadow: %s", line)
        self._said = line
