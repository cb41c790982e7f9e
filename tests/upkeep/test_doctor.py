"""`doctor`: each fault is made for real, found, and told with a remedy."""

import json
import os
import shutil
import socket
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from filelock import FileLock
from made_once import made_once
from project_folder import ProjectFolder, make_project
from registry_records import DEAD, epoch_record, trial_result, trial_spec

from flows.datasets.deliveries import QUARANTINE
from flows.datasets.files import VERSIONS
from flows.datasets.ingest import ensure_ingested
from flows.records import ledger
from flows.records.champion import MLFLOW_DATABASE
from flows.records.ledger import LedgerAction
from flows.records.trial_store import STORE
from flows.retraining.decide import PAST, remember
from flows.runtime.prefect_server import SERVICES, RunningServices
from flows.runtime.retraining_lock import LOCK, OWNER, Owner
from flows.runtime.servers import free_port
from flows.schedules.config import SCHEDULES, Schedule, add_schedule
from flows.tracking.runs import Runs
from flows.tracking.store import open_tracking
from flows.upkeep.doctor import Finding, databases, examine_project, machine
from flows.upkeep.doctor.databases import PREFECT_DATABASE
from models.config import load_params
from models.decision import Completed, Fingerprint
from models.files import append_line, write_text
from models.processes import this_process

pytest_plugins = ["registry_fixtures"]

Patch = pytest.MonkeyPatch


@pytest.fixture(scope="session")
def healthy_template(tmp_path_factory: pytest.TempPathFactory, migrated_database: Path) -> Path:
    """A project with the digits, a ledger, a trial, and MLflow's database."""
    return made_once(tmp_path_factory, "healthy", partial(_make_healthy, migrated_database))


def _make_healthy(migrated_database: Path, root: Path) -> None:
    make_project(root)
    shutil.copytree(migrated_database, root / "mlruns")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        ensure_ingested(load_params(Path("params.yaml")).data)
        ledger.append(LedgerAction(action="decision", name="digits-classifier", reasons=("none",)))
        ledger.append(LedgerAction(action="decision", name="digits-classifier", reasons=("none",)))
        trial = STORE / trial_spec().key
        write_text(trial / "trial.json", trial_spec().model_dump_json())
        for number in (1, 2):
            append_line(trial / "history.jsonl", epoch_record(number).model_dump_json())
        write_text(trial / "result.json", trial_result(trial_spec()).model_dump_json())


