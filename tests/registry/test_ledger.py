"""The ledger: what was appended is read, and whatever else was done to it is found."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.records import ledger
from flows.records.ledger import (
    Entry,
    Head,
    LedgerAction,
    append,
    awaiting,
    champions,
    faults_against,
    read,
    recorded_champion,
    unfinished,
)

NAME = "digits-classifier"


def action(
    action: str = "promote", before: int | None = None, after: int | None = 1
) -> LedgerAction:
    return LedgerAction.model_validate(
        {"action": action, "name": NAME, "from": before, "to": after}
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A ledger of four entries."""
    path = tmp_path / "ledger.jsonl"
    for version in (1, 2, 3, 4):
        append(action(before=version - 1 or None, after=version), path)
    return path


def lines_of(path: Path) -> list[str]:
    return path.read_text().splitlines(keepends=True)


def test_what_was_appended_is_read(path: Path) -> None:
    """Entries come back in order, numbered, chained, and say who and when."""
    found = read(path)
    assert found.problems == ()
    assert [entry.after for entry in found.entries] == [1, 2, 3, 4]
    assert [entry.number for entry in found.entries] == [1, 2, 3, 4]
    assert "@" in found.entries[0].who
    assert found.entries[3].previous == found.entries[2].digest
    assert found.head == Head(length=4, digest=found.entries[3].digest)


def test_lines_say_from_and_to(path: Path) -> None:
    """The file has the words of the command line."""
    first = json.loads(lines_of(path)[1])
    assert (first["from"], first["to"], first["action"]) == (1, 2, "promote")


def test_a_missing_ledger_is_empty(tmp_path: Path) -> None:
    """Before the first decision there is nothing, and nothing wrong."""
    found = read(tmp_path / "none.jsonl")
    assert (found.entries, found.problems) == ((), ())


@pytest.mark.parametrize("position", [0, 1, 2, 3])
@pytest.mark.parametrize("field", ["to", "who", "time", "digest", "previous", "number"])
def test_a_changed_entry_is_found(path: Path, position: int, field: str) -> None:
    """Whatever is changed in whichever entry."""
    lines = lines_of(path)
    content = json.loads(lines[position])
    value = content[field]
    content[field] = value + 1 if isinstance(value, int) else f"0{value[1:]}x"
    lines[position] = json.dumps(content) + "\n"
    path.write_text("".join(lines))
    assert read(path).problems


@pytest.mark.parametrize("position", [0, 1, 2])
def test_a_removed_entry_is_found(path: Path, position: int) -> None:
    """Taking one out breaks the chain behind it."""
    lines = lines_of(path)
    del lines[position]
    path.write_text("".join(lines))
    assert any("removed" in problem for problem in read(path).problems)


def test_swapped_entries_are_found(path: Path) -> None:
    """Order is part of the chain."""
    first, second, *rest = lines_of(path)
    path.write_text("".join([second, first, *rest]))
    assert read(path).problems


def test_a_changed_entry_with_a_new_digest_is_found(path: Path) -> None:
    """Sealing it again moves the fault to the entry behind."""
    lines = lines_of(path)
    content = json.loads(lines[1]) | {"to": 9}
    plain = Entry.model_validate_json(json.dumps(content)).model_dump(
        mode="json", exclude={"digest"}
    )
    content["digest"] = ledger._seal(plain)
    lines[1] = json.dumps(content) + "\n"
    path.write_text("".join(lines))
    assert read(path).problems == (
        "entry 3 does not follow entry 2: one was removed, added or moved",
    )


def test_damage_is_a_problem_and_the_rest_is_read(path: Path) -> None:
    """A line that is no entry does not take the others with it."""
    lines = lines_of(path)
    lines[2] = "}{\n"
    path.write_text("".join(lines))
    found = read(path)
    assert len(found.entries) == 3
    assert found.problems[0] == "line 3 is not an entry: it was damaged"


def test_a_cut_tail_is_found_by_the_head_seen_before(path: Path) -> None:
    """The chain alone cannot show it; the head kept elsewhere does, also after new entries."""
    head = read(path).head
    path.write_text("".join(lines_of(path)[:2]))
    assert read(path).problems == ()
    assert "cut" in faults_against(read(path), head)[0]
    for _ in range(3):
        append(action(), path)
    assert "rewritten" in faults_against(read(path), head)[0]


