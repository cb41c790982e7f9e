"""Training on more images than fit in the memory that a process may have."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from project_folder import REPOSITORY
from training_fixtures import write_prepared

from models.datasets.prepared import read_manifest
from models.processes import LINUX

SIDE, CHANNELS, IMAGES = 96, 3, 40_000
LIMIT = 700 * 2**20
"""Bytes of private memory; the train split has 1.1 GB."""

TRAIN = """
import json, resource, sys
from pathlib import Path
import torch, pytorch_lightning  # before the limit: what they take is not of the data
from training_fixtures import ignore, spec_of
from models.networks import MlpConfig
from models.config import TrialConfig
from models.datasets.prepared import read_manifest
from models.training.fit import train_trial

def taken():
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines["VmData"].split()[0]) * 1024

prepared, limit = Path(sys.argv[1]), int(sys.argv[2])
torch.set_num_threads(1)
resource.setrlimit(resource.RLIMIT_DATA, (taken() + limit,) * 2)
config = TrialConfig(network=MlpConfig(hidden_units=2, hidden_layers=1), minibatch_size=128)
spec = spec_of(config, read_manifest(prepared))
outcome = train_trial(spec, Path("trial"), prepared=prepared, budget=1, on_epoch=ignore)
print(json.dumps([type(outcome).__name__, outcome.epochs]))
try:
    bytearray(limit)
except MemoryError:
    print("limited")
"""


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """Prepared images of one grey level each, most of which are holes in a sparse file."""
    prepared = tmp_path / "prepared"
    write_prepared(prepared, channels=CHANNELS)
    manifest = read_manifest(prepared)
    splits = {}
    for name, info in manifest.splits.items():
        count = IMAGES if name == "train" else 64
        for array, row, kind in (
            ("images", (CHANNELS, SIDE, SIDE), np.uint8),
            ("labels", (), np.int64),
            ("ids", (32,), np.uint8),
        ):
            path = prepared / name / f"{array}.npy"
            np.lib.format.open_memmap(path, mode="w+", dtype=kind, shape=(count, *row))
        splits[name] = info.model_copy(update={"images": count})
    manifest = manifest.model_copy(update={"splits": splits, "image_size": SIDE})
    (prepared / "manifest.json").write_text(manifest.model_dump_json())
    return prepared


@pytest.mark.skipif(not LINUX, reason="a limit of private memory, and /proc, are Linux's")
@pytest.mark.slow
def test_a_dataset_larger_than_memory_trains(large: Path, tmp_path: Path) -> None:
    """One epoch over 1.1 GB of images under a limit of 0.7 GB, which is shown to bite."""
    assert (large / "train" / "images.npy").stat().st_size > 1.5 * LIMIT
    paths = os.pathsep.join([str(REPOSITORY / "tests/support"), str(REPOSITORY)])
    done = subprocess.run(
        [sys.executable, "-c", TRAIN, str(large), str(LIMIT)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    trained, limited = done.stdout.splitlines()
    assert json.loads(trained) == ["TrialResult", 1]
    assert limited == "limited"