@pytest.fixture
def healthy(healthy_template: Path, tmp_path: Path, monkeypatch: Patch) -> Path:
    """A copy of it as the working directory, with ports that nobody else takes."""
    shutil.copytree(healthy_template, tmp_path / "project", symlinks=True)
    monkeypatch.chdir(tmp_path / "project")
    for name in ("MLFLOW_TRACKING_URI", "PREFECT_API_URL", "MLFLOW_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    for name in ("UP_MLFLOW", "UP_PREFECT"):
        monkeypatch.setattr(machine, name, f"http://127.0.0.1:{free_port(0)}")
    monkeypatch.setattr(machine, "FEW_GB", 0.0)  # this machine's disk is its own affair
    return tmp_path / "project"


def faults_of(findings: list[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.level != "ok"]


def test_nothing_is_wrong_with_a_healthy_project(healthy: Path) -> None:
    """Every check says ok, and needs no remedy."""
    findings = examine_project()

    assert healthy == Path.cwd()
    assert faults_of(findings) == []
    assert len(findings) == 18
    assert {finding.remedy for finding in findings} == {None}


def spoil_params(_: Patch) -> None:
    write_text(Path("params.yaml"), "search: {epochs: many}\n")


def put_a_file_where_a_folder_belongs(_: Patch) -> None:
    Path(".prefect").write_text("")


def open_a_folder_to_all(_: Patch) -> None:
    Path("mlruns").chmod(0o777)


def take_a_folder_away(_: Patch) -> None:
    if os.geteuid() == 0:
        os.chown("mlruns", 65534, 65534)
    else:
        Path("mlruns/trials").chmod(0o500)


def install_a_fastapi_that_breaks_prefect(patch: Patch) -> None:
    installed = Path("site/fastapi-0.165.0.dist-info")
    installed.mkdir(parents=True)
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: fastapi\nVersion: 0.165.0\n")
    patch.syspath_prepend(str(Path("site").absolute()))


def set_a_run_id(patch: Patch) -> None:
    patch.setenv("MLFLOW_RUN_ID", "0" * 32)


def allow_pickle(patch: Patch) -> None:
    patch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "true")


def track_into_a_folder(patch: Patch) -> None:
    patch.setenv("MLFLOW_TRACKING_URI", "./mlruns")


def track_to_a_server_that_is_down(patch: Patch) -> None:
    patch.setenv("MLFLOW_TRACKING_URI", f"http://me:secret@127.0.0.1:{free_port(0)}")


def talk_to_a_prefect_that_is_down(patch: Patch) -> None:
    patch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{free_port(0)}/api")


def leave_services_that_do_not_answer(_: Patch) -> None:
    dead = f"http://127.0.0.1:{free_port(0)}"
    services = RunningServices(process=this_process(), prefect=dead, mlflow=dead)
    write_text(SERVICES, services.model_dump_json())


def keep_the_lock_of_a_dead_process(_: Patch) -> None:
    owner = Owner(process=DEAD, command="pitchpipe run", since=datetime.now(UTC))
    write_text(OWNER, owner.model_dump_json())


def damage(database: Path) -> Callable[[Patch], None]:
    def spoil(_: Patch) -> None:
        database.parent.mkdir(exist_ok=True)
        database.write_bytes(b"not a database" * 100)

    return spoil


def flip_a_page_of_mlflow(_: Patch) -> None:
    content = bytearray(MLFLOW_DATABASE.read_bytes())
    for page in range(4, len(content) // 4096):
        content[page * 4096 : page * 4096 + 64] = b"\xff" * 64
    MLFLOW_DATABASE.write_bytes(content)


def execute(database: Path, *statements: str) -> None:
    database.parent.mkdir(exist_ok=True)
    with closing(sqlite3.connect(database)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


def break_off_the_schema(_: Patch) -> None:
    execute(MLFLOW_DATABASE, "CREATE TABLE _alembic_tmp_metrics (key TEXT)")


def come_from_a_later_mlflow(_: Patch) -> None:
    execute(MLFLOW_DATABASE, "UPDATE alembic_version SET version_num = 'ffffffffffff'")


def come_from_an_earlier_mlflow(_: Patch) -> None:
    execute(MLFLOW_DATABASE, "UPDATE alembic_version SET version_num = '451aebb31d03'")


def leave_a_run_running(_: Patch) -> None:
    tags = {"pitchpipe.owner": DEAD.model_dump_json()}
    Runs(open_tracking("digits-classifier")).create("left", tags=tags, at=1)


def leave_a_flow_run_running(_: Patch) -> None:
    execute(
        PREFECT_DATABASE,
        "CREATE TABLE flow_run (name TEXT, state_type TEXT)",
        "INSERT INTO flow_run VALUES ('left', 'RUNNING'), ('ended', 'COMPLETED')",
    )


def change_the_ledger(_: Patch) -> None:
    text = ledger.LEDGER.read_text()
    ledger.LEDGER.write_text(text.replace("none", "some", 1))


def lose_the_registry(_: Patch) -> None:
    name = load_params(Path("params.yaml")).registered_name
    ledger.append(
        LedgerAction(action="promote", name=name, after=1, verdict="PROMOTE", reasons=("so",))
    )


def lose_the_registry_named_by_the_environment(patch: Patch) -> None:
    patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{MLFLOW_DATABASE.absolute()}")
    lose_the_registry(patch)


def flip_a_bit(path: Path, *, line: int = 1) -> None:
    """Make the second byte of a line one that UTF-8 never has."""
    content = bytearray(path.read_bytes())
    start = sum(len(before) for before in content.splitlines(keepends=True)[: line - 1])
    content[start + 1] |= 0x80
    path.write_bytes(content)


def flip_a_bit_of_the_ledger(_: Patch) -> None:
    flip_a_bit(ledger.LEDGER, line=2)


def flip_a_bit_of_the_versions(_: Patch) -> None:
    # A version of old, so that what is there now is still the last one.
    text = VERSIONS.read_text()
    VERSIONS.write_text(text + text)
    flip_a_bit(VERSIONS)


def flip_a_bit_of_a_history(_: Patch) -> None:
    flip_a_bit(STORE / trial_spec().key / "history.jsonl", line=2)


def flip_a_bit_of_the_past(_: Patch) -> None:
    append_line(PAST, '{"finished":"2026-01-01T00:00:00Z","seconds":1.0}')
    flip_a_bit(PAST)


def change_the_evidence(_: Patch) -> None:
    digest = ledger.keep_evidence('{"verdict":"PROMOTE"}')
    flip_a_bit(ledger.EVIDENCE / f"{digest}.json")


def lose_the_evidence(_: Patch) -> None:
    ledger.append(LedgerAction(action="hold", name="digits-classifier", evidence="0" * 64))


def garble(name: str) -> Callable[[Patch], None]:
    def make(_: Patch) -> None:
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_bytes(b"\xff\x00{")

    make.__name__ = f"garble {name}"
    return make


def exchange_what_a_trial_is(_: Patch) -> None:
    other = trial_spec().model_copy(update={"dataset": "0" * 64})
    (STORE / trial_spec().key / "trial.json").write_text(other.model_dump_json())


def retrain_on_another_dataset(_: Patch) -> None:
    remember(
        Completed(
            fingerprint=Fingerprint(data="a", params="b", source="c", environment="d"),
            finished=datetime.now(UTC),
            verdict="PROMOTE",
            version=1,
            champion=1,
            name="photos-classifier",
            dataset="photos",
        )
    )


def spoil_a_trial(_: Patch) -> None:
    (STORE / trial_spec().key / "result.json").write_text("{")


def spoil_what_a_trial_is(_: Patch) -> None:
    (STORE / trial_spec().key / "trial.json").write_bytes(b"\xff\x00")


def break_the_schedules(_: Patch) -> None:
    SCHEDULES.write_text("- name: nightly\n  cron: 0 3 * * 5L\n")


def ask_with_params_that_are_gone(_: Patch) -> None:
    add_schedule(Schedule(name="weekly", interval=604800, params="gone.yaml", active=False))


def ask_with_an_override_that_is_none(_: Patch) -> None:
    add_schedule(Schedule(name="weekly", interval=604800, set=("search.epochz=3",), active=False))


def schedule_without_up(_: Patch) -> None:
    add_schedule(Schedule(name="nightly", cron="0 3 * * *"))
    add_schedule(Schedule(name="weekly", interval=604800, active=False))


def set_a_delivery_aside(_: Patch) -> None:
    write_text(QUARANTINE / "monday-0123456789ab/report.txt", "one image cannot be decoded")


def spoil_weights(_: Patch) -> None:
    result = trial_result(trial_spec())
    (STORE / trial_spec().key / result.checkpoint).write_bytes(b"other weights")


def change_a_batch(_: Patch) -> None:
    [batch] = Path("data/raw/digits").glob("*.parquet")
    batch.chmod(0o644)
    batch.write_bytes(batch.read_bytes() + b"\0")


def forget_the_versions(_: Patch) -> None:
    Path("data/versions.jsonl").unlink()


def corrupt_the_cache(_: Patch) -> None:
    cached = max(Path(".dvc/cache").rglob("*"), key=lambda path: path.stat().st_size)
    cached.chmod(0o644)
    cached.write_bytes(cached.read_bytes()[:-1] + b"?")


def keep_data_from_git(_: Patch) -> None:
    subprocess.run(["git", "init", "--quiet"], check=True)


def fill_the_disk(patch: Patch) -> None:
    patch.setattr(machine, "FEW_GB", 5.0)
    usage = SimpleNamespace(free=200_000_000)
    patch.setattr(machine, "shutil", SimpleNamespace(disk_usage=lambda _: usage))


@dataclass(frozen=True, slots=True)
class Fault:
    """How it is made, and what is told of it."""

    make: Callable[[Patch], None]
    level: str
    what: str
    remedy: str
    deep: bool = False


FAULTS = [
    Fault(spoil_params, "error", "search.epochs", "pitchpipe params --schema"),
    Fault(put_a_file_where_a_folder_belongs, "error", ".prefect is a file", "mv .prefect"),
    Fault(open_a_folder_to_all, "warning", "mlruns is writable for all users", "chmod o-w mlruns"),
    Fault(
        take_a_folder_away, "warning" if os.geteuid() == 0 else "error", "mlruns", "sudo chown -R"
    ),
    Fault(
        install_a_fastapi_that_breaks_prefect,
        "error",
        "fastapi 0.165.0 is installed",
        "pip install -c constraints.txt 'fastapi",
    ),
    Fault(set_a_run_id, "warning", "MLFLOW_RUN_ID", "unset MLFLOW_RUN_ID"),
    Fault(allow_pickle, "warning", "execute code on loading", "unset MLFLOW_ALLOW_PICKLE"),
    Fault(track_into_a_folder, "error", "./mlruns is a folder", "unset MLFLOW_TRACKING_URI"),
    Fault(track_to_a_server_that_is_down, "error", "does not answer", "unset MLFLOW_TRACKING_URI"),
    Fault(talk_to_a_prefect_that_is_down, "error", "does not answer", "unset PREFECT_API_URL"),
    Fault(leave_services_that_do_not_answer, "error", "the MLflow UI of", f"kill {os.getpid()}"),
    Fault(damage(MLFLOW_DATABASE), "error", "mlflow.db cannot be read", "pitchpipe sync"),
    Fault(flip_a_page_of_mlflow, "error", "mlflow.db", "pitchpipe sync"),
    Fault(break_off_the_schema, "error", "was interrupted", "pitchpipe sync"),
    Fault(come_from_a_later_mlflow, "error", "a later MLflow", "make install"),
    Fault(come_from_an_earlier_mlflow, "warning", "an earlier MLflow", "mlflow db upgrade"),
    Fault(leave_a_run_running, "warning", "1 runs are RUNNING", "pitchpipe sync"),
    Fault(damage(PREFECT_DATABASE), "error", "prefect.db cannot be read", "mv .prefect/prefect"),
    Fault(leave_a_flow_run_running, "warning", "1 flow runs are Running", "pitchpipe run"),
    Fault(change_the_ledger, "error", "it was changed", "pitchpipe audit"),
    Fault(
        lose_the_registry, "error", "none in MLflow and version 1 in the ledger", "pitchpipe adopt"
    ),
    Fault(
        lose_the_registry_named_by_the_environment,
        "error",
        "none in MLflow and version 1 in the ledger",
        "pitchpipe adopt",
    ),
    Fault(
        retrain_on_another_dataset,
        "warning",
        "params.yaml names digits; the last retraining was of photos",
        "--set data.name=photos",
    ),
    Fault(spoil_a_trial, "warning", "1 trials cannot be read", "remove their folders"),
    Fault(spoil_what_a_trial_is, "warning", "1 trials cannot be read", "remove their folders"),
    Fault(exchange_what_a_trial_is, "warning", "1 trials cannot be read", "remove their folders"),
    Fault(flip_a_bit_of_the_ledger, "error", "line 2 is not an entry", "from a copy"),
    Fault(
        flip_a_bit_of_the_versions,
        "error",
        "data/versions.jsonl, line 1: is damaged",
        "sed -i 1d data/versions.jsonl",
    ),
    Fault(flip_a_bit_of_a_history, "warning", "history.jsonl: is damaged", "rm -r mlruns/trials/"),
    Fault(
        flip_a_bit_of_the_past,
        "warning",
        "mlruns/retrainings.jsonl, line 1: is damaged",
        "sed -i 1d mlruns/retrainings.jsonl",
    ),
    Fault(change_the_evidence, "error", "does not have the digest in its name", "from a copy"),
    Fault(lose_the_evidence, "error", "0.json: is missing", "from a copy"),
    Fault(garble("data/prepare.yaml"), "error", "data/prepare.yaml", "prepare --write-params"),
    Fault(garble(".prefect/project.id"), "error", "does not hold 32 hex digits", "rm .prefect/"),
    Fault(garble("data/raw/digits.dvc"), "error", "is no file of `dvc add`", "rm data/raw/digits"),
    Fault(break_the_schedules, "error", "0: cron '0 3 * * 5L'", "fix that in schedules.yaml"),
    Fault(
        ask_with_params_that_are_gone,
        "error",
        "schedule weekly cannot retrain: gone.yaml",
        "pitchpipe schedule remove weekly",
    ),
    Fault(ask_with_an_override_that_is_none, "error", "search.epochz", "in schedules.yaml"),
    Fault(schedule_without_up, "warning", "schedules are not served: nightly", "pitchpipe up"),
    Fault(
        set_a_delivery_aside,
        "warning",
        "1 deliveries are quarantined in data/quarantine: monday-",
        "read data/quarantine/monday-0123456789ab/report.txt",
    ),
    Fault(spoil_weights, "error", "its weights do not match", "rm -r mlruns/trials/", deep=True),
    Fault(change_a_batch, "error", "is not as in the last version", "pitchpipe data restore"),
    Fault(forget_the_versions, "warning", "was never versioned", "pitchpipe data add"),
    Fault(corrupt_the_cache, "error", "is corrupted in DVC's cache", "dvc add", deep=True),
    Fault(keep_data_from_git, "warning", "git does not track", "git add --force data/raw"),
    Fault(fill_the_disk, "error", "0.2 GB are free", "pitchpipe gc"),
]


@pytest.mark.usefixtures("healthy")
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.what)
def test_a_fault_is_found_and_comes_with_its_remedy(fault: Fault, monkeypatch: Patch) -> None:
    """What was broken is named at its level, with a way out; passwords are not shown."""
    fault.make(monkeypatch)

    found = faults_of(examine_project(deep=fault.deep))

    mine = [finding for finding in found if fault.what in finding.what]
    assert [finding.level for finding in mine] == [fault.level], found
    assert fault.remedy in (mine[0].remedy or "")
    assert "secret" not in str(found)


@pytest.mark.usefixtures("healthy")
def test_a_lock_that_outlived_its_process_is_found(monkeypatch: Patch) -> None:
    """Held, though the process that took it is dead: a child has it open."""
    keep_the_lock_of_a_dead_process(monkeypatch)
    with FileLock(LOCK):
        [found] = faults_of(examine_project())

    assert (found.level, found.remedy) == ("error", "fuser -k mlruns/retraining.lock")
    assert faults_of(examine_project()) == []


@pytest.mark.usefixtures("healthy")
def test_a_port_of_up_that_another_program_has_is_named(monkeypatch: Patch) -> None:
    """With the program, so that it can be ended."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        monkeypatch.setattr(machine, "UP_MLFLOW", f"http://127.0.0.1:{port}")
        [found] = faults_of(examine_project())

    assert found.what.startswith(f"port {port} is taken by process {os.getpid()}")


def test_the_installed_mlflow_knows_its_own_schema() -> None:
    """One schema comes last: the one of a database that was just made."""
    known, newest = databases._revisions()

    assert newest in known
    assert "451aebb31d03" in known


def test_doctor_prints_json_and_exits_with_1_where_something_is_wrong(healthy: Path) -> None:
    """Warnings alone end with 0."""
    folder = ProjectFolder(healthy)
    warned = folder.pitchpipe("doctor", "--json", MLFLOW_RUN_ID="0" * 32)
    failed = folder.pitchpipe("doctor", "--json", MLFLOW_TRACKING_URI="./mlruns")

    levels = {finding["level"] for finding in warned.document["findings"]}
    assert (warned.code, levels) == (0, {"ok", "warning"}), json.dumps(warned.document)
    assert failed.code == 1
    assert {"level", "what", "remedy"} <= failed.document["findings"][0].keys()
