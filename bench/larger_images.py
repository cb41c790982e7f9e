"""Colour images of 64, 128 and 224 pixels: does the input path feed the network?

    python bench/larger_images.py [--images 600] [--output bench/results/larger_images.txt]

1,200 JPEGs of 256 pixels are cut from scikit-learn's two photographs. A residual network is trained
on them by one process with two threads: by `train_trial`, on what `pitchpipe prepare` made of them;
by a loop over torchvision's ImageFolder with the same crops, mirrors and colours, with 0, 1 and 2
processes of the DataLoader; and by the bare step, again and again on one minibatch: no input path
can be quicker. Each is a process of its own, in turns. Last: what a trial's process took at most,
beside what its activations need (`pitchpipe networks`).

torchvision must be importable, without timm's extra as `make test-timm` installs it:
PYTHONPATH=.venv/timm:tests/support.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import timm_operators  # noqa: F401 - before torchvision
import torch
from PIL import Image
from sklearn.datasets import load_sample_images
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision import datasets
from torchvision.transforms import v2

from models.config import TrialConfig
from models.datasets.prepared import read_manifest
from models.evaluation.network_costs import network_cost
from models.training.fit import train_trial
from models.training.source import package_versions
from models.training.worker import ALLOCATOR_ENVIRONMENT
from models.trials import TrialResult, TrialSpec, read_history

PITCHPIPE = Path(sys.executable).with_name("pitchpipe")
SIDES = (64, 128, 224)
MINIBATCH = 32
EPOCHS = 2
ROUNDS = 3
PADDING, COLOUR = 4, 0.3
CONFIG = {
    "network": {"name": "resnet", "width": 16, "depth": 1},
    "augmentation": [
        {"name": "crop", "padding": PADDING, "mirror": True},
        {"name": "color", "brightness": COLOUR, "contrast": COLOUR},
    ],
    "minibatch_size": MINIBATCH,
    "threads": 2,
}
ENTRANTS = ("bare step", "pitchpipe", "ImageFolder, 0", "ImageFolder, 1", "ImageFolder, 2")


@dataclass(frozen=True, slots=True)
class Ran:
    """One entrant in one process."""

    rate: float
    """Train images a second of its better epoch; pitchpipe's with its validation."""
    peak_mib: float
    """Of the process, its DataLoader's processes not counted."""


def write_photos(folder: Path, images: int) -> None:
    """Cut images of each of the two photographs, as JPEG, in class folders."""
    random = np.random.default_rng(0)
    for name, photo in zip(("china", "flower"), load_sample_images().images, strict=True):
        (folder / name).mkdir(parents=True)
        for number in range(images):
            side = int(random.integers(160, 400))
            top, left = (int(random.integers(0, end - side + 1)) for end in photo.shape[:2])
            cut = Image.fromarray(photo[top : top + side, left : left + side])
            cut.resize((256, 256)).save(folder / name / f"{number:04}.jpg", quality=90)


def prepare(photos: Path, side: int, project: Path) -> Path:
    """Prepare them for a side by pitchpipe's own commands; return the folder of the arrays."""
    chosen = ("data.name=photos", f"data.image_size={side}", "data.channels=3")
    options = [word for one in chosen for word in ("--set", one)]
    for command in (
        ["init", str(project)],
        ["--root", str(project), "data", "add", str(photos), "--dataset", "photos", *options],
        ["--root", str(project), "prepare", *options],
    ):
        subprocess.run([str(PITCHPIPE), *command], check=True, capture_output=True)
    return project / "data/prepared"


def config() -> TrialConfig:
    return TrialConfig.model_validate_json(json.dumps(CONFIG))


def network(side: int) -> nn.Module:
    return config().network.build(channels=3, image_size=side, classes=2)


def bare(side: int) -> float:
    """Step on one minibatch for some seconds; return images a second."""
    built = network(side)
    optimizer = torch.optim.Adam(built.parameters(), fused=True)
    images = torch.rand(MINIBATCH, 3, side, side).to(memory_format=torch.channels_last)
    labels = torch.arange(MINIBATCH) % 2
    rates, began = [], time.perf_counter()
    while time.perf_counter() - began < 6:
        start = time.perf_counter()
        step(built, optimizer, images, labels)
        rates.append(MINIBATCH / (time.perf_counter() - start))
    return statistics.median(rates)


def step(
    built: nn.Module, optimizer: torch.optim.Optimizer, images: Tensor, labels: Tensor
) -> None:
    optimizer.zero_grad()
    nn.CrossEntropyLoss()(built(images), labels).backward()
    optimizer.step()


