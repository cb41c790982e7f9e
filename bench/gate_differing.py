"""On how many test images real pairs of classifiers differ: what the gate's power depends on.

Usage: python bench/gate_differing.py [--data DIR] [--epochs N]      (Fashion-MNIST as IDX files)

Trains the article's CNN (one wider, one with dropout) from several seeds and tables, for each pair,
both accuracies and the share of test images that exactly one of the two has right ("differing"),
beside the share that independent mistakes would give.
"""

import argparse
import gzip
import itertools
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from gate import images_needed
from torch import Tensor, nn
from torch.nn import functional

from models.networks import CnnConfig

TRIALS = {
    "seed 0": (0, CnnConfig()),
    "seed 1": (1, CnnConfig()),
    "wider": (0, CnnConfig(hidden_units=128)),
    "dropout": (0, CnnConfig(dropout=0.3)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("/usr/share/datasets/fashion-mnist"))
    parser.add_argument("--epochs", type=int, default=4)
    options = parser.parse_args()
    torch.set_num_threads(1)
    train, test = (read_split(options.data, name) for name in ("train", "t10k"))
    right = {
        name: correct(trained(config, train, seed=seed, epochs=options.epochs), test)
        for name, (seed, config) in TRIALS.items()
    }
    print(f"Fashion-MNIST, {options.epochs} epochs, minibatches of 64, Adam at 0.001")
    print("  pair                     accuracies          differing  independent | images for 80 %")
    for (one, first), (other, second) in itertools.combinations(right.items(), 2):
        a, b, differing = first.mean(), second.mean(), float(np.mean(first != second))
        independent = a * (1 - b) + b * (1 - a)
        needed = images_needed(0.01, differing, significance=0.05)
        print(
            f"  {one:8} and {other:8} {100 * a:9.2f} % {100 * b:6.2f} % {100 * differing:9.2f} %"
            f" {100 * independent:10.2f} % | {needed:8,}"
        )


def read_split(folder: Path, name: str) -> tuple[Tensor, Tensor]:
    """Return images (n, 1, 28, 28) in [0, 1] and labels (n,)."""
    pixels = _read(folder / f"{name}-images-idx3-ubyte.gz", header=16)
    labels = _read(folder / f"{name}-labels-idx1-ubyte.gz", header=8)
    images = torch.from_numpy(pixels.reshape(-1, 1, 28, 28).copy()).float() / 255
    return images, torch.from_numpy(labels.copy()).long()


def trained(
    config: CnnConfig, train: tuple[Tensor, Tensor], *, seed: int, epochs: int
) -> nn.Module:
    """Train from the seed, in minibatches of 64."""
    torch.manual_seed(seed)
    network = config.build(channels=1, image_size=28, classes=10)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.001)
    images, labels = train
    for _ in range(epochs):
        order = torch.randperm(len(labels))
        for start in range(0, len(order), 64):
            rows = order[start : start + 64]
            optimizer.zero_grad()
            loss = functional.cross_entropy(network(images[rows]), labels[rows])
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            optimizer.step()
    return network.eval()


@torch.no_grad()
def correct(network: nn.Module, test: tuple[Tensor, Tensor]) -> npt.NDArray[np.bool_]:
    """(n,): the network names the class of the image rightly."""
    images, labels = test
    named = torch.cat(
        [network(images[at : at + 1000]).argmax(dim=1) for at in range(0, len(images), 1000)]
    )
    return (named == labels).numpy()


def _read(path: Path, *, header: int) -> npt.NDArray[np.uint8]:
    with gzip.open(path) as file:
        return np.frombuffer(file.read(), dtype=np.uint8)[header:]


if __name__ == "__main__":
    main()
