"""`pitchpipe up` retrains by itself: on a clock, on new data, and through kill -9 of all of it."""

import json
import random
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from data_fixtures import noise, save_png
from project_folder import QUICK, ProjectFolder, make_project, overrides

from flows.runtime.servers import free_port

NAME = "digits-classifier"
AT_ONCE = "inbox.settle_seconds=0"
MINUTES = ("search.epochs=40", f"search.axes={{seed: {list(range(8))}}}")
"""More than a minute of training on two cores: a tick is sure to meet it."""
SLOWER = ("search.epochs=40", *QUICK[1:])
"""Some seconds of training, to be killed in."""


def deliver(folder: ProjectFolder, number: int) -> None:
    """Put twenty pictures that nobody has seen into the inbox, whole at once."""
    inbox = folder.root / "data/inbox/digits"
    arriving = inbox / f".delivery-{number:02}"
    for index, pixels in enumerate(noise(20, side=28, seed=1000 + number)):
        save_png(arriving / str(index % 2) / f"{index:02}.png", pixels)
    arriving.rename(inbox / arriving.name.removeprefix("."))


def rows(folder: ProjectFolder, database: str, query: str) -> list[Any]:
    """Ask a SQLite database of the project; nothing while it is not there."""
    path = folder.root / database
    if not path.exists():
        return []
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)) as connection:
        return connection.execute(query).fetchall()


def flow_runs(folder: ProjectFolder) -> list[tuple[str, str]]:
    """State and message of each flow run that was to have begun, in the order of their times."""
    query = """
        select r.state_name, coalesce(s.message, '') from flow_run r
        join flow_run_state s on s.id = r.state_id
        where r.state_type != 'SCHEDULED' order by r.expected_start_time
    """
    with suppress(sqlite3.OperationalError):  # the schema is being made
        return [(name, message) for name, message in rows(folder, ".prefect/prefect.db", query)]
    return []


def left_open(folder: ProjectFolder) -> list[Any]:
    """Runs that MLflow or Prefect shows as going on."""
    ended = "('COMPLETED', 'FAILED', 'CRASHED', 'CANCELLED', 'SCHEDULED')"
    prefect = ".prefect/prefect.db"
    return [
        *rows(folder, "mlruns/mlflow.db", "select name from runs where status = 'RUNNING'"),
        *rows(folder, prefect, f"select name from flow_run where state_type not in {ended}"),
        *rows(folder, prefect, f"select name from task_run where state_type not in {ended}"),
    ]


@dataclass(frozen=True, slots=True)
class Up:
    """A `pitchpipe up` whose output goes to a file."""

    process: subprocess.Popen[str]
    output: Path

    def decisions(self) -> list[Any]:
        """What it said so far of whether to retrain."""
        lines = self.output.read_text().splitlines()
        return [json.loads(line.split(": ", 1)[1]) for line in lines if line.startswith("decision")]

    def answers(self, *, retrain: bool) -> list[str]:
        """Reasons of its decisions for or against retraining, in their order."""
        return [one["reason"] for one in self.decisions() if one["retrain"] is retrain]

    def wait_for(self, what: Callable[[], object], *, seconds: float) -> None:
        """Look until something is so; fail with what `up` said where it does not come."""
        deadline = time.monotonic() + seconds
        while not what():
            assert self.process.poll() is None, self.output.read_text()
            assert time.monotonic() < deadline, self.output.read_text()
            time.sleep(0.1)  # several processes and two databases: no one event

    def kill(self) -> None:
        """kill -9, and see that nothing that it started lives on."""
        family = psutil.Process(self.process.pid).children(recursive=True)
        self.process.kill()
        self.process.communicate()
        _, alive = psutil.wait_procs(family, timeout=20)
        assert [one.cmdline() for one in alive] == []

    def stop(self) -> None:
        """Ctrl-C: it ends, and says so by its exit code; at rest within five seconds."""
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(timeout=20) == 130


