"""What must hold in a project whatever happened to it, read from outside: files, JSON and SQLite.

Nothing of pitchpipe is imported: a fault of its readers cannot hide a fault of its writers.
"""

import hashlib
import json
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil

Json = Any
Found = Iterator[str]

GENESIS = "0" * 64
SEALED_AS = {"from": "before", "to": "after"}
"""Keys of a ledger's line -> what its digest calls them."""
CHAMPION_MOVES = ("promote", "rollback", "adopt", "restore")
ADDED_LATER: dict[str, Json] = {
    "mixing": {"name": "none"},
    "class_weights": "none",
    "sampling": "uniform",
    "focal_gamma": 0.0,
    "learning_rate_scaling": {"rule": "none", "base": 32},
    "epsilon": 1e-8,
    "bias_correction": True,
    "decay_biases_and_norms": False,
    "start": None,
    "kernel": 3,
    "padding": "none",
    "normalisation": "none",
    "head": "flattened",
    "bidirectional": False,
    "states": "last",
}
"""Fields of a trial's config, its optimiser or network -> what they said before there were such."""
ENDED_IN_PREFECT = "('COMPLETED', 'FAILED', 'CRASHED', 'CANCELLED', 'SCHEDULED')"


def broken_invariants(
    root: Path, *, secrets: Sequence[str] = (), at_rest: bool = False, prefect: Path | None = None
) -> list[str]:
    """Say what is wrong in a project; nothing is where all holds.

    secrets: texts that may stand nowhere.  at_rest: a command has ended well since the last kill,
    so that nothing may be left open: no intent, no run that goes on, no scratch.
    prefect: database of the server in use, where it is not the project's own.
    """
    return [
        *_trials(root),
        *_ledger(root, at_rest=at_rest),
        *_runs(root, at_rest=at_rest),
        *_evidence(root),
        *_data(root),
        *_json_files(root),
        *_left_over(root, at_rest=at_rest),
        *(_flow_runs(prefect or root / ".prefect/prefect.db") if at_rest else ()),
        *_secrets(root, secrets),
    ]


def champion(root: Path, name: str) -> int | None:
    """Version in service by MLflow's database; there is never more than one."""
    query = "select version from registered_model_aliases where name = ? and alias = 'champion'"
    found = rows(root / "mlruns/mlflow.db", query, name)
    assert len(found) < 2, found
    return int(found[0][0]) if found else None


def ledger_entries(root: Path) -> list[Json]:
    """Whole lines of the ledger."""
    path = root / "mlruns/ledger.jsonl"
    content = path.read_bytes() if path.exists() else b""
    return [json.loads(line) for line in content.split(b"\n")[:-1]]


def rows(database: Path, query: str, *values: object) -> list[Any]:
    """Ask a SQLite database; nothing where it is missing or has no schema yet."""
    if not database.exists():
        return []
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=30)) as connection:
        try:
            return connection.execute(query, values).fetchall()
        except sqlite3.OperationalError as error:
            if "no such table" in str(error):
                return []
            raise


