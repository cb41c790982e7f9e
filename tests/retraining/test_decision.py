"""The one decision, the retraining lock, and knowing whether a process is alive."""

import importlib
import shutil
import subprocess
import sys
import urllib.error
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.records.champion import MLFLOW_DATABASE
from flows.records.retraining import Request
from flows.retraining import decide
from flows.runtime.retraining_lock import holder, only_retraining
from flows.schedules.flow import retry_with_backoff
from models.config import Params, RetrainingParams
from models.decision import (
    Completed,
    Decision,
    DriftScore,
    ExpectedAccuracy,
    ExpectedGain,
    Fingerprint,
    NewData,
    PastRetraining,
    Trigger,
    TriggerContext,
    should_retrain,
)
from models.errors import BusyError, ConfigError, InputError, UnreachableError
from models.processes import ProcessIdentity, this_process

NOW = Fingerprint(data="d", params="p", source="s", environment="e")


def completed(fingerprint: Fingerprint) -> Completed:
    return Completed(
        fingerprint=fingerprint,
        finished=datetime(2026, 1, 2, 3, 4, tzinfo=UTC),
        verdict="HOLD",
        version=2,
        champion=1,
    )


def test_the_first_retraining_has_a_reason() -> None:
    """Nothing was completed before: yes."""
    assert should_retrain(NOW, None).retrain


def test_nothing_changed_is_no_whatever_the_verdict_was_then() -> None:
    """A HOLD is a completed retraining too; the answer says when it was."""
    decision = should_retrain(NOW, completed(NOW))

    assert not decision.retrain
    assert "nothing changed since the retraining of 2026-01-02 03:04 (HOLD)" in decision.reason


@given(st.sets(st.sampled_from(list(Fingerprint.model_fields)), min_size=1))
def test_whatever_changed_is_named(changed: set[str]) -> None:
    """Each of data, params, source and environment is a reason."""
    before = NOW.model_copy(update=dict.fromkeys(changed, "other"))

    decision = should_retrain(NOW, completed(before))

    assert decision.retrain
    assert set(decision.reason.removeprefix("changed: ").split(", ")) == changed


def test_a_champion_that_a_retraining_made_is_no_reason_for_the_next_one() -> None:
    """Training that begins with the champion: any other champion is a reason, its own is none."""
    began = NOW.model_copy(update={"start": "parent"})
    last = completed(began).model_copy(update={"weights": "child"})

    for none in ("parent", "child"):  # rolled back, or promoted
        assert not should_retrain(NOW.model_copy(update={"start": none}), last).retrain
    other = should_retrain(NOW.model_copy(update={"start": "another"}), last)
    assert (other.retrain, other.reason) == (True, "changed: start")
    assert should_retrain(began.model_copy(update={"data": "new"}), last).retrain


def test_force_retrains_although_nothing_changed() -> None:
    """--force is a reason."""
    assert should_retrain(NOW, completed(NOW), force=True).retrain


CHANGED = completed(NOW.model_copy(update={"data": "before"}))
NOON = datetime(2026, 1, 10, 12, tzinfo=UTC)
DRIFTED = DriftScore(name="brightness", statistic=9.0, p_value=0.001, threshold=0.01, drift=True)
CALM = DriftScore(name="embedding", statistic=0.5, p_value=0.6, threshold=0.01, drift=False)


def asked(
    trigger: Trigger = "cron",
    *,
    drift: tuple[DriftScore, ...] = (),
    ended_hours_ago: tuple[float, ...] = (),
    last: Completed | None = CHANGED,
    limits: Mapping[str, float | None] = MappingProxyType({}),
) -> Decision:
    """Ask at noon, with other data than the last time unless told otherwise."""
    past = tuple(
        PastRetraining(finished=NOON - timedelta(hours=ago), seconds=1800.0)
        for ago in ended_hours_ago
    )
    return should_retrain(
        NOW,
        last,
        context=TriggerContext(trigger=trigger, time=NOON, drift=drift, past=past),
        limits=RetrainingParams.model_validate(dict(limits), strict=False),
    )


@pytest.mark.parametrize("trigger", ["manual", "cron", "interval", "new data", "drift"])
@pytest.mark.parametrize("drift", [(), (DRIFTED,)])
def test_nothing_changed_is_no_whoever_asks(
    trigger: Trigger, drift: tuple[DriftScore, ...]
) -> None:
    """Not even drift helps: the same images would give the same network to the bit."""
    decision = asked(trigger, drift=drift, last=completed(NOW))

    assert not decision.retrain
    assert "nothing changed" in decision.reason
    assert ("drift was found (brightness)" in decision.reason) is bool(drift)
    assert decision.not_before is None


