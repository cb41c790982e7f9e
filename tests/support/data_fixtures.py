"""A project of its own for each test of datasets, and images to fill it with."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from project_folder import REPOSITORY


def make_project(folder: Path, *, git: bool = True) -> Path:
    """Lay out a fresh clone's files that datasets need, with git or as a downloaded archive."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("params.yaml", "dvc.yaml", ".dvcignore", ".gitignore"):
        shutil.copy(REPOSITORY / name, folder / name)
    for name in (".dvc/config", ".dvc/.gitignore", "data/.gitignore", "data/raw/.gitkeep"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, folder / name)
    if git:
        subprocess.run(["git", "init", "-q", "."], cwd=folder, check=True)
    return folder


def noise(count: int, *, side: int = 8, channels: int = 1, seed: int = 0) -> NDArray[np.uint8]:
    """Pictures that are all different, (count, side, side, channels)."""
    generator = np.random.default_rng(seed)
    return generator.integers(0, 256, (count, side, side, channels), dtype=np.uint8)


def save_png(path: Path, pixels: NDArray[np.uint8]) -> Path:
    """Save (height, width, 1 or 3) as a PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(path, format="PNG")
    return path


def class_folders(folder: Path, images: NDArray[np.uint8], *, classes: int = 2) -> Path:
    """Save pictures as PNGs, dealt out to folders named a, b, ..."""
    for number, pixels in enumerate(images):
        save_png(folder / "abcdefghij"[number % classes] / f"{number:05}.png", pixels)
    return folder


def command(name: str) -> str:
    """A command of this environment."""
    return str(Path(sys.executable).parent / name)
