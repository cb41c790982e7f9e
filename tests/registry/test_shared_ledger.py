"""A ledger that hosts share: one chain, whoever appends; what another host overtook is refused."""

from collections.abc import Callable
from pathlib import Path

import pytest
from registry_records import NAME

from flows.records import ledger, shared_ledger
from flows.records.ledger import LEDGER, LedgerAction, OvertakenError, append, read
from flows.runtime.object_store import Place
from models.errors import ConfigError, IntegrityError, MissingExtraError

PLACE = "s3://team/pitchpipe"


class Bucket:
    """Objects in memory that keep the one promise: who writes a name first is told so."""

    def __init__(self) -> None:
        self.objects: dict[str, str] = {}
        self.before_write: list[Callable[[], object]] = []

    def __str__(self) -> str:
        return PLACE

    def read(self, name: str) -> str | None:
        return self.objects.get(name)

    def write_new(self, name: str, text: str) -> bool:
        if self.before_write:
            self.before_write.pop()()
        return self.objects.setdefault(name, text) is text


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """What the variable names, here and on every host of a test."""
    there = Bucket()
    monkeypatch.setenv(shared_ledger.VARIABLE, PLACE)
    monkeypatch.setattr(shared_ledger, "_place", lambda *_: there)
    return there


@pytest.fixture
def on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Go to a host: to a folder that shares nothing with the others."""

    def go(host: str) -> None:
        (tmp_path / host).mkdir(exist_ok=True)
        monkeypatch.chdir(tmp_path / host)

    return go


def moved(version: int, action: str = "promote") -> LedgerAction:
    return LedgerAction.model_validate({"action": action, "name": NAME, "to": version})


def test_hosts_write_one_chain(bucket: Bucket, on: Callable[[str], None]) -> None:
    """By turns; each reads all of it, in order and whole, with the evidence."""
    for number in range(6):
        on("ab"[number % 2])
        evidence = ledger.keep_evidence(f'{{"looked": {number}}}')
        append(moved(number).model_copy(update={"evidence": evidence}))

    for host in "ab":
        on(host)
        found = read()
        assert found.problems == ()
        assert [entry.after for entry in found.entries] == list(range(6))
        assert [entry.number for entry in found.entries] == list(range(1, 7))
        assert ledger.evidence_problems(found.entries) == []
    assert len([name for name in bucket.objects if name.startswith("entries/")]) == 6


def test_an_entry_that_another_host_writes_first_keeps_its_place(
    bucket: Bucket, on: Callable[[str], None]
) -> None:
    """Between the look and the write: ours becomes the next one, and follows theirs."""

    def other() -> None:
        on("b")
        append(moved(1))
        on("a")

    on("a")
    bucket.before_write = [other]
    mine = append(moved(2))

    assert mine.number == 2
    assert [entry.after for entry in read().entries] == [1, 2]
    assert read().problems == ()


@pytest.mark.parametrize(("between", "refused"), [("intent", True), ("decision", False)])
def test_what_rests_on_an_older_ledger_is_refused(
    bucket: Bucket, on: Callable[[str], None], between: str, *, refused: bool
) -> None:
    """Where another host moved meanwhile, with its entry; a decision not to retrain is no move."""
    on("a")
    seen = append(moved(1)).number
    on("b")
    append(moved(2, between))
    on("a")

    if refused:
        with pytest.raises(OvertakenError, match=r"intent of version 2 of .* is entry 2"):
            append(moved(3), seen=seen)
    else:
        assert append(moved(3), seen=seen).number == 3
    assert len(read().entries) == (2 if refused else 3)
    assert len(bucket.objects) == (2 if refused else 3)


def test_the_first_host_brings_its_ledger(
    bucket: Bucket, on: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it wrote before there was a team stands at the beginning of the team's."""
    on("a")
    with monkeypatch.context() as alone:
        alone.delenv(shared_ledger.VARIABLE)
        append(moved(1))
    append(moved(2))
    on("b")

    assert [entry.after for entry in read().entries] == [1, 2]
    assert read().problems == ()
    assert len(bucket.objects) == 2


def test_a_second_hosts_own_ledger_is_not_mixed_in(
    bucket: Bucket, on: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is refused with the way out, and left as it is."""
    on("a")
    append(moved(1))
    on("b")
    with monkeypatch.context() as alone:
        alone.delenv(shared_ledger.VARIABLE)
        append(moved(7))
    before = LEDGER.read_bytes()

    with pytest.raises(IntegrityError, match="entry 1 is not that of s3://team/pitchpipe"):
        append(moved(8))
    assert LEDGER.read_bytes() == before
    assert len(bucket.objects) == 1


def test_entries_that_somebody_deleted_are_put_back(
    bucket: Bucket, on: Callable[[str], None], caplog: pytest.LogCaptureFixture
) -> None:
    """By whatever host comes next, which says so; changed ones are a problem of the audit."""
    on("a")
    for version in (1, 2, 3):
        append(moved(version))
    last = max(bucket.objects)
    kept = bucket.objects.pop(last)
    read()

    assert bucket.objects[last] == kept
    assert "s3://team/pitchpipe lacked 1 entries" in caplog.text
    first = min(bucket.objects)
    bucket.objects[first] = bucket.objects[first].replace("promote", "rollback")
    assert [problem[:22] for problem in ledger.place_problems()] == ["entry 1 is not the one"]


@pytest.mark.parametrize("address", ["s3:/team", "https://team/x", "s3://T/x", "s3://team/a b"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    """With the variable and what belongs there; exit code 2."""
    with pytest.raises(ConfigError, match=r"PITCHPIPE_LEDGER .*s3://BUCKET/FOLDER"):
        Place.parse(address, variable="PITCHPIPE_LEDGER")


def test_without_boto3_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 2, and the command that adds it."""
    monkeypatch.setitem(__import__("sys").modules, "boto3", None)

    with pytest.raises(MissingExtraError, match="EXTRAS=team"):
        Place("team", "x").read("entries/1")
