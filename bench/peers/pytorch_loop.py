"""Peer: a grid in plain PyTorch, trial after trial, each on all cores as torch does by itself."""

import torch
from plain import arguments, grid, load_images, report, train

if __name__ == "__main__":
    given = arguments()
    images = load_images(given.prepared)
    torch.manual_seed(0)
    report([train(point, images, given.epochs) for point in grid()])
