"""Commands on a project that has grown: seconds and memory at 1, 10 and 100 times a start.

    python bench/scale.py [--factors 1 10 100] [--output bench/results/scale.txt] (half an hour)

A retraining of the digits is trained for real, then copied: at 100 times there are 10,000 trials,
1,000 retrainings in MLflow with four trials each, 200 versions, 10,000 entries of the ledger.
Copies are what pitchpipe would have written: trials have keys of their own, the ledger is one
chain. Of each command the seconds on the clock, the processor's seconds (which a busy machine
changes less) and the peak memory of its largest process; the second of two runs.
"""

import argparse
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from flows.records.ledger import LedgerAction, append
from models.digests import digest_of
from models.trials import TrialFiles, TrialSpec

PARAMS = """\
data: {name: digits}
trial:
  network: {name: mlp, hidden_units: 16}
search:
  epochs: 2
  axes: {optimizer.learning_rate: [0.001, 0.003, 0.01, 0.03]}
"""
COMMANDS = (
    ("trials",),
    ("trials", "--all", "--json"),
    ("versions",),
    ("status",),
    ("audit",),
    ("audit", "--verify"),
    ("doctor",),
    ("gc", "--dry-run"),
    ("data", "status"),
    ("data", "check", "digits"),
    ("run", "--dry-run"),
    ("run",),
)

TRIALS, RETRAININGS, VERSIONS, ENTRIES = 100, 10, 2, 100
"""At a factor of 1."""
NAME = "digits-classifier"
RUN_TABLES = ("metrics", "latest_metrics", "params", "tags")
MODEL_TABLES = ("logged_model_params", "logged_model_tags")
MIB = 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--factors", type=int, nargs="+", default=[1, 10, 100])
    parser.add_argument("--output", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        os.chdir(scratch)  # the project
        pitchpipe("init", ".")
        Path("params.yaml").write_text(PARAMS)
        pitchpipe("run")
        store = Store()
        costs = {factor: list(measured(store, factor)) for factor in sorted(asked.factors)}
    text = "\n".join(table(costs)) + "\n"
    sys.stdout.write(text)
    if asked.output:
        asked.output.write_text(text)


@dataclass(frozen=True, slots=True)
class Cost:
    """What a command takes."""

    seconds: float
    cpu_seconds: float
    mebibytes: float


def measured(store: "Store", factor: int) -> Iterator[Cost]:
    store.grow(factor)
    for command in COMMANDS:
        yield [cost_of(command) for _ in range(2)][-1]


def cost_of(command: Sequence[str]) -> Cost:
    started = time.monotonic()
    process = subprocess.Popen(
        (program(), *command), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    told = process.stderr.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command)} ended with {process.returncode}: {told}")
    seconds = time.monotonic() - started
    return Cost(seconds, used.ru_utime + used.ru_stime, 1024 * used.ru_maxrss / MIB)


def table(costs: dict[int, list[Cost]]) -> Iterator[str]:
    yield "python bench/scale.py"
    yield (
        f"At 1: {TRIALS} trials in the store, {RETRAININGS} retrainings in MLflow, {VERSIONS} "
        f"versions, {ENTRIES} ledger entries."
    )
    yield f"load of the machine at the end: {os.getloadavg()[1]:.1f} of {os.cpu_count()} cores"
    head = "".join(f"{f'at {factor}: s':>12}{'CPU s':>8}{'MiB':>7}" for factor in costs)
    yield f"{'command':24}{head}"
    for number, command in enumerate(COMMANDS):
        cells = (one[number] for one in costs.values())
        row = "".join(f"{c.seconds:12.2f}{c.cpu_seconds:8.2f}{c.mebibytes:7.0f}" for c in cells)
        yield f"{' '.join(command):24}{row}"


