"""Exports that are not what they say: each is refused, and nothing is registered or left behind."""

import hashlib
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
from archive_crafting import MARKER, RUN, Members, Payload, crafted, edited, packed, put
from registry_records import BARS, BarsNetwork, bars_registration

from flows.registry.listing import find_version, list_versions
from flows.registry.promotion.commands import force_promotion
from flows.tracking.store import Tracking, open_tracking
from flows.versions import transfer
from flows.versions.transfer import ExportIndex, export_version, exported_name, import_file
from models.digests import digest_of
from models.errors import InputError, IntegrityError, PitchpipeError

pytest_plugins = ["registry_fixtures", "registry_project"]

ARCHIVE = "data/model.pt2"


@pytest.fixture
def exported(bars_tracking: Tracking, tmp_path: Path) -> Path:
    """A sound export of version 1, which was decided about."""
    path = tmp_path / "bars.zip"
    force_promotion(bars_tracking, 1, reason="the first")
    export_version(bars_tracking, "1", path)
    return path


def flip(members: Members) -> None:
    content = bytearray(members["model/data/model.pt2"])
    content[100] ^= 1
    members["model/data/model.pt2"] = bytes(content)


def flip_and_sign(members: Members) -> None:
    flip(members)
    index = json.loads(members["export.json"])
    digest = hashlib.sha256(members["model/data/model.pt2"]).hexdigest()
    index["checksums"]["model/data/model.pt2"] = digest
    members["export.json"] = json.dumps(index).encode()


def resign(members: Members, index: dict[str, Any]) -> None:
    """Give a changed index the digest of its content, as somebody thorough would."""
    content = {name: value for name, value in index.items() if name != "digest"}
    parsed = ExportIndex.model_validate_json(json.dumps(index))
    assert set(content) | {"digest"} == set(parsed.model_dump())
    members["export.json"] = parsed.sealed().model_dump_json(by_alias=True).encode()


def praise(members: Members) -> None:
    index = json.loads(members["export.json"])
    index["tags"]["test.accuracy"] = "1.0"
    members["export.json"] = json.dumps(index).encode()


def rewrite_history(members: Members) -> None:
    index = json.loads(members["export.json"])
    index["ledger"][-1]["reasons"] = ["the best of all"]
    resign(members, index)


def borrow_history(members: Members) -> None:
    index = json.loads(members["export.json"])
    resign(members, {**index, "version": 7})


def forge_report(members: Members) -> None:
    members["report/report.html"] = b"<p>perfect</p>"


def drop(members: Members) -> None:
    del members["model/MLmodel"]


def add(members: Members) -> None:
    members["model/code/evil.py"] = b"raise SystemExit"


def climb(members: Members) -> None:
    index = json.loads(members["export.json"])
    index["checksums"]["../../evil"] = "0" * 64
    members["export.json"] = json.dumps(index).encode()
    members["../../evil"] = b"evil"


def unindex(members: Members) -> None:
    del members["export.json"]


