"""Colour drawings of two styles, from npm: class folders, and what a parent of one style brings.

    npm pack emoji-datasource-google emoji-datasource-twitter
    python bench/emoji.py folders emoji-datasource-google-*.tgz emoji/
    pitchpipe data add emoji/ --dataset emoji --params examples/emoji.yaml
    pitchpipe run --params examples/emoji.yaml
    python bench/emoji.py transfer emoji-datasource-google-*.tgz emoji-datasource-twitter-*.tgz

`folders` writes each drawing as CLASS/SYMBOL_VARIANT.png: `data.group: "{group}_*"` keeps the
variants of a symbol, such as skin tones, in one split. `transfer` trains a parent on Twitter's
drawings and fine-tunes it on 10, 20 and 40 images a class of Google's, beside training from
nothing; no symbol of Google's test images is among those of parent or child. Test accuracy over
seeds, mean and standard deviation.
"""

import argparse
import io
import json
import re
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors.torch
from fine_tuning import Images, Labels, accuracy, train, write_manifest, write_split
from numpy.typing import NDArray
from PIL import Image

from models.config import SplitName, TrialConfig
from models.config.start import StartConfig
from models.datasets.prepared import Manifest
from models.training.checkpoint import load_weights
from models.training.starting import read_parent
from models.trials import TrialFiles

