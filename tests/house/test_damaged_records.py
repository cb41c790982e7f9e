"""Files that a disk, an editor or a crash damaged: one line or one message, never a traceback."""

import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from registry_records import epoch_record

from flows.datasets import versions
from flows.datasets.current import read_resolved, write_resolved
from flows.datasets.dvc import tracked_md5
from flows.datasets.files import RAW, RESOLVED, VERSIONS
from flows.datasets.versions import LoggedVersion, all_versions, damaged_lines
from flows.records import ledger
from flows.records.ledger import LedgerAction
from flows.retraining import decide
from flows.runtime.environment import IDENTITY, project_identity
from flows.schedules.config import SCHEDULES, read_schedules
from models.config import DataParams, RetrainingParams, load_params
from models.decision import PastRetraining
from models.errors import ConfigError, IntegrityError
from models.files import append_line
from models.trials import TrialFiles, read_history


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    RAW.mkdir(parents=True)
    versions._warn_of_damage.cache_clear()


ANYTHING = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
LINES = st.lists(st.binary(max_size=40).map(lambda line: line.replace(b"\n", b"")), max_size=4)


def version(digest: str) -> str:
    return LoggedVersion(
        dataset="pets",
        digest=digest,
        dvc_md5=None,
        created="2026-01-01T00:00:00+00:00",
        images=4,
        classes=("a", "b"),
        batches=(),
    ).model_dump_json()


def write_lines(path: Path, *lines: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(line + b"\n" for line in lines))


@ANYTHING
@given(before=LINES, after=LINES)
def test_damaged_lines_of_the_versions_are_numbered_and_the_others_are_read(
    before: list[bytes], after: list[bytes]
) -> None:
    """Whatever is in them; what follows them counts."""
    good = [version("1" * 64).encode(), version("2" * 64).encode()]
    write_lines(VERSIONS, *before, good[0], *after, good[1])
    assert [one.digest[0] for one in all_versions()] == ["1", "2"]
    places = [*range(1, len(before) + 1)]
    places += [len(before) + 2 + place for place in range(len(after))]
    assert damaged_lines() == places


def test_a_damaged_version_is_named_once_with_file_and_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A command reads the list several times."""
    write_lines(VERSIONS, b"\xff", version("1" * 64).encode())
    with caplog.at_level(logging.WARNING):
        assert len(all_versions()) == len(all_versions()) == 1
    assert [record.getMessage() for record in caplog.records] == [
        "data/versions.jsonl, line 1: is damaged and ignored; see `pitchpipe doctor`"
    ]


@ANYTHING
@given(garbage=st.binary(min_size=1, max_size=40).map(lambda line: line.replace(b"\n", b"")))
def test_a_history_ends_at_its_first_damaged_line(garbage: bytes) -> None:
    """Epochs behind it are not trusted: their number no longer says which they are."""
    lines = [epoch_record(epoch).model_dump_json().encode() for epoch in (1, 2, 3)]
    write_lines(Path("trial") / TrialFiles.HISTORY, lines[0], garbage, *lines[1:])
    assert [record.epoch for record in read_history(Path("trial"))] == [1]


@ANYTHING
@given(garbage=LINES)
def test_a_damaged_past_retraining_is_not_counted(garbage: list[bytes]) -> None:
    """The limits of schedules rest on those that can be read."""
    past = PastRetraining.model_validate_json('{"finished":"2099-01-01T00:00:00Z","seconds":1.0}')
    write_lines(decide.PAST, *garbage, past.model_dump_json().encode())
    assert decide.past_retrainings(RetrainingParams()) == (past,)


@ANYTHING
@given(place=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_one_flipped_bit_of_the_ledger_or_its_evidence_is_a_problem(place: int, bit: int) -> None:
    """Whichever bit: of an entry, between entries, or of what they rest on."""
    ledger.LEDGER.unlink(missing_ok=True)
    digest = ledger.keep_evidence('{"verdict":"HOLD"}')
    for _ in range(3):
        ledger.append(LedgerAction(action="hold", name="pets", evidence=digest))
    assert problems_of_the_ledger() == []
    for path in (ledger.LEDGER, ledger.EVIDENCE / f"{digest}.json"):
        whole = path.read_bytes()
        flipped = bytearray(whole)
        flipped[place % len(whole)] ^= 1 << bit
        path.write_bytes(flipped)
        cut_off = path == ledger.LEDGER and place % len(whole) == len(whole) - 1
        assert problems_of_the_ledger() or cut_off  # a torn last line: MLflow's head shows it
        path.write_bytes(whole)


def problems_of_the_ledger() -> list[str]:
    found = ledger.read()
    return [*found.problems, *ledger.evidence_problems(found.entries)]


def test_evidence_that_is_gone_is_a_problem() -> None:
    """An entry names it; who deleted it left the entry."""
    ledger.append(LedgerAction(action="hold", name="pets", evidence="0" * 64))
    assert problems_of_the_ledger() == [f"mlruns/evidence/{'0' * 64}.json: is missing"]


@ANYTHING
@given(content=st.binary(max_size=60))
def test_what_dvc_did_not_write_is_refused_with_its_remedy(content: bytes) -> None:
    """Or it has an md5; nothing else is taken for one."""
    path = RAW / "pets.dvc"
    path.write_bytes(content)
    with pytest.raises(IntegrityError, match=r"data/raw/pets\.dvc: is damaged.*or delete it"):
        tracked_md5("pets")


def test_a_dataset_is_tracked_under_the_md5_of_its_file() -> None:
    """None where there is no file, or DVC has not hashed it yet."""
    assert tracked_md5("pets") is None
    (RAW / "pets.dvc").write_text("outs:\n- md5: abc.dir\n  path: pets\n")
    assert tracked_md5("pets") == "abc.dir"
    (RAW / "pets.dvc").write_text("outs:\n- path: pets\n")
    assert tracked_md5("pets") is None


@ANYTHING
@given(content=st.binary(max_size=60).filter(lambda content: len(content.strip()) != 32))
def test_a_damaged_identity_is_refused_with_its_remedy(content: bytes) -> None:
    """Flow runs tagged with garbage would be no project's."""
    append_line(IDENTITY, "")
    IDENTITY.write_bytes(content)
    with pytest.raises(IntegrityError, match=r"project\.id: is damaged.*or delete it"):
        project_identity()
    IDENTITY.unlink()
    assert project_identity() == project_identity()


