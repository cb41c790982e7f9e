"""A `trial.start` that cannot be begun with is refused before any work begins."""

import shutil
from pathlib import Path

import pytest
from registry_records import BARS

from flows import run
from flows.datasets.files import PREPARED
from flows.records.retraining import Request
from flows.registry.starting import resolve_start
from flows.retraining import starting
from flows.tracking.store import Tracking
from models.config import Params
from models.datasets.prepared import read_manifest
from models.decision import Decision
from models.errors import ConfigError, InputError

pytest_plugins = ["registry_fixtures", "registry_project"]

NETWORK = "trial.network={name: cnn, channels: [4, 4], hidden_units: 8}"
"""That of version 2, whose weights can be begun with."""


class BegunError(Exception):
    """Work began."""


def begin(*_: object) -> None:
    raise BegunError


def asked(*overrides: str) -> Request:
    return Request(overrides=[NETWORK, *overrides])


@pytest.mark.parametrize(
    ("origin", "why"),
    [
        ("9", f"trial.start.from 9: {BARS} has no version '9'"),
        ("champion", "trial.start.from champion: "),
        ("cats@champion", "cats has no version 'champion'"),
        ("nothing.safetensors", "nothing.safetensors: No such file"),
        ("pretrained", "trial.start.from pretrained: this network comes without weights"),
    ],
)
def test_what_is_not_there_is_refused_before_images_are_ingested(
    bars_tracking: Tracking, monkeypatch: pytest.MonkeyPatch, origin: str, why: str
) -> None:
    """In the words of the later look-up; nothing is ingested, prepared or started."""
    assert bars_tracking.name == BARS
    monkeypatch.setattr(run, "ensure_ingested", begin)

    with pytest.raises((ConfigError, InputError), match=why):
        run.run_retraining(asked(f"trial.start.from={origin}"))


def test_what_is_there_is_begun_with(
    bars_tracking: Tracking, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A version with weights, and no start at all."""
    assert bars_tracking.name == BARS
    bars_tracking.client.set_model_version_tag(BARS, "2", "weights.digest", "e" * 64)
    monkeypatch.setattr(run, "ensure_ingested", begin)

    for overrides in (["trial.start.from=2"], []):
        with pytest.raises(BegunError):
            run.run_retraining(asked(*overrides))


@pytest.mark.parametrize("prepared", [True, False])
def test_weights_that_do_not_fit_are_refused_before_the_flow(
    bars_tracking: Tracking, monkeypatch: pytest.MonkeyPatch, *, prepared: bool
) -> None:
    """A file of another network where the data is prepared; one that is damaged in any case."""
    assert bars_tracking.name == BARS
    monkeypatch.setattr(run, "ensure_ingested", lambda _: None)
    monkeypatch.setattr(run, "decide", lambda *_: Decision(retrain=True, reason="asked"))
    monkeypatch.setattr(run, "_run_flow", begin)
    monkeypatch.setattr(starting, "prepared_is_current", lambda _: prepared)
    found = resolve_start(params_of("trial.start.from=2"), read_manifest(PREPARED))
    assert found is not None
    shutil.copy(found.file, "good.safetensors")
    Path("bad.safetensors").write_bytes(b"bad")
    wider = "trial.network={name: cnn, channels: [4, 4], hidden_units: 16}"

    with pytest.raises(InputError, match=r"bad\.safetensors: is no \.safetensors file"):
        run.run_retraining(asked("trial.start.from=bad.safetensors"))
    with pytest.raises(ConfigError if prepared else BegunError):
        run.run_retraining(asked("trial.start.from=good.safetensors", wider))
    with pytest.raises(BegunError):
        run.run_retraining(asked("trial.start.from=good.safetensors"))


def params_of(*overrides: str) -> Params:
    return asked(*overrides).params()
