"""Lists of labels that people edit: CSV or JSON lines of image id and label, read within limits.

A spreadsheet takes a cell that begins with `=`, `+`, `-` or `@` for a formula. Such cells are
written with an apostrophe before them, which is taken off when they are read.
"""

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from models.datasets.sources.paths import MAX_NAME, regular_file, shown
from models.errors import InputError

MAX_BYTES = 2**26
MAX_LINES = 1_000_000
DROP = "drop"
"""Label in a CSV file that drops the image; in a dataset with such a class it means the class."""
_ID = re.compile(r"[0-9a-f]{64}")
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "'")
_SHOWN_FAULTS = 10
_WANTED = (
    "a CSV file with the columns id and label, or JSON lines such as "
    '{"id": "3f2a...", "label": "cat"}'
)


@dataclass(frozen=True, slots=True)
class LabelLine:
    """A line of a list."""

    number: int
    """In the file, from 1."""
    id: str
    """64 hex digits."""
    label: str | None
    """Name of a class; None: drop the image."""


@dataclass(frozen=True, slots=True)
class _Fault:
    number: int
    text: str


def read_label_list(path: Path, *, classes: Sequence[str]) -> tuple[LabelLine, ...]:
    """Read a list of at least one line; each image is in it once, each label is one of classes.

    Raises InputError with every fault found (the first ten are shown): value, rule, way out.
    """
    text = _read_text(path)
    parse = {".csv": _csv_lines, ".jsonl": _json_lines, ".ndjson": _json_lines}
    if path.suffix.lower() not in parse:
        raise InputError(f"{shown(path)}: is neither .csv nor .jsonl; give {_WANTED}")
    lines, faults = list[LabelLine](), list[_Fault]()
    for one in parse[path.suffix.lower()](path, text, frozenset(classes)):
        (faults if isinstance(one, _Fault) else lines).append(one)  # type: ignore[arg-type]
    faults += [*_unknown_classes(lines, classes), *_repeated(lines)]
    if faults:
        raise InputError(f"{shown(path)}: nothing was changed\n{describe_faults(faults)}")
    if not lines:
        raise InputError(f"{shown(path)}: names no image; give {_WANTED}")
    return tuple(lines)


def describe_faults(faults: Sequence["_Fault"]) -> str:
    """Say what is wrong, a line each, in the order of the file; at most ten."""
    ordered = sorted(faults, key=lambda one: one.number)[:_SHOWN_FAULTS]
    said = [f"line {one.number}: {one.text}" for one in ordered]
    more = len(faults) - len(ordered)
    return "\n".join([*said, *([f"and {more:,} more"] if more else [])])


def fault_of(line: LabelLine, text: str) -> _Fault:
    """Name what is wrong with a line that was read."""
    return _Fault(line.number, text)


def format_csv(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table that spreadsheets show as it is: no cell is a formula."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    for row in rows:
        writer.writerow([f"'{cell}" if cell.startswith(_FORMULA) else cell for cell in row])
    return text.getvalue()


def _read_text(path: Path) -> str:
    regular_file(path)
    length = path.stat().st_size
    if length > MAX_BYTES:
        raise InputError(
            f"{shown(path)}: has {length:,} bytes; at most {MAX_BYTES:,} are read: divide it"
        )
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{shown(path)}: byte {error.start:,} is not UTF-8; save it as UTF-8"
        ) from None


def _csv_lines(path: Path, text: str, classes: frozenset[str]) -> Iterator[LabelLine | _Fault]:
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        columns = [cell.strip().lower() for cell in next(reader, [])]
        if columns.count("id") != 1 or columns.count("label") != 1:
            names = shown(", ".join(columns))[:80]
            raise InputError(
                f"{shown(path)}: its first line names the columns {names!r}; id and label must be "
                f"among them, once each: give {_WANTED}"
            )
        for cells in reader:
            _refuse_long(path, reader.line_num)
            if not any(cells):
                continue
            if len(cells) != len(columns):
                yield _Fault(
                    reader.line_num,
                    f"has {len(cells)} cells, the first line has {len(columns)}; quote cells that "
                    "hold the separator",
                )
                continue
            row = dict(zip(columns, cells, strict=True))
            label = _cell(row["label"], classes)
            drops = label == DROP and DROP not in classes
            yield _line(reader.line_num, _plain(row["id"]).strip(), None if drops else label)
    except csv.Error as error:
        yield _Fault(reader.line_num, f"is no CSV ({error}); save the file again")


def _cell(text: str, classes: frozenset[str]) -> str:
    """Return a class's name as it was before `format_csv`, or as a person wrote it."""
    found = (one for one in (_plain(text), text, text.strip()) if one in classes)
    return next(found, text.strip())


def _plain(text: str) -> str:
    return text.removeprefix("'")


def _json_lines(path: Path, text: str, classes: frozenset[str]) -> Iterator[LabelLine | _Fault]:
    del classes
    for number, line in enumerate(text.split("\n"), start=1):
        _refuse_long(path, number)
        if line.strip():
            yield _json_line(number, line)


def _json_line(number: int, line: str) -> LabelLine | _Fault:
    try:
        found = json.loads(line, object_pairs_hook=_once)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or not {"id", "label"} <= found.keys():
        return _Fault(number, f"{_short(line)} is no object with id and label, each once")
    key, label = found["id"], found["label"]
    if isinstance(label, int) and not isinstance(label, bool):
        label = str(label)
    if not isinstance(key, str) or not isinstance(label, str | None):
        return _Fault(number, f"{_short(line)}: id must be text, label text or null (drop)")
    return _line(number, key, label)


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Make an object of pairs. Raises ValueError for a key that comes twice."""
    if len(dict(pairs)) != len(pairs):
        raise ValueError("a key comes twice")
    return dict(pairs)


def _line(number: int, key: str, label: str | None) -> LabelLine | _Fault:
    if not _ID.fullmatch(key):
        return _Fault(
            number,
            f"{_short(key)} is no id of an image, 64 hex digits; `pitchpipe data triage` lists "
            "them",
        )
    if label is not None and (not label or len(label) > MAX_NAME):
        return _Fault(number, f"label {_short(label)} names no class; or {DROP!r} drops the image")
    return LabelLine(number, key, label)


def _refuse_long(path: Path, number: int) -> None:
    if number > MAX_LINES:
        raise InputError(
            f"{shown(path)}: has more than {MAX_LINES:,} lines, the most that are read: divide it"
        )


def _unknown_classes(lines: Sequence[LabelLine], classes: Sequence[str]) -> Iterator[_Fault]:
    known = set(classes)
    for line in lines:
        if line.label is not None and line.label not in known:
            yield _Fault(
                line.number,
                f"{_short(line.label)} is no class of the dataset; its classes are "
                f"{', '.join(classes[:20])}{', ...' if len(classes) > 20 else ''}, and {DROP!r} "
                "drops an image",
            )


def _repeated(lines: Sequence[LabelLine]) -> Iterator[_Fault]:
    first: dict[str, LabelLine] = {}
    for line in lines:
        before = first.setdefault(line.id, line)
        if before is line:
            continue
        if before.label == line.label:
            text = f"repeats line {before.number}; remove one of them"
        else:
            text = (
                f"contradicts line {before.number}: {_named(line)} here, {_named(before)} there; "
                "remove one of them"
            )
        yield _Fault(line.number, f"image {line.id[:12]} {text}")


def _named(line: LabelLine) -> str:
    return DROP if line.label is None else _short(line.label)


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:37]}...")