@ANYTHING
@given(content=st.binary(max_size=60))
def test_damaged_params_of_the_stage_are_one_message_and_are_written_anew(content: bytes) -> None:
    """`pitchpipe run` writes what it was asked for, whatever is there."""
    RESOLVED.write_bytes(content)
    with pytest.raises(ConfigError, match=r"data/prepare\.yaml: cannot be read"):
        read_resolved()
    write_resolved(DataParams(name="pets"))
    assert read_resolved() == DataParams(name="pets")


BOMBS = {
    "aliases": ("a: &a [1]\nb: *a\n", "line 2: alias \\*a: aliases are not supported"),
    "lists in lists": ("a: " + "[" * 100_000, "is nested more than 32 levels deep"),
    "mappings in mappings": ("{a: " * 3000, "is nested more than 32 levels deep"),
    "a binary": ("data: !!binary aGk=\n", "tags are not supported"),
    "a set": ("!!set {a}\n", "tags are not supported"),
    "a tagged date": ("data: !!timestamp 2026-01-01\n", "tags are not supported"),
    "a date": ("data: 2026-01-01\n", "2026-01-01"),
    "no key": ("? \n: 1\n", "null|no such key|valid (array|tuple)"),
    "a fraction as key": ("1.5: 1\n", "1.5: no such key|valid (array|tuple)"),
    "a list as key": ("? [a]\n: 1\n", "a key is a list or a mapping"),
    "5,000 digits": ("a: " + "9" * 5000, "a number of 5000 digits"),
    "5,000 hexadecimal digits": ("a: 0x" + "f" * 5000, "a number of 5002 digits"),
    "a key twice": ("a: 1\n'a': 2\n", "key 'a' is written twice"),
    "half a character": ('a: "\\ud800"\n', "is no character"),
    "300,000 bytes": ("#" * 300_000, "has more than 262,144 bytes"),
    "no text": ("\x00", "not YAML"),
}


def read_as_override(text: str) -> object:
    Path("params.yaml").write_text("data: {name: digits}\n")
    return load_params(overrides=[f"data={text}"])


def read_as_params(text: str) -> object:
    Path("params.yaml").write_text(text)
    return load_params()


def read_as_schedules(text: str) -> object:
    SCHEDULES.write_text(text)
    return read_schedules()


@pytest.mark.parametrize("read", [read_as_params, read_as_override, read_as_schedules])
@pytest.mark.parametrize(("text", "words"), BOMBS.values(), ids=BOMBS)
def test_hostile_yaml_is_one_message(read: Callable[[str], object], text: str, words: str) -> None:
    """In params, in `--set` and in schedules.yaml: exit code 2, whatever it would unpack to."""
    with pytest.raises(ConfigError) as caught:
        read(text)
    assert caught.value.exit_code == 2
    assert len(str(caught.value)) < 2000
    if read is not read_as_override:
        assert caught.match(words)


@pytest.mark.parametrize("override", ["." * 3000 + "=1", "a" + ".b" * 3000 + "=1"])
def test_a_path_of_thousands_of_parts_is_refused(override: str) -> None:
    """Before anything is nested by it."""
    Path("params.yaml").write_text("data: {name: digits}\n")
    with pytest.raises(ConfigError, match="has 3,001 parts; at most 16"):
        load_params(overrides=[override])


def test_an_alias_in_an_override_is_refused() -> None:
    """A list that holds itself has no end."""
    Path("params.yaml").write_text("data: {name: digits}\n")
    with pytest.raises(ConfigError, match=r"--set data: line 1: alias \*a"):
        load_params(overrides=["data=&a [*a]"])


def test_a_key_is_text_whatever_it_looks_like_and_off_is_a_level() -> None:
    """YAML 1.1 takes `on` for true and `off` for false."""
    SCHEDULES.write_text("- {name: a, on: drift}\n")
    assert [schedule.on for schedule in read_schedules()] == ["drift"]
    Path("params.yaml").write_text("data: {checks: {constant: off, sizes: 'off'}}\n")
    checks = load_params().data.checks
    assert (checks.constant, checks.sizes) == ("off", "off")


def test_many_faults_are_counted_and_the_first_are_named() -> None:
    """Five thousand unknown keys are not five thousand lines."""
    Path("params.yaml").write_text(json.dumps({f"key{number}": 1 for number in range(5000)}))
    with pytest.raises(ConfigError, match="and 4980 more"):
        load_params()
