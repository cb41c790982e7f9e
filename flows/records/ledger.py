"""The ledger: an append-only, hash-chained list of decisions, and the evidence for them.

Light to import: a decision not to retrain is appended without importing MLflow.
"""

import contextlib
import getpass
import json
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from filelock import FileLock
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from flows.records.shared_ledger import SharedLedger, shared_place
from models.config import Record, read_record_lines
from models.config.policies import Verdict
from models.digests import digest_of
from models.errors import BusyError
from models.files import append_line, last_line, write_text

LEDGER = Path("mlruns/ledger.jsonl")
EVIDENCE = Path("mlruns/evidence")
"""Holds <digest of the content>.json for each evidence that entries name."""
Action = Literal[
    "intent",
    "abandon",
    "promote",
    "hold",
    "reject",
    "await",
    "rollback",
    "adopt",
    "import",
    "decision",
    "foreign",
    "restore",
]
"""intent: a move is about to be made; abandon: it was not made; await: it waits for approval;
adopt: an alias moved outside pitchpipe was accepted; import: a version was imported;
decision: not to retrain; foreign: the champion's alias was seen where nobody of pitchpipe put it,
which moves no champion; restore: the alias was put back to the champion."""
MOVES = frozenset({"promote", "rollback", "adopt", "restore"})
"""Actions after which the champion is `after`."""
GENESIS = "0" * 64
"""`previous` of the first entry."""


class OvertakenError(BusyError):
    """Somebody else appended what an action about the same name did not know of."""


class LedgerAction(Record):
    """An action and its reasons, before it has a place in the ledger."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True)

    action: Action
    name: str
    """Registered name."""
    before: int | None = Field(None, alias="from")
    """Champion until then."""
    after: int | None = Field(None, alias="to")
    """Champion from then on; of hold, reject and await: the version judged; of import: the version
    imported."""
    verdict: Verdict | None = None
    evidence: str | None = None
    """Digest of mlruns/evidence/<digest>.json: the gate's whole decision; of import: the index of
    the imported file, with the version's tags and ledger entries where it came from."""
    reasons: tuple[str, ...] = ()
    """In sentences: a person's, then the gate's (GateDecision.reasons)."""
    intends: Action | None = None
    """Of an intent: the action it announces."""


class Entry(LedgerAction):
    """A line of the ledger."""

    number: int
    """From 1."""
    time: str
    """ISO 8601, UTC."""
    who: str
    """user@host."""
    previous: str
    """Digest of the entry before."""
    digest: str
    """Of all the rest of this entry."""


class Head(Record):
    """Length and last digest of a ledger, by which a cut tail is detected."""

    length: int
    digest: str


@dataclass(frozen=True, slots=True)
class Ledger:
    """The entries of a ledger file, and what is wrong with them."""

    entries: tuple[Entry, ...]
    problems: tuple[str, ...]
    """Lines that are not as they were appended, in words."""

    @property
    def head(self) -> Head:
        """Length and last digest."""
        last = self.entries[-1].digest if self.entries else GENESIS
        return Head(length=len(self.entries), digest=last)

    def of(self, name: str) -> tuple[Entry, ...]:
        """Entries about one registered name."""
        return tuple(entry for entry in self.entries if entry.name == name)

    def champion_of(self, name: str) -> int | None:
        """Return the version of a registered name in service; None where there is none."""
        return recorded_champion(self.of(name))


def append(action: LedgerAction, path: Path = LEDGER, *, seen: int | None = None) -> Entry:
    """Append an entry, durably; one process at a time, and one host where the ledger is shared.

    seen: length of the ledger that the action rests on. Raises OvertakenError where an entry about
    the same name, other than a decision, was appended since.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        shared = _shared(path)
        while True:
            _complete(path)
            _refuse_overtaken(action.name, seen, path)
            entry = _following(action, _head(path))
            line = entry.model_dump_json(by_alias=True)
            if shared is None:
                append_line(path, line)
                return entry
            if shared.write(entry.number, line):
                return entry


def read(path: Path = LEDGER) -> Ledger:
    """Read the ledger and check its chain; an unreadable line is a problem, not an error.

    A shared one is first completed from where the team keeps it.
    """
    if _shared(path) is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            _complete(path)
    return _read_file(path)


def place_problems(path: Path = LEDGER) -> list[str]:
    """Describe entries of a shared ledger that are not those of this project's copy."""
    shared = _shared(path)
    return shared.problems() if shared is not None else []


def _read_file(path: Path) -> Ledger:
    entries: list[Entry] = []
    problems: list[str] = []
    lines = read_record_lines(path, Entry.model_validate_json)
    for number, entry in enumerate(lines, start=1):
        if entry is None:
            problems.append(f"line {number} is not an entry: it was damaged")
            continue
        problems.extend(_faults(entry, entries[-1] if entries else None))
        entries.append(entry)
    return Ledger(entries=tuple(entries), problems=tuple(problems))


def _shared(path: Path) -> SharedLedger | None:
    place = shared_place() if path == LEDGER else None
    return SharedLedger(place, path) if place is not None else None


def _complete(path: Path) -> None:
    """Take over what other hosts appended, with its evidence; nothing where nobody shares it."""
    shared = _shared(path)
    for line in shared.pull() if shared is not None else ():
        with contextlib.suppress(ValidationError):  # damaged: `audit` says so
            digest = Entry.model_validate_json(line).evidence
            if shared is not None and digest is not None:
                shared.fetch_evidence(digest, EVIDENCE / f"{digest}.json")