def garble(members: Members) -> None:
    members["export.json"] = b"{}"


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (flip, IntegrityError),
        (flip_and_sign, IntegrityError),
        (praise, IntegrityError),
        (rewrite_history, IntegrityError),
        (borrow_history, IntegrityError),
        (forge_report, IntegrityError),
        (drop, InputError),
        (add, InputError),
        (climb, InputError),
        (unindex, InputError),
        (garble, InputError),
    ],
)
def test_an_altered_export_is_refused(
    exported: Path,
    bars_tracking: Tracking,
    change: Callable[[Members], None],
    error: type[Exception],
) -> None:
    """Whatever was changed in it: an error with the file's name, no version, no scratch folder."""
    with zipfile.ZipFile(exported) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(exported, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    elsewhere = open_tracking("elsewhere")
    with pytest.raises(error, match=r"bars\.zip"):
        import_file(elsewhere, exported)
    assert list_versions(elsewhere) == []
    assert len(list_versions(bars_tracking)) == 2
    assert list(Path("mlruns").glob(".import-*")) == []
    assert not (Path.cwd().parent / "evil").exists()


def change_files(members: Members, changes: dict[str, bytes | None]) -> None:
    """Change a version's files and sign all of it anew, as somebody thorough would."""
    for name, content in changes.items():
        members.pop(f"model/{name}")
        if content is not None:
            members[f"model/{name}"] = content
    below = {name: body for name, body in members.items() if name != "export.json"}
    checksums = {name: hashlib.sha256(body).hexdigest() for name, body in below.items()}
    files = {
        name.removeprefix("model/"): digest
        for name, digest in checksums.items()
        if name.startswith("model/")
    }
    index = json.loads(members["export.json"])
    tags = {**index["tags"], "model.digest": digest_of({**files})}
    resign(members, {**index, "tags": tags, "checksums": checksums})


def elsewhere_data(members: Members) -> bytes:
    return members["model/MLmodel"].replace(b"model_data: data", b"model_data: pitchpipe")


CRAFTED: dict[str, tuple[dict[str, bytes | None], str]] = {
    "no MLmodel": ({"MLmodel": None}, "no MLmodel"),
    "not YAML": ({"MLmodel": b"\x00{"}, "no MLmodel"),
    "nested": ({"MLmodel": b"[" * 5000}, "no MLmodel"),
    "a list": ({"MLmodel": b"[]"}, "no MLmodel"),
    "flavours": ({"MLmodel": b"flavors: [pytorch]"}, "no MLmodel"),
    "a flavour": ({"MLmodel": b"flavors: {pytorch: 1}"}, "no MLmodel"),
    "one flavour": ({"MLmodel": b"flavors: {pytorch: {}}"}, "could run code"),
    "lineage": ({"pitchpipe/lineage.json": b"{}"}, r"another release .*lineage\.json: spec"),
    "no lineage": ({"pitchpipe/lineage.json": None}, r"no readable lineage\.json"),
    "evaluation": ({"pitchpipe/evaluation.json": b"[]"}, "another release"),
    "ids": ({"pitchpipe/trained_ids.npy": b"\x93NUMPY"}, r"no readable trained_ids\.npy"),
    "prints": ({"pitchpipe/trained_prints.npy": b"PK"}, r"no readable trained_prints\.npy"),
}


def members_of(path: Path) -> Members:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def refused(path: Path, members: Members, match: str) -> None:
    """The members, as an export, are refused and leave nothing."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    elsewhere = open_tracking("elsewhere")
    with pytest.raises(IntegrityError, match=rf"bars\.zip.*{match}"):
        import_file(elsewhere, path)
    assert list_versions(elsewhere) == []


@pytest.mark.parametrize("case", CRAFTED)
def test_a_crafted_export_is_refused_in_a_sentence(exported: Path, case: str) -> None:
    """Every digest is right, what is in it is not: no traceback, no version."""
    changes, said = CRAFTED[case]
    members = members_of(exported)
    change_files(members, changes)
    refused(exported, members, said)


@pytest.mark.parametrize("name", sorted(RUN.keys() - {"weight"}))  # this network has none
def test_code_in_an_exported_network_is_not_run(exported: Path, name: str) -> None:
    """Every digest is right, and what torch would run when it loads the network is refused."""
    members = members_of(exported)
    change_files(members, {ARCHIVE: crafted(members[f"model/{ARCHIVE}"], RUN[name])})
    refused(exported, members, "could run code")
    assert not MARKER.exists()


def test_a_pickle_called_an_exported_network_is_refused(exported: Path) -> None:
    """No archive at all."""
    members = members_of(exported)
    change_files(members, {ARCHIVE: pickle.dumps(Payload())})
    refused(exported, members, "could run code")
    assert not MARKER.exists()


def unknown_value(program: Any) -> None:
    program["graph_module"]["graph"]["nodes"][-1]["inputs"][0]["arg"]["as_tensor"]["name"] = "none"


def other_dimension(program: Any) -> None:
    program["graph_module"]["graph"]["nodes"][-1]["inputs"][1]["arg"]["as_int"] = 0


def most_memory(program: Any) -> None:
    graph = program["graph_module"]["graph"]
    graph["nodes"][-1]["target"] = "torch.ops.aten.expand.default"
    sizes = {"as_ints": [2**20, 2**20, 2**10]}
    graph["nodes"][-1]["inputs"][1] = {"name": "size", "arg": sizes, "kind": 1}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (unknown_value, "cannot be loaded"),
        (other_dimension, "does not give probabilities of 3 classes"),
        (most_memory, "cannot be loaded"),
    ],
)
def test_a_network_that_does_not_predict_is_not_registered(
    exported: Path, change: Callable[[Any], None], said: str
) -> None:
    """Nothing in it would run code, but it is none: tried in a process of its own, first."""
    members = members_of(exported)

    def craft(inner: Members) -> None:
        program = edited(inner)
        change(program)
        put(inner, program)

    change_files(members, {ARCHIVE: crafted(members[f"model/{ARCHIVE}"], craft)})
    refused(exported, members, said)


def test_two_networks_in_one_version_are_refused(bars_tracking: Tracking, tmp_path: Path) -> None:
    """What our commands build again and what other readers load must be one network."""
    path = tmp_path / "bars.zip"
    export_version(bars_tracking, "2", path)
    members = members_of(path)
    name = "pitchpipe/weights.safetensors"
    weights = safetensors.torch.load(members[f"model/{name}"])
    weights["network.output.bias"][0] += 1
    change_files(members, {name: safetensors.torch.save(weights)})
    refused(path, members, "do not predict alike")


def test_a_false_registration_is_not_believed(exported: Path, bars_tracking: Tracking) -> None:
    """Other files under the registration of version 1 are not version 1, and never found as it."""
    members = members_of(exported)
    change_files(members, {"requirements.txt": b"torch\n"})
    exported.write_bytes(packed(members))
    assert import_file(bars_tracking, exported).version == 3
    given = bars_registration(BarsNetwork().eval(), "a" * 32)
    assert find_version(bars_tracking, 1).tags["registration"] == given.digest
    assert find_version(bars_tracking, 3).tags["registration"] != given.digest
    assert import_file(bars_tracking, exported).version == 3


def test_scores_are_those_of_the_files(exported: Path) -> None:
    """Tags that praise a version, signed anew, are not taken over; nor are tags of MLflow's own."""
    members = members_of(exported)
    index = json.loads(members["export.json"])
    praise = {"test.accuracy": "1.0", "mlflow.source.name": "me", "registration": "0" * 64}
    resign(members, {**index, "tags": index["tags"] | praise})
    exported.write_bytes(packed(members))
    elsewhere = open_tracking("elsewhere")
    record = find_version(elsewhere, import_file(elsewhere, exported).version)
    assert record.test is not None
    assert record.test.accuracy == 0.9
    assert "mlflow.source.name" not in record.tags
    assert record.tags["trial.key"] == index["tags"]["trial.key"]
    assert record.tags["config.digest"] == index["tags"]["config.digest"]


def test_an_index_that_unpacks_to_gigabytes_is_not_read(
    bars_tracking: Tracking, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is refused by the size that the zip tells, whatever is in it."""
    path = tmp_path / "bars.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("export.json", b" " * (transfer.MOST_INDEX + 1))
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda *_: pytest.fail("it was read"))
    with pytest.raises(InputError, match=r"bars\.zip: export\.json has more than"):
        import_file(bars_tracking, path)
    with pytest.raises(InputError, match="is not read"):
        exported_name(path)


def test_other_ways_of_packing_are_refused(exported: Path, bars_tracking: Tracking) -> None:
    """LZMA takes memory by its own header."""
    members = members_of(exported)
    with zipfile.ZipFile(exported, "w", zipfile.ZIP_LZMA) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    with pytest.raises(InputError, match=r"bars\.zip: is not packed as"):
        import_file(bars_tracking, exported)


def test_a_full_disk_is_not_the_files_fault(
    exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message names our folder and what would help; the file is sound, and nothing is left."""
    real = Path.open

    def open_full(self: Path, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        full = self.name == "model.pt2" and mode == "wb"
        return open("/dev/full", "wb", 0) if full else real(self, mode, *args, **kwargs)  # noqa: PTH123

    elsewhere = open_tracking("elsewhere")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", open_full)
        with pytest.raises(PitchpipeError, match=r"mlruns/ \(No space left") as caught:
            import_file(elsewhere, exported)
    assert not isinstance(caught.value, InputError | IntegrityError)
    assert list_versions(elsewhere) == []
    assert list(Path("mlruns").glob(".import-*")) == []


def test_weights_are_taken_from_where_they_were_checked(exported: Path) -> None:
    """A flavour that reads its weights elsewhere is not loaded."""
    members = members_of(exported)
    change_files(members, {"MLmodel": elsewhere_data(members)})
    refused(exported, members, "could run code")


def test_a_damaged_member_is_refused(exported: Path) -> None:
    """Compressed bytes that do not decompress: zlib's error is not shown as a traceback."""
    with zipfile.ZipFile(exported) as archive:
        info = archive.getinfo("model/pitchpipe/lineage.json")
    content = bytearray(exported.read_bytes())
    start = info.header_offset + 30 + len(info.filename)
    content[start : start + 8] = b"\xff" * 8
    exported.write_bytes(content)
    with pytest.raises(InputError, match=r"bars\.zip: cannot be read"):
        import_file(open_tracking("elsewhere"), exported)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", b"<html>not found</html>"])
def test_what_is_no_zip_is_refused(bars_tracking: Tracking, tmp_path: Path, content: bytes) -> None:
    """An error with a way out, whatever the bytes."""
    path = tmp_path / "bars.zip"
    path.write_bytes(content)
    with pytest.raises(InputError, match="pitchpipe export"):
        import_file(bars_tracking, path)


def test_a_missing_file_is_refused(bars_tracking: Tracking, tmp_path: Path) -> None:
    """As any input that is not there."""
    with pytest.raises(InputError, match=r"none\.zip"):
        import_file(bars_tracking, tmp_path / "none.zip")


def test_importing_where_it_came_from_finds_the_version(
    exported: Path, bars_tracking: Tracking
) -> None:
    """The same registration is the same version."""
    assert bars_tracking.name == BARS
    assert import_file(bars_tracking, exported).version == 1
    assert len(list_versions(bars_tracking)) == 2
