"""Peer: a grid in plain PyTorch: trial after trial on all cores, or a process a core."""

import functools
import multiprocessing
import os

import torch
from plain import Arguments, Images, Point, Trained, arguments, grid, load_images, report, train


@functools.cache
def images_of(given: Arguments) -> Images:
    """Loaded once in each process."""
    torch.set_num_threads(1)
    torch.manual_seed(os.getpid())
    return load_images(given.prepared)


def train_here(given: Arguments, point: Point) -> Trained:
    return train(point, images_of(given), given.epochs, form=given.form)


if __name__ == "__main__":
    given = arguments()
    if given.processes:
        # The larger trials first, else one core idles at the end.
        points = sorted(grid(), key=lambda point: point.minibatch_size)
        with multiprocessing.get_context("forkserver").Pool(2) as pool:
            report(pool.map(functools.partial(train_here, given), points, chunksize=1))
    else:
        torch.manual_seed(0)
        images = load_images(given.prepared)
        report([train(point, images, given.epochs, form=given.form) for point in grid()])
