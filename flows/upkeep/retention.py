"""Garbage collection: candidates, what is required, and removal by the retention policy."""

import json
import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pydantic import JsonValue

from flows.records import ledger
from flows.records.drift_reports import drift_records, files_of
from flows.records.ledger import EVIDENCE, LEDGER
from flows.records.search_journal import JOURNALS
from flows.records.shadow_log import IMAGES, SHADOWS
from flows.records.trial_store import STORE
from flows.registry.fetching import KEPT
from flows.registry.listing import all_versions
from flows.runtime.locks import is_held
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
    """Something that was removed or kept."""

    kind: str
    """trial, search journal, retraining, drift report, version copy, shadow image, label triage,
    data value, flow run or leftover."""
    name: str
    bytes: int
    why: str


class Cleaning(Record):
    """Result of `gc`."""

    dry_run: bool
    """Nothing was removed: `removed` lists what would be."""
    removed: tuple[CleanedItem, ...]
    kept: tuple[CleanedItem, ...]
    note: str | None = None
    """What was not looked at, and why; null: nothing."""

    @property
    def bytes(self) -> int:
        """Sum over what was removed."""
        return sum(item.bytes for item in self.removed)

    def document(self) -> dict[str, JsonValue]:
        """As `--json` prints it."""
        return {**self.model_dump(mode="json"), "bytes": self.bytes}


@dataclass(frozen=True, slots=True)
class Candidate:
    """Something with the policy's decision on it, and how to remove it."""

    kind: str
    judged: Judged
    remove: Callable[[], None]

    def item(self, *, why: str | None = None) -> CleanedItem:
        """Describe it; why: a reason in place of the policy's."""
        stored = self.judged.stored
        return CleanedItem(
            kind=self.kind, name=stored.name, bytes=stored.bytes, why=why or self.judged.why
        )


@dataclass(frozen=True, slots=True)
class RequiredRecords:
    """Records that versions or the ledger refer to."""

    by_versions: Mapping[str, str]
    """Key of a trial, id of a run or of a logged model -> the version, in words."""
    in_ledger: frozenset[str]
    """Digests and ids in the ledger or its evidence."""

    @classmethod
    def read(cls, tracking: Tracking) -> "RequiredRecords":
        """Collect them from all versions and the ledger. Raises TrackingError."""
        needed: dict[str, str] = {}
        for version in all_versions(tracking):
            for one in (version.trial, version.run_id, version.model_id):
                if one:
                    needed[one] = f"version {version.version} of {version.name}"
        texts = [path for path in (LEDGER, *EVIDENCE.glob("*.json")) if path.exists()]
        named = (
            _DIGESTS.findall(path.read_text(encoding="utf-8", errors="replace")) for path in texts
        )
        return cls(needed, frozenset(digest for found in named for digest in found))

    def by(self, *names: str) -> str | None:
        """What requires a record that has these keys or ids; None: nothing does."""
        versions = (self.by_versions[name] for name in names if name in self.by_versions)
        ledger = ("the ledger" for name in names if name in self.in_ledger)
        return next(versions, None) or next(ledger, None)


def remove(candidates: Sequence[Candidate], *, dry_run: bool) -> Cleaning:
    """Remove candidates as decided; one that cannot be removed is kept, with the reason."""
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
    """Scratch and temporary files of dead processes."""
    for path in (*abandoned_scratch(), *old_temporary_files()):
        stored = Stored(str(path), days=_days(path), bytes=bytes_of(path))
        judged = Judged(stored, goes=True, why="left by a process that died")
        yield Candidate("leftover", judged, partial(discard, path))


def trials(policy: RetentionParams, required: RequiredRecords) -> Iterator[Candidate]:
    """Trials of the store."""
    found = sorted(path for path in STORE.glob("*") if path.is_dir())
    ranks = _ranks(found)
    ranked = [RankedTrial(_stored_trial(path, required), ranks.get(path.name)) for path in found]
    for path, judged in zip(found, judge_trials(ranked, policy), strict=True):
        yield Candidate("trial", judged, partial(discard, path))


