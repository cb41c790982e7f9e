"""A ledger that several hosts share: its entries are objects, each written once (docs/adr/0012).

Entry N is the object `entries/<N>.json`. Whoever writes it first has appended it; a project's own
ledger.jsonl is a copy, completed before it is read and after each entry of ours.
"""

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from flows.runtime.object_store import Place
from models.errors import IntegrityError
from models.files import append_line, read_lines, write_text

VARIABLE = "PITCHPIPE_LEDGER"
log = logging.getLogger(__name__)


def shared_place() -> Place | None:
    """Return where the team's ledger lies; None: each project has its own.

    Raises ConfigError where PITCHPIPE_LEDGER names no place in S3.
    """
    address = os.environ.get(VARIABLE)
    return _place(address, os.environ.get("AWS_ENDPOINT_URL")) if address else None


@cache
def _place(address: str, _store: str | None) -> Place:
    """One for each address and store, with the client that it keeps."""
    return Place.parse(address, variable=VARIABLE)


@dataclass(frozen=True, slots=True)
class SharedLedger:
    """The entries at a place, as lines, and the copy of them in this project."""

    place: Place
    copy: Path

    def write(self, number: int, line: str) -> bool:
        """Append entry `number` if nobody has; returns whether it is ours."""
        if not self.place.write_new(_entry(number), line):
            return False
        append_line(self.copy, line)
        return True

    def pull(self) -> Iterator[str]:
        """Append to the copy what others have appended, and yield each line.

        Entries that the copy has and the place has not are put back there: the first host brings
        its ledger so, and what somebody deleted is mended. Raises IntegrityError where both have an
        entry and it is not the same.
        """
        lines = [line.decode(errors="replace") for line in read_lines(self.copy)]
        if lines:
            self._agree(lines)
        number = len(lines) + 1
        while (line := self.place.read(_entry(number))) is not None:
            append_line(self.copy, line)
            yield line
            number += 1

    def problems(self) -> list[str]:
        """Compare every entry of the copy with the place; list those that differ."""
        lines = read_lines(self.copy)
        return [
            f"entry {number} is not the one in {self.place}: that or {self.copy} was changed"
            for number, line in enumerate(lines, start=1)
            if self.place.read(_entry(number)) != line.decode(errors="replace")
        ]

    def write_evidence(self, digest: str, text: str) -> None:
        """Keep evidence for every host; what has the same digest is the same."""
        self.place.write_new(_evidence(digest), text)

    def fetch_evidence(self, digest: str, target: Path) -> None:
        """Copy evidence to a file that is not there; of what is missing `audit` speaks."""
        text = None if target.exists() else self.place.read(_evidence(digest))
        if text is not None:
            write_text(target, text)

    def _agree(self, lines: list[str]) -> None:
        """See that the place has the last line of the copy, and put back what it has not."""
        theirs = self.place.read(_entry(len(lines)))
        if theirs == lines[-1]:
            return
        put_back = []
        for number, line in enumerate(lines, start=1):
            if self.place.write_new(_entry(number), line):
                put_back.append(number)
            elif self.place.read(_entry(number)) != line:
                raise IntegrityError(
                    f"{self.copy}: entry {number} is not that of {self.place}, the team's ledger "
                    f"({VARIABLE}); move this file and mlruns/evidence away to take the team's, or "
                    "name another place"
                )
        log.warning(
            "%s lacked %d entries of %s, now it has them", self.place, len(put_back), self.copy
        )


def _entry(number: int) -> str:
    return f"entries/{number:08}.json"


def _evidence(digest: str) -> str:
    return f"evidence/{digest}.json"
