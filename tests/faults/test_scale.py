"""Many trials and many classes: what a retraining holds does not grow with them beyond a limit."""

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import psutil
import pytest
from project_folder import ProjectFolder, overrides
from stored_project import copied

pytest_plugins = ["faults_fixtures"]
pytestmark = [pytest.mark.slow, pytest.mark.chaos, pytest.mark.timeout(1800)]

TRIALS = 200
TINY = (
    "search.epochs=1",
    f"search.axes={{seed: {list(range(1000, 1000 + TRIALS))}}}",
    "trial.network={name: mlp, hidden_units: 4}",
    "trial.minibatch_size=64",
)
MIB = 2**20


@dataclass(frozen=True, slots=True)
class Sample:
    """What a process tree holds."""

    resident: int
    """Bytes of the command's own process."""
    descriptors: int
    """Of the command's own process."""
    processes: int
    """With the fork server, Prefect's server and their children."""

    @classmethod
    def of(cls, pid: int) -> "Sample":
        """Look now."""
        process = psutil.Process(pid)
        resident, descriptors = process.memory_info().rss, process.num_fds()
        return cls(resident, descriptors, len(process.children(recursive=True)))


def samples(process: "subprocess.Popen[str]") -> Iterator[tuple[int, Sample]]:
    """Number of trials that have ended, and what is held then: as each line of progress comes."""
    assert process.stderr is not None
    for line in process.stderr:
        if found := re.match(rf"(\d+)/{TRIALS} ", line):
            yield int(found[1]), Sample.of(process.pid)


def around(found: dict[int, Sample], place: int) -> Sample:
    """Medians of nine trials that end at a place: a collection of garbage is no trend."""
    near = [found[number] for number in range(place - 8, place + 1)]
    return Sample(
        resident=int(median(one.resident for one in near)),
        descriptors=int(median(one.descriptors for one in near)),
        processes=int(median(one.processes for one in near)),
    )


def test_two_hundred_trials_leave_memory_and_descriptors_as_they_were(
    stored: Path, tmp_path: Path
) -> None:
    """From the 50th to the 200th at most 32 MiB, four descriptors and two processes more."""
    folder = ProjectFolder(copied(stored, tmp_path / "project"))
    with folder.start("tune", "--workers", "2", *overrides(*TINY)) as process:
        found = dict(samples(process))
        process.communicate(timeout=120)

    assert process.returncode == 0
    assert len(found) == TRIALS
    before, after = around(found, 50), around(found, TRIALS)
    print(before, after)  # noqa: T201 - for docs/reliability.md
    assert after.resident - before.resident <= 32 * MIB
    assert after.descriptors - before.descriptors <= 4
    assert after.processes - before.processes <= 2


CLASSES, EACH = 2000, 10
MEASURED = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:], check=False).returncode
print("peak", resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
sys.exit(code)
"""
MANY = (
    "data.name=many",
    "data.image_size=8",
    "search.epochs=1",
    "search.axes={}",
    "trial.network={name: mlp, hidden_units: 32}",
    "trial.minibatch_size=256",
)


def write_many_classes(path: Path) -> None:
    """Each class a pattern of its own, each image with noise of its own."""
    random = np.random.default_rng(5)
    patterns = random.integers(60, 200, size=(CLASSES, 8, 8))
    labels = np.repeat(np.arange(CLASSES), EACH)
    noise = random.integers(-50, 50, size=(len(labels), 8, 8))
    np.savez(path, images=(patterns[labels] + noise).astype(np.uint8), labels=labels)


def measured(folder: ProjectFolder, *words: str) -> int:
    """Run a command; bytes of the largest of its processes at its peak."""
    pitchpipe = str(Path(sys.executable).parent / "pitchpipe")
    ran = subprocess.run(
        [sys.executable, "-c", MEASURED, pitchpipe, *words],
        cwd=folder.root,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert ran.returncode in (0, 3), ran.stderr  # 3: one epoch is too little to be promoted
    peak = 1024 * int(ran.stderr.split()[-1])
    print(words[0], peak // MIB, "MiB")  # noqa: T201 - for docs/reliability.md
    return peak


def test_two_thousand_classes_are_prepared_trained_and_reported(project: ProjectFolder) -> None:
    """Each command within 1.5 GiB a process, the report within 2 MiB, its scores within 2 MiB."""
    write_many_classes(project.root / "many.npz")
    peaks = [
        measured(project, "data", "add", "many.npz", "--dataset", "many"),
        measured(project, "prepare", *overrides(*MANY)),
        measured(project, "run", *overrides(*MANY)),
        measured(project, "evaluate", "1", "--model", "many-classifier"),
        measured(project, "run", "--force", *overrides(*MANY, "trial.seed=1")),
    ]

    assert max(peaks) < 1.5 * 2**30
    sizes = {
        path: path.stat().st_size
        for name in ("report.html", "evaluation.json")
        for path in project.root.glob(f"mlruns/**/{name}")
    }
    print({path.name: size for path, size in sizes.items()})  # noqa: T201 - as above
    assert {path.name for path in sizes} == {"report.html", "evaluation.json"}
    assert {path: size for path, size in sizes.items() if size > 2 * MIB} == {}
