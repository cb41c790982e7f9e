"""The ladder of Fashion-MNIST: rungs of examples/ladder and the article's case, two seeds each.

    python bench/ladder.py run FOLDER [--seeds 0 1] [--rungs article mlp rnn cnn_small hour]
    python bench/ladder.py table FOLDER > bench/results/ladder.txt

`run` gives every seed a project of its own in FOLDER, and each rung there one `pitchpipe run` with
one worker a core: selection sees validation, the official 10,000 test images score what was
selected, once. It goes on where it was stopped; a rung that is done is not run again. `table`
compares each rung with the article's case of its seed, image by image (exact McNemar test;
Tango's interval).
"""

import argparse
import contextlib
import ctypes
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from models.config import TrialConfig
from models.config.loading import load_params
from models.evaluation.outcomes import outcomes_of
from models.evaluation.records import Lead
from models.gate.paired import lead_of
from models.record import Record

HERE = Path(__file__).resolve().parent.parent
RUNGS = {
    "article": HERE / "examples/article.yaml",
    **{name: HERE / f"examples/ladder/{name}.yaml" for name in ("mlp", "rnn", "cnn_small", "hour")},
}
_PR_SET_CHILD_SUBREAPER = 36
DONE = "ladder.jsonl"
"""In a project: a line for each rung."""


class Rung(Record):
    """One run of a rung."""

    rung: str
    seed: int
    version: int
    parameters: int
    epochs: int
    """Of all trials."""
    accuracy: float
    """On test, as the next two."""
    f1_macro: float
    cross_entropy: float
    cpu_minutes: float
    """Of the command and all its processes."""
    minutes: float
    """On the clock."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("command", choices=("run", "table"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--rungs", nargs="+", choices=RUNGS, default=list(RUNGS))
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    asked = parser.parse_args()
    if asked.command == "table":
        print_table(asked.folder)
        return
    _adopt_orphans()
    for seed in asked.seeds:
        project = asked.folder.resolve() / f"seed-{seed}"
        if not project.exists():
            pitchpipe("init", str(project), cwd=asked.folder)
        for rung in asked.rungs:
            if rung not in {one.rung for one in done(project)}:
                keep(project, climb(project, rung, seed=seed, workers=asked.workers))


def climb(project: Path, rung: str, *, seed: int, workers: int) -> Rung:
    """Run one rung in a project."""
    before, started = _cpu_seconds(), time.monotonic()
    asked = ("--params", str(RUNGS[rung]), "--set", f"trial.seed={seed}", "--workers", str(workers))
    ran = json.loads(pitchpipe("run", "--json", *asked, cwd=project))
    minutes = (time.monotonic() - started) / 60
    _await_orphans()
    cpu_minutes = (_cpu_seconds() - before) / 60
    test = ran["test"]
    return Rung(
        rung=rung,
        seed=seed,
        version=ran["version"],
        parameters=_parameters(ran["best"]["config"]["network"]),
        epochs=_epochs(rung) * ran["trials"]["total"],
        accuracy=test["accuracy"],
        f1_macro=test["f1_macro"],
        cross_entropy=test["cross_entropy"],
        cpu_minutes=cpu_minutes,
        minutes=minutes,
    )


def print_table(folder: Path) -> None:
    """Print a row for each rung and seed; `lead` is that over the article's case."""
    print(
        "rung        seed  parameters  epochs  CPU min    min  accuracy  macro F1  "
        "cross-entropy  points over article, 95 %"
    )
    for project in sorted(folder.resolve().glob("seed-*")):
        leads = leads_of(project)
        for one in done(project):
            lead = leads.get(one.rung)
            print(
                f"{one.rung:10}  {one.seed:4}  {one.parameters:10,}  {one.epochs:6}  "
                f"{one.cpu_minutes:7.0f}  {one.minutes:5.0f}  {one.accuracy:8.4f}  "
                f"{one.f1_macro:8.4f}  {one.cross_entropy:13.4f}  {_shown(lead)}",
                flush=True,
            )


def leads_of(project: Path) -> dict[str, Lead]:
    """Lead of each rung over the article's case of its seed; empty where that is not done."""
    os.chdir(project)  # where versions and prepared images are found
    os.environ.pop("MLFLOW_TRACKING_URI", None)  # which MLflow set for the project before
    from flows.registry.promotion.judge import score_on_test  # noqa: PLC0415 - reads the project
    from flows.tracking.store import open_tracking  # noqa: PLC0415

    tracking = open_tracking("fashion-mnist-classifier")
    right = {}
    for one in done(project):
        scored = score_on_test(tracking, str(one.version))
        right[one.rung] = outcomes_of(scored.probabilities, scored.labels).right
    article = right.pop("article", None)
    return {} if article is None else {rung: lead_of(one, article) for rung, one in right.items()}


def done(project: Path) -> Sequence[Rung]:
    """Read the rungs that a project has, in the order of the ladder."""
    path = project / DONE
    lines = path.read_text().splitlines() if path.is_file() else []
    found = [Rung.model_validate_json(line) for line in lines]
    return sorted(found, key=lambda one: list(RUNGS).index(one.rung))


def keep(project: Path, rung: Rung) -> None:
    with (project / DONE).open("a") as file:
        file.write(rung.model_dump_json() + "\n")


def pitchpipe(*arguments: str, cwd: Path) -> str:
    """Return what a command prints; a rung that the gate holds (exit code 3) is a rung, too."""
    cwd.mkdir(parents=True, exist_ok=True)
    command = (str(Path(sys.executable).with_name("pitchpipe")), *arguments)
    ran = subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, text=True, check=False)
    if ran.returncode not in (0, 3):
        sys.exit(f"{' '.join(command)} ended with {ran.returncode}")
    return ran.stdout


def _shown(lead: Lead | None) -> str:
    if lead is None:
        return "-"
    low, high = (100 * end for end in (lead.interval.low, lead.interval.high))
    return f"{100 * lead.accuracy:+.2f} ({low:+.2f} to {high:+.2f}), p = {lead.p_value:.2g}"


def _adopt_orphans() -> None:
    """Become the parent of processes whose own ends: their seconds are counted here (Linux)."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _await_orphans() -> None:
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _epochs(rung: str) -> int:
    return load_params(RUNGS[rung]).search.epochs


def _parameters(network: dict[str, object]) -> int:
    config = TrialConfig.model_validate_json(json.dumps({"network": network}))
    built = config.network.build(channels=1, image_size=28, classes=10)
    return sum(weights.numel() for weights in built.parameters())


if __name__ == "__main__":
    main()