def sha256(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def canonical_digest(value: Json) -> str:
    """SHA-256 of canonical JSON, as the design says it."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def trial_key(spec: Json) -> str:
    """Digest of a spec without the fields that earlier releases did not have, where they say so."""
    config = dict(spec["config"])
    config["start"] = start_by_content(config.get("start"))
    for section in (config, config.setdefault("optimizer", {}), config.setdefault("network", {})):
        for field, unchanged in ADDED_LATER.items():
            if field in section and section[field] == unchanged:
                del section[field]
    unknown = {"instructions": None, "refit": False, "subset": None}
    kept = {name: value for name, value in spec.items() if unknown.get(name, ...) != value}
    return canonical_digest({**kept, "config": config})


def start_by_content(start: Json) -> Json:
    """What a trial begins with, whatever it was called; None: new weights."""
    if start is None or start["layers"] == "none":
        return None
    whole = start["layers"] == "all" and start["head_fits"] is not False
    facts = {name: start[name] for name in ("weights", "mean", "std")}
    return {"layers": "all" if whole else "backbone", **facts}


def _trials(root: Path) -> Found:
    for directory in sorted((root / "mlruns/trials").glob("[!.]*")):
        spec = directory / "trial.json"
        if spec.exists() and trial_key(json.loads(spec.read_text())) != directory.name:
            yield f"{spec}: is not of the trial whose directory it is in"
        for path in [*directory.glob("result*.json"), *directory.glob("results/*.json")]:
            result = json.loads(path.read_text())
            weights = directory / result["checkpoint"]
            if weights.exists() and sha256(weights) != result["checkpoint_digest"]:
                yield f"{path}: {weights.name} does not have the digest promised"
            if result["key"] != directory.name:
                yield f"{path}: is of trial {result['key']}"
            epochs = len((directory / "history.jsonl").read_bytes().split(b"\n")) - 1
            if epochs < result["epochs"]:
                yield f"{path}: {result['epochs']} epochs, the history has {epochs}"


def _ledger(root: Path, *, at_rest: bool) -> Found:
    try:
        entries = ledger_entries(root)
    except ValueError as error:
        yield f"ledger.jsonl: a whole line is no JSON: {error}"
        return
    previous = GENESIS
    for number, entry in enumerate(entries, start=1):
        named = {SEALED_AS.get(key, key): value for key, value in entry.items() if key != "digest"}
        sealed = canonical_digest(named)
        if (entry["number"], entry["previous"], entry["digest"]) != (number, previous, sealed):
            yield f"ledger.jsonl: entry {number} breaks the chain"
        previous = entry["digest"]
    yield from _ledger_head(root, entries)
    for name in {entry["name"] for entry in entries}:
        yield from _aliases(root, name, [one for one in entries if one["name"] == name], at_rest)


def _ledger_head(root: Path, entries: list[Json]) -> Found:
    """MLflow remembers a head of each name; what it has seen must be in the ledger still."""
    query = "select name, value from registered_model_tags where key = 'ledger.head'"
    for name, value in rows(root / "mlruns/mlflow.db", query):
        length, digest = value.split(":")
        if int(length) > len(entries) or entries[int(length) - 1]["digest"] != digest:
            yield f"ledger.jsonl: does not hold the head {value} that MLflow has seen of {name}"


def _aliases(root: Path, name: str, entries: list[Json], at_rest: bool) -> Found:  # noqa: FBT001 - the last of a private function
    moves = [entry for entry in entries if entry["action"] in CHAMPION_MOVES]
    recorded = moves[-1]["to"] if moves else None
    last = next((one for one in reversed(entries) if one["action"] != "decision"), None)
    intent = last if last is not None and last["action"] == "intent" else None
    if at_rest and intent is not None:
        yield f"ledger.jsonl: entry {intent['number']} is an intent that nobody settled"
    allowed = {recorded, intent["to"]} if intent else {recorded}
    seen = champion(root, name)
    if seen not in allowed:
        yield f"champion of {name} is {seen}, the ledger allows {allowed}"
    versions = "select version from model_versions where name = ? and version = ?"
    if seen is not None and not rows(root / "mlruns/mlflow.db", versions, name, seen):
        yield f"champion of {name} is {seen}, which is not registered"


def _runs(root: Path, *, at_rest: bool) -> Found:
    query = """
        select r.name, t.value from runs r left join tags t
        on t.run_uuid = r.run_uuid and t.key like '%pitchpipe.owner' where r.status = 'RUNNING'
    """
    for name, owner in rows(root / "mlruns/mlflow.db", query):
        if at_rest and not (owner and _lives(json.loads(owner))):
            yield f"mlflow.db: run {name} goes on, but its process is dead"


def _lives(owner: Json) -> bool:
    try:
        return bool(abs(psutil.Process(owner["pid"]).create_time() - owner["started"]) < 1)
    except psutil.NoSuchProcess:
        return False


def _evidence(root: Path) -> Found:
    files = {path.stem: path for path in (root / "mlruns/evidence").glob("*.json")}
    for digest, path in files.items():
        text = path.read_text()
        # Of a decision: of its JSON; of an import: of the text that came along.
        if digest not in (canonical_digest(json.loads(text)), canonical_digest(text)):
            yield f"{path}: does not have the digest that it is named by"
    for entry in ledger_entries(root):
        if entry["evidence"] is not None and entry["evidence"] not in files:
            yield f"ledger.jsonl: evidence of entry {entry['number']} is missing"


def _data(root: Path) -> Found:
    """The last version of each dataset is what lies in its folder, unless a batch is newer."""
    path = root / "data/versions.jsonl"
    if not path.exists():
        return
    newest = {}
    for line in path.read_bytes().split(b"\n")[:-1]:
        version = json.loads(line)
        newest[version["dataset"]] = version
    for name, version in newest.items():
        folder = root / "data/raw" / name
        for batch in version["batches"]:
            file = folder / batch["name"]
            # A restore replaces the folder before it says so; a batch is never half there.
            if file.exists() and sha256(file) != batch["digest"]:
                yield f"{file}: is not the batch that versions.jsonl tells of"
        if not list(folder.glob("*.parquet")):
            yield f"{folder}: has no batch, versions.jsonl tells of {len(version['batches'])}"


def _json_files(root: Path) -> Found:
    """Every JSON file is whole; every line of a JSONL file but a torn last one is JSON."""
    for path in root.rglob("*.json"):
        if ".prefect" not in path.parts and not path.name.startswith("."):
            try:
                json.loads(path.read_bytes())
            except ValueError:
                yield f"{path}: half-written"
    for path in root.rglob("*.jsonl"):
        for line in path.read_bytes().split(b"\n")[:-1]:
            try:
                json.loads(line)
            except ValueError:
                yield f"{path}: a whole line is no JSON"


def _left_over(root: Path, *, at_rest: bool) -> Found:
    """Nobody sits at the retraining lock when all is at rest."""
    owner = root / "mlruns/retraining.owner.json"
    if at_rest and owner.exists() and not _lives(json.loads(owner.read_text())["process"]):
        yield f"{owner}: names a process that is dead"


def _flow_runs(database: Path) -> Found:
    for table in ("flow_run", "task_run"):
        query = f"select name, state_type from {table} where state_type not in {ENDED_IN_PREFECT}"
        for name, state in rows(database, query):
            yield f"{database}: {table} {name} is {state}, and nothing runs"


def _secrets(root: Path, secrets: Sequence[str]) -> Found:
    for folder, _, names in os.walk(root) if secrets else ():
        for path in (Path(folder) / name for name in names):
            content = path.read_bytes() if path.is_file() else b""
            for secret in secrets:
                if secret.encode() in content:
                    yield f"{path}: holds the secret {secret}"