class Store:
    """The project in the working directory, and what of it was made so far."""

    def __init__(self) -> None:
        self._specs = [one.parent for one in sorted(Path("mlruns/trials").glob("*/trial.json"))]
        self._trials, self._retrainings, self._versions, self._entries = len(self._specs), 1, 1, 0

    def grow(self, factor: int) -> None:
        """Copy until there is so many times the start."""
        while self._trials < TRIALS * factor:
            self._copy_trial(self._specs[self._trials % len(self._specs)], seed=self._trials)
            self._trials += 1
        with database() as connection:
            while self._retrainings < RETRAININGS * factor:
                self._copy_retraining(connection)
                self._retrainings += 1
            while self._versions < VERSIONS * factor:
                self._versions += 1
                copy_version(connection, self._versions)
        while self._entries < ENTRIES * factor:
            append(LedgerAction(action="decision", name=NAME, reasons=("nothing changed",)))
            self._entries += 1

    def _copy_trial(self, source: Path, *, seed: int) -> None:
        spec = TrialSpec.model_validate_json((source / TrialFiles.SPEC).read_bytes())
        spec = spec.model_copy(update={"config": spec.config.model_copy(update={"seed": seed})})
        target = source.with_name(spec.key)
        copy_linked(source, target, source.name, spec.key)
        (target / TrialFiles.SPEC).write_text(spec.model_dump_json())

    def _copy_retraining(self, connection: sqlite3.Connection) -> None:
        """Copy a parent run, its children, its journal and its record."""
        journals = Path("mlruns/flow_runs") / NAME
        (journal,) = list(journals.glob("*.jsonl"))[:1]
        copied = uuid.uuid4().hex[:16]
        shutil.copy(journal, journals / f"{copied}.jsonl")
        names = {run: uuid.uuid4().hex for run in self._first_runs(connection)}
        names[journal.stem] = copied
        for run in self._runs:
            copy_rows(connection, "runs", "run_uuid", run, names)
            for one in RUN_TABLES:
                copy_rows(connection, one, "run_uuid", run, names)
        record = next(Path("mlruns/completed").glob("*.json"))
        shutil.copy(record, record.with_name(f"{digest_of(copied)}.json"))
        with Path("mlruns/retrainings.jsonl").open("a+") as file:
            file.seek(0)
            file.write(file.readline())

    def _first_runs(self, connection: sqlite3.Connection) -> list[str]:
        if not hasattr(self, "_runs"):
            self._runs = [run for (run,) in connection.execute("SELECT run_uuid FROM runs")]
        return self._runs


@contextmanager
def database() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect("mlruns/mlflow.db")) as connection, connection:
        yield connection


def copy_rows(
    connection: sqlite3.Connection, table: str, column: str, key: str, names: dict[str, str]
) -> None:
    """Copy the rows with this key; every value that is a name becomes the new one."""
    rows = connection.execute(f"SELECT * FROM {table} WHERE {column} = ?", (key,)).fetchall()
    if rows:
        marks = ", ".join("?" * len(rows[0]))
        renamed = [[names.get(value, value) for value in row] for row in rows]
        connection.executemany(f"INSERT INTO {table} VALUES ({marks})", renamed)


def copy_version(connection: sqlite3.Connection, version: int) -> None:
    """Copy version 1 with its files, under a registration of its own."""
    models = Path("mlruns/artifacts") / NAME / "models"
    (model,) = connection.execute(
        "SELECT substr(source, 10) FROM model_versions WHERE version = 1"
    ).fetchone()
    copied = f"m-{uuid.uuid4().hex}"
    copy_linked(models / model, models / copied, model, copied)
    (registration,) = connection.execute(
        "SELECT value FROM model_version_tags WHERE version = 1 AND key = 'registration'"
    ).fetchone()
    names = {
        model: copied,
        f"models:/{model}": f"models:/{copied}",
        f"{models}/{model}/artifacts": f"{models}/{copied}/artifacts",
        registration: digest_of(copied),
    }
    copy_rows(connection, "logged_models", "model_id", model, names)
    for table in MODEL_TABLES:
        copy_rows(connection, table, "model_id", model, names)
    for table in ("model_versions", "model_version_tags"):
        rows = connection.execute(f"SELECT * FROM {table} WHERE version = 1").fetchall()
        for row in rows:
            renamed = [version if value == 1 else names.get(value, value) for value in row]
            marks = ", ".join("?" * len(row))
            connection.execute(f"INSERT INTO {table} VALUES ({marks})", renamed)


def copy_linked(source: Path, target: Path, old: str, new: str) -> None:
    """Copy a tree: text with its own name is written anew, the rest is linked."""
    for path in source.rglob("*"):
        copied = target / path.relative_to(source)
        if path.is_dir():
            continue
        copied.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".json" and old in (text := path.read_text()):
            copied.write_text(text.replace(old, new))
        else:
            os.link(path, copied)


def pitchpipe(*words: str) -> None:
    subprocess.run((program(), *words), check=True, stdout=subprocess.DEVNULL)


def program() -> str:
    return str(Path(sys.executable).with_name("pitchpipe"))


if __name__ == "__main__":
    main()