@pytest.mark.parametrize(
    ("trigger", "drift", "retrain", "words"),
    [
        ("drift", (CALM, DRIFTED), True, "changed: data; drift: brightness"),
        ("drift", (CALM,), False, "changed: data; but none of 1 tests found drift"),
        ("drift", (), False, "changed: data; but no drift was measured"),
        ("new data", (CALM,), True, "changed: data"),
        ("cron", (DRIFTED,), True, "changed: data; drift: brightness"),
    ],
)
def test_a_trigger_of_drift_needs_drift_and_others_mention_it(
    trigger: Trigger, drift: tuple[DriftScore, ...], *, retrain: bool, words: str
) -> None:
    """New images alone are no drift."""
    decision = asked(trigger, drift=drift)

    assert decision.retrain is retrain
    assert decision.reason.startswith(words)


@pytest.mark.parametrize(
    ("trigger", "drift", "images", "retrain"),
    [
        ("cron", CALM, 99, False),
        ("cron", CALM, 100, True),
        ("cron", DRIFTED, 99, True),
        ("manual", CALM, 99, True),
    ],
)
def test_a_schedule_weighs_how_much_data_came(
    trigger: Trigger, drift: DriftScore, images: int, *, retrain: bool
) -> None:
    """Too little of it is no reason, unless it drifted; a person is held back by nothing."""
    new = NewData(images=images, before=1797)
    context = TriggerContext(trigger=trigger, time=NOON, drift=(drift,), new=new)

    decision = should_retrain(
        NOW, CHANGED, context=context, limits=RetrainingParams(minimum_new_images=100)
    )

    assert decision.retrain is retrain
    assert f"{images} new images beside 1,797" in decision.reason


@pytest.mark.parametrize(
    ("trigger", "drift", "least", "retrain"),
    [
        ("cron", CALM, 0.02, False),
        ("cron", CALM, 0.018, True),
        ("cron", CALM, None, True),
        ("cron", DRIFTED, 0.02, True),
        ("manual", CALM, 0.02, True),
    ],
)
def test_a_schedule_weighs_what_new_data_promises_where_it_was_asked_to(
    trigger: Trigger, drift: DriftScore, least: float | None, *, retrain: bool
) -> None:
    """By the upper end of the interval; the reason names gain and what can be shown."""
    gain = ExpectedGain(gain=0.012, low=0.005, high=0.019, detectable=0.03)
    new = NewData(images=400, before=1797)
    context = TriggerContext(trigger=trigger, time=NOON, drift=(drift,), new=new, gain=gain)

    limits = RetrainingParams(minimum_expected_gain=least)
    decision = should_retrain(NOW, CHANGED, context=context, limits=limits)

    assert decision.retrain is retrain
    promised = "expected to bring +1.2 points [0.5, 1.9], below what the test split can show"
    assert promised in decision.reason
    assert ("retraining.minimum_expected_gain" in decision.reason) is not retrain


@pytest.mark.parametrize(
    ("detectable", "words"),
    [(0.004, "points [0.5, 1.9], enough"), (0.01, "maybe enough"), (None, "[0.5, 1.9]")],
)
def test_what_the_test_split_can_show_is_said_beside_the_gain(
    detectable: float | None, words: str
) -> None:
    """The whole interval above it, one end, or nothing where it is not known."""
    gain = ExpectedGain(gain=0.012, low=0.005, high=0.019, detectable=detectable)

    assert words in gain.sentence


@pytest.mark.parametrize("drift", [CALM, DRIFTED])
def test_the_accuracy_that_is_expected_is_part_of_the_reason(drift: DriftScore) -> None:
    """Said to be an estimate, whatever the answer; so is a shift that is too small."""
    expected = ExpectedAccuracy(accuracy=0.81, low=0.78, high=0.84, reference=0.93)
    small = drift.model_copy(update={"name": "contrast", "drift": False, "too_small": True})
    context = TriggerContext(trigger="drift", time=NOON, drift=(drift, small), expected=expected)

    decision = should_retrain(NOW, CHANGED, context=context)

    assert "expected accuracy 0.810 [0.780, 0.840]" in decision.reason
    assert "estimated without labels" in decision.reason
    assert ("too small to act on: contrast" in decision.reason) is not decision.retrain


def test_the_first_retraining_waits_for_no_drift() -> None:
    """There is no champion yet that anything could drift from."""
    assert asked("drift", last=None).retrain