SIDE = 64
PARENT_EPOCHS, CHILD_EPOCHS = 60, 120
VALIDATION = 10
"""Images a class on which the child's epoch is chosen."""
NO_CLASS = "Component"
"""Five patches of skin tones."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(required=True, dest="command")
    folders = commands.add_parser("folders")
    folders.add_argument("package", type=Path)
    folders.add_argument("folder", type=Path)
    transfer = commands.add_parser("transfer")
    transfer.add_argument("child", type=Path)
    transfer.add_argument("parent", type=Path)
    transfer.add_argument("--seeds", type=int, default=3)
    asked = parser.parse_args()
    if asked.command == "folders":
        write_folders(asked.package, asked.folder)
    else:
        compare(asked.child, asked.parent, seeds=asked.seeds)


@dataclass(frozen=True, slots=True)
class Drawing:
    category: str
    symbol: str
    variant: str
    """base, or the code of the skin tones."""
    png: bytes


def drawings(package: Path) -> Iterator[Drawing]:
    """Yield the drawings of an npm package emoji-datasource-STYLE, as `npm pack` brings it."""
    with tarfile.open(package) as archive:
        symbols = json.loads(_bytes_of(archive, "package/emoji.json"))
        (folder,) = {
            found[0]
            for name in archive.getnames()
            if (found := re.match(rf"package/img/\w+/{SIDE}/", name))
        }
        for symbol in symbols:
            if symbol["category"] == NO_CLASS:
                continue
            variants = {"base": symbol, **symbol.get("skin_variations", {})}
            for variant, file in variants.items():
                png = _bytes_of(archive, folder + file["image"])
                yield Drawing(symbol["category"], symbol["unified"], variant, png)


def write_folders(package: Path, folder: Path) -> None:
    for drawing in drawings(package):
        category = re.sub(r"\W+", "-", drawing.category.lower())
        target = folder / category / f"{drawing.symbol}_{drawing.variant}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(drawing.png)


def compare(child: Path, parent: Path, *, seeds: int) -> None:
    google, twitter = Drawings(child), Drawings(parent)
    print("images a class   from nothing     from a parent    seeds")
    for images in (10, 20, 40):
        with tempfile.TemporaryDirectory() as scratch:
            found = [
                accuracies(google, twitter, Path(scratch) / str(seed), images, seed)
                for seed in range(seeds)
            ]
        cells = [
            f"{np.mean(one):.3f} +- {np.std(one, ddof=1):.3f}" for one in zip(*found, strict=True)
        ]
        print(f"{images:14}   {cells[0]}   {cells[1]}   {seeds}", flush=True)


class Drawings:
    """Symbols without variants, in the order of their codes in every style."""

    def __init__(self, package: Path) -> None:
        base = sorted(
            (one for one in drawings(package) if one.variant == "base"), key=lambda one: one.symbol
        )
        self.classes = tuple(sorted({one.category for one in base}))
        self.labels: Labels = np.array([self.classes.index(one.category) for one in base])
        self.images: Images = np.stack([_pixels(one.png) for one in base])

    def write(self, folder: Path, rows: dict[SplitName, NDArray[np.intp]]) -> Manifest:
        splits = {
            split: write_split(folder / split, self.images[some], self.labels[some])
            for split, some in rows.items()
        }
        return write_manifest(folder, self.classes, splits, name="emoji")


def accuracies(
    google: Drawings, twitter: Drawings, folder: Path, images: int, seed: int
) -> tuple[float, float]:
    """Test accuracy from new weights, and from those of a parent of the same seed."""
    few, validation, test, rest = _parts(google.labels, (images, VALIDATION, 30), seed)
    seen = np.concatenate([few, rest])
    child = google.write(folder / "child", {"train": few, "validation": validation, "test": test})
    parent = twitter.write(
        folder / "parent", {"train": seen, "validation": validation, "test": test}
    )
    config = TrialConfig.model_validate_json(json.dumps({**RECIPE, "seed": seed}))
    for name in ("p", "nothing", "tuned"):
        (folder / name).mkdir()
    first = train(folder / "parent", parent, config, folder / "p", PARENT_EPOCHS)
    nothing = train(folder / "child", child, config, folder / "nothing", CHILD_EPOCHS)
    weights = load_weights(folder / "p" / first.checkpoint, first.checkpoint_digest)
    file = folder / "tuned" / TrialFiles.START
    safetensors.torch.save_file({name: one.contiguous() for name, one in weights.items()}, file)
    start = StartConfig(
        origin=file.name,
        layers="all",
        weights=read_parent(file).digest,
        mean=parent.mean,
        std=parent.std,
    )
    begun = config.model_copy(update={"start": start})
    tuned = train(folder / "child", child, begun, folder / "tuned", CHILD_EPOCHS)
    return (
        accuracy(folder / "child", child, folder / "nothing", nothing),
        accuracy(folder / "child", child, folder / "tuned", tuned),
    )


RECIPE = {
    "network": {"name": "resnet", "width": 24, "dropout": 0.2},
    "optimizer": {"name": "adamw", "learning_rate": 0.003, "weight_decay": 0.05},
    "schedule": {"name": "cosine", "warmup": 5, "horizon": CHILD_EPOCHS},
    "augmentation": {
        "name": "affine",
        "degrees": 15,
        "scale": 0.15,
        "translate": 0.1,
        "mirror": True,
    },
    "ema_decay": 0.98,
    "objective": "cross_entropy",
    "minibatch_size": 32,
    "precision": "bf16",
}


def _parts(labels: Labels, sizes: Sequence[int], seed: int) -> list[NDArray[np.intp]]:
    """Rows of each part, with so many images of each class; the last has the rest."""
    random = np.random.default_rng(seed)
    cuts = np.cumsum(sizes)
    by_class = [
        np.split(random.permutation(np.flatnonzero(labels == one)), cuts)
        for one in range(labels.max() + 1)
    ]
    return [np.concatenate(part) for part in zip(*by_class, strict=True)]


def _pixels(png: bytes) -> Images:
    """Red, green, blue (3, side, side), on white where the drawing is transparent."""
    with Image.open(io.BytesIO(png)) as picture:
        drawn = picture.convert("RGBA").resize((SIDE, SIDE))
    white = Image.new("RGBA", drawn.size, "white")
    return np.asarray(Image.alpha_composite(white, drawn).convert("RGB")).transpose(2, 0, 1)


def _bytes_of(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name)
    assert file is not None, f"{name} is no file"
    return file.read()


if __name__ == "__main__":
    main()
