"""`pitchpipe export --onnx`: the file answers as the version, or is not written."""

import dataclasses
import importlib.util
import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from project_folder import ProjectFolder
from stored_project import copied

from flows.registry.loading import LoadedVersion
from flows.registry.networks import CLOSE
from flows.tracking.store import Tracking
from flows.versions import onnx_export
from flows.versions.onnx_export import MOST_LOST, Parity, export_onnx
from models.errors import ConfigError, IntegrityError

pytest_plugins = ["faults_fixtures"]

EQUAL = Parity(
    images=360,
    largest_difference=1e-7,
    labels_changed=0,
    accuracy=0.95,
    accuracy_exported=0.95,
    interval=(-0.01, 0.01),
)
LOADED = cast(LoadedVersion, SimpleNamespace(files=SimpleNamespace(called="version 1 of digits")))


@pytest.mark.parametrize(
    ("changes", "int8", "refused"),
    [
        ({}, False, ""),
        ({"largest_difference": CLOSE}, False, ""),
        ({"largest_difference": 2 * CLOSE}, False, "differs by 0.0002, at most 0.0001"),
        ({"largest_difference": float("nan")}, False, "differs by nan"),
        ({"largest_difference": 0.2}, True, ""),
        ({"accuracy_exported": 0.99}, True, ""),
        ({"accuracy_exported": 0.95 - MOST_LOST / 2}, True, ""),
        ({"accuracy_exported": 0.93}, True, "loses 0.0200 of accuracy on 360 test images"),
    ],
)
def test_a_file_that_answers_otherwise_is_refused(
    changes: dict[str, Any], *, int8: bool, refused: str
) -> None:
    """32 bits: by a probability; 8 bits: by the accuracy that is lost."""
    parity = dataclasses.replace(EQUAL, **changes)
    if not refused:
        onnx_export._check(parity, LOADED, int8=int8)
        return
    with pytest.raises(IntegrityError, match=refused):
        onnx_export._check(parity, LOADED, int8=int8)


def test_the_difference_is_said_with_its_interval() -> None:
    """As far as the images tell."""
    parity = dataclasses.replace(EQUAL, accuracy_exported=0.945, labels_changed=4)

    assert "accuracy 0.9450, of the version 0.9500, difference -0.0050" in parity.sentence
    assert "(95 % interval -0.0100 to +0.0100); 4 labels changed" in parity.sentence


def test_without_the_extra_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is looked for."""
    monkeypatch.setattr(onnx_export, "NEEDED", ("onnx", "no_such_package"))
    with pytest.raises(ConfigError, match="make install EXTRAS=onnx"):
        export_onnx(Tracking("nowhere", "m"), "champion", Path("a.onnx"), int8=False)


@pytest.mark.slow
@pytest.mark.parametrize("int8", [False, True])
def test_an_exported_version_answers_as_the_version_does(
    stored: Path, tmp_path: Path, *, int8: bool
) -> None:
    """Run by ONNX Runtime, without pitchpipe; the file says what it is."""
    if (
        importlib.util.find_spec("onnxruntime") is None
        and "PITCHPIPE_REQUIRE_ALL" not in os.environ
    ):
        pytest.skip("the extra onnx is not installed")
    import onnxruntime  # noqa: PLC0415 - an extra

    folder = ProjectFolder(copied(stored, tmp_path / "digits"))
    options = ("--onnx", *(("--int8",) if int8 else ()))

    ran = folder.pitchpipe("export", "1", "digits.onnx", *options, "--json")

    assert ran.code == 0, ran.err
    assert ran.err == ""
    found, parity = ran.document, ran.document["parity"]
    assert (found["version"], found["int8"]) == (1, int8)
    low, high = parity["interval"]
    assert low <= parity["accuracy_exported"] - parity["accuracy"] <= high
    session = onnxruntime.InferenceSession(str(folder.root / "digits.onnx"))
    facts = session.get_modelmeta().custom_metadata_map
    assert json.loads(facts["pitchpipe.classes"]) == list("0123456789")
    assert facts["pitchpipe.version"] == "1"
    images = np.load(folder.root / "data/prepared/test/images.npy")
    labels = np.load(folder.root / "data/prepared/test/labels.npy")
    for count in (1, len(images)):  # any number of images
        [probabilities] = session.run(None, {"images": images[:count]})
        assert probabilities.shape == (count, 10)
    accuracy = float((probabilities.argmax(axis=1) == labels).mean())
    assert accuracy == pytest.approx(parity["accuracy_exported"])
    if not int8:
        assert parity["labels_changed"] == 0
        assert parity["largest_difference"] <= found["tolerance"] == CLOSE
