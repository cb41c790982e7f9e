"""Files are whole or absent; digests follow content and nothing else."""

import os
import textwrap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.digests import digest_file, digest_of, digest_source
from models.files import append_line, last_line, read_lines, replacing, write_text


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    """An exception half-way is as if nothing had been begun."""
    target = tmp_path / "result.json"
    write_text(target, "old")

    def fill_the_disk() -> None:
        with replacing(target) as temporary:
            temporary.write_text("half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fill_the_disk()

    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_full_disk_while_flushing_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ENOSPC may first show when data is flushed."""
    target = tmp_path / "result.json"
    write_text(target, "old")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_text(target, "new")

    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


LINES = st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\n")))


@given(lines=LINES, cut=st.data())
def test_lines_cut_anywhere_by_a_crash_read_as_the_whole_ones_and_take_more(
    lines: list[str], cut: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A torn last line is never read, and never glued to the next."""
    path = tmp_path_factory.mktemp("journal") / "history.jsonl"
    for line in lines:
        append_line(path, line)
    content = path.read_bytes() if lines else b""
    path.write_bytes(content[: cut.draw(st.integers(0, len(content)))])

    whole = read_lines(path)
    append_line(path, "next")

    assert whole == [line.encode() for line in lines[: len(whole)]]
    assert read_lines(path) == [*whole, b"next"]


def test_a_digest_of_a_value_is_the_same_whatever_the_order_of_keys() -> None:
    """Golden: `printf '{"a":1,"b":[true,null]}' | sha256sum`."""
    expected = "1cc69c7fa23616ca2ec3ee70d24390a6225c8832db8a4c814c7e0e7f942f8668"

    assert digest_of({"b": [True, None], "a": 1}) == expected
    assert digest_of({"a": 1, "b": [True, None]}) == expected


def test_a_digest_of_a_file_is_that_of_its_bytes(tmp_path: Path) -> None:
    """Golden: SHA-256 of abc, from FIPS 180-2."""
    (tmp_path / "f").write_bytes(b"abc")

    assert digest_file(tmp_path / "f") == (
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )


def source_digest(folder: Path, text: str) -> str:
    path = folder / "module.py"
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return digest_source([path], relative_to=folder)


def test_comments_and_docstrings_keep_the_source_digest_and_code_changes_it(tmp_path: Path) -> None:
    """A cached trial survives an explanation, not a change of what runs."""
    plain = source_digest(tmp_path, "def f(x):\n    return x + 1\n")

    explained = source_digest(
        tmp_path, '"""Module."""\n\n\ndef f(x):\n    """Add one."""\n    return x + 1  # why not\n'
    )
    changed = source_digest(tmp_path, "def f(x):\n    return x + 2\n")

    assert explained == plain
    assert changed != plain


@given(
    lines=st.lists(st.text(st.characters(exclude_characters="\n", codec="utf-8")), max_size=4),
    longer=st.sampled_from([0, 4094, 4095, 4096, 9000]),
    torn=st.sampled_from(["", "{", "x" * 5000]),
)
def test_the_last_line_is_the_last_of_all_lines(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], longer: int, torn: str
) -> None:
    """Whatever their lengths, and whether or not a torn one follows."""
    path = tmp_path_factory.mktemp("lines") / "lines"
    path.write_bytes("".join([*(f"{line}{'é' * longer}\n" for line in lines), torn]).encode())

    whole = read_lines(path)

    assert last_line(path) == (whole[-1] if whole else None)
