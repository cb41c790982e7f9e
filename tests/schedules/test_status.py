"""`status`: the project at a glance, in a second."""

import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from project_folder import ProjectFolder, clean_environment, make_project
from registry_records import NAME

from flows.cli.display.status import print_status
from flows.records import ledger
from flows.records.judged import judged_last
from flows.records.ledger import Ledger, LedgerAction
from flows.retraining.decide import remember
from flows.runtime.retraining_lock import only_retraining
from flows.schedules.config import Schedule, add_schedule
from flows.schedules.status import Deliveries, Status, read_status
from flows.schedules.status_page import Link, StatusPage, in_words
from flows.tracking.store import Tracking
from models.config import load_params
from models.decision import Completed, Fingerprint
from models.trials import Scores

pytest_plugins = ["registry_fixtures"]

FINGERPRINT = Fingerprint(data="a", params="b", source="c", environment="d")
NOW = datetime.now(UTC)
SCORES = {"test.accuracy": "0.97", "test.f1_macro": "0.96", "test.cross_entropy": "0.1"}


def project_status() -> Status:
    """What the command reads."""
    return read_status(load_params(), ask_servers=True)


@pytest.fixture
def promoted(tracking: Tracking, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose version 2 is the champion, and which was asked again since."""
    Path("params.yaml").write_text(f"registry: {{name: {NAME}}}\n")
    tracking.client.create_registered_model(NAME)
    for _ in range(2):
        tracking.client.create_model_version(NAME, str(Path("mlruns").absolute()), tags=SCORES)
    tracking.client.set_registered_model_alias(NAME, "champion", "2")
    ledger.append(
        LedgerAction(action="promote", name=NAME, after=2, verdict="PROMOTE", reasons=("so",))
    )
    remember(
        Completed(
            fingerprint=FINGERPRINT,
            finished=datetime.now(UTC),
            verdict="PROMOTE",
            version=2,
            champion=2,
        )
    )
    ledger.append(LedgerAction(action="decision", name=NAME, reasons=("nothing changed",)))
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    return Path.cwd()


def test_status_of_a_new_project_is_empty_and_says_how_to_begin(
    project: ProjectFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No service, no champion, no run; nothing is created by asking."""
    monkeypatch.chdir(project.root)
    before = sorted(project.root.rglob("*"))

    found = project_status()
    print_status(found, NOW)

    assert found == Status(
        dataset="digits",
        name="digits-classifier",
        services=(),
        schedules=(),
        champion=None,
        deliveries=Deliveries(waiting=0, arriving=0, quarantined=0),
        running=None,
        last_run=None,
        last_decision=None,
        notice=None,
        sources=found.sources,
    )
    assert "none yet: pitchpipe run" in capsys.readouterr().out
    assert [path for path in sorted(project.root.rglob("*")) if path not in before] == []


@pytest.mark.usefixtures("promoted")
def test_status_tells_the_champion_what_runs_and_what_came_last() -> None:
    """Scores are those of the registered version; the reasons are the ledger's."""
    with only_retraining():
        found = project_status()

    assert found.champion is not None
    assert found.champion.version == 2
    assert found.champion.test == Scores(accuracy=0.97, f1_macro=0.96, cross_entropy=0.1)
    assert found.last_run is not None
    assert (found.last_run.verdict, found.last_run.reasons) == ("PROMOTE", ("so",))
    assert found.last_decision is not None
    assert found.last_decision.reason == "nothing changed"
    assert found.running is not None
    assert found.running.process.alive


@pytest.mark.parametrize("tag", ["n/a", "nan", "inf", ""])
def test_a_score_that_somebody_changed_in_mlflow_is_a_blank(promoted: Path, tag: str) -> None:
    """The tag is text, which the page of a version lets everyone edit."""
    ledger.append(LedgerAction(action="hold", name=NAME, after=1, verdict="HOLD"))
    with closing(sqlite3.connect(promoted / "mlruns/mlflow.db")) as database:
        database.execute(
            "UPDATE model_version_tags SET value = ? WHERE version = 1 AND key = 'test.accuracy'",
            (tag,),
        )
        database.commit()

    judged = judged_last(NAME, ledger.read().of(NAME))

    assert [(one.version, one.accuracy) for one in judged] == [(2, 0.97), (1, None)]


@pytest.mark.usefixtures("promoted")
def test_the_last_verdicts_stand_in_their_order_above_their_accuracies(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A version judged again counts once, where it was judged last; one that is gone is a blank."""
    for version, verdict in ((9, "REJECT"), (1, "HOLD"), (2, "HOLD")):
        ledger.append(
            LedgerAction.model_validate(
                {"action": verdict.lower(), "name": NAME, "after": version, "verdict": verdict}
            )
        )

    found = project_status()
    print_status(found, NOW)

    assert [(one.version, one.verdict, one.accuracy) for one in found.judged] == [
        (9, "REJECT", None),
        (1, "HOLD", 0.97),
        (2, "HOLD", 0.97),
    ]
    letters, bars = re.findall(
        r"last verdicts( +RHH)  3 challengers: 2 held, 1 rejected.*\n( +▄▄)",
        capsys.readouterr().out,
    )[0]
    assert len(bars) == len("last verdicts") + len(letters)


@pytest.mark.usefixtures("promoted")
def test_schedules_are_shown_with_what_comes_next(capsys: pytest.CaptureFixture[str]) -> None:
    """As `schedule list` shows them."""
    add_schedule(Schedule(name="nightly", cron="0 3 * * *"))
    add_schedule(Schedule(name="arrivals", on="new data", active=False))

    print_status(project_status(), NOW)

    shown = capsys.readouterr().out
    assert re.search(r"nightly +cron 0 3 \* \* \* UTC +2.* 03:00:00 UTC", shown)
    assert re.search(r"arrivals +new data +paused", shown)


@pytest.fixture
def elsewhere(promoted: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """MLFLOW_TRACKING_URI names a store that is not the project's own, which has no champion."""
    database = promoted / "elsewhere.db"
    with (
        closing(sqlite3.connect(promoted / "mlruns/mlflow.db")) as own,
        closing(sqlite3.connect(database)) as copy,
    ):
        own.backup(copy)
        own.execute("DELETE FROM registered_model_aliases")
        own.commit()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{database}")
    return f"sqlite:///{database}"


def test_a_tracking_server_is_asked_for_its_champion(elsewhere: str) -> None:
    """The variable names the store: the project's own file does not count."""
    found = project_status()

    assert found.sources["champion"] == elsewhere
    assert found.champion is not None
    assert found.champion.version == 2
    assert found.champion.test == Scores(accuracy=0.97, f1_macro=0.96, cross_entropy=0.1)


def test_a_page_does_not_wait_for_a_tracking_server(
    elsewhere: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ledger knows the champion, though not its scores."""
    monkeypatch.setattr("flows.tracking.store.open_tracking", None)

    found = read_status(load_params(), ask_servers=False)

    assert elsewhere
    assert found.sources["champion"] == "mlruns/ledger.jsonl"
    assert found.champion is not None
    assert (found.champion.version, found.champion.test) == (2, None)


@pytest.mark.parametrize("ask_servers", [True, False])
def test_the_projects_own_database_is_read_by_whatever_name(
    promoted: Path, monkeypatch: pytest.MonkeyPatch, *, ask_servers: bool
) -> None:
    """MLflow names it in the environment of a process that has opened it, as `up` has."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{promoted / 'mlruns/mlflow.db'}")

    found = read_status(load_params(), ask_servers=ask_servers)

    assert found.sources["champion"] == "mlruns/mlflow.db"
    assert found.champion is not None
    assert found.champion.test is not None


def test_status_imports_neither_torch_nor_mlflow_nor_prefect(promoted: Path) -> None:
    """That is what makes it a matter of a second."""
    script = (
        "import sys; from flows.schedules.status import read_status; "
        "from models.config import load_params; "
        "assert read_status(load_params(), ask_servers=True).champion; "
        "print([n for n in ('torch', 'mlflow', 'prefect', 'dvc', 'sklearn') if n in sys.modules])"
    )

    ran = subprocess.run(
        [sys.executable, "-c", script],
        cwd=promoted,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=True,
    )

    assert ran.stdout.strip() == "[]"


def test_status_prints_the_keys_of_the_contract(tmp_path: Path) -> None:
    """services, schedules, champion, last_run: always there."""
    ran = make_project(tmp_path / "project").pitchpipe("status", "--json")

    assert ran.code == 0, ran.err
    assert {"services", "schedules", "champion", "last_run"} <= set(ran.document)


@pytest.mark.usefixtures("promoted")
def test_every_fact_names_its_source() -> None:
    """The file or server that it was read from; people see it beside each."""
    found = project_status()

    about = {"dataset", "name", "notice", "sources"}
    assert found.sources.keys() == set(Status.model_fields) - about
    assert {source for _, _, source in found.facts} == {
        found.sources[fact] for fact in ("champion", "last_run", "last_decision")
    }


def test_a_page_that_asks_again_reads_the_ledger_only_where_it_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice a second for days; what is appended is seen at once all the same."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    Path("params.yaml").write_text(f"registry: {{name: {NAME}}}\n")
    reads = list[Path]()
    read = ledger.read

    def counted(path: Path = ledger.LEDGER) -> Ledger:
        reads.append(path)
        return read(path)

    def champion() -> int | None:
        found = read_status(load_params(), ask_servers=False).champion
        return found.version if found else None

    monkeypatch.setattr(ledger, "read", counted)

    assert champion() is None
    for version in (1, 2):
        ledger.append(LedgerAction(action="promote", name=NAME, after=version))
        assert [champion() for _ in range(3)] == [version] * 3
    Path("params.yaml").write_text("registry: {name: another}\n")

    assert champion() is None
    assert len(reads) == 2


def test_the_page_stays_where_params_become_invalid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The reason is shown, with the status as it was read last; mended, the reason goes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    params = Path("params.yaml")
    params.write_text(f"registry: {{name: {NAME}}}\n")
    with StatusPage((Link("MLflow", "http://127.0.0.1:5000"),), Path("none.log")) as page:
        assert f"champion: {NAME} none yet" in capsys.readouterr().out
        params.write_text("registry: {nmae: x}\n")
        page.refresh()
        broken = capsys.readouterr().out
        params.write_text(f"registry: {{name: {NAME}}}\n")
        page.refresh()

    assert "trouble: params.yaml: registry.nmae: no such key" in broken
    assert f"champion: {NAME} none yet" in broken
    assert "trouble" not in capsys.readouterr().out


def test_a_tick_that_changes_nothing_prints_its_decision_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As JSON for scripts; the status is printed where another fact changed."""
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(f"registry: {{name: {NAME}}}\n")
    log = Path("worker.log")
    log.touch()
    line = 'decision: {"retrain":false,"reason":"nothing changed","not_before":null}'
    with StatusPage((), log) as page:
        capsys.readouterr()
        ledger.append(LedgerAction(action="decision", name=NAME, reasons=("nothing changed",)))
        log.write_text(f"12:00 a line of the log\n{line}\n")
        page.refresh()

        assert capsys.readouterr().out == f"{line}\n"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('decision: {"retrain":true,"reason":"changed: data"}', "decision: retrain: changed: data"),
        (
            'decision: {"retrain":false,"reason":"nothing changed","not_before":null}',
            "decision: do not retrain: nothing changed",
        ),
        ("decision: cut of", "decision: cut of"),
        ("inbox: monday: 20 images", "inbox: monday: 20 images"),
    ],
)
def test_a_terminal_shows_decisions_in_words(line: str, words: str) -> None:
    """What is no decision is shown as it is."""
    assert in_words(line) == words