@pytest.mark.parametrize(
    ("limits", "ended_hours_ago", "wait_hours"),
    [
        ({}, (0.0, 0.1, 0.2), None),
        ({"cool_down_hours": 6}, (), None),
        ({"cool_down_hours": 6}, (6.0,), None),
        ({"cool_down_hours": 6}, (30.0, 5.0), 1.0),
        ({"per_day": 2}, (1.0,), None),
        ({"per_day": 2}, (1.0, 24.0), None),
        ({"per_day": 2}, (20.0, 1.0), 4.0),
        ({"per_day": 2}, (23.0, 20.0, 1.0), 4.0),
        ({"hours_per_week": 1}, (30.0,), None),
        ({"hours_per_week": 1}, (100.0, 30.0), 68.0),
        ({"hours_per_week": 1}, (168.0, 30.0), None),
        ({"cool_down_hours": 6, "per_day": 1}, (1.0,), 23.0),
    ],
)
def test_what_schedules_ask_for_keeps_to_cool_down_and_budget(
    limits: dict[str, float], ended_hours_ago: tuple[float, ...], wait_hours: float | None
) -> None:
    """Half an hour each: no, and from when it would be yes; at that moment it is."""
    decision = asked(ended_hours_ago=ended_hours_ago, limits=limits)

    expected = None if wait_hours is None else NOON + timedelta(hours=wait_hours)
    assert decision.not_before == expected
    assert decision.retrain is (wait_hours is None)
    later = tuple(ago + (wait_hours or 0) for ago in ended_hours_ago)
    assert asked(ended_hours_ago=later, limits=limits).retrain
    assert asked("manual", ended_hours_ago=ended_hours_ago, limits=limits).retrain


@pytest.mark.parametrize("days", [9, 365])
def test_a_cool_down_of_any_allowed_length_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, days: int
) -> None:
    """The account is not forgotten before the longest of the limits is over."""
    monkeypatch.chdir(tmp_path)
    ended = datetime.now(UTC) - timedelta(days=days, hours=-1)
    decide.PAST.parent.mkdir()
    decide.PAST.write_text(PastRetraining(finished=ended, seconds=5).model_dump_json() + "\n")
    params = Params(retraining=RetrainingParams(cool_down_hours=24 * days))

    decision = decide.decide(params, Request(trigger="cron"), now=NOW)

    assert decision.not_before == ended + timedelta(days=days)


TRIGGERS = st.sampled_from(["manual", "cron", "interval", "new data", "drift"])
HOURS = st.lists(st.floats(-2, 200), max_size=6).map(tuple)
LIMITS = st.fixed_dictionaries(
    {
        "cool_down_hours": st.floats(0, 100),
        "per_day": st.none() | st.integers(1, 4),
        "hours_per_week": st.none() | st.floats(0.1, 4),
    }
)


@given(
    trigger=TRIGGERS,
    drift=st.sampled_from([(), (CALM,), (DRIFTED,)]),
    hours=HOURS,
    last=st.sampled_from([None, CHANGED, completed(NOW)]),
    limits=LIMITS,
)
def test_every_question_has_an_answer_with_a_reason(
    trigger: Trigger,
    drift: tuple[DriftScore, ...],
    hours: tuple[float, ...],
    last: Completed | None,
    limits: dict[str, float | None],
) -> None:
    """Total, also with clocks that went back; asking later only where time is what is lacking."""
    decision = asked(trigger, drift=drift, ended_hours_ago=hours, last=last, limits=limits)
    unlimited = asked(trigger, drift=drift, ended_hours_ago=hours, last=last)

    assert decision.reason
    assert unlimited.not_before is None
    assert unlimited.retrain or not decision.retrain
    assert (decision.not_before is not None) == (unlimited.retrain and not decision.retrain)
    assert decision.not_before is None or decision.not_before > NOON


class FarEnd:
    """Something far away that fails so many times."""

    def __init__(self, *errors: Exception) -> None:
        self.errors, self.waited, self.said = list(errors), list[float](), list[str]()

    def ask(self) -> str:
        if self.errors:
            raise self.errors.pop(0)
        return "answer"

    def asked(self) -> str:
        return retry_with_backoff(self.ask, say=self.said.append, wait=self.waited.append)


def test_what_time_heals_is_tried_again_after_longer_and_longer_pauses() -> None:
    """Four attempts in all; each failure is said."""
    away = UnreachableError("MLflow is away")
    far = FarEnd(away, away, away)
    lost = FarEnd(away, away, away, away)

    assert far.asked() == "answer"
    with pytest.raises(UnreachableError):
        lost.asked()

    assert far.waited == lost.waited == [60, 300, 900]
    assert far.said[0] == "tried again: in 60 s, since MLflow is away"


def fetching() -> InputError:
    """A download that the network broke, as it is told to users."""
    error = InputError("cannot be fetched")
    error.__cause__ = urllib.error.URLError("no route to host")
    return error


