"""schedules.yaml and its commands: what a schedule may be, and when it comes next."""

import sys
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prefect.client.schemas.schedules import CronSchedule
from prefect.server.schemas import schedules as served
from project_folder import ProjectFolder

from flows.schedules.config import (
    SCHEDULES,
    Schedule,
    add_schedule,
    new_schedule,
    read_schedules,
    remove_schedule,
    set_active,
    unused_name,
)
from models.errors import ConfigError

NOW = datetime(2026, 3, 28, 12, 0, 30, tzinfo=UTC)
NIGHTLY = Schedule(name="nightly", cron="0 3 * * *", timezone="Europe/Berlin")


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"cron": "0 3 * *"}, "cron '0 3 \\* \\*': not a cron line"),
        ({"cron": "61 3 * * *"}, "not a cron line"),
        ({"cron": "0 0 30 2 *"}, "ever comes"),
        ({"cron": "0 0 3 * * *"}, "minute, hour, day, month, weekday"),
        ({"cron": "0 3 LW * *"}, "not a cron line"),
        ({"cron": "0 3 * * 5L"}, "cron '0 3 \\* \\* 5L': not a cron line"),
        ({"cron": "0 3 * * MON,*"}, "not a cron line"),
        ({"cron": "0 3 3-3 * *"}, "not a cron line"),
        ({"cron": "0 3 1 * MON#2"}, "not a cron line"),
        ({"cron": "0 3 1 * L5"}, "not a cron line"),
        ({"cron": "59/5 3 * * *"}, "not a cron line"),
        ({"cron": "0 R(1-9) * * *"}, "not a cron line"),
        ({"cron": "@reboot"}, "not a cron line"),
        ({"cron": "0 3 * * \u017fun"}, "not a cron line"),
        ({"cron": "1_0 3 * * *"}, "not a cron line"),
        ({"cron": ""}, "not a cron line"),
        ({"cron": "0 3 * * *", "timezone": "Europe/Atlantis"}, "'Europe/Atlantis': not a time"),
        ({"cron": "0 3 * * *", "timezone": "../etc/passwd"}, "not a time zone"),
        ({"cron": "0 3 * * *", "timezone": "Europe"}, "not a time zone"),
        ({"cron": "0 3 * * *", "timezone": "localtime"}, "not a time zone"),
        ({"cron": "0 3 * * *", "timezone": "posix/Europe/Berlin"}, "not a time zone"),
        ({"interval": 0}, "interval: 0: Input should be greater than 0"),
        ({"interval": -5}, "interval: -5"),
        ({"interval": 366 * 86_400 + 1}, "interval: 31622401: Input should be less than or equal"),
        ({}, "exactly one of cron, interval, on"),
        ({"cron": "0 3 * * *", "interval": 5}, "exactly one"),
        ({"interval": 5, "name": "a b"}, "name: 'a b'"),
        ({"on": "sunday"}, "on: 'sunday'"),
    ],
)
def test_a_schedule_that_could_not_work_is_refused(fields: dict[str, Any], words: str) -> None:
    """One message with the value and the rule."""
    with pytest.raises(ConfigError, match=words):
        new_schedule(**{"name": "one"} | fields)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (Schedule(name="a", cron="*/5 * * * *"), "2026-03-28T12:05:00+00:00"),
        (NIGHTLY, "2026-03-29T03:00:00+02:00"),  # clocks go from 2 to 3 that night
        (Schedule(name="a", cron="0 3 * * MON"), "2026-03-30T03:00:00+00:00"),
        (Schedule(name="a", interval=60), "2026-03-28T12:01:00+00:00"),
        (Schedule(name="a", interval=45, since=NOW), "2026-03-28T12:01:15+00:00"),
        (NIGHTLY.model_copy(update={"active": False}), None),
        (Schedule(name="a", on="new data"), None),
    ],
)
def test_the_next_tick_is_known_without_a_server(schedule: Schedule, expected: str | None) -> None:
    """Later than now, in the schedule's own zone; none where it is paused or waits for data."""
    assert schedule.document(NOW)["next"] == expected


def prefects_next(line: str, zone: str, after: datetime, *, n: int = 1) -> datetime:
    """When Prefect would run it first, of so many times that it plans at once."""
    asked = served.CronSchedule(cron=line, timezone=zone)
    planned = [tick.astimezone(UTC) for tick in asked._get_dates_generator(n=n, start=after)]
    return min(tick for tick in planned if tick > after)


