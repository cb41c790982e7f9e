"""What may be removed, where it is, who needs it: gathered, judged by the policy, removed."""

import json
import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import JsonValue

from flows.records.ledger import LEDGER
from flows.records.search_journal import JOURNALS
from flows.records.trial_store import STORE
from flows.registry.fetching import KEPT
from flows.registry.listing import all_versions
from flows.registry.promotion.commands import EVIDENCE
from flows.runtime.scratch import abandoned_scratch, bytes_of, discard, old_temporary_files
from flows.tracking.retention import (
    MirroredRecord,
    mirrored_reports,
    mirrored_retrainings,
    remove_mirrored,
)
from flows.tracking.store import Tracking, TrackingError
from models.config import Record, RetentionParams, read_record
from models.retention import Judged, RankedTrial, Stored, judge_by_age, judge_trials
from models.search.selection import rank
from models.trials import TrialFiles, TrialResult, TrialSpec, read_outcome

log = logging.getLogger(__name__)

_DAY_SECONDS = 86_400.0
_DIGESTS = re.compile(r"\b(?:[0-9a-f]{64}|[0-9a-f]{32})\b")
"""Digests, keys of trials, ids of runs."""


class CleanedItem(Record):
    """Something that was looked at: it went, or it stayed."""

    kind: str
    """trial, search journal, retraining, drift report, version copy, flow run or leftover."""
    name: str
    bytes: int
    why: str


class Cleaning(Record):
    """What `gc` came to."""

    dry_run: bool
    """Nothing was removed: `removed` is what would be."""
    removed: tuple[CleanedItem, ...]
    kept: tuple[CleanedItem, ...]

    @property
    def bytes(self) -> int:
        """Of what was removed."""
        return sum(item.bytes for item in self.removed)

    def document(self) -> dict[str, JsonValue]:
        """As `--json` prints it."""
        return {**self.model_dump(mode="json"), "bytes": self.bytes}


@dataclass(frozen=True, slots=True)
class Candidate:
    """Something judged, and how it is removed."""

    kind: str
    judged: Judged
    remove: Callable[[], None]

    def item(self, *, why: str | None = None) -> CleanedItem:
        """Describe it; why: other than it was judged."""
        stored = self.judged.stored
        return CleanedItem(
            kind=self.kind, name=stored.name, bytes=stored.bytes, why=why or self.judged.why
        )


@dataclass(frozen=True, slots=True)
class RequiredRecords:
    """What versions and the ledger need."""

    by_versions: Mapping[str, str]
    """Key of a trial, id of a run or of a logged model -> the version, in words."""
    in_ledger: frozenset[str]
    """Digests and ids that the ledger or its evidence names."""

    @classmethod
    def read(cls, tracking: Tracking) -> "RequiredRecords":
        """Ask the registry for every version, and read the ledger. Raises TrackingError."""
        needed: dict[str, str] = {}
        for version in all_versions(tracking):
            for one in (version.trial, version.run_id, version.model_id):
                if one:
                    needed[one] = f"version {version.version} of {version.name}"
        texts = [path for path in (LEDGER, *EVIDENCE.glob("*.json")) if path.exists()]
        named = (_DIGESTS.findall(path.read_text(encoding="utf-8")) for path in texts)
        return cls(needed, frozenset(digest for found in named for digest in found))

    def of(self, *names: str) -> str | None:
        """Who needs something that goes by these names."""
        versions = (self.by_versions[name] for name in names if name in self.by_versions)
        ledger = ("the ledger" for name in names if name in self.in_ledger)
        return next(versions, None) or next(ledger, None)


def remove(candidates: Sequence[Candidate], *, dry_run: bool) -> Cleaning:
    """Remove what goes; what cannot be removed stays, with the reason."""
    removed: list[CleanedItem] = []
    kept: list[CleanedItem] = []
    for candidate in candidates:
        if not candidate.judged.goes:
            kept.append(candidate.item())
            continue
        try:
            if not dry_run:
                candidate.remove()
        except (OSError, TrackingError) as error:
            log.warning("%s %s: not removed: %s", candidate.kind, candidate.item().name, error)
            kept.append(candidate.item(why=f"could not be removed: {error}"))
        else:
            removed.append(candidate.item())
    return Cleaning(dry_run=dry_run, removed=tuple(removed), kept=tuple(kept))


