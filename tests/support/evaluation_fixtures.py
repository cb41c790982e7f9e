"""Synthetic probabilities, and what a page holds, for tests of evaluation, report and gate."""

from html.parser import HTMLParser

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

Probabilities = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]


def names(count: int) -> list[str]:
    return [f"class {index}" for index in range(count)]


def softmax(logits: npt.NDArray[np.float64]) -> Probabilities:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: npt.NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return shares.astype(np.float32)


def guesses(n: int, classes: int, *, strength: float, seed: int) -> tuple[Probabilities, Labels]:
    """Probabilities whose true class has a logit higher by strength, and the labels."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes, n)
    logits = generator.normal(size=(n, classes))
    logits[np.arange(n), labels] += strength
    return softmax(logits), labels


def naming(
    predicted: npt.ArrayLike, *, classes: int, confidence: float | npt.ArrayLike = 0.9
) -> Probabilities:
    """Probabilities that name the predicted classes with the given confidence (scalar or (n,))."""
    chosen = np.asarray(predicted)
    sure = np.broadcast_to(np.asarray(confidence, dtype=np.float64), chosen.shape)
    table = np.repeat(((1 - sure) / (classes - 1))[:, None], classes, axis=1)
    table[np.arange(len(chosen)), chosen] = sure
    return table.astype(np.float32)


@st.composite
def scored(draw: st.DrawFn, *, most: int = 60) -> tuple[Probabilities, Labels]:
    """Any number of images, classes and quality; classes may be absent."""
    classes = draw(st.integers(2, 6))
    n = draw(st.integers(1, most))
    strength = draw(st.sampled_from([0.0, 1.0, 4.0, 20.0]))
    return guesses(n, classes, strength=strength, seed=draw(st.integers(0, 2**32 - 1)))


class Sources(HTMLParser):
    """Collects what a browser would fetch, follow or run."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.followed: list[str] = []
        self.tags: set[str] = set()
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.fetched += [value or "" for name, value in attrs if name in ("src", "srcset")]
        self.followed += [value or "" for name, value in attrs if name == "href"]

    def handle_data(self, data: str) -> None:
        self.text += data
