"""Versions that another release wrote: one sentence, before anything is begun."""

from pathlib import Path
from typing import Any

import pytest
from registry_records import BarsNetwork, bars_registration

from flows.records.lineage import Lineage
from flows.registry.loading import open_version
from flows.registry.registering import register
from flows.tracking.store import Tracking
from flows.versions.reproduce import reproduce_version
from models.errors import IntegrityError
from models.evaluation.records import Evaluation

pytest_plugins = ["registry_fixtures", "registry_project"]


def registered_with(
    tracking: Tracking, monkeypatch: pytest.MonkeyPatch, kind: type, *, old: str, new: str
) -> int:
    """Register a version one of whose records has a key of another name."""
    write = kind.model_dump_json  # type: ignore[attr-defined]  # both are records

    def otherwise(self: object, **options: Any) -> str:
        return str(write(self, **options)).replace(f'"{old}"', f'"{new}"')

    run_id = tracking.client.get_model_version(tracking.name, "1").run_id
    assert run_id is not None
    with monkeypatch.context() as patch:
        patch.setattr(kind, "model_dump_json", otherwise)
        return register(tracking, bars_registration(BarsNetwork().eval(), run_id, seed=5))


@pytest.mark.parametrize(
    ("kind", "old", "said"),
    [
        (Lineage, "calibration_bins", r"params: evaluation\."),
        (Evaluation, "confusion", r"evaluation\.json: confusion"),
    ],
)
def test_a_version_of_another_release_is_not_begun_to_be_reproduced(
    bars_tracking: Tracking, monkeypatch: pytest.MonkeyPatch, kind: type, old: str, said: str
) -> None:
    """Known before the training, not after it."""
    version = registered_with(bars_tracking, monkeypatch, kind, old=old, new="earlier")
    lines: list[str] = []
    with pytest.raises(IntegrityError, match=rf"version 3 .*another release .*{said}"):
        reproduce_version(bars_tracking, str(version), say=lines.append)
    assert lines == []
    assert list(Path("mlruns").glob(".reproducing-*")) == []
    assert open_version(bars_tracking, version).record.version == version