def search_journals(policy: RetentionParams) -> Iterator[Candidate]:
    """Journals of searches: used as long as their trials exist."""
    yield from _aged("search journal", sorted(JOURNALS.glob("*.jsonl")), policy.trials_days)


def version_copies(policy: RetentionParams) -> Iterator[Candidate]:
    """Local copies of versions whose artifacts are remote."""
    folders = sorted(path for path in KEPT.glob("*") if not path.name.startswith("."))
    yield from _aged("version copy", folders, policy.copies_days)


def shadow_images(policy: RetentionParams) -> Iterator[Candidate]:
    """Images that `serve --shadow` logged, and sheets that show them."""
    patterns = (f"*/*/{IMAGES}/*.json", "*/*/report.html")
    files = sorted(path for pattern in patterns for path in SHADOWS.glob(pattern))
    yield from _aged("shadow image", files, policy.shadow_days)


def retrainings(
    tracking: Tracking, policy: RetentionParams, required: RequiredRecords
) -> Iterator[Candidate]:
    """Retrainings in MLflow, each with all its runs."""
    for record in mirrored_retrainings(tracking):
        names = [run.info.run_id for run in record.runs] + [one.model_id for one in record.models]
        yield _mirrored(
            "retraining", record, tracking, days=policy.runs_days, needed_by=required.by(*names)
        )


def drift_reports(tracking: Tracking, policy: RetentionParams) -> Iterator[Candidate]:
    """Drift reports: the run in MLflow, the record and its figure.

    Those about the champion are its looks, which fix the level of the next, and are kept.
    """
    champion = ledger.read().champion_of(tracking.name)
    looks = {files_of(one) for one in drift_records(tracking.name) if one.version == champion}
    for record in mirrored_reports(tracking):
        needed = "a look at the champion's drift" if record.sources in looks else None
        yield _mirrored("drift report", record, tracking, days=policy.runs_days, needed_by=needed)


def _mirrored(
    kind: str,
    record: MirroredRecord,
    tracking: Tracking,
    *,
    days: float | None,
    needed_by: str | None = None,
) -> Candidate:
    stored = Stored(
        record.name,
        days=record.age_days,
        bytes=sum(bytes_of(path) for path in (*record.folders(), *record.sources)),
        needed_by="a running process" if record.is_running else needed_by,
    )
    (judged,) = judge_by_age([stored], days)
    return Candidate(kind, judged, partial(remove_mirrored, tracking, record, discard=discard))


def _aged(kind: str, paths: Sequence[Path], days: float | None) -> Iterator[Candidate]:
    stored = [Stored(path.name, days=_days(path), bytes=bytes_of(path)) for path in paths]
    for path, judged in zip(paths, judge_by_age(stored, days), strict=True):
        yield Candidate(kind, judged, partial(discard, path))


def _stored_trial(directory: Path, required: RequiredRecords) -> Stored:
    files = [path.stat() for path in directory.rglob("*") if path.is_file()]
    written = max((file.st_mtime for file in files), default=directory.stat().st_mtime)
    return Stored(
        directory.name,
        days=(time.time() - written) / _DAY_SECONDS,
        bytes=sum(file.st_size for file in files),
        needed_by="a running process"
        if is_held(directory / ".lock")
        else required.by(directory.name),
    )


def _ranks(directories: Sequence[Path]) -> dict[str, int]:
    """Rank of each trial with a result among those of its dataset and objective, from 0."""
    groups: dict[str, list[TrialResult]] = {}
    for directory in directories:
        outcome = read_outcome(directory)
        spec = read_record(directory / TrialFiles.SPEC, TrialSpec)
        if spec is not None and isinstance(outcome, TrialResult):
            subset = spec.subset.model_dump() if spec.subset else None
            group = json.dumps([spec.dataset, spec.config.objective, spec.refit, subset])
            groups.setdefault(group, []).append(outcome)
    return {
        result.key: place
        for results in groups.values()
        for place, result in enumerate(rank(results, results[0].config.objective))
    }


def _days(path: Path) -> float:
    return (time.time() - path.stat().st_mtime) / _DAY_SECONDS