def loop(photos: Path, side: int, workers: int) -> float:
    """Train as one writes it by hand; return images a second of the better epoch."""
    change = v2.Compose(
        [
            v2.ToImage(),
            v2.Resize((side, side)),
            v2.RandomCrop(side, padding=PADDING),
            v2.RandomHorizontalFlip(),
            v2.ColorJitter(brightness=COLOUR, contrast=COLOUR),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize([0.5] * 3, [0.25] * 3),
        ]
    )
    images = datasets.ImageFolder(str(photos), transform=change)
    batches: Iterable[tuple[Tensor, Tensor]] = DataLoader(
        images,
        batch_size=MINIBATCH,
        shuffle=True,
        num_workers=workers,
        persistent_workers=bool(workers),
    )
    built = network(side)
    optimizer = torch.optim.Adam(built.parameters(), fused=True)
    seconds = []
    for _ in range(EPOCHS):
        began = time.perf_counter()
        for pixels, labels in batches:
            step(built, optimizer, pixels.to(memory_format=torch.channels_last), labels)
        seconds.append(time.perf_counter() - began)
    return len(images) / min(seconds)


def pitchpipe(prepared: Path) -> float:
    """Train by train_trial; return images a second of the better epoch, validation included."""
    manifest = read_manifest(prepared)
    spec = TrialSpec(
        config=config(), dataset=manifest.digest, source="0" * 64, versions=package_versions()
    )
    with tempfile.TemporaryDirectory() as folder:
        trial = Path(folder) / "trial"
        outcome = train_trial(
            spec, trial, prepared=prepared, budget=EPOCHS, on_epoch=lambda _: None
        )
        assert isinstance(outcome, TrialResult)
        seconds = min(record.seconds for record in read_history(trial))
    return manifest.splits["train"].images / seconds


def run(entrant: str, side: int, photos: Path, prepared: Path) -> Ran:
    """Run an entrant here."""
    torch.set_num_threads(2)
    torch.manual_seed(0)
    if entrant == "bare step":
        rate = bare(side)
    elif entrant == "pitchpipe":
        rate = pitchpipe(prepared)
    else:
        rate = loop(photos, side, int(entrant[-1]))
    return Ran(rate, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def measure(entrant: str, side: int, photos: Path, prepared: Path) -> Ran:
    """Run an entrant in a process of its own."""
    one = [entrant, str(side), str(photos), str(prepared)]
    done = subprocess.run(
        [sys.executable, __file__, "--one", *one],
        env={**os.environ, **ALLOCATOR_ENVIRONMENT},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{entrant}: {done.stderr}")
    return Ran(**json.loads(done.stdout.splitlines()[-1]))


def table(images: int, folder: Path) -> Iterator[str]:
    yield f"{2 * images} JPEGs; {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start;"
    yield f"minibatch {MINIBATCH}, two threads; the better of {EPOCHS} epochs, median of {ROUNDS}\n"
    yield f"{'pixels':>6}  {'':<16} {'images/s':>8} {'of bare':>8} {'peak MiB':>9}"
    write_photos(folder / "photos", images)
    for side in SIDES:
        prepared = prepare(folder / "photos", side, folder / f"project-{side}")
        runs: dict[str, list[Ran]] = {entrant: [] for entrant in ENTRANTS}
        for _ in range(ROUNDS):
            for entrant, found in runs.items():
                found.append(measure(entrant, side, folder / "photos", prepared))
        rates = {one: statistics.median(ran.rate for ran in found) for one, found in runs.items()}
        for entrant, rate in rates.items():
            peak = max(ran.peak_mib for ran in runs[entrant])
            share = rate / rates["bare step"]
            yield f"{side:>6}  {entrant:<16} {rate:>8.0f} {share:>8.2f} {peak:>9.0f}"
        cost = network_cost(config().network, channels=3, image_size=side, classes=2)
        activations = MINIBATCH * cost.activation_bytes / 2**20
        yield f"{side:>6}  activations of a minibatch: {activations:.0f} MiB\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=600, help="of each of two classes")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--one", nargs=4, metavar=("ENTRANT", "PIXELS", "PHOTOS", "PREPARED"))
    asked = parser.parse_args()
    if asked.one:
        entrant, side, photos, prepared = asked.one
        print(json.dumps(asdict(run(entrant, int(side), Path(photos), Path(prepared)))))
        return
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        for line in table(asked.images, Path(folder)):
            print(line, flush=True)
            lines.append(line)
    if asked.output:
        asked.output.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
