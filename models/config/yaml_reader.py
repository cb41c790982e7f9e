"""YAML restricted to JSON's types, without aliases, and limited in size and depth."""

import re
from pathlib import Path

import yaml

from models.errors import ConfigError

MAX_BYTES = 2**18
MAX_DEPTH = 32
"""Levels of nesting; params have five."""
MAX_DIGITS = 64
_TAGS = {f"tag:yaml.org,2002:{kind}": kind for kind in ("null", "bool", "int", "float", "str")}


class _Loader(yaml.SafeLoader):
    """Composes nodes and constructs values of JSON's types.

    Dates are text, since the tag of timestamps is not resolved; a key is text whatever it looks
    like, `on` included, which YAML 1.1 takes for true.
    """

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event: yaml.Event = self.peek_event()  # type: ignore[no-untyped-call]  # not in the stubs
        if isinstance(event, yaml.AliasEvent):
            raise _fault(
                event, f"alias *{event.anchor}: aliases are not supported; repeat the value"
            )
        if self.depth == MAX_DEPTH:
            raise _fault(event, f"is nested more than {MAX_DEPTH} levels deep")
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def value_of(self, node: yaml.Node) -> object:
        if isinstance(node, yaml.MappingNode) and node.tag.endswith("2002:map"):
            return self._mapping_of(node)
        if isinstance(node, yaml.SequenceNode) and node.tag.endswith("2002:seq"):
            return [self.value_of(inner) for inner in node.value]
        if isinstance(node, yaml.ScalarNode) and node.tag in _TAGS:
            return self._scalar_of(node, _TAGS[node.tag])
        raise _fault(node, f"tag {node.tag}: tags are not supported; write the value without it")

    def _mapping_of(self, node: yaml.MappingNode) -> dict[str, object]:
        mapping: dict[str, object] = {}
        for key, inner in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _fault(key, "a key is a list or a mapping; write a name")
            name = _text(key)
            if name in mapping:
                raise _fault(node, f"key {name!r} is written twice; keep one")
            mapping[name] = self.value_of(inner)
        return mapping

    def _scalar_of(self, node: yaml.ScalarNode, kind: str) -> object:
        if kind == "str":
            return _text(node)
        if len(node.value) > MAX_DIGITS:
            raise _fault(node, f"a number of {len(node.value)} digits; at most {MAX_DIGITS}")
        try:
            return getattr(self, f"construct_yaml_{kind}")(node)
        except (ValueError, LookupError):
            raise _fault(node, f"{node.value!r} is not of type {kind}") from None


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag in _TAGS]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(  # YAML 1.1 takes 1e-3, without a point, for text
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"),
    list("-+.0123456789"),
)


def read_yaml(path: Path) -> object:
    """Read a YAML file. Raises ConfigError where it is unreadable or `parse_yaml` refuses it."""
    return parse_yaml(read_yaml_text(path), where=str(path))


def read_yaml_text(path: Path) -> str:
    """Read the text of a YAML file, at most MAX_BYTES. Raises ConfigError where it cannot be."""
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not UTF-8 text"
        raise ConfigError(f"{path}: cannot be read: {reason}; name a readable file") from error


def parse_yaml(text: str, *, where: str) -> object:
    """Parse YAML to None, bool, int, float, str, list and dict with text keys.

    where: prefix of messages. Raises ConfigError for what is not YAML, for aliases, tags, repeated
    keys and numbers of more than MAX_DIGITS, and beyond MAX_BYTES or MAX_DEPTH.
    """
    if len(text) > MAX_BYTES:
        raise ConfigError(f"{where}: has more than {MAX_BYTES:,} bytes; shorten it")
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        return None if node is None else loader.value_of(node)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{where}: not YAML: {' '.join(str(error).split())[:500]}") from None


def _text(node: yaml.ScalarNode) -> str:
    text: str = node.value
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise _fault(node, "half of a surrogate pair is no character")
    return text


def _fault(at: yaml.Node | yaml.Event, what: str) -> ConfigError:
    line = at.start_mark.line + 1 if at.start_mark else 1
    return ConfigError(f"line {line}: {what}")
