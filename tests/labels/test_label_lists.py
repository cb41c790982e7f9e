"""Lists of labels that people edit: read within limits, refused with every fault at once."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.datasets.sources import label_lists
from models.datasets.sources.label_lists import LabelLine, format_csv, read_label_list
from models.errors import InputError

ONE, TWO = "1" * 64, "2" * 64
CLASSES = ("cat", "dog", "T-shirt/top", "=1+1", "-7")


def read(folder: Path, text: str | bytes, *, name: str = "list.csv") -> tuple[LabelLine, ...]:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_label_list(path, classes=CLASSES)


def test_columns_beside_id_and_label_are_passed_over(tmp_path: Path) -> None:
    """As the list of a triage has them; in any order, with a byte order mark, as Excel saves it."""
    text = f"\ufeffrank;Label;given;ID\r\n1;dog;cat;{ONE}\r\n\r\n2;drop;cat;{TWO}\r\n"
    assert read(tmp_path, text) == (LabelLine(2, ONE, "dog"), LabelLine(4, TWO, None))


def test_json_lines_say_the_same(tmp_path: Path) -> None:
    """null drops an image."""
    lines = [{"id": ONE, "label": "dog", "rank": 1}, {"id": TWO, "label": None}]
    text = "\n".join(map(json.dumps, lines)) + "\n"
    found = read(tmp_path, text, name="list.jsonl")
    assert found == (LabelLine(1, ONE, "dog"), LabelLine(2, TWO, None))


def test_drop_is_a_class_where_a_class_is_called_so(tmp_path: Path) -> None:
    """JSON lines then say null."""
    path = tmp_path / "list.csv"
    path.write_text(f"id,label\n{ONE},drop\n")
    assert read_label_list(path, classes=("drop", "keep"))[0].label == "drop"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(labels=st.lists(st.sampled_from(CLASSES), min_size=1, max_size=5))
def test_what_is_written_for_a_spreadsheet_is_read_back(tmp_path: Path, labels: list[str]) -> None:
    """No cell begins as a formula does, and each comes back as the class that it was."""
    ids = [f"{number:064x}" for number in range(len(labels))]
    text = format_csv(("id", "label"), zip(ids, labels, strict=True))
    cells = [cell for row in csv.reader(io.StringIO(text)) for cell in row]
    assert not any(cell.startswith(("=", "+", "-", "@")) for cell in cells)
    found = read(tmp_path, text)
    assert [(line.id, line.label) for line in found] == list(zip(ids, labels, strict=True))


FAULTS: dict[str, tuple[str, str]] = {
    "no id": (f"id,label\n{ONE[:-1]},dog\n", "line 2: .*is no id of an image, 64 hex digits"),
    "unknown class": (f"id,label\n{ONE},cow\n", "line 2: 'cow' is no class of the dataset; its"),
    "formula": (f'id,label\n{ONE},"=cmd()"\n', r"line 2: '=cmd\(\)' is no class"),
    "no label": (f"id,label\n{ONE},\n", "line 2: label '' names no class; or 'drop' drops"),
    "repeated": (f"id,label\n{ONE},dog\n{ONE},dog\n", "line 3: image 1+ repeats line 2; remove"),
    "contradiction": (
        f"id,label\n{ONE},dog\n{ONE},drop\n",
        "line 3: image 1+ contradicts line 2: drop here, 'dog' there; remove one",
    ),
    "cells": (f"id,label\n{ONE},dog,cat\n", "line 2: has 3 cells, the first line has 2; quote"),
    "columns": (f"id,class\n{ONE},dog\n", "names the columns 'id, class'; id and label must be"),
    "quotes": (f'id,label\n{ONE},"dog"x\n', "line 2: is no CSV"),
    "nothing": ("id,label\n", "names no image; give a CSV file"),
    "empty": ("", "its first line names the columns ''"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_a_fault_is_named_with_its_line_and_the_way_out(tmp_path: Path, case: str) -> None:
    """Value, rule, way out."""
    text, message = FAULTS[case]
    with pytest.raises(InputError, match=message):
        read(tmp_path, text)


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        '{"id": 1, "label": "dog"}',
        f'{{"id": "{ONE}"}}',
        "[" * 100_000,
        "\x00",
        f'{{"id": "{ONE}", "label": "dog", "label": "cat"}}',
        f'{{"id": "{ONE}", "label": true}}',
    ],
    ids=lambda line: repr(line[:30]),
)
def test_json_that_says_no_label_is_refused_with_its_line(tmp_path: Path, line: str) -> None:
    """Whatever it is instead."""
    with pytest.raises(InputError, match="line 1: "):
        read(tmp_path, f"{line}\n", name="list.jsonl")


def test_ten_faults_of_many_are_shown(tmp_path: Path) -> None:
    """And the number of the others."""
    lines = "".join(f"{number:064x},cow\n" for number in range(15))
    with pytest.raises(InputError, match="and 5 more") as caught:
        read(tmp_path, f"id,label\n{lines}")
    assert len(str(caught.value).splitlines()) == 12


def too_large(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(label_lists.MAX_BYTES + 1)


def binary(path: Path) -> None:
    path.write_bytes(b"id,label\n\xff\xfe")


def absent(path: Path) -> None:
    path.unlink(missing_ok=True)


@pytest.mark.parametrize(
    ("make", "message"),
    [(too_large, "at most 67,108,864 are read"), (binary, "is not UTF-8"), (absent, "No such")],
)
def test_a_file_that_is_no_list_is_refused(
    tmp_path: Path, make: Callable[[Path], None], message: str
) -> None:
    """Before it is read."""
    path = tmp_path / "list.csv"
    make(path)
    with pytest.raises(InputError, match=message):
        read_label_list(path, classes=CLASSES)


def test_a_file_of_another_kind_or_of_too_many_lines_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the end of its name, and by its lines as they come."""
    with pytest.raises(InputError, match=r"neither \.csv nor \.jsonl"):
        read(tmp_path, "", name="list.xlsx")
    monkeypatch.setattr(label_lists, "MAX_LINES", 2)
    with pytest.raises(InputError, match="more than 2 lines"):
        read(tmp_path, f"id,label\n{ONE},dog\n{TWO},dog\n")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(content=st.binary(max_size=200), head=st.sampled_from([b"", b"id,label\n", b'{"id": "']))
@pytest.mark.parametrize("name", ["list.csv", "list.jsonl"])
def test_no_bytes_are_anything_but_a_list_or_refused(
    tmp_path: Path, name: str, content: bytes, head: bytes
) -> None:
    """Never another error."""
    path = tmp_path / name
    path.write_bytes(head + content)
    with pytest.raises(InputError):
        read_label_list(path, classes=CLASSES)