LINES = [
    *("* * * * *", "*/7 3,15 * * *", "0 3 * * 1-5", "30 4 1 */2 *", "5 0 L * *", "@hourly"),
    # Days of the month or of the week where both are named; lists that are full; Sunday twice.
    *("0 3 */2 * MON", "0 3 */4 * */1", "0 3 */4 * 0-6", "0 3 1 * MON/2", "9 9 * * 5-7,0"),
    *("0 3 * * MON#2,7#5", "0 3 L,15 JAN-6/2 fri", "0 3 * * L5", "0 22-4/2 * * fri-MON", "@weekly"),
    # Prefect passes over the first of March, which docs/schedules.md says.
    *("0 3 1,30 * *", "0 0 ? NOV-feb sat,sun"),
]


@settings(max_examples=80, deadline=None)  # Prefect's calendar takes its time
@given(
    line=st.sampled_from(LINES),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata"]),
    day=st.dates(date(2026, 1, 1), date(2028, 12, 31)),
    minute=st.integers(0, 24 * 60 - 1),
    second=st.sampled_from([0.0, 0.5, 30.0]),
)
def test_ticks_are_those_of_prefect(
    line: str, zone: str, day: date, minute: int, second: float
) -> None:
    """What `schedule list` announces is when Prefect starts."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
    after = midnight + timedelta(minutes=minute, seconds=second)

    tick = Schedule(name="one", cron=line, timezone=zone).next_tick(after)

    # A line for every minute has 60 times in an hour that comes twice, and Prefect runs them once.
    expected = prefects_next(line, zone, after + timedelta(microseconds=1), n=61)
    assert tick is not None
    assert abs(tick.astimezone(UTC) - expected) <= off_by(tick)


def off_by(tick: datetime) -> timedelta:
    """How far they may be apart: from Python 3.13 on Prefect counts otherwise in some nights."""
    days = (tick.replace(tzinfo=None) + timedelta(days=n) for n in (-1, 1))
    offsets = {day.replace(tzinfo=tick.tzinfo).utcoffset() for day in days}
    return timedelta(hours=len(offsets) - 1 if sys.version_info >= (3, 13) else 0)


@settings(max_examples=80, deadline=None)  # Prefect's calendar takes its time
@given(
    line=st.sampled_from(
        [
            *("0 2 * * *", "30 2 * * *", "59 2 * * *", "*/30 2 * * *", "*/20 * * * *"),
            *("* * * * *", "15 1-3 * * *", "0 */2 * * *", "0 0 * * *", "@hourly"),
        ]
    ),
    night=st.sampled_from([NOW, datetime(2026, 10, 24, 12, tzinfo=UTC)]),
    zone=st.sampled_from(["Europe/Berlin", "Europe/London"]),
    minute=st.integers(0, 18 * 60),
)
def test_in_nights_when_clocks_change_ticks_are_those_of_prefect_too(
    line: str, night: datetime, zone: str, minute: int
) -> None:
    """An hour that comes twice is counted once, one that is skipped comes an hour before."""
    after = night + timedelta(minutes=minute)

    tick = Schedule(name="one", cron=line, timezone=zone).next_tick(after)

    expected = prefects_next(line, zone, after + timedelta(microseconds=1), n=61)
    assert tick is not None
    assert tick > after
    assert abs(tick.astimezone(UTC) - expected) <= off_by(tick)


def _odd_field(low: int, high: int, *names: str) -> st.SearchStrategy[str]:
    """A field of a cron line as somebody may write it: mostly right, or right for another cron."""
    foreign = ["L", "W", "LW", "5L", "L5", "15W", "?", "R", "H", "h(0-9)", "-1", "1.5", "l-3", "#2"]
    value = st.integers(max(low - 1, 0), high + 2).map(str) | st.sampled_from([*foreign, *names])
    joined = st.tuples(value, st.sampled_from(["-", "/", "#", "-1/", "-7/", "-JUN/"]), value)
    step = st.integers(0, high + 3).map("*/{}".format)
    item = st.one_of(value, step, st.just("*"), joined.map("".join))
    return st.just("*") | st.lists(item, min_size=1, max_size=3).map(",".join)


ODD_LINES = st.tuples(
    _odd_field(0, 59),
    _odd_field(0, 23),
    _odd_field(1, 31),
    _odd_field(1, 12, "JAN", "jun", "Dec"),
    _odd_field(0, 7, "MON", "fri", "Sun"),
).map(" ".join)


@settings(max_examples=500, deadline=None)
@given(line=ODD_LINES, zone=st.sampled_from(["UTC", "Europe/Berlin", "localtime", "posix/UTC"]))
def test_what_is_accepted_prefect_accepts_and_runs_when_we_say(line: str, zone: str) -> None:
    """A line that Prefect refuses would stop the schedules' worker, and all schedules with it."""
    try:
        schedule = new_schedule(name="one", cron=line, timezone=zone)
    except ConfigError:
        return

    asked = CronSchedule(cron=schedule.cron, timezone=schedule.timezone)
    served.CronSchedule.model_validate(asked.model_dump())
    may = datetime(2026, 5, 17, 12, tzinfo=UTC)
    tick = schedule.next_tick(may)
    assert tick is not None
    assert tick.astimezone(UTC) == prefects_next(line, zone, may + timedelta(seconds=1))