def test_a_ledger_that_only_grew_agrees_with_its_head(path: Path) -> None:
    """Decisions written without MLflow do not look like tampering."""
    head = read(path).head
    append(action("decision", after=None), path)
    assert faults_against(read(path), head) == []
    assert faults_against(read(path), Head(length=0, digest=ledger.GENESIS)) == []


def test_a_torn_last_line_is_not_an_entry(path: Path) -> None:
    """A crash in mid-append leaves a ledger that is sound and goes on."""
    with path.open("a") as file:
        file.write('{"action": "prom')
    append(action(after=5), path)
    found = read(path)
    assert (found.problems, found.entries[-1].after) == ((), 5)


@pytest.mark.parametrize("torn", ["", '{"action": "prom'])
def test_an_entry_follows_the_last_one_that_can_be_read(path: Path, torn: str) -> None:
    """Also behind a damaged line; the damage stays to be seen, and nothing else is wrong."""
    path.write_text("".join([*lines_of(path), "}{\n", torn]))
    entry = append(action(after=5), path)
    found = read(path)
    assert entry.previous == found.entries[3].digest
    assert found.problems == ("line 5 is not an entry: it was damaged",)


def test_appending_reads_no_more_than_the_end(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ledger of any length costs the same, while others wait for its lock."""

    def refused(*_: object) -> None:
        raise AssertionError("the whole ledger was read")

    with monkeypatch.context() as patch:
        patch.setattr(ledger, "read_record_lines", refused)
        entry = append(action(after=5), path)
    assert (entry.number, read(path).problems) == (5, ())


WRITER = """
import sys, pathlib
from flows.records.ledger import LedgerAction, append
for version in range(10):
    append(LedgerAction(action="promote", name="n", after=version), pathlib.Path(sys.argv[1]))
"""


def test_processes_that_append_at_once_leave_one_chain(tmp_path: Path) -> None:
    """Four writers, ten entries each: forty, and sound."""
    path = tmp_path / "ledger.jsonl"
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(path)]) for _ in range(4)]
    assert [process.wait() for process in writers] == [0, 0, 0, 0]
    found = read(path)
    assert (len(found.entries), found.problems) == (40, ())


moves = st.lists(
    st.tuples(st.sampled_from(["promote", "rollback", "adopt", "hold"]), st.integers(1, 5)),
    max_size=12,
)


def entries_of(history: list[tuple[str, int]]) -> list[Entry]:
    facts = {"who": "", "time": "", "previous": "", "digest": "", "name": NAME}
    return [
        Entry.model_validate(facts | {"number": number, "action": action, "to": after})
        for number, (action, after) in enumerate(history, start=1)
    ]


@given(moves)
def test_the_line_of_champions_ends_with_the_champion_and_repeats_none(
    history: list[tuple[str, int]],
) -> None:
    """Whatever was done: nobody is in it twice, and the last one serves."""
    entries = entries_of(history)
    line = champions(entries)
    assert len(set(line)) == len(line)
    assert (line[-1] if line else None) == recorded_champion(entries)


@given(st.integers(1, 6))
def test_rolling_back_again_and_again_reaches_the_first_champion(count: int) -> None:
    """Each rollback goes one further back, none forth."""
    history = [("promote", version) for version in range(1, count + 1)]
    for expected in range(count - 1, 0, -1):
        history.append(("rollback", champions(entries_of(history))[-2]))
        assert recorded_champion(entries_of(history)) == expected
    assert champions(entries_of(history)) == (1,)


def test_an_intent_is_unfinished_until_something_follows() -> None:
    """Decisions not to retrain, which need no lock, do not count as its end."""
    intent = entries_of([("hold", 1), ("intent", 2)])
    assert unfinished(intent) == intent[-1]
    decided = entries_of([("intent", 2), ("decision", 0)])
    assert unfinished(decided) == decided[0]
    assert unfinished(entries_of([("intent", 2), ("promote", 2)])) is None
    assert unfinished([]) is None


@pytest.mark.parametrize(
    ("history", "waits"),
    [
        ([("await", 2)], True),
        ([("await", 2), ("hold", 3)], True),
        ([("await", 2), ("promote", 2)], False),
        ([("await", 2), ("reject", 2)], False),
        ([("await", 3)], False),
        ([], False),
    ],
)
def test_a_version_waits_until_it_is_promoted_or_rejected(
    history: list[tuple[str, int]], *, waits: bool
) -> None:
    """What happens to other versions does not end the waiting."""
    assert (awaiting(entries_of(history), 2) is not None) == waits