@contextmanager
def up(folder: ProjectFolder, output: Path) -> Iterator[Up]:
    """Serve the project."""
    output.write_text("")
    ports = ["--mlflow-port", str(free_port(0)), "--prefect-port", str(free_port(0))]
    process = folder.start_into(output, "up", *ports)
    try:
        yield Up(process, output)
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.mark.usefixtures("with_databases")
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("trigger", "search"),
    [
        pytest.param(("--interval", "6"), QUICK, id="interval"),
        pytest.param(("--cron", "* * * * *"), MINUTES, id="minute", marks=pytest.mark.slow),
    ],
)
def test_a_clock_retrains_once_then_for_new_data(
    project: ProjectFolder, trigger: tuple[str, str], search: tuple[str, ...]
) -> None:
    """One retraining; ticks that meet it are turned away; nothing to do; a delivery: another."""
    added = project.pitchpipe("schedule", *trigger, *overrides(AT_ONCE, *search))
    assert added.code == 0, added.err
    with up(project, project.root / "up.log") as served:
        served.wait_for(lambda: served.answers(retrain=False), seconds=500)
        turned_away = [run for run in flow_runs(project) if run[0] == "Cancelled"]
        deliver(project, 0)
        served.wait_for(lambda: len(served.answers(retrain=True)) == 2, seconds=150)
        before = len(served.answers(retrain=False))
        served.wait_for(lambda: len(served.answers(retrain=False)) > before, seconds=500)
        served.stop()

    assert [message for _, message in turned_away if "concurrency limit" in message]
    assert served.answers(retrain=True) == [
        "no retraining was completed before",
        "changed: data; 20 new images beside 1,797",
    ]
    for reason in served.answers(retrain=False):
        assert reason.startswith("nothing changed since the retraining of")
    completed = [message for state, message in flow_runs(project) if state == "Completed"]
    assert [said.split(":")[0] for said in completed if "version" in said] == [
        "PROMOTE",
        str(last(project)["verdict"]),
    ]
    assert_consistent(project, deliveries=1)
    assert len(versions(project)) == 2


@pytest.mark.usefixtures("with_databases")
@pytest.mark.timeout(900)
def test_deliveries_retrain_and_a_bad_one_is_set_aside(project: ProjectFolder) -> None:
    """Nobody asks: what lies in the inbox is taken, checked, trained on; one word for each."""
    added = project.pitchpipe("schedule", "--on-new-data", *overrides(AT_ONCE, *QUICK))
    assert added.code == 0, added.err
    inbox = project.root / "data/inbox/digits"
    inbox.mkdir(parents=True)
    with up(project, project.root / "up.log") as served:
        deliver(project, 0)
        served.wait_for((project.root / "mlruns/last_retraining.json").exists, seconds=150)
        (inbox / "broken/1").mkdir(parents=True)
        (inbox / "broken/1/picture.png").write_text("no picture")
        served.wait_for(lambda: "broken is quarantined" in served.output.read_text(), seconds=150)
        served.wait_for(lambda: served.answers(retrain=False), seconds=150)
        served.stop()

    assert served.answers(retrain=True) == ["no retraining was completed before"]
    assert "inbox: delivery-00: 20 images" in served.output.read_text()
    assert_consistent(project, deliveries=1)
    [report] = project.root.glob("data/quarantine/broken-*/report.txt")
    assert "picture.png: cannot be decoded" in report.read_text()


def last(folder: ProjectFolder) -> Any:
    """Record of the last retraining that came to a verdict."""
    return json.loads((folder.root / "mlruns/last_retraining.json").read_text())


def versions(folder: ProjectFolder) -> list[Any]:
    """What the registry lists."""
    return list(folder.pitchpipe("versions", "--json").document)


def assert_consistent(folder: ProjectFolder, *, deliveries: int) -> None:
    """Each delivery is one batch, each dataset at most one version; nothing goes on."""
    batches = sorted((folder.root / "data/raw/digits").glob("*.parquet"))
    assert len(batches) == 1 + deliveries
    assert len(list(folder.root.glob("data/taken/digits/*"))) == deliveries
    assert list(folder.root.glob("data/inbox/digits/[!.]*")) == []
    assert list(folder.root.glob("data/inbox/digits/.taking/*")) == []
    datasets = [version["dataset"] for version in versions(folder)]
    assert len(datasets) == len({json.dumps(one) for one in datasets})
    audit = folder.pitchpipe("audit", "--verify", "--json").document
    assert (audit["valid"], audit["problems"]) == (True, [])
    moved = [entry["to"] for entry in audit["entries"] if entry["action"] == "promote"]
    assert len(moved) == len(set(moved))
    assert left_open(folder) == []


