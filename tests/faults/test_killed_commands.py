"""kill -9 of every command, before any of its writes: all holds, and it ends well again."""

import json
import random
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from dying_command import Fate
from invariants import broken_invariants, champion, rows
from project_folder import Ran, overrides
from stored_project import NAME, copied, forget_runs, move_by_hand
from warm_commands import KILLED, WarmCommands

from flows.runtime.servers import free_port

pytest_plugins = ["faults_fixtures"]

FIRST_DATA = "d139"
"""Beginning of the digest of the stored project's first version of the data."""
ALL_OLD = ("trials_days=0.0001", "runs_days=0.0001", "flow_runs_days=0.0001", "keep_best=0")


def nothing_more(_: Path) -> None:
    """Invariants say it all."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """A command that is killed, and what it comes to in the end."""

    command: tuple[str, ...]
    before: tuple[str, ...] = ()
    """A command that makes the state it acts on."""
    change: Callable[[Path], object] = nothing_more
    """What somebody did to the files first."""
    champion: int = 1
    """In the end."""
    codes: tuple[int, ...] = (0,)
    """Of the same command when it is left alone after kills."""
    then: Callable[[Path], None] = field(default=nothing_more)
    """What must hold besides, in the end."""
    ends_after: str | None = None
    """It would go on for ever: Ctrl-C comes a moment after a file of this name is written."""

    def fate(self, *, die_at: int | None = None, count_into: str | None = None) -> Fate:
        """What befalls it, besides."""
        return Fate(die_at=die_at, count_into=count_into, interrupt_after=self.ends_after)


def one_imported(root: Path) -> None:
    """However often it was tried, there is one version."""
    database = root / "mlruns/mlflow.db"
    assert len(rows(database, "select 1 from model_versions where name = 'other'")) == 1


def whole_archive(root: Path) -> None:
    """The archive can be opened."""
    with zipfile.ZipFile(root / "version.zip") as archive:
        assert archive.testzip() is None


def whole_rows(root: Path) -> None:
    """A line for each image, and the header."""
    assert len((root / "rows.csv").read_text().splitlines()) == 61


def one_batch_more(root: Path) -> None:
    """The delivery is there once."""
    assert len(list((root / "data/raw/digits").glob("*.parquet"))) == 3


def five_told(root: Path) -> None:
    """Four retrainings and a drift report, each once."""
    query = (
        "select 1 from runs r where not exists (select 1 from tags t where "
        "t.run_uuid = r.run_uuid and t.key = 'mlflow.parentRunId')"
    )
    assert len(rows(root / "mlruns/mlflow.db", query)) == 5


def one_batch_fewer(root: Path) -> None:
    """The first version of the data is what there is: its one batch, prepared."""
    assert [path.name for path in (root / "data/raw/digits").glob("*.parquet")] == [
        "digits.parquet"
    ]
    manifest = json.loads((root / "data/prepared/manifest.json").read_text())
    assert manifest["raw_digest"].startswith(FIRST_DATA)


def two_trained(root: Path) -> None:
    """Both trials of the search have their one epoch, and nothing is left running."""
    results = [json.loads(path.read_text()) for path in root.glob("mlruns/trials/*/result.json")]
    seeds = [one["config"]["seed"] for one in results if one["epochs"] == 1]
    assert sorted(seed for seed in seeds if seed in (7, 8)) == [7, 8]


SCENARIOS = {
    "promote": Scenario(("promote", "2"), champion=2),
    "promote by force": Scenario(("promote", "2", "--force", "--reason", "a test"), champion=2),
    "rollback": Scenario(("rollback", "--to", "2"), champion=2),
    "reject": Scenario(("reject", "2")),
    "approve": Scenario(
        ("approve", "2"),
        ("promote", "2", "--set", "gate.approval=manual"),
        champion=2,
        codes=(0, 2),  # 2: it was approved before the kill, and nothing waits any more
    ),
    "adopt": Scenario(("adopt", "--reason", "a test"), change=move_by_hand, champion=2),
    "export": Scenario(("export", "2", "version.zip"), then=whole_archive),
    "import": Scenario(
        ("import", "version.zip", "--model", "other"),
        ("export", "2", "version.zip"),
        then=one_imported,
    ),
    "data add": Scenario(
        ("data", "add", "delivery", "--name", "more"),
        then=one_batch_more,
        codes=(0, 2),  # 2: it was added before the kill, and the name is taken
    ),
    "data restore": Scenario(("data", "restore", FIRST_DATA), then=one_batch_fewer),
    "prepare": Scenario(("prepare",)),
    "tune": Scenario(
        ("tune", *overrides("search.epochs=1", "search.axes={seed: [7, 8]}")), then=two_trained
    ),
    "up": Scenario(
        ("up", "--mlflow-port", str(free_port(0)), "--prefect-port", str(free_port(0))),
        codes=(130,),
        ends_after="services.json",
    ),
    "schedule": Scenario(("schedule", "--cron", "5 * * * *", "--name", "hourly"), codes=(0, 2)),
    "schedule pause": Scenario(("schedule", "pause", "nightly")),
    "sync": Scenario(("sync",), change=forget_runs, then=five_told),
    "predict": Scenario(("predict", "asked", "--output", "rows.csv"), then=whole_rows),
    "evaluate": Scenario(("evaluate", "2")),
    "monitor": Scenario(("monitor", "asked")),
    "audit": Scenario(("audit", "--verify")),
    "reproduce": Scenario(("reproduce", "2"), codes=(0, 1)),  # 1: the source is another by now
    "gc": Scenario(("gc", *(w for old in ALL_OLD for w in ("--set", f"retention.{old}")))),
}
CHEAP = ("promote by force", "reject", "schedule pause")
FEWER = {"import": 6, "reproduce": 6, "gc": 6, "tune": 6, "up": 6}
"""Commands that start processes which import everything anew."""


class Killer:
    """Kills one command again and again at random moments of a seed."""

    def __init__(self, warm: WarmCommands, stored: Path, folder: Path, name: str) -> None:
        self.warm, self.folder, self.scenario = warm, folder, SCENARIOS[name]
        self.random = random.Random(name)
        self.template = copied(stored, folder / "template", self.scenario.change)
        if self.scenario.before:
            assert warm.run(self.template, *self.scenario.before).code in (0, 3)
        self.events, self.kills, self.rounds = self._events(), 0, 0

    def _events(self) -> int:
        """How many moments there are to die at, when nobody kills it."""
        root = copied(self.template, self.folder / "counted")
        fate = self.scenario.fate(count_into=str(root / "count"))
        ran = self.warm.run(root, *self.scenario.command, fate=fate)
        assert ran.code in self.scenario.codes, ran.err
        self.check(root, ran)
        return int((root / "count").read_text())

    def kill(self, most: int) -> int:
        """Kill it so often, one to three times in a project; return the kills that met it alive."""
        while self.kills < most and self.rounds < 2 * most:
            self.rounds += 1
            root = copied(self.template, self.folder / f"round-{self.rounds}")
            for _ in range(self.random.randint(1, 3)):
                fate = self.scenario.fate(die_at=self.random.randint(1, self.events))
                ran = self.warm.run(root, *self.scenario.command, fate=fate)
                self.kills += ran.code == KILLED
                assert ran.code in (KILLED, *self.scenario.codes), (fate, ran)
                assert self.broken(root) == [], fate
            alone = self.scenario.fate()
            self.check(root, self.warm.run(root, *self.scenario.command, fate=alone))
        return self.kills

    def broken(self, root: Path) -> list[str]:
        """What a kill broke; a champion that a hand moved is what `adopt` is there for."""
        by_hand = self.scenario.change is move_by_hand
        found = broken_invariants(root)
        return [one for one in found if not (by_hand and one.startswith("champion of"))]

    def check(self, root: Path, ran: Ran) -> None:
        """It ended well, and nothing is left open."""
        assert ran.code in self.scenario.codes, ran.err
        assert "Traceback" not in ran.err
        # What a kill left of a move is settled by whoever asks next.
        assert self.warm.run(root, "audit", "--verify").code == 0
        assert broken_invariants(root, at_rest=True) == []
        assert champion(root, NAME) == self.scenario.champion
        self.scenario.then(root)


@pytest.mark.parametrize("name", CHEAP)
def test_two_kills_of_a_command_leave_all_whole(
    warm: WarmCommands, stored: Path, tmp_path: Path, name: str
) -> None:
    """Files, ledger and aliases agree after each; the command ends well when it is let."""
    assert Killer(warm, stored, tmp_path, name).kill(2) >= 2


@pytest.mark.slow
@pytest.mark.chaos
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", SCENARIOS)
def test_many_kills_of_each_command_leave_all_whole(
    warm: WarmCommands, stored: Path, tmp_path: Path, name: str
) -> None:
    """The same for every command; fewer times where one takes long."""
    kills = FEWER.get(name, 18)
    assert Killer(warm, stored, tmp_path, name).kill(kills) >= kills
