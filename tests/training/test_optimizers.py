"""Every optimiser against its published recursion, written out in NumPy, over six steps."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from models.optimizers import (
    AdagradConfig,
    AdamConfig,
    AdamWConfig,
    GdConfig,
    MuonConfig,
    OptimizerConfig,
    RmspropConfig,
    SgdConfig,
)

Vector = NDArray[np.float64]
Steps = Iterator[Vector]
START = np.array([[1.0, -2.0], [0.5, 3.0]])
CURVATURE = np.array([[1.0, 0.3], [2.0, 0.1]])
RATE = 0.1


def gradient(weights: Vector) -> Vector:
    """Of the loss sum(c w^2 / 2) + sum(w)."""
    return CURVATURE * weights + 1


def descent(penalty: float = 0.0) -> Steps:
    """w = w - lr (g + penalty w): gradient descent (the article's section 3.2.1)."""
    weights = START
    while True:
        weights = weights - RATE * (gradient(weights) + penalty * weights)
        yield weights


def momentum(mass: float, *, nesterov: bool) -> Steps:
    """v = m v + g;  w = w - lr v, or w - lr (g + m v) in Nesterov's form (Sutskever, 2013)."""
    weights, velocity = START, np.zeros_like(START)
    while True:
        slope = gradient(weights)
        velocity = mass * velocity + slope
        weights = weights - RATE * (slope + mass * velocity if nesterov else velocity)
        yield weights


def adam(*, corrected: bool = True, epsilon: float = 1e-8, decoupled: float = 0.0) -> Steps:
    """Kingma & Ba, 2015, algorithm 1; decoupled: Loshchilov & Hutter, 2019, algorithm 2."""
    weights, mean, square, step = START, np.zeros_like(START), np.zeros_like(START), 0
    while True:
        step += 1
        slope = gradient(weights)
        mean = 0.9 * mean + 0.1 * slope
        square = 0.999 * square + 0.001 * slope**2
        first = mean / (1 - 0.9**step) if corrected else mean
        second = square / (1 - 0.999**step) if corrected else square
        weights = weights * (1 - RATE * decoupled) - RATE * first / (np.sqrt(second) + epsilon)
        yield weights


def rmsprop() -> Steps:
    """v = 0.9 v + 0.1 g^2;  w = w - lr g / (sqrt(v) + eps) (Tieleman & Hinton, 2012)."""
    weights, square = START, np.zeros_like(START)
    while True:
        slope = gradient(weights)
        square = 0.9 * square + 0.1 * slope**2
        weights = weights - RATE * slope / (np.sqrt(square) + 1e-8)
        yield weights


def adagrad() -> Steps:
    """v = v + g^2;  w = w - lr g / (sqrt(v) + eps) (Duchi, Hazan & Singer, 2011)."""
    weights, square = START, np.zeros_like(START)
    while True:
        slope = gradient(weights)
        square = square + slope**2
        weights = weights - RATE * slope / (np.sqrt(square) + 1e-10)
        yield weights


CASES: list[tuple[str, OptimizerConfig, Callable[[], Steps]]] = [
    ("gd", GdConfig(learning_rate=RATE), descent),
    (
        "gd with L2",
        GdConfig(learning_rate=RATE, weight_decay=0.5),
        lambda: descent(0.5),
    ),
    ("sgd", SgdConfig(learning_rate=RATE), descent),
    (
        "momentum",
        SgdConfig(learning_rate=RATE, momentum=0.9),
        lambda: momentum(0.9, nesterov=False),
    ),
    (
        "nesterov",
        SgdConfig(learning_rate=RATE, momentum=0.9, nesterov=True),
        lambda: momentum(0.9, nesterov=True),
    ),
    ("adam", AdamConfig(learning_rate=RATE), adam),
    (
        "adam, epsilon",
        AdamConfig(learning_rate=RATE, epsilon=0.1),
        lambda: adam(epsilon=0.1),
    ),
    (
        "adam, the article's",
        AdamConfig(learning_rate=RATE, bias_correction=False),
        lambda: adam(corrected=False),
    ),
    (
        "adamw",
        AdamWConfig(learning_rate=RATE, weight_decay=0.2),
        lambda: adam(decoupled=0.2),
    ),
    ("rmsprop", RmspropConfig(learning_rate=RATE), rmsprop),
    ("adagrad", AdagradConfig(learning_rate=RATE), adagrad),
]


@pytest.mark.parametrize(
    ("config", "recursion"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_six_steps_are_those_of_the_paper(
    config: OptimizerConfig, recursion: Callable[[], Steps]
) -> None:
    """To seven digits, in float64."""
    weights = torch.nn.Parameter(torch.from_numpy(START.copy()))
    optimizer = config.build([weights])

    for _, expected in zip(range(6), recursion(), strict=False):
        weights.grad = torch.from_numpy(gradient(weights.detach().numpy()))
        optimizer.step()

        np.testing.assert_allclose(weights.detach().numpy(), expected, rtol=1e-7)


def muon(decay: float) -> Steps:
    """m = 0.95 m + 0.05 g;  w = (1 - lr d) w - 0.2 lr sqrt(2) NS5(0.05 g + 0.95 m)."""
    weights, mean = START, np.zeros_like(START)
    while True:
        slope = gradient(weights)
        mean = 0.95 * mean + 0.05 * slope
        step = 0.2 * np.sqrt(2) * newton_schulz(0.05 * slope + 0.95 * mean)
        weights = weights * (1 - RATE * decay) - RATE * step
        yield weights


def newton_schulz(matrix: Vector) -> Vector:
    """Five steps of the quintic iteration towards the nearest orthogonal matrix."""
    one = matrix / np.linalg.norm(matrix)
    for _ in range(5):
        square = one @ one.T
        one = 3.4445 * one + (-4.775 * square + 2.0315 * square @ square) @ one
    return one


def test_muon_s_steps_are_those_published() -> None:
    """To the two digits of bfloat16, in which torch makes the momentum orthogonal."""
    weights = torch.nn.Parameter(torch.from_numpy(START.copy()))
    optimizer = MuonConfig(learning_rate=RATE, weight_decay=0.2).build([weights])

    for number, expected in zip(range(1, 7), muon(0.2), strict=False):
        weights.grad = torch.from_numpy(gradient(weights.detach().numpy()))
        optimizer.step()

        # A step is about 0.03 a weight.
        np.testing.assert_allclose(weights.detach().numpy(), expected, atol=number * 12e-4)


def test_muon_moves_kernels_as_matrices_and_leaves_the_rest_to_adamw() -> None:
    """A kernel of 6 x 2 x 3 x 3 as 6 x 18; the last matrix and the biases as AdamW does alone."""
    source = torch.Generator().manual_seed(1)
    shapes = ((6, 2, 3, 3), (6,), (4, 6), (4,))
    weights = [torch.nn.Parameter(torch.randn(shape, generator=source)) for shape in shapes]
    inner = weights[0].detach().clone(memory_format=torch.channels_last)
    flat, innermost = (
        [torch.nn.Parameter(one)] for one in (weights[0].detach().clone().reshape(6, 18), inner)
    )
    alone = [torch.nn.Parameter(one.detach().clone()) for one in weights[1:]]
    hidden = [(MuonConfig(), group) for group in (weights, flat, innermost)]

    for config, group in (*hidden, (AdamWConfig(), alone)):
        optimizer = config.build(group)
        for _ in range(3):
            for number, one in enumerate(group):
                one.grad = torch.full_like(one, 0.1 * (number + (group is alone)) + 0.1)
                one.grad[(0,) * one.ndim] = -1
            optimizer.step()

    assert torch.equal(weights[0].reshape(6, 18), flat[0])
    torch.testing.assert_close(innermost[0], weights[0], atol=1e-4, rtol=0)
    for moved, expected in zip(weights[1:], alone, strict=True):
        assert torch.equal(moved, expected)


def test_muon_s_step_is_as_long_whatever_the_gradient_s_size() -> None:
    """Of hidden matrices: AdamW's root mean square of about 0.2 to 0.4 rates."""
    weights = torch.nn.Parameter(torch.zeros(8, 30))
    for size in (1e-3, 1e3):
        weights.data.zero_()
        optimizer = MuonConfig(learning_rate=0.01).build([weights])
        weights.grad = size * torch.randn(8, 30, generator=torch.Generator().manual_seed(3))
        optimizer.step()

        assert 0.0005 < float(weights.detach().square().mean().sqrt()) < 0.004


def test_single_samples_are_minibatches_of_one() -> None:
    """Stochastic descent on one image at a time: one step for each, in their order."""
    samples = np.array([1.0, -2.0, 0.5, 4.0, -1.0])
    weight = torch.nn.Parameter(torch.zeros(1, 1, dtype=torch.float64))
    optimizer = SgdConfig(learning_rate=RATE).build([weight])
    expected = 0.0

    for sample in samples:
        weight.grad = weight.detach() - sample  # of (w - sample)^2 / 2
        optimizer.step()
        expected -= RATE * (expected - sample)

        assert float(weight.detach()) == pytest.approx(expected)