class Campaign:
    """Kills `up` in the middle of scheduled work, again and again, while deliveries come."""

    def __init__(self, folder: ProjectFolder, *, seed: int) -> None:
        self.folder = folder
        self.random = random.Random(seed)
        self.delivered = 0

    def run(self, kills: int) -> None:
        """Kill it so often, each time in work that there is a reason for; then let it end."""
        done = self.folder.pitchpipe("schedule", "--interval", "5", *overrides(AT_ONCE, *SLOWER))
        assert done.code == 0, done.err
        (self.folder.root / "data/inbox/digits").mkdir(parents=True)
        self._deliver()
        for number in range(kills):
            self._deliver_where_all_is_done()
            with up(self.folder, self.folder.root / f"up-{number}.log") as served:
                served.wait_for(self._retraining, seconds=200)
                with suppress(subprocess.TimeoutExpired):
                    served.process.wait(self.random.uniform(0, 12))
                served.kill()
        with up(self.folder, self.folder.root / "up.log") as served:
            served.wait_for(
                lambda: any(not one["retrain"] for one in served.decisions()), seconds=300
            )
            served.stop()

    def _deliver_where_all_is_done(self) -> None:
        """There is a reason to retrain: the first one, what was broken off, or this."""
        path = self.folder.root / "mlruns/last_retraining.json"
        if path.exists() and self._at_last() == self._batches():
            self._deliver()

    def _deliver(self) -> None:
        deliver(self.folder, self.delivered)
        self.delivered += 1

    def _batches(self) -> int:
        return len(list((self.folder.root / "data/raw/digits").glob("*.parquet")))

    def _at_last(self) -> int:
        """Batches of the dataset that was retrained on last."""
        lines = (self.folder.root / "data/versions.jsonl").read_text().splitlines()
        known = {one["digest"]: len(one["batches"]) for one in map(json.loads, lines)}
        return known.get(last(self.folder)["fingerprint"]["data"], 0)

    def _retraining(self) -> bool:
        """Whether a retraining holds the lock."""
        try:
            owner = json.loads((self.folder.root / "mlruns/retraining.owner.json").read_text())
        except (OSError, ValueError):
            return False
        return bool(psutil.pid_exists(owner["process"]["pid"]))


def assert_as_if_untouched(folder: ProjectFolder, other: ProjectFolder) -> None:
    """The trials of the last dataset are those of a project that got it all at once."""
    for batch in (folder.root / "data/raw/digits").glob("*.parquet"):
        target = other.root / "data/raw/digits" / batch.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(batch.read_bytes())
    alone = other.pitchpipe("tune", "--json", *overrides(*SLOWER))
    assert alone.code == 0, alone.err
    keys = [entry["key"] for entry in alone.document["leaderboard"]]
    assert [weights(folder, key) for key in keys] == [weights(other, key) for key in keys]


def weights(folder: ProjectFolder, key: str) -> str:
    """Digest of a trial's best weights."""
    return str(
        json.loads((folder.root / f"mlruns/trials/{key}/result.json").read_text())["weights_digest"]
    )


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kills", [1, 20])
def test_up_killed_in_the_middle_loses_and_doubles_nothing(
    project: ProjectFolder, tmp_path: Path, kills: int
) -> None:
    """What was begun is ended, what was delivered is used, each of them once."""
    campaign = Campaign(project, seed=kills)

    campaign.run(kills)

    assert_consistent(project, deliveries=campaign.delivered)
    assert last(project)["verdict"] in ("PROMOTE", "HOLD", "REJECT")
    assert_as_if_untouched(project, make_project(tmp_path / "other"))
