"""A month of the digits' retrainings by the product itself: `python tests/support/month.py FOLDER`.

A delivery a day, a retraining a day, and what a team does meanwhile: it trains longer, tries a
learning rate that is too high, changes the network; a new scanner delivers negatives, a delivery
has wrong labels and is taken back, a champion is rolled back by hand. Commands write all of it, at
the times at which they run: days pass as fast as they can. Stopped, the same command goes on.
"""

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_digits

sys.path.append(str(Path(__file__).parent / "hostile"))  # where the warm commands look
from project_folder import ProjectFolder, make_project, read_until
from warm_commands import end_shared

from flows.runtime.servers import free_port

DAYS = 31
FIRST, DAILY = 480, 40
"""Images of the first delivery, and of each later one."""
SCANNER_DAY, WRONG_LABELS_DAY, ROLLBACK_DAY, IDLE_DAY = 13, 20, 24, 28
LOOKS_AT_DRIFT = (6, SCANNER_DAY, SCANNER_DAY + 1, IDLE_DAY)
"""Days on which the delivery is compared with the champion's validation images."""
REASON = "the branch in Ulm reads 7 as 1 since this morning"
PARAMS = """\
data: {{name: digits, image_size: 16}}
trial:
  network: {network}
  augmentation: {{name: none}}
  objective: accuracy
search:
  epochs: {epochs}
  axes: {{{axes}}}
drift: {{minimum_images: 40}}
"""
DENSE = "{name: mlp, hidden_units: 16}"
SMALL = "{name: cnn, channels: [8, 8], hidden_units: 32}"
LARGER = "{name: cnn, channels: [16, 16], hidden_units: 64}"
RATES = "optimizer.learning_rate: [0.002, 0.004]"


@dataclass(frozen=True, slots=True)
class Setting:
    """Of params.yaml, from a day on."""

    network: str
    epochs: int
    axes: str = RATES

    @property
    def text(self) -> str:
        """Content of the file."""
        return PARAMS.format(network=self.network, epochs=self.epochs, axes=self.axes)


SETTINGS: Mapping[int, Setting] = {
    1: Setting(DENSE, 3),
    4: Setting(DENSE, 12),
    7: Setting(DENSE, 12, "optimizer.learning_rate: [1.0, 3.0]"),
    8: Setting(DENSE, 12),
    10: Setting(SMALL, 10),
    23: Setting(LARGER, 12),
    DAYS: Setting(
        LARGER, 15, "optimizer.learning_rate: [0.001, 0.002, 0.004], minibatch_size: [16, 32, 64]"
    ),
}
"""Day -> what params.yaml says from then on."""


@dataclass(frozen=True, slots=True)
class Month:
    """A project whose days are lived."""

    folder: ProjectFolder

    def live(self, day: int, delivery: Path) -> str:
        """Do what is done on a day; return a line on what came of it."""
        began = time.monotonic()
        setting = SETTINGS[max(first for first in SETTINGS if first <= day)]
        (self.folder.root / "params.yaml").write_text(setting.text)
        if day in LOOKS_AT_DRIFT:
            self.do("monitor", str(delivery))
        if day != IDLE_DAY:
            self.do("data", "add", str(delivery))
        found = self.do("run")
        if day == WRONG_LABELS_DAY:
            self.do("data", "restore", self.do("data", "log")[1]["digest"])
        if day == ROLLBACK_DAY:
            self.do("rollback", "--reason", REASON)
        verdict = found["verdict"] or "nothing to do"
        scored = f", test accuracy {found['test']['accuracy']:.4f}" if found["test"] else ""
        return f"day {day:2}: {verdict}{scored}; {time.monotonic() - began:.0f} s"

    def do(self, *command: str) -> Any:
        """Run a command; return its JSON document."""
        ran = self.folder.pitchpipe(*command, "--json", timeout=900)
        assert ran.code in (0, 3), f"pitchpipe {' '.join(command)}: {ran.code}\n{ran.err}"
        return ran.document


def deliveries(folder: Path) -> Iterator[Path]:
    """Write an NPZ file a day: images (n, 8, 8), uint8, and labels (n,)."""
    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))
    images, labels = (digits.images[order] * 15.9375).astype(np.uint8), digits.target[order]
    for day in range(1, DAYS + 1):
        last = FIRST + DAILY * (day - 1)
        rows = slice(0 if day == 1 else last - DAILY, last)
        seen = 255 - images[rows] // 2 if day >= SCANNER_DAY else images[rows]
        read = (labels[rows] + 1) % 10 if day == WRONG_LABELS_DAY else labels[rows]
        path = folder / f"day-{day:02}.npz"
        np.savez(path, images=seen, labels=read)
        yield path


def live_month(folder: ProjectFolder) -> Iterator[str]:
    """Live the days that were not lived yet; yield a line for each of the month."""
    place = folder.root / "deliveries"
    place.mkdir(exist_ok=True)
    for day, delivery in enumerate(deliveries(place), start=1):
        lived = delivery.with_suffix(".txt")
        if not lived.exists():
            lived.write_text(Month(folder).live(day, delivery) + "\n")
        yield lived.read_text()


@contextmanager
def served(folder: ProjectFolder) -> Iterator[tuple[str, str]]:
    """Addresses of MLflow's page of retrainings, and of Prefect's UI."""
    ports = ["--mlflow-port", str(free_port(0)), "--prefect-port", str(free_port(0))]
    process = folder.start("up", *ports)
    lines = dict(line.split(maxsplit=1) for line in read_until(process, "Ctrl-C").splitlines())
    try:
        yield lines["Runs"].strip(), lines["Prefect"].strip()
    finally:
        process.terminate()
        process.communicate(timeout=60)
        end_shared()


def main(root: Path) -> None:
    """Make the project, or go on with it; its servers run meanwhile, as a team's would."""
    began, folder = time.monotonic(), ProjectFolder(root) if root.exists() else make_project(root)
    with served(folder):
        for line in live_month(folder):
            sys.stdout.write(line)
            sys.stdout.flush()
    sys.stdout.write(f"{time.monotonic() - began:.0f} s on the clock\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
