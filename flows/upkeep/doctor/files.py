"""Checks of the project's files: params, trials, ledger, datasets, and what git tracks."""

import contextlib
import os
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from flows.datasets.files import RAW, VERSIONS, batch_digests
from flows.datasets.restore import cache_faults
from flows.datasets.versions import logged_versions
from flows.records import ledger
from flows.records.champion import read_champion
from flows.records.trial_store import STORE
from flows.retraining.decide import other_default
from flows.upkeep.doctor.finding import Finding, error, warning
from models.config import Params, Record, read_record
from models.digests import digest_file
from models.errors import PitchpipeError
from models.trials import TrialFailure, TrialFiles, TrialResult, TrialSpec


def params(read_params: Callable[[], Params]) -> Iterator[Finding]:
    """Validate the params."""
    try:
        read_params()
    except PitchpipeError as fault:
        yield error(str(fault), "pitchpipe params --schema")


def default_dataset() -> Iterator[Finding]:
    """Compare params.yaml with the dataset of the last retraining."""
    notice = other_default()
    if notice is not None:
        what, _, remedy = notice.partition(": ")
        yield warning(what, remedy)


def champions(read_params: Callable[[], Params]) -> Iterator[Finding]:
    """Compare the project's own database with the ledger: each registered name's champion."""
    if "MLFLOW_TRACKING_URI" in os.environ:
        return  # asking a server takes MLflow's import; `pitchpipe audit` does
    recorded = ledger.read()
    names = {entry.name for entry in recorded.entries}
    with contextlib.suppress(PitchpipeError):  # a finding of the params' own check
        names.add(read_params().registered_name)
    for name in sorted(names):
        try:
            found = read_champion(name)
        except sqlite3.Error:
            return  # a finding of the database's own check
        now, before = found.version if found else None, recorded.champion_of(name)
        if now != before:
            yield error(
                f"{name}: the champion is {_version(now)} in MLflow and {_version(before)} in the "
                "ledger: the database was lost or replaced, or the alias was moved by hand",
                "restore a copy of mlruns/mlflow.db, or: pitchpipe adopt --reason R "
                f"--model {name}",
            )


def _version(number: int | None) -> str:
    return "none" if number is None else f"version {number}"


def trial_store(*, deep: bool) -> Iterator[Finding]:
    """Read every trial's records; deep: also hash the weights of each."""
    broken, damaged = [], []
    for spec in sorted(STORE.glob(f"*/{TrialFiles.SPEC}")):
        trial = spec.parent
        if _is_broken(trial):
            broken.append(trial)
        elif deep and not _has_its_weights(trial):
            damaged.append(trial)
    if broken:
        yield warning(
            f"{len(broken)} trials cannot be read by this release, such as {broken[0]}",
            "keep them for the release that wrote them, or remove their folders: a trial that is "
            "needed is trained again",
        )
    for trial in damaged:
        yield error(f"{trial}: its weights do not match its result", f"rm -r {trial}")


def _is_broken(trial: Path) -> bool:
    kinds: dict[str, type[Record]] = {
        TrialFiles.SPEC: TrialSpec,
        TrialFiles.RESULT: TrialResult,
        TrialFiles.FAILURE: TrialFailure,
    }
    return any(
        (trial / name).exists() and read_record(trial / name, kind) is None
        for name, kind in kinds.items()
    )


def _has_its_weights(trial: Path) -> bool:
    result = read_record(trial / TrialFiles.RESULT, TrialResult)
    if result is None:
        return True
    weights = trial / result.checkpoint
    return weights.exists() and digest_file(weights) == result.checkpoint_digest


def ledger_chain() -> Iterator[Finding]:
    """Verify the ledger's chain of digests."""
    for problem in ledger.read().problems:
        yield error(
            f"{ledger.LEDGER}: {problem}",
            "restore the file from a copy; `pitchpipe audit` checks it against MLflow",
        )


def datasets(*, deep: bool) -> Iterator[Finding]:
    """Compare batches with the last version of their dataset; deep: also hash DVC's cache."""
    names = (path.name for path in RAW.glob("*") if path.is_dir() and path.name[0] != ".")
    for name in sorted(names):
        versions = logged_versions(name)
        if not versions:
            yield warning(f"data/raw/{name} was never versioned", "pitchpipe data add")
            continue
        before = {batch.name: batch.digest for batch in versions[-1].batches}
        now = {path.name: digest for path, digest in batch_digests(name)}
        for batch in before.keys() | now.keys():
            if now.get(batch) != before.get(batch):
                yield error(
                    f"data/raw/{name}/{batch} is not as in the last version",
                    f"pitchpipe data restore {versions[-1].digest[:12]}",
                )
        for fault in cache_faults(versions[-1]) if deep else ():
            yield error(
                f"{fault.where}: {fault.message}",
                f"rm -f {fault.where} && dvc add {RAW / name}",
            )


def git_tracking() -> Iterator[Finding]:
    """Check that git tracks the files that identify the data."""
    wanted = [*RAW.glob("*.dvc"), *([VERSIONS] if VERSIONS.exists() else [])]
    if not wanted or not Path(".git").exists():
        return
    names = [str(path) for path in wanted]
    try:
        asked = subprocess.run(  # noqa: S603 - fixed words and our own paths
            ["git", "status", "--porcelain", "--ignored", "--", *names],  # noqa: S607
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return
    lines = [line for line in asked.stdout.splitlines() if line[:2] in ("??", "!!")]
    if lines:
        unknown = " ".join(line[3:] for line in lines)
        yield warning(
            f"git does not track {unknown}: a clone would not find the data",
            f"git add --force {unknown} && git commit",
        )
