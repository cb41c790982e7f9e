"""Deliveries in S3: whole ones become batches once, and stay where they are; no name escapes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from data_fixtures import make_project, noise, save_png
from hypothesis import given
from hypothesis import strategies as st
from moto import mock_aws

from flows.cli.main import app
from flows.datasets import remote_inbox
from flows.datasets.inbox import Taken, take_deliveries
from flows.datasets.remote_inbox import (
    LeftThere,
    RemoteInbox,
    bad_name,
    fetch_deliveries,
    remote_state,
)
from flows.runtime.object_store import Place, StoredObject
from flows.schedules.config import SCHEDULES, Schedule, add_schedule, new_schedule, read_schedules
from flows.schedules.remote_watch import RemoteWatch
from flows.schedules.triggers import pending_triggers
from models.config import DataParams, InboxParams
from models.datasets.raw import batch_files
from models.errors import ConfigError

PETS = DataParams(name="pets", image_size=8)
AT_ONCE = InboxParams(settle_seconds=0)
PREFIX = "s3://team/deliveries"
REMOTE = RemoteInbox(Place("team", "deliveries"), most_bytes=10_000)
ARRIVALS = Schedule(
    name="arrivals",
    on="new data",
    inbox=PREFIX,
    set=("data.name=pets", "data.image_size=28", "inbox.settle_seconds=0"),
)


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """A client of a store in memory, with a bucket."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "key")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.delenv("AWS_ENDPOINT_URL", raising=False)
        with mock_aws():
            client = boto3.client("s3")
            client.create_bucket(Bucket="team")
            yield client


