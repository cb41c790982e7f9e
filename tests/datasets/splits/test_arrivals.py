"""What came since the last retraining, who is asked about it, and how often."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from data_fixtures import class_folders, make_project, noise

from flows.datasets.files import raw_version
from flows.records.retraining import Request, Retraining
from flows.retraining.decide import decide, fingerprint, remember
from flows.schedules import commands, worker
from flows.schedules.config import SCHEDULES, Schedule, add_schedule
from flows.schedules.triggers import PendingTriggers, pending_triggers, take_arrivals
from flows.schedules.worker import LONGEST_SECONDS, RETRY_SECONDS, DeploymentReconciler
from models.config import Params
from models.decision import Completed, Decision
from models.errors import ConfigError

PETS = (
    "data.name=pets",
    "data.image_size=8",
    "trial.network={name: mlp}",
    "search.axes={}",
    "inbox.settle_seconds=0",
)
ARRIVALS = Schedule(name="arrivals", on="new data", set=PETS)
INBOX = Path("data/inbox/pets")


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(make_project(tmp_path / "project", git=False))
    INBOX.mkdir(parents=True)
    Path("mlruns").mkdir()
    Path("mlruns/mlflow.db").touch()  # without the registry nothing counts as completed


def complete(params: Params) -> None:
    """As a retraining with these params on the data of now comes to its end."""
    remember(
        Completed(
            fingerprint=fingerprint(params),
            finished=datetime.now(UTC),
            verdict="HOLD",
            version=2,
            champion=1,
            name=params.registered_name,
        )
    )


def taken() -> list[str]:
    """Take what lies in the inbox; return what was said."""
    said: list[str] = []
    take_arrivals(ARRIVALS.request(), say=said.append)
    return said


def test_a_delivery_is_news_until_a_retraining_has_used_it() -> None:
    """Also after it was taken: the retraining that took it may have failed."""
    params = ARRIVALS.request().params()
    assert not pending_triggers(ARRIVALS)
    class_folders(INBOX / "monday", noise(20))
    waiting = pending_triggers(ARRIVALS)

    said = taken()

    assert waiting.deliveries == ("monday",)
    assert said == ["inbox: monday: 20 images"]
    assert pending_triggers(ARRIVALS) == PendingTriggers((), (), raw_version("pets").digest)
    complete(params)
    assert not pending_triggers(ARRIVALS)


def test_a_bad_delivery_is_said_with_its_reason() -> None:
    """Whoever serves shows it; the rest is taken."""
    class_folders(INBOX / "good", noise(20))
    (INBOX / "bad/a").mkdir(parents=True)
    (INBOX / "bad/a/one.png").write_text("no picture")

    said = sorted(taken())

    assert said[0].startswith("inbox: bad is quarantined in data/quarantine/bad-")
    assert "one.png" in said[0]
    assert said[1:] == ["inbox: good: 20 images"]


def test_schedules_of_different_params_do_not_undo_each_other() -> None:
    """Each is compared with its own last retraining; a person with the last of all."""
    short, long = (Request(overrides=[f"search.epochs={n}"], trigger="cron") for n in (3, 10))
    for request in (short, long):
        assert decide(request.params(), request).retrain
        complete(request.params())

    for request in (short, long):
        assert not decide(request.params(), request).retrain
    person = short.model_copy(update={"trigger": "manual"})
    assert decide(person.params(), person).reason == "changed: params"


def test_run_now_without_a_server_takes_deliveries_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a tick would: the question is asked about what is there then."""
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    add_schedule(ARRIVALS)
    class_folders(INBOX / "monday", noise(20))
    batches: list[int] = []

    def run(request: Request) -> Retraining:
        batches.append(len(raw_version(request.params().data.name).batches))
        return Retraining(decision=Decision(retrain=False, reason="nothing changed"))

    monkeypatch.setattr("flows.run.run_retraining", run)

    assert commands.run_schedule("arrivals") is not None
    assert batches == [1]


class World:
    """What a keeper of schedules meets: news, time, and who is retraining."""

    def __init__(self) -> None:
        self.news: dict[str, PendingTriggers | Exception] = {}
        self.now = 0.0
        self.busy = False
        self.asked: list[tuple[str, float]] = []

    def look(self, schedule: Schedule, *, remote: tuple[str, ...]) -> PendingTriggers:
        assert remote == ()  # no schedule here has another inbox
        there = self.news.get(schedule.name, PendingTriggers((), (), None))
        if isinstance(there, Exception):
            raise there
        return there


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World()
    monkeypatch.setattr(worker, "pending_triggers", world.look)
    monkeypatch.setattr(worker, "run_now", lambda name: world.asked.append((name, world.now)))
    monkeypatch.setattr(worker, "owner", lambda: world if world.busy else None)
    monkeypatch.setattr(worker, "now", lambda: world.now)
    return world


def watch(
    reconciler: DeploymentReconciler, world: World, *, until: float, every: float = 10.0
) -> None:
    """Let it look until a time."""
    while world.now < until:
        reconciler._run_triggered()
        world.now += every


def test_news_is_asked_about_at_once_and_again_after_longer_and_longer_pauses(
    world: World,
) -> None:
    """Until something came of it; other news does not wait; nobody is asked while one retrains."""
    add_schedule(ARRIVALS)
    reconciler = DeploymentReconciler(datetime.now(UTC))
    world.news["arrivals"] = PendingTriggers(("monday",), (), None)
    world.busy = True
    watch(reconciler, world, until=100)
    assert world.asked == []
    world.busy = False

    watch(reconciler, world, until=100 + 5 * RETRY_SECONDS)
    first, second, third = (when for _, when in world.asked)
    assert first == 100
    assert second - first == pytest.approx(RETRY_SECONDS, abs=20)
    assert third - second == pytest.approx(2 * RETRY_SECONDS, abs=20)

    world.news["arrivals"] = PendingTriggers((), (), "digest")
    watch(reconciler, world, until=world.now + 10)
    assert len(world.asked) == 4
    del world.news["arrivals"]
    watch(reconciler, world, until=world.now + 2 * LONGEST_SECONDS, every=1000.0)
    assert len(world.asked) == 4


def test_a_schedule_that_cannot_be_read_blinds_no_other(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Its fault is said, once."""
    add_schedule(ARRIVALS)
    add_schedule(ARRIVALS.model_copy(update={"name": "others"}))
    world.news = {
        "arrivals": ConfigError("gone.yaml: is not there"),
        "others": PendingTriggers((), ("x",), None),
    }

    with caplog.at_level("WARNING", logger="flows.schedules.worker"):
        watch(DeploymentReconciler(datetime.now(UTC)), world, until=100)

    assert [name for name, _ in world.asked] == ["others"]
    assert [record.message for record in caplog.records] == ["gone.yaml: is not there"]


def test_whatever_fails_in_a_look_ends_no_watch(world: World) -> None:
    """A thread that ended would be missed by nobody."""
    SCHEDULES.write_text("{: no yaml")
    reconciler = DeploymentReconciler(datetime.now(UTC))

    reconciler._attempt("watching", reconciler._run_triggered)

    SCHEDULES.unlink()
    add_schedule(ARRIVALS)
    world.news["arrivals"] = PendingTriggers(("monday",), (), None)
    reconciler._run_triggered()
    assert [name for name, _ in world.asked] == ["arrivals"]
