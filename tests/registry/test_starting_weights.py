"""`trial.start` looked up: a version, the champion or a file, and what is known of its images."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from registry_records import BARS

from flows.datasets.files import PREPARED
from flows.registry.promotion.commands import force_promotion
from flows.registry.starting import place_start, resolve_start, version_with
from flows.retraining.decide import fingerprint
from flows.tracking.store import Tracking
from models.config import Params, load_params
from models.datasets.prepared import Manifest, read_manifest
from models.errors import ConfigError
from models.trials import TrialFiles

pytest_plugins = ["registry_fixtures", "registry_project"]

NETWORK = "trial.network={name: cnn, channels: [4, 4], hidden_units: 8}"
"""That of version 2, whose weights can be begun with."""


def asked(*overrides: str) -> Params:
    return load_params(Path("params.yaml"), [NETWORK, *overrides])


def manifest() -> Manifest:
    return read_manifest(PREPARED)


def test_a_version_is_looked_up_with_its_normalisation_and_what_it_saw(
    bars_tracking: Tracking,
) -> None:
    """By number, from another name, or by alias once it is champion: the same weights."""
    force_promotion(bars_tracking, 2, reason="for a test")
    starts = [
        resolve_start(asked(f"trial.start.from={origin}"), manifest())
        for origin in ("2", f"{BARS}/2", f"{BARS}@champion", "champion")
    ]

    first = starts[0]
    assert first is not None
    assert first.parent.called == f"version 2 of {BARS}"
    assert first.config.head_fits
    assert first.config.mean == pytest.approx([0.3])
    assert first.trained_ids is not None
    assert (np.asarray(first.trained_ids) == 255).all()
    assert {start.config.weights for start in starts if start} == {first.config.weights}
    assert first.given_to(asked("trial.start.from=2")).trial.start == first.config


def test_a_file_with_the_weights_of_a_version_is_that_version(bars_tracking: Tracking) -> None:
    """Found by the digest, so that the images its training saw are known; else they are not."""
    source = resolve_start(asked("trial.start.from=2"), manifest())
    assert source is not None
    shutil.copy(source.file, "copy.safetensors")
    params = asked("trial.start.from=copy.safetensors")

    unknown = resolve_start(params, manifest())
    assert unknown is not None
    assert (unknown.parent.name, unknown.trained_ids) == (None, None)

    digest = source.parent.weights
    bars_tracking.client.set_model_version_tag(BARS, "2", "weights.digest", digest)
    known = resolve_start(params, manifest())
    assert known is not None
    assert known.parent.called == f"version 2 of {BARS}"
    assert known.trained_ids is not None
    found = version_with(digest)
    assert found is not None
    assert found.record.version == 2


def test_damaged_weights_of_a_trial_are_written_anew(tmp_path: Path) -> None:
    """As the trial's failure says; whole ones are left as they are."""
    source, directory = tmp_path / "source.safetensors", tmp_path / "trial"
    source.write_bytes(b"weights")
    directory.mkdir()
    place_start(source, directory)
    placed = directory / TrialFiles.START
    first = placed.stat().st_ino

    place_start(source, directory)
    assert placed.stat().st_ino == first
    placed.write_bytes(b"we\0ghts")
    place_start(source, directory)

    assert placed.read_bytes() == b"weights"


def test_other_classes_make_the_head_new(bars_tracking: Tracking) -> None:
    """As many classes of other names, too: what a row of the head meant is not meant any more."""
    assert bars_tracking.name == BARS
    renamed = manifest().model_copy(update={"classes": ("left", "middle", "right")})
    start = resolve_start(asked("trial.start.from=2"), renamed)
    assert start is not None
    assert (start.config.layers, start.config.kept) == ("all", "backbone")

    both = asked("trial.start.from=2", "search.axes={start.layers: [backbone, all]}")
    with pytest.raises(ConfigError, match="the head is new with `all` as with `backbone`"):
        resolve_start(both, renamed)


@pytest.mark.parametrize(
    ("overrides", "why"),
    [
        (["trial.start.from=9"], "trial.start.from 9: .*begins with new weights: pass --set"),
        (["trial.start.from=champion"], "trial.start.from champion: "),
        (["trial.start.from=cats@champion"], "trial.start.from cats@champion: "),
        (["trial.start.from=1"], "has no weights that another training can begin with"),
        (
            ["trial.start.from=2", f"trial.start.weights={'a' * 64}"],
            "trial.start.weights: a+ is asked for, 2 has",
        ),
        (
            ["trial.start.from=2", "search.axes={network.hidden_units: [8, 16]}"],
            r"hidden.bias is \(8,\) there, \(16,\) here",
        ),
        (
            ["trial.start.from=2", "search.axes={network.name: [cnn, mlp]}"],
            "do not fit this mlp: ",
        ),
    ],
)
def test_what_cannot_be_begun_with_is_refused_before_training(
    bars_tracking: Tracking, overrides: list[str], why: str
) -> None:
    """One message: nothing there, other weights, or a network of the search that has no place."""
    assert bars_tracking.name == BARS
    with pytest.raises(ConfigError, match=why):
        resolve_start(asked(*overrides), manifest())


def test_an_axis_of_layers_compares_with_training_from_nothing(bars_tracking: Tracking) -> None:
    """Where no layer keeps the weights, any network will do."""
    assert bars_tracking.name == BARS
    axes = "search.axes={start.layers: [none, backbone, all]}"
    assert resolve_start(asked("trial.start.from=2", axes), manifest()) is not None


def test_the_decision_sees_what_the_start_names_now(
    bars_tracking: Tracking, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The champion's weights, a file's bytes; and that there is nothing is no error yet."""
    monkeypatch.setattr("flows.retraining.decide.raw_version", lambda _: _Raw)

    def digest(origin: str) -> str | None:
        return fingerprint(asked(f"trial.start.from={origin}")).start

    assert fingerprint(asked()).start is None
    assert digest("champion") == digest("9") == digest("w.safetensors") == "not found"
    force_promotion(bars_tracking, 2, reason="for a test")
    assert digest("champion") == digest("2") == digest(f"{BARS}/2") == "e" * 64
    Path("w.safetensors").write_bytes(b"some")
    some = digest("w.safetensors")
    Path("w.safetensors").write_bytes(b"other")
    assert digest("w.safetensors") not in (some, "not found")


class _Raw:
    digest = "raw"