@pytest.mark.parametrize(
    ("error", "heals"),
    [
        (UnreachableError("away"), True),
        (fetching(), True),
        (ConnectionResetError(), True),
        (ConfigError("epochs: -1"), False),
        (InputError("no image"), False),
        (BusyError("held"), False),
        (PermissionError("read only"), False),
        (TypeError("ours"), False),
    ],
)
def test_mistakes_do_not_heal(error: Exception, *, heals: bool) -> None:
    """Absence may end by itself; a wrong config is wrong in an hour too."""
    far = FarEnd(error)

    if heals:
        assert far.asked() == "answer"
    else:
        with pytest.raises(type(error)):
            far.asked()
        assert far.waited == []


HOLD_THE_LOCK = """
import sys
from flows.retraining import decide as decisions
from flows.schedules.flow import retry_with_backoff
from flows.runtime.retraining_lock import only_retraining
with only_retraining():
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_retraining_is_refused_and_names_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One at a time; a kill releases the lock at once."""
    monkeypatch.chdir(tmp_path)
    with subprocess.Popen(
        [sys.executable, "-c", HOLD_THE_LOCK],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"

        with pytest.raises(BusyError, match=f"process {other.pid} "), only_retraining():
            pass
        owner = holder()
        assert owner is not None
        assert owner.process.pid == other.pid

        other.kill()
        other.wait()

    with only_retraining():
        pass
    assert holder() is None


def test_a_process_may_enter_its_own_lock_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command takes the lock early; the flow inside it takes it again."""
    monkeypatch.chdir(tmp_path)
    with only_retraining(), only_retraining():
        pass

    assert holder() is None


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Puts the metadata of packages where Python finds it, and nothing else of them."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def put(name: str, version: str, *requires: str) -> None:
        for older in tmp_path.glob(f"{name}-*.dist-info"):
            shutil.rmtree(older)
        folder = tmp_path / f"{name}-{version}.dist-info"
        folder.mkdir()
        lines = [f"Requires-Dist: {one}" for one in requires]
        head = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
        (folder / "METADATA").write_text("\n".join([*head, *lines, "", ""]))
        importlib.invalidate_caches()

    return put


def test_what_a_version_depends_on_is_what_the_project_needs(install: Callable[..., None]) -> None:
    """In turn, with the extras asked for, where a marker holds; whatever lies beside it."""
    install(
        "tuner_x",
        "1",
        "Needed_By.It[quick]>=1",
        "Nowhere; sys_platform == 'nowhere'",
        "Tool_x; extra == 'dev'",
        "missing_x",
    )
    install("needed_by_it", "2", "turbo_x; extra == 'quick'", "slow_x; extra == 'other'")
    install("turbo_x", "3", "needed-by-it")
    for beside in ("tool_x", "slow_x", "stray_x", "nowhere"):
        install(beside, "9")

    assert decide.installed_dependencies("tuner-x") == {"needed-by-it": "2", "turbo-x": "3"}
    install("turbo_x", "4", "needed-by-it")
    assert decide.installed_dependencies("tuner-x") == {"needed-by-it": "2", "turbo-x": "4"}


def test_tools_and_engines_are_no_reason_to_retrain() -> None:
    """`make lint` after `make run` installs them; the packages that train and serve are."""
    found = decide.installed_dependencies()

    assert (
        found.keys() & {"pytest", "ruff", "mypy", "ray", "distributed", "pip", "pitchpipe"} == set()
    )
    assert found.keys() >= {"torch", "mlflow", "mlflow-skinny", "numpy", "prefect"}
    assert found["torch"] == version("torch")


def test_a_process_is_alive_and_a_later_one_of_its_number_is_another() -> None:
    """Numbers are used again; start times tell."""
    me = this_process()

    assert me.alive
    assert not me.model_copy(update={"started": me.started - 1000}).alive


def test_a_dead_process_is_dead_and_one_elsewhere_counts_as_alive() -> None:
    """What we cannot know we do not clean up."""
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        child.wait()
        pid = child.pid

    assert not ProcessIdentity(pid=pid, started=0.0, host=this_process().host).alive
    assert ProcessIdentity(pid=pid, started=0.0, host="another.example").alive


@pytest.mark.parametrize("named", [False, True])
def test_what_was_completed_is_forgotten_with_the_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, named: bool
) -> None:
    """Its champion is gone, whether or not the environment names the project's own database."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    if named:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / MLFLOW_DATABASE}")
    now = Fingerprint(data="a", params="b", source="c", environment="d")
    completed = Completed(
        fingerprint=now, finished=NOON, verdict="PROMOTE", version=1, champion=1, name="n"
    )
    decide.remember(completed)

    assert decide.last_retraining() is None
    MLFLOW_DATABASE.touch()
    assert decide.last_retraining() == completed