@settings(deadline=None)
@given(
    interval=st.integers(1, 10**6),
    since=st.datetimes(timezones=st.just(UTC)),
    after=st.datetimes(timezones=st.just(ZoneInfo("Asia/Tokyo"))),
)
def test_an_interval_ticks_in_equal_steps(interval: int, since: datetime, after: datetime) -> None:
    """The first tick later than now, whichever came first: now or `since`."""
    schedule = Schedule(name="one", interval=interval, since=since)
    step = timedelta(seconds=interval)

    tick = schedule.next_tick(after)

    assert tick is not None
    assert timedelta(0) < tick - after <= step
    assert (tick - since) % step == timedelta(0)


def test_the_file_says_no_more_than_was_asked_and_is_read_back() -> None:
    """A line a fact, in the order they came, so that git shows what changed."""
    add_schedule(NIGHTLY)
    add_schedule(Schedule(name="often", interval=60, since=NOW, set=("search.epochs=3",)))

    text = SCHEDULES.read_text()

    assert [line for line in text.splitlines() if not line.startswith("#")] == [
        "- name: nightly",
        "  cron: 0 3 * * *",
        "  timezone: Europe/Berlin",
        "- name: often",
        "  interval: 60",
        "  since: '2026-03-28T12:00:30Z'",
        "  set:",
        "  - search.epochs=3",
    ]
    assert [one.name for one in read_schedules()] == ["nightly", "often"]
    assert unused_name("cron") == "cron"


def test_pausing_and_removing_change_one_and_an_unknown_name_none() -> None:
    """What is not there is named together with what is."""
    add_schedule(NIGHTLY)
    set_active("nightly", active=False)
    before = SCHEDULES.read_text()

    for change in (remove_schedule, lambda name: set_active(name, active=True)):
        with pytest.raises(ConfigError, match=r"'daily': no such schedule; there are: nightly"):
            change("daily")
    with pytest.raises(ConfigError, match="'nightly': this name is taken"):
        add_schedule(NIGHTLY)

    assert SCHEDULES.read_text() == before
    assert not read_schedules()[0].active
    remove_schedule("nightly")
    assert read_schedules() == ()


HAND_WRITTEN = """\
# Ours; ask Ada before you change it.
# At night machines are idle.
- name: nightly   # since March
  cron: "0 3 * * *"
  set:
    - search.epochs=3  # enough

# Ben's, for the demo.
- {name: often, interval: 60}

# Waits for the camera.
- name: arrivals
  "on": new data  # whole ones
# The end.
"""


@pytest.mark.parametrize(
    ("change", "lost", "gained"),
    [
        (
            lambda: set_active("nightly", active=False),
            [],
            ["    - search.epochs=3  # enough", "  active: false"],
        ),
        (
            lambda: set_active("often", active=False),
            ["- {name: often, interval: 60}"],
            ["- {name: often, interval: 60, active: false}"],
        ),
        (lambda: set_active("often", active=True), [], []),
        (
            lambda: remove_schedule("often"),
            ["# Ben's, for the demo.", "- {name: often, interval: 60}"],
            [],
        ),
        (
            lambda: add_schedule(Schedule(name="drift", on="drift")),
            [],
            ["# The end.", "- name: drift", "  'on': drift"],
        ),
    ],
)
def test_comments_and_all_else_that_people_wrote_stay(
    change: Callable[[], None], lost: list[str], gained: list[str]
) -> None:
    """A command changes its own lines; a comment right above an entry goes with that entry."""
    SCHEDULES.write_text(HAND_WRITTEN)

    change()

    before, after = HAND_WRITTEN.splitlines(), SCHEDULES.read_text().splitlines()
    assert [line for line in before if line not in after] == lost
    kept = [line for line in before if line not in lost]
    assert [line for line in after if line in kept] == kept
    assert [line for line in after if line not in before] == [g for g in gained if g not in before]
    at = after.index(gained[0]) if gained else 0
    assert after[at : at + len(gained)] == gained