def _refuse_overtaken(name: str, seen: int | None, path: Path) -> None:
    if seen is None or _head(path).length == seen:
        return
    later = [entry for entry in _read_file(path).of(name) if entry.number > seen]
    moved = [entry for entry in later if entry.action != "decision"]
    if moved:
        raise OvertakenError(
            f"{moved[0].who} was first: {moved[0].action} of version {moved[0].after} of {name} is "
            f"entry {moved[0].number} of the ledger; run the command again"
        )


def _following(action: LedgerAction, head: Head) -> Entry:
    facts = action.model_dump(mode="json") | {
        "number": head.length + 1,
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "who": _who(),
        "previous": head.digest,
    }
    return Entry.model_validate(facts | {"digest": _seal(facts)}, strict=False)


def keep_evidence(evidence: BaseModel | str) -> str:
    """Write the evidence for an entry; return its digest, which the entry names.

    evidence: a record, or JSON text that is kept as it is.
    """
    digest = digest_of(evidence)
    text = evidence if isinstance(evidence, str) else evidence.model_dump_json(indent=2)
    write_text(EVIDENCE / f"{digest}.json", text)
    shared = _shared(LEDGER)
    if shared is not None:  # before the entry that names it
        shared.write_evidence(digest, text)
    return digest


def evidence_problems(entries: Sequence[Entry]) -> list[str]:
    """Describe evidence that is missing, or whose content does not have the digest it is named."""
    named = {entry.evidence for entry in entries if entry.evidence}
    kept = {path.stem for path in EVIDENCE.glob("*.json")}
    problems = [f"{EVIDENCE / digest}.json: is missing" for digest in sorted(named - kept)]
    return problems + [
        f"{EVIDENCE / digest}.json: does not have the digest in its name: it was changed"
        for digest in sorted(kept)
        if not _has_its_digest(digest)
    ]


def _has_its_digest(digest: str) -> bool:
    try:
        text = (EVIDENCE / f"{digest}.json").read_bytes().decode()
        return digest in (digest_of(text), digest_of(json.loads(text)))
    except (ValueError, RecursionError):  # not UTF-8, not JSON, NaN
        return False


def recorded_champion(entries: Sequence[Entry]) -> int | None:
    """Champion after these entries of one name; None where there is none."""
    return next((entry.after for entry in reversed(entries) if entry.action in MOVES), None)


def alias_seen(entries: Sequence[Entry]) -> int | None:
    """Version that the champion's alias was last known to name, foreign moves included."""
    known = (entry.after for entry in reversed(entries) if entry.action in {"foreign", *MOVES})
    return next(known, None)


def champions(actions: Sequence[LedgerAction]) -> tuple[int, ...]:
    """Versions of one name that a rollback can reach, oldest first; the last one is in service.

    A rollback drops the versions after its target, so that a second one goes further back.
    """
    line: list[int] = []
    for action in actions:
        # An alias that was deleted by hand, and that adopted, has no version.
        if action.action not in MOVES or action.after is None:
            continue
        if action.after in line and action.action == "rollback":
            del line[line.index(action.after) + 1 :]
        else:
            line = [version for version in line if version != action.after] + [action.after]
    return tuple(line)


def unfinished(entries: Sequence[Entry]) -> Entry | None:
    """Return the intent that no action followed: the process that wrote it died in between."""
    last = next((entry for entry in reversed(entries) if entry.action != "decision"), None)
    return last if last is not None and last.action == "intent" else None


def awaiting(entries: Sequence[Entry], version: int) -> Entry | None:
    """Return the entry by which a version awaits approval; None where it does not.

    Its last decision counts: a version that the gate passed and later held must be judged again.
    """
    for entry in reversed(entries):
        if entry.after == version and entry.action in {"await", "hold", "reject", *MOVES}:
            return entry if entry.action == "await" else None
    return None


def _head(path: Path) -> Head:
    """Length and digest that the next entry follows, from the last line alone."""
    line = last_line(path)
    if line is None:
        return Head(length=0, digest=GENESIS)
    try:
        last = Entry.model_validate_json(line)
    except ValidationError:  # damaged: the chain goes on from the last entry that can be read
        return _read_file(path).head
    return Head(length=last.number, digest=last.digest)


def faults_against(ledger: Ledger, head: Head) -> list[str]:
    """List how a ledger disagrees with a head that was seen earlier."""
    seen = head.length
    if seen > len(ledger.entries):
        return [f"it ends after entry {len(ledger.entries)}, MLflow has seen {seen}: it was cut"]
    if seen and ledger.entries[seen - 1].digest != head.digest:
        return [f"entry {seen} is not the one that MLflow has seen: it was rewritten"]
    return []


def is_sealed(entry: Entry) -> bool:
    """Whether an entry has its digest: it is as it was appended."""
    return _seal(entry.model_dump(mode="json", exclude={"digest"})) == entry.digest


def _faults(entry: Entry, before: Entry | None) -> Sequence[str]:
    faults = []
    if not is_sealed(entry):
        faults.append(f"entry {entry.number} does not have its digest: it was changed")
    if entry.previous != (before.digest if before else GENESIS):
        last = f"entry {before.number}" if before else "the beginning"
        faults.append(
            f"entry {entry.number} does not follow {last}: one was removed, added or moved"
        )
    return faults


def _seal(facts: dict[str, object]) -> str:
    return digest_of(facts)  # type: ignore[arg-type]  # model_dump(mode="json") is JSON


def _who() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container may have no name for its user
        user = f"uid{os.getuid()}"
    return f"{user}@{socket.gethostname()}"
