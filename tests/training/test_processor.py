"""The processor in a trial's key: its instruction set, and the precision that it resolves."""

import json
import platform
from pathlib import Path

import pytest
import torch
from training_fixtures import write_prepared

from flows.search.search import Search
from models.config import Params, TrialConfig
from models.errors import PitchpipeError
from models.search.proposals import make_proposal
from models.training import processor, worker
from models.training.source import imported_source_digest
from models.training.worker import TrialJob
from models.trials import TrialSpec

SPEC = TrialSpec(config=TrialConfig(), dataset="d", source="s", versions={})
AUTO = Params(trial=TrialConfig(precision="auto"))


@pytest.mark.skipif(platform.machine() != "x86_64", reason="torch's levels are of x86-64")
def test_it_is_what_torch_computes_with(monkeypatch: pytest.MonkeyPatch) -> None:
    """As torch says of itself; the variable that lowers torch's lowers ours."""
    assert processor.instruction_set() == torch.backends.cpu.get_cpu_capability()
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "default")
    assert processor.instruction_set() == "DEFAULT"
    assert not processor.computes_bf16()


def test_stored_trials_keep_their_keys() -> None:
    """Not known is not in the key; each known one is another key."""
    facts = SPEC.model_dump(mode="json")
    del facts["instructions"], facts["config"]["start"]
    read = TrialSpec.model_validate_json(json.dumps(facts))
    known = [SPEC.model_copy(update={"instructions": one}).key for one in ("AVX2", "AVX512")]

    assert read.key == SPEC.key == GOLDEN
    assert len({SPEC.key, *known}) == 3


GOLDEN = "da5f066df3da5ea247267fc59d848b7cae4c1f7df11333455ee6a35d62bd618d"
"""Of the default config, by the release before the instruction set was known."""


@pytest.mark.parametrize(("bf16", "resolved"), [(True, "bf16"), (False, "float32")])
def test_auto_is_resolved_before_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, bf16: bool, resolved: str
) -> None:
    """The spec names the precision; on a GPU it is float32, and the CPU is not in the key."""
    manifest = write_prepared(tmp_path / "prepared")
    monkeypatch.setattr("flows.search.search.computes_bf16", lambda: bf16)
    monkeypatch.setattr("flows.search.search.instruction_set", lambda: "AVX2")
    for device, precision, instructions in (("cpu", resolved, "AVX2"), ("cuda", "float32", None)):
        trial = Search(AUTO, manifest, device).trial(make_proposal(AUTO, {}))  # type: ignore[arg-type]
        assert trial.spec.config.precision == precision
        assert trial.spec.instructions == instructions
        assert trial.key == trial.spec.key


def test_a_worker_of_another_kind_trains_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its bits would be others than the key promises."""
    monkeypatch.setattr(worker, "instruction_set", lambda: "AVX2")
    spec = SPEC.model_copy(update={"instructions": "AVX512", "source": imported_source_digest()})
    job = TrialJob(spec=spec, directory=Path("t"), prepared=Path("p"), budget=1, label="")
    with pytest.raises(PitchpipeError, match="computes with AVX2, and the trial's key says AVX512"):
        worker._train(job, lambda _: None)
