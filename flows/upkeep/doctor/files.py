"""Checks of the project's files: params, trials, ledger, datasets, and what git tracks."""

import contextlib
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from flows.datasets.current import read_resolved
from flows.datasets.dvc import tracked_md5
from flows.datasets.files import RAW, RESOLVED, VERSIONS, batch_digests
from flows.datasets.restore import cache_faults
from flows.datasets.versions import damaged_lines, logged_versions
from flows.records import ledger
from flows.records.champion import MLFLOW_DATABASE, is_own_database, read_champion
from flows.records.trial_store import STORE
from flows.retraining.decide import PAST, other_default
from flows.runtime.environment import IDENTITY, project_identity
from flows.upkeep.doctor.finding import Finding, error, warning
from models.config import Params, Record, read_record, read_record_lines
from models.decision import PastRetraining
from models.digests import digest_file
from models.errors import ConfigError, IntegrityError, PitchpipeError
from models.trials import TrialFailure, TrialFiles, TrialResult, TrialSpec, read_history


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
    if not is_own_database():
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
                f"restore a copy of {MLFLOW_DATABASE}, or: pitchpipe adopt --reason R "
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
        elif _has_lost_epochs(trial):
            yield warning(
                f"{trial / TrialFiles.HISTORY}: is damaged, epochs of the result are missing",
                f"rm -r {trial}; what is asked for again is trained again",
            )
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
    if any(
        (trial / name).exists() and read_record(trial / name, kind) is None
        for name, kind in kinds.items()
    ):
        return True
    spec = read_record(trial / TrialFiles.SPEC, TrialSpec)
    return spec is None or spec.key != trial.name


def _has_lost_epochs(trial: Path) -> bool:
    result = read_record(trial / TrialFiles.RESULT, TrialResult)
    return result is not None and len(read_history(trial)) < result.epochs


def _has_its_weights(trial: Path) -> bool:
    result = read_record(trial / TrialFiles.RESULT, TrialResult)
    if result is None:
        return True
    weights = trial / result.checkpoint
    return weights.exists() and digest_file(weights) == result.checkpoint_digest


def ledger_chain() -> Iterator[Finding]:
    """Check the ledger's chain, and the evidence that its entries name."""
    found = ledger.read()
    remedy = "bring the file back from a copy; `pitchpipe audit` checks it against MLflow"
    for problem in found.problems:
        yield error(f"{ledger.LEDGER}: {problem}", remedy)
    for problem in ledger.evidence_problems(found.entries):
        yield error(problem, remedy)


def records() -> Iterator[Finding]:
    """Read the small files by which a project is known and its retrainings are counted."""
    lines = read_record_lines(PAST, PastRetraining.model_validate_json)
    for number in [number for number, line in enumerate(lines, start=1) if line is None]:
        yield warning(
            f"{PAST}, line {number}: is damaged; limits on retrainings do not count it",
            f"sed -i {number}d {PAST}",
        )
    if RESOLVED.exists():
        try:
            read_resolved()
        except ConfigError as fault:
            yield error(str(fault), "pitchpipe prepare --write-params")
    if IDENTITY.exists():
        try:
            project_identity()
        except IntegrityError as fault:
            yield error(str(fault), f"rm {IDENTITY}")


def datasets(*, deep: bool) -> Iterator[Finding]:
    """Compare batches with the last version of their dataset; deep: hash DVC's cache, too."""
    for number in damaged_lines():
        yield error(
            f"{VERSIONS}, line {number}: is damaged; the version it described cannot be restored",
            f"bring the file back from git or a copy, or remove that line: sed -i {number}d "
            f"{VERSIONS}",
        )
    for tracked in sorted(RAW.glob("*.dvc")):
        try:
            tracked_md5(tracked.stem)
        except IntegrityError as damage:
            yield error(str(damage), f"git checkout {tracked}; or: rm {tracked} && pitchpipe run")
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
