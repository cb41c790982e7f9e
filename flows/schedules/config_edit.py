"""Edits of the text of schedules.yaml that keep its comments and layout.

Each function returns the edited text. The caller parses it, and writes the whole file anew where
it does not say what was intended (flows.schedules.config).

ruamel.yaml 0.19, which keeps comments in round trips, was tried and fails five of the tests:
it indents lists and lines comments up anew in entries that nobody changed, puts `active: false`
below the comment of the entry that follows, and takes that comment out with the entry before it.
"""

from collections.abc import Iterator

import yaml
from yaml.nodes import CollectionNode, MappingNode, Node, SequenceNode


def with_entry(text: str, entry: str) -> str:
    """Put a new entry, a list of one in block style, behind all that is there."""
    before = text.rstrip().removesuffix("[]").rstrip()  # so is none written
    return f"{before}\n{entry}" if before else entry


def without_entry(text: str, place: int) -> str:
    """Take an entry out, and the comment that ends right above it, unless the file begins so."""
    entry = _entries(text)[place]
    first, last = _line_start(text, entry.start_mark.index), _line_end(text, _end_of(entry))
    above = first
    while (before := _line_start(text, above - 1)) < above and _is_comment(text[before:above]):
        above = before
    return text[: first if above == 0 else above] + text[last + 1 :]


def with_field(text: str, place: int, *, name: str, value: str) -> str:
    """Set a field of an entry: its value where it stands there, else behind all others."""
    entry = _entries(text)[place]
    for key, node in _fields(entry):
        if key == name:
            return text[: node.start_mark.index] + value + text[_end_of(node) :]
    end = _end_of(entry)
    if entry.flow_style:
        return f"{text[: end - 1].rstrip()}, {name}: {value}{text[end - 1 :]}"
    line_end = _line_end(text, end)  # behind a comment on the last line
    return f"{text[:line_end]}\n{' ' * entry.start_mark.column}{name}: {value}{text[line_end:]}"


def _entries(text: str) -> list[CollectionNode]:
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    assert isinstance(root, SequenceNode)
    return list(root.value)


def _fields(entry: Node) -> Iterator[tuple[str, Node]]:
    assert isinstance(entry, MappingNode)
    return ((key.value, node) for key, node in entry.value)


def _end_of(node: Node) -> int:
    """Where the last of a node's own letters ends: PyYAML's mark of a block is behind comments."""
    if not isinstance(node, CollectionNode) or node.flow_style or not node.value:
        return int(node.end_mark.index)
    last = node.value[-1]
    return _end_of(last[1] if isinstance(last, tuple) else last)


def _line_start(text: str, index: int) -> int:
    return text.rfind("\n", 0, max(index, 0)) + 1


def _line_end(text: str, index: int) -> int:
    end = text.find("\n", index)
    return len(text) if end < 0 else end


def _is_comment(line: str) -> bool:
    return line.lstrip().startswith("#")
