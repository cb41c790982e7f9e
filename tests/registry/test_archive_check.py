"""model.pt2 before it is loaded: what torch would run is refused, what it writes for us is not."""

import contextlib
import io
import json
import operator
import random
import struct
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from archive_crafting import (
    CODE,
    CONSTANTS,
    EXAMPLE,
    MARKER,
    OTHERS,
    PROGRAM,
    RUN,
    WEIGHTS,
    Craft,
    Members,
    all_in,
    crafted,
    edited,
    members_of,
    packed,
    put,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from registry_records import serving_network
from torch import nn
from torch.export import Dim

from flows.registry.safety import archive as checking
from flows.registry.safety.archive import StrangeArchiveError, check_archive
from flows.registry.safety.operators import OPERATORS
from models.config import CnnConfig, MlpConfig, NetworkConfig, RnnConfig
from models.networks.serving import ServingNetwork

pytestmark = [
    # What torch 2.13 says of weights in channels_last, and of those of recurrent networks.
    pytest.mark.filterwarnings("ignore:No complete tensor found in the group"),
    pytest.mark.filterwarnings("ignore:The tensor attributes .* were assigned during export"),
]

KINDS: dict[str, NetworkConfig] = {
    "article": CnnConfig(),
    "cnn": CnnConfig(channels=(4, 4), hidden_units=8, dropout=0.2),
    "mlp": MlpConfig(hidden_units=8, dropout=0.1),
    "gru": RnnConfig(hidden_units=8, dropout=0.1),
    "lstm": RnnConfig(cell="lstm", hidden_units=8, hidden_layers=2),
}


def exported(network: nn.Module, shape: tuple[int, int, int], folder: Path) -> bytes:
    """A network as MLflow exports it: torch names the archive after its file."""
    example = torch.zeros((4, *shape), dtype=torch.uint8)
    program = torch.export.export(network, (example,), dynamic_shapes=({0: Dim.AUTO},))
    torch.export.save(program, folder / "model.pt2")
    return (folder / "model.pt2").read_bytes()


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """An MLP, exported: it has weights, and few nodes."""
    network = KINDS["mlp"].build(channels=1, image_size=8, classes=3)
    serving = ServingNetwork(network, mean=(0.1,), std=(0.3,)).eval()
    return exported(serving, (1, 8, 8), tmp_path_factory.mktemp("exported"))


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of its own, where what runs leaves its mark, and with a module to be imported."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    Path("comes_along.py").write_text(f"{CODE}\n")
    monkeypatch.delitem(sys.modules, "comes_along", raising=False)


def checked(content: bytes) -> None:
    check_archive(io.BytesIO(content))


def load_and_ask(content: bytes, side: int = 8) -> None:
    """Have torch load an archive and predict, as MLflow does."""
    network = torch.export.load(io.BytesIO(content)).module()
    with torch.inference_mode():
        network(torch.zeros((2, 1, side, side), dtype=torch.uint8))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("channels", [1, 3])
def test_exports_of_every_network_pass(kind: str, channels: int, tmp_path: Path) -> None:
    """Each kind of network that can be configured, on grey and colour images."""
    network = KINDS[kind].build(channels=channels, image_size=28, classes=10)
    serving = ServingNetwork(network, mean=(0.1,) * channels, std=(0.3,) * channels).eval()
    checked(exported(serving, (channels, 28, 28), tmp_path))


@pytest.mark.parametrize("name", RUN)
def test_what_torch_would_run_is_refused(archive: bytes, name: str) -> None:
    """The check refuses it and runs nothing; torch does run it, or there were nothing to refuse."""
    content = crafted(archive, RUN[name])
    with pytest.raises(StrangeArchiveError):
        checked(content)
    assert not MARKER.exists()
    # Most payloads give nothing that torch could go on with, and have run by then.
    with contextlib.suppress(Exception):
        load_and_ask(content)
    assert MARKER.exists()


@pytest.mark.parametrize("name", OTHERS)
def test_what_could_run_by_such_ways_is_refused(archive: bytes, name: str) -> None:
    """Names that become code, functions and objects that are looked up, whatever is unpickled."""
    with pytest.raises(StrangeArchiveError):
        checked(crafted(archive, OTHERS[name]))
    assert not MARKER.exists()


def test_an_untouched_copy_passes_and_loads(archive: bytes) -> None:
    """Packing anew is not what the tests above are refused for."""
    content = crafted(archive, lambda _: None)
    checked(content)
    load_and_ask(content)


def paths_of_strings(node: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Where strings stand in a document; a key's path ends with the key, then ''."""
    found = [path] if isinstance(node, str) else []
    inner = (
        node.items()
        if isinstance(node, dict)
        else enumerate(node)
        if isinstance(node, list)
        else ()
    )
    for key, value in inner:
        if isinstance(key, str):
            found.append((*path, key, ""))
        found += paths_of_strings(value, (*path, key))
    return found


def with_string(document: Any, path: tuple[str | int, ...], text: str) -> Any:
    """The document, a string or key in it replaced."""
    if not path:
        return text
    first, *rest = path
    if rest == [""]:
        return {text if key == first else key: value for key, value in document.items()}
    made = document.copy()
    made[first] = with_string(document[first], tuple(rest), text)
    return made


DEFAULTDICT = json.dumps(
    [
        1,
        {
            "type": "collections.defaultdict",
            "context": {
                "default_factory_module": "comes_along",
                "default_factory_name": "x",
                "dict_context": [],
            },
            "children_spec": [],
        },
    ]
)
PAYLOADS = [
    CODE,
    f"images; {CODE}",
    f"softmax\n    {CODE}\n",
    f"x'+str({CODE})+'",
    f'x"+str({CODE})+"',
    f"Symbol('s1', positive=True, integer=True) if {CODE} else 1",
    f"Mul(Integer(2), {CODE})",
    "torch.os.system",
    "torch.ops.aten.from_file.default",
    "_operator.attrgetter",
    DEFAULTDICT,
    "../../../etc/passwd",
    "",
    "é\x00\u2028",
]


@settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_no_string_of_a_network_can_be_made_to_run(archive: bytes, data: st.DataObject) -> None:
    """Any string or key replaced by code or noise: refused, or loaded and nothing is run."""
    members = members_of(archive)
    name = data.draw(st.sampled_from([PROGRAM, WEIGHTS]))
    document = edited(members, name)
    path = data.draw(st.sampled_from(paths_of_strings(document)))
    text = data.draw(st.sampled_from(PAYLOADS) | st.text(max_size=40))
    put(members, with_string(document, path, text), name)
    content = packed(members)
    try:
        checked(content)
    except StrangeArchiveError:
        return
    # Names that do not fit together are no network.
    with contextlib.suppress(Exception):
        load_and_ask(content)
    assert not MARKER.exists()


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_what_passes_is_read_alike_by_torch_and_by_python(
    archive: bytes, data: st.DataObject
) -> None:
    """Bytes of the container changed, or others before it: no file has two readings."""
    content = bytearray(archive)
    starts = [
        content.rfind(b"PK\x05\x06"),
        content.rfind(b"PK\x06\x06"),
        content.find(b"PK\x01\x02"),
    ]
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.sampled_from(starts))
        at = start + data.draw(st.integers(0, min(80, len(content) - start - 1)))
        content[at] = data.draw(st.integers(0, 255))
    made = data.draw(st.sampled_from([b"", b"PK\x05\x06" + b"\0" * 18, archive[:64]])) + bytes(
        content
    )
    try:
        checked(made)
    except StrangeArchiveError:
        return
    reader = torch._C.PyTorchFileReader(io.BytesIO(made))
    ours = {name.partition("/")[2]: content for name, content in members_of(made).items()}
    assert {name: reader.get_record(name) for name in reader.get_all_records()} == ours


def test_two_archives_in_one_file_are_refused(archive: bytes) -> None:
    """Of the same lengths, one after the other: torch reads the first, Python the second."""
    good, evil = members_of(archive), members_of(crafted(archive, RUN["size"]))
    longest = max(len(good[PROGRAM]), len(evil[PROGRAM]))
    for members in (good, evil):
        members[PROGRAM] = members[PROGRAM].ljust(longest)
    both = packed(evil) + packed(good)
    torch_reads = torch._C.PyTorchFileReader(io.BytesIO(both)).get_record("models/model.json")
    assert CODE in torch_reads.decode()
    assert members_of(both) == good
    with pytest.raises(StrangeArchiveError, match="is no archive"):
        checked(both)


def deflate(content: bytes) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as file:
        for name, inner in members_of(content).items():
            file.writestr(name, inner)
    return target.getvalue()


def doubled(content: bytes) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as file:
        for name, inner in members_of(content).items():
            file.writestr(name, inner)
        with pytest.warns(UserWarning, match="Duplicate name"):
            file.writestr(PROGRAM, b"{}")
    return target.getvalue()


def commented(content: bytes) -> bytes:
    return content[:-2] + struct.pack("<H", 3) + b"abc"


@pytest.mark.parametrize(
    "form",
    [deflate, doubled, commented, lambda _: b"", lambda _: b"PK", lambda it: it[: len(it) // 2]],
)
def test_other_forms_of_zip_are_refused(archive: bytes, form: Callable[[bytes], bytes]) -> None:
    """Packed, twice, with a comment, cut off: torch writes none of that."""
    with pytest.raises(StrangeArchiveError):
        checked(form(archive))


def encrypted(content: bytes) -> bytes:
    changed = bytearray(content)
    for header, offset in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
        at = changed.find(header)
        changed[at + offset] |= 1
    return bytes(changed)


def test_an_encrypted_member_is_refused(archive: bytes) -> None:
    """With the flag of the zip format, whatever follows."""
    with pytest.raises(StrangeArchiveError):
        checked(encrypted(archive))


def nested(members: Members) -> None:
    members[PROGRAM] = b"[" * 100_000


def twice(members: Members) -> None:
    text = members[PROGRAM].decode()
    members[PROGRAM] = ('{"guards_code": [], ' + text.lstrip()[1:]).encode()


def not_a_number(members: Members) -> None:
    members[PROGRAM] = members[PROGRAM].replace(b"255", b"NaN", 1)


def long_number(members: Members) -> None:
    members[PROGRAM] = members[PROGRAM].replace(b"255", b"9" * 10_000, 1)


def not_text(members: Members) -> None:
    members[PROGRAM] = b"\xff\xfe{}"


def tensor_of(**changes: object) -> Craft:
    def change(members: Members) -> None:
        document = edited(members, WEIGHTS)
        next(iter(document["config"].values()))["tensor_meta"] |= changes
        put(members, document, WEIGHTS)

    return change


def numbers(*values: int) -> list[dict[str, int]]:
    return [{"as_int": value} for value in values]


def no_weights(members: Members) -> None:
    del members["model/data/weights/weight_0"]


def empty_weight(members: Members) -> None:
    members["model/data/weights/weight_0"] = b""


def other_version(members: Members) -> None:
    members["model/archive_version"] = b"1"


def other_order(members: Members) -> None:
    members["model/byteorder"] = b"big"


@pytest.mark.parametrize(
    "craft",
    [
        nested,
        twice,
        not_a_number,
        long_number,
        not_text,
        no_weights,
        empty_weight,
        other_version,
        other_order,
        tensor_of(sizes=numbers(10**12), strides=numbers(0)),
        tensor_of(sizes=numbers(4), strides=numbers(10**9)),
        tensor_of(sizes=numbers(4), strides=numbers(1, 1)),
        tensor_of(storage_offset={"as_int": 10**9}),
        tensor_of(dtype=9),
        tensor_of(sizes=[{"as_expr": {"expr_str": "2"}}], strides=numbers(1)),
    ],
)
def test_records_that_torch_does_not_write_are_refused(archive: bytes, craft: Craft) -> None:
    """JSON that parsers read differently or not at all, tensors of any size out of few bytes."""
    with pytest.raises(StrangeArchiveError):
        checked(crafted(archive, craft))


@pytest.mark.parametrize(("name", "limit"), [(PROGRAM, "MOST_JSON"), (EXAMPLE, "MOST_EXAMPLE")])
def test_a_record_is_not_read_beyond_its_bound(
    archive: bytes, monkeypatch: pytest.MonkeyPatch, name: str, limit: str
) -> None:
    """It is refused by the size that the list of members tells."""
    monkeypatch.setattr(checking, limit, len(members_of(archive)[name]) - 1)
    with pytest.raises(StrangeArchiveError, match=f"{name}: has more than"):
        checked(archive)


def test_a_tensor_that_lies_in_the_graph_itself_passes(tmp_path: Path) -> None:
    """Constants are tensors, too."""

    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = serving_network()
            self.scale = torch.tensor([1.0, 0.5, 0.25])

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            weighted: torch.Tensor = self.network(images) * self.scale
            return weighted

    content = exported(Scaled().eval(), (1, 8, 8), tmp_path)
    assert json.loads(members_of(content)[CONSTANTS])["config"]
    checked(content)


def test_the_message_says_where_and_what(archive: bytes) -> None:
    """Member, place in it, rule and the value, cut to a line."""
    with pytest.raises(StrangeArchiveError, match=r"model\.json: .*expr_str.*__import__") as caught:
        checked(crafted(archive, RUN["size"]))
    assert "\n" not in str(caught.value)


def test_every_symbol_is_looked_at(archive: bytes) -> None:
    """One size of many that is code is enough."""
    members = members_of(archive)
    document = edited(members)
    sizes = [found for found in all_in(document) if "expr_str" in found]
    random.Random(0).choice(sizes)["expr_str"] = CODE
    put(members, document)
    with pytest.raises(StrangeArchiveError):
        checked(packed(members))


@pytest.mark.parametrize("name", sorted(OPERATORS))
def test_an_operator_on_the_list_changes_nothing_and_takes_no_path(name: str) -> None:
    """By torch's own schema, whatever torch is installed; those on sizes are Python's."""
    if name.startswith("_operator."):
        assert callable(getattr(operator, name.removeprefix("_operator.")))
        return
    packet, overload = name.removeprefix("torch.ops.aten.").split(".")
    schema = getattr(getattr(torch.ops.aten, packet), overload)._schema
    words = {given.name for given in schema.arguments if "str" in str(given.type)}
    assert not schema.is_mutable
    assert words <= {"padding", "rounding_mode", "approximate", "mode"}