def leftovers() -> Iterator[Candidate]:
    """Scratch and temporary files of processes that died."""
    for path in (*abandoned_scratch(), *old_temporary_files()):
        stored = Stored(str(path), days=_days(path), bytes=bytes_of(path))
        judged = Judged(stored, goes=True, why="left by a process that died")
        yield Candidate("leftover", judged, partial(discard, path))


def trials(policy: RetentionParams, needs: RequiredRecords) -> Iterator[Candidate]:
    """Trials of the store."""
    found = sorted(path for path in STORE.glob("*") if path.is_dir())
    ranks = _ranks(found)
    ranked = [RankedTrial(_stored_trial(path, needs), ranks.get(path.name)) for path in found]
    for path, judged in zip(found, judge_trials(ranked, policy), strict=True):
        yield Candidate("trial", judged, partial(discard, path))


def search_journals(policy: RetentionParams) -> Iterator[Candidate]:
    """Decisions of searches: of use while their trials are there."""
    yield from _aged("search journal", sorted(JOURNALS.glob("*.jsonl")), policy.trials_days)


def version_copies(policy: RetentionParams) -> Iterator[Candidate]:
    """Local copies of versions whose artifacts are remote, and can be had again."""
    folders = sorted(path for path in KEPT.glob("*") if not path.name.startswith("."))
    yield from _aged("version copy", folders, policy.copies_days)


def retrainings(
    tracking: Tracking, policy: RetentionParams, needs: RequiredRecords
) -> Iterator[Candidate]:
    """Retrainings as MLflow shows them: each whole, or not at all."""
    for shown in mirrored_retrainings(tracking):
        names = [run.info.run_id for run in shown.runs] + [one.model_id for one in shown.models]
        yield _as_shown(
            "retraining", shown, tracking, days=policy.runs_days, needed=needs.of(*names)
        )


def drift_reports(tracking: Tracking, policy: RetentionParams) -> Iterator[Candidate]:
    """Drift reports: the run in MLflow, the record and its figure here. Nothing needs them."""
    for shown in mirrored_reports(tracking):
        yield _as_shown("drift report", shown, tracking, days=policy.runs_days)


def _as_shown(
    kind: str,
    shown: MirroredRecord,
    tracking: Tracking,
    *,
    days: float | None,
    needed: str | None = None,
) -> Candidate:
    stored = Stored(
        shown.name,
        days=shown.age_days,
        bytes=sum(bytes_of(path) for path in (*shown.folders(), *shown.sources)),
        needed_by="a running process" if shown.is_running else needed,
    )
    (judged,) = judge_by_age([stored], days)
    return Candidate(kind, judged, partial(remove_mirrored, tracking, shown, discard=discard))


def _aged(kind: str, paths: Sequence[Path], days: float | None) -> Iterator[Candidate]:
    stored = [Stored(path.name, days=_days(path), bytes=bytes_of(path)) for path in paths]
    for path, judged in zip(paths, judge_by_age(stored, days), strict=True):
        yield Candidate(kind, judged, partial(discard, path))


def _stored_trial(directory: Path, needs: RequiredRecords) -> Stored:
    files = [path.stat() for path in directory.rglob("*") if path.is_file()]
    written = max((file.st_mtime for file in files), default=directory.stat().st_mtime)
    return Stored(
        directory.name,
        days=(time.time() - written) / _DAY_SECONDS,
        bytes=sum(file.st_size for file in files),
        needed_by="a running process" if _is_training(directory) else needs.of(directory.name),
    )


def _ranks(directories: Sequence[Path]) -> dict[str, int]:
    """Place of each trial with a result among those of its dataset and objective, from 0."""
    groups: dict[str, list[TrialResult]] = {}
    for directory in directories:
        outcome = read_outcome(directory)
        spec = read_record(directory / TrialFiles.SPEC, TrialSpec)
        if spec is not None and isinstance(outcome, TrialResult):
            group = json.dumps([spec.dataset, spec.config.objective])
            groups.setdefault(group, []).append(outcome)
    return {
        result.key: place
        for results in groups.values()
        for place, result in enumerate(rank(results, results[0].config.objective))
    }


def _is_training(directory: Path) -> bool:
    lock = directory / ".lock"
    if not lock.exists():
        return False
    try:
        with FileLock(lock, timeout=0):
            return False
    except Timeout:
        return True


def _days(path: Path) -> float:
    return (time.time() - path.stat().st_mtime) / _DAY_SECONDS
