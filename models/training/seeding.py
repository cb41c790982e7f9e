"""Randomness as a function of (seed, epoch, step), never of what was drawn before."""

import hashlib
from typing import Literal

import torch

Purpose = Literal["weights", "order", "dropout", "augmentation"]


def derived_seed(seed: int, purpose: Purpose, *, epoch: int = 0, step: int = 0) -> int:
    """63-bit seed for one purpose at one place of training: SHA-256, the same on every machine."""
    digest = hashlib.sha256(f"{purpose}/{seed}/{epoch}/{step}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(seed: int, purpose: Purpose, *, epoch: int = 0, step: int = 0) -> torch.Generator:
    """CPU generator seeded by `derived_seed`."""
    return torch.Generator().manual_seed(derived_seed(seed, purpose, epoch=epoch, step=step))


def seed_global(
    seed: int, purpose: Purpose, *, epoch: int = 0, step: int = 0, process: int = 0
) -> None:
    """Seed torch's global generators, which layers draw from and take no generator for.

    process: rank among those that train one trial; each draws for other images.
    """
    number = derived_seed(seed, purpose, epoch=epoch, step=step) ^ process
    # torch.manual_seed formats a stack trace for each absent kind of device, at every step.
    torch.default_generator.manual_seed(number)
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call] # torch leaves it untyped
        torch.cuda.manual_seed(number)