def test_a_file_is_as_it_was_when_a_schedule_was_added_paused_resumed_and_removed() -> None:
    """But for blank lines at its end."""
    SCHEDULES.write_text(HAND_WRITTEN)

    add_schedule(NIGHTLY.model_copy(update={"name": "more"}))
    for active in (False, True, False):
        set_active("more", active=active)
        assert read_schedules()[-1].active is active
    remove_schedule("more")

    assert SCHEDULES.read_text().replace("# The end.\n", "") == HAND_WRITTEN.replace(
        "# The end.\n", ""
    )


ENTRIES = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "- name: {}\n  interval: 60\n",
                "-   name: {}\n    interval: 60   # a minute\n    set: [search.epochs=3]\n",
                "- {{name: {}, interval: 60, active: false}}\n",
                "- {{name: {},\n   interval: 60,}}\n",
                "-\n  name: {}\n  interval: 60\n  active: false  # for now\n",
                "- name: {}\n  interval: 60\n  set:\n  - search.epochs=3\n  # inside\n",
                "- name: {}\n  interval: 60\n  params: |-\n    params.yaml\n",
                "- &{0}\n  name: {0}\n  interval: 60\n",
            ]
        ),
        st.sampled_from(["", "# a comment\n", "\n# a comment\n\n"]),
    ),
    min_size=1,
    max_size=4,
)


@given(entries=ENTRIES, data=st.data())
def test_a_change_is_what_was_meant_however_the_file_was_written(
    entries: list[tuple[str, str]], data: st.DataObject
) -> None:
    """Comments are kept where that is easy; what the schedules are is never at stake."""
    texts = [f"{comment}{text.format(f's{n}')}" for n, (text, comment) in enumerate(entries)]
    SCHEDULES.write_text("".join(texts))
    before = read_schedules()
    place = data.draw(st.integers(0, len(before) - 1))
    one = before[place]

    match data.draw(st.sampled_from(["pause", "resume", "remove", "add"])):
        case "remove":
            remove_schedule(one.name)
            meant = [*before[:place], *before[place + 1 :]]
        case "add":
            add_schedule(NIGHTLY)
            meant = [*before, NIGHTLY]
        case word:
            set_active(one.name, active=word == "resume")
            changed = one.model_copy(update={"active": word == "resume"})
            meant = [*before[:place], changed, *before[place + 1 :]]

    assert list(read_schedules()) == meant


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- name: a\n  cron: 0 3 * * *\n  when: now\n", "0.when: 'now': Extra inputs"),
        ("- {name: a, interval: 5}\n- {name: a, interval: 6}\n", "'a' is given twice"),
        ("- {name: a, interval: '5'}\n", "0.interval"),
        ("name: [", "not YAML"),
        ("just text", "valid array|valid tuple"),
    ],
)
def test_a_file_edited_by_hand_is_validated_whole(text: str, words: str) -> None:
    """Nothing of a wrong file is taken."""
    SCHEDULES.write_text(text)

    with pytest.raises(ConfigError, match=words):
        read_schedules()


def test_the_commands_tell_the_schedules_as_json(project: ProjectFolder) -> None:
    """Each answers with the whole list: name, trigger, next, active."""
    line = ["--cron", "0 3 * * *", "--timezone", "Europe/Berlin"]

    added = project.pitchpipe("schedule", *line, "--name", "nightly", "--json")
    paused = project.pitchpipe("schedule", "pause", "nightly", "--json")
    table = project.pitchpipe("schedule", "list")

    (entry,) = added.document
    assert entry["name"] == "nightly"
    assert entry["trigger"] == "cron 0 3 * * * Europe/Berlin"
    assert "T03:00:00+0" in entry["next"]
    assert entry["active"] is True
    assert (paused.document[0]["next"], paused.document[0]["active"]) == (None, False)
    assert "paused" in table.out


@pytest.mark.parametrize(
    "arguments",
    [
        ["--cron", "0 3 * *"],
        ["--interval", "0"],
        ["--interval", "1000000000000"],  # a century is out of what dates can count
        ["--interval", "5", "--timezone", "UTC"],
        ["--on-drift", "--on-new-data"],
        ["--interval", "5", "--set", "search.epochz=3"],
        [],
    ],
)
def test_a_wrong_schedule_is_one_message_and_exit_2(
    project: ProjectFolder, arguments: list[str]
) -> None:
    """And nothing is written."""
    ran = project.pitchpipe("schedule", *arguments)

    assert ran.code == 2
    assert ran.err.startswith("pitchpipe: ")
    assert len(ran.err.splitlines()) == 1
    assert not (project.root / SCHEDULES).exists()