@pytest.fixture
def store(client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The same, empty; we stand in a project."""
    monkeypatch.chdir(make_project(tmp_path / "project", git=False))
    yield client
    for key in keys(client):
        client.delete_object(Bucket="team", Key=key)


def put(store: Any, key: str, content: bytes = b"x") -> None:
    store.put_object(Bucket="team", Key=f"deliveries/{key}", Body=content)


def deliver(store: Any, name: str, *, seed: int = 0, count: int = 8) -> None:
    """A good delivery: two classes of different pictures."""
    for number, pixels in enumerate(noise(count, seed=seed)):
        picture = save_png(Path("drawn.png"), pixels)
        put(store, f"{name}/{'ab'[number % 2]}/{number}.png", picture.read_bytes())


def keys(store: Any) -> list[str]:
    return [one["Key"] for one in store.list_objects_v2(Bucket="team").get("Contents", ())]


def take(remote: RemoteInbox = REMOTE, inbox: InboxParams = AT_ONCE) -> Taken:
    return take_deliveries(PETS, inbox, remote=remote)


def test_a_remote_delivery_becomes_a_batch_once_and_stays_there(store: Any) -> None:
    """The same look again fetches nothing; a folder that has one picture more is another one."""
    deliver(store, "monday")
    put(store, "", b"")  # a folder's marker, as consoles make them
    there = keys(store)

    first, again = take(), take()

    assert [(one.delivery, one.images, one.is_new) for one in first.added] == [("monday", 8, True)]
    assert (again.added, again.refused) == ((), ())
    assert keys(store) == there
    deliver(store, "monday", seed=1, count=10)
    assert [one.images for one in take().added] == [10]
    assert len(batch_files(Path("data/raw/pets"))) == 2
    assert sorted(path.name for path in Path("data/inbox/pets").iterdir()) == [".taking"]


def test_one_that_cannot_be_fetched_keeps_no_other(
    store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An object of another owner's: its delivery is named, its neighbour becomes a batch."""
    deliver(store, "monday")
    deliver(store, "tuesday", seed=1)
    fetch = Place.fetch

    def refuse(place: Place, stored: StoredObject, target: Path) -> bool:
        if stored.name.startswith("monday/a"):
            raise ConfigError(f"{place}/{stored.name}: the store refuses")
        return fetch(place, stored, target)

    monkeypatch.setattr(Place, "fetch", refuse)

    taken = take()

    assert [one.delivery for one in taken.added] == ["tuesday"]
    [sentence] = taken.refused
    assert sentence.endswith("the store refuses")
    monkeypatch.setattr(Place, "fetch", fetch)
    assert [one.delivery for one in take().added] == ["monday"]


def test_what_one_dataset_took_another_may_take_too(store: Any) -> None:
    """From the same place, by its own name."""
    deliver(store, "monday")

    fetch_deliveries(REMOTE, "cats", AT_ONCE)

    assert [one.name for one in remote_state(REMOTE, PETS.name, AT_ONCE).waiting] == ["monday"]
    assert remote_state(REMOTE, "cats", AT_ONCE).waiting == ()


def test_what_still_arrives_is_said(store: Any) -> None:
    """With the local inbox's."""
    deliver(store, "monday")

    assert take(inbox=InboxParams(settle_seconds=3600)).arriving == ("monday",)


@pytest.mark.parametrize("size", ["nan", "inf", "0", "-1"])
def test_a_limit_that_is_no_size_is_refused(store: Any, size: str) -> None:
    """Before the store is asked."""
    deliver(store, "monday")

    with pytest.raises(ConfigError, match="is no size; say how many GB"):
        app(["data", "inbox", "--from", PREFIX, "--most-gb", size], standalone_mode=False)

    assert remote_state(REMOTE, PETS.name, AT_ONCE).waiting


def test_what_is_still_arriving_hidden_or_unfinished_is_left(store: Any) -> None:
    """By the clock of the store; an object below its own name is a delivery, too."""
    deliver(store, "monday")
    for name in (".hidden/a/1.png", "../escaped.png", "upload.part", "upload.tmp/a/1.png"):
        put(store, name)
    put(store, "photos.npz")

    patient = remote_state(REMOTE, PETS.name, InboxParams(settle_seconds=3600))
    at_once = remote_state(REMOTE, PETS.name, AT_ONCE)

    assert (patient.waiting, patient.arriving) == ((), ("monday", "photos.npz"))
    assert [one.name for one in at_once.waiting] == ["monday", "photos.npz"]
    assert at_once.arriving == ()


@pytest.mark.parametrize(
    "key",
    [
        "bad/../../../escaped.png",
        "bad//escaped.png",
        "bad/./escaped.png",
        "bad/a\\..\\escaped.png",
        "bad/line\nbreak.png",
        "bad/" + "n" * 256,
        "bad/a/0.png/more.png",
    ],
)
def test_no_name_of_an_object_leaves_the_delivery(store: Any, key: str) -> None:
    """The delivery is refused whole, by one sentence; what lies beside it is fetched."""
    for one in ("good/a/0.png", "bad/a/0.png", "bad/b/0.png", key):
        put(store, one)

    [sentence] = fetch_deliveries(REMOTE, "pets", AT_ONCE).refused

    assert sentence.startswith(f"{PREFIX}/bad: bad/")
    assert "is no name of a file; rename that object" in sentence
    assert sentence.isprintable()
    assert [path.name for path in Path("data/inbox/pets/.taking").iterdir()] == ["good"]
    assert not list(Path.cwd().parent.rglob("escaped.png"))


@given(st.lists(st.text(st.sampled_from("ab./\\\n"), min_size=1, max_size=12), max_size=4))
def test_names_that_are_taken_lie_below_the_folder_one_file_each(names: list[str]) -> None:
    folder = Path("/inbox/delivery")
    if bad_name(names) is None:
        places = {name: Path(f"{folder}/{name}") for name in names}
        assert all(".." not in place.parts for place in places.values())
        assert all(str(place) == f"{folder}/{name}" for name, place in places.items())
        assert not {above for one in places.values() for above in one.parents} & {*places.values()}


def test_one_that_is_too_large_is_left_with_its_size(store: Any) -> None:
    put(store, "good.npz")
    put(store, "video/frames.npz", b"x" * 20_000)

    state = remote_state(REMOTE, PETS.name, AT_ONCE)

    assert [one.name for one in state.waiting] == ["good.npz"]
    [sentence] = state.refused
    assert sentence.startswith(f"{PREFIX}/video: has 20,000 bytes, and at most 10,000 are fetched")


def test_one_that_changes_while_it_is_read_waits_for_the_next_look(
    store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No half of the old and half of the new."""
    deliver(store, "monday")
    before = remote_state(REMOTE, PETS.name, AT_ONCE)
    deliver(store, "monday", seed=1)  # other bytes by the same names
    with monkeypatch.context() as patch:
        patch.setattr(remote_inbox, "remote_state", lambda *_: before)
        assert fetch_deliveries(REMOTE, "pets", AT_ONCE) == LeftThere()

    assert list(Path("data/inbox/pets").iterdir()) == []
    assert fetch_deliveries(REMOTE, "pets", AT_ONCE) == LeftThere()
    assert [path.name for path in Path("data/inbox/pets/.taking").iterdir()] == ["monday"]


def test_killed_before_it_was_written_down_it_is_added_once(
    store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It lies there to be taken; fetched once more, it is known by its content."""

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    deliver(store, "monday")
    with monkeypatch.context() as patch:
        patch.setattr(remote_inbox, "_write_down", killed)
        with pytest.raises(KeyboardInterrupt):
            take()

    assert [[one.is_new for one in take().added] for _ in range(3)] == [[True], [False], []]
    assert len(batch_files(Path("data/raw/pets"))) == 1


def test_a_delivery_there_is_news_for_the_schedule_until_it_is_fetched(store: Any) -> None:
    """Its watch lists; what was fetched since is no news."""
    add_schedule(ARRIVALS)
    watch = RemoteWatch()
    watch.step()
    assert watch.waiting(ARRIVALS) == ()
    deliver(store, "monday")
    watch.step()

    waiting = watch.waiting(ARRIVALS)

    assert waiting == ("monday",)
    assert pending_triggers(ARRIVALS, remote=waiting).deliveries == ("monday",)
    take()
    assert watch.waiting(ARRIVALS) == ()


@pytest.mark.usefixtures("store")
def test_a_store_that_keeps_us_out_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    """With its address and the way out; asked about it, `data inbox` ends with that."""
    lost = ARRIVALS.model_copy(update={"inbox": "s3://lost-bucket/x"})
    add_schedule(lost)
    watch = RemoteWatch()
    watch.step()
    watch.step()

    [line] = capsys.readouterr().out.splitlines()
    assert line.startswith("inbox: schedule arrivals: s3://lost-bucket/x: there is no such bucket")
    assert watch.waiting(lost) == ()
    with pytest.raises(ConfigError, match="there is no such bucket"):
        take(RemoteInbox(Place("lost-bucket", "x"), most_bytes=1))


def test_a_prefix_of_too_many_objects_is_not_listed(
    store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliver(store, "monday")
    monkeypatch.setattr(remote_inbox, "MOST_OBJECTS", 7)

    with pytest.raises(ConfigError, match="holds more than 7 objects"):
        remote_state(REMOTE, PETS.name, AT_ONCE)


@pytest.mark.parametrize("address", ["https://team/x", "s3://", "s3://Team/x", "/data/inbox"])
def test_an_inbox_that_is_no_place_is_refused_when_it_is_written(address: str) -> None:
    with pytest.raises(ConfigError, match=r"is no place in S3; set it to s3://BUCKET/FOLDER"):
        new_schedule(name="arrivals", on="new data", inbox=address)


def test_a_remote_inbox_stands_in_the_file_of_schedules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it was given; 20 GB unless said otherwise."""
    monkeypatch.chdir(tmp_path)
    add_schedule(ARRIVALS)

    [schedule] = read_schedules()

    assert schedule == ARRIVALS
    assert schedule.remote == RemoteInbox(Place("team", "deliveries"), 20 * 10**9)
    assert "inbox_gb" not in SCHEDULES.read_text()
