"""Judge a method by its maps of some images: deletion, insertion, randomised weights."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from models.evaluation.explanation.attribution import Images, Maps, attribute, mean_colour
from models.evaluation.explanation.faithfulness import Areas, Ask, measure, ranked
from models.evaluation.explanation.randomised import randomise_weights, rank_correlation
from models.evaluation.explanation.records import (
    Estimate,
    Faithfulness,
    Method,
    MethodFindings,
    SanityCheck,
)
from models.evaluation.uncertainty.bootstrap import resampled_means
from models.evaluation.uncertainty.intervals import RESAMPLES, holding, percentile_interval
from models.networks.serving import ServingNetwork

Floats = npt.NDArray[np.float64]
Advance = Callable[[], None]
"""Called after each piece of work: a map, or the curves of an image."""

RANDOM_MAPS, RANDOM_NETWORKS = 3, 2
"""Of each image: orders of pixels, and networks with shuffled weights; means are taken of both."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Images on which methods are judged."""

    network: ServingNetwork
    images: Images
    """(n, channels, height, width), n >= 1."""
    answers: Sequence[int]
    """(n,), the class that the network answers."""
    seed: int


def pieces_of_work(images: int, methods: int) -> int:
    """How often `judge` advances."""
    return images * (1 + methods * (2 + RANDOM_NETWORKS))


def judge(
    sample: Sample, methods: Sequence[Method], advance: Advance
) -> tuple[MethodFindings, ...]:
    """Judge each method on the same images, beside the same random maps.

    Deterministic: in the sample, its seed, and torch's number of threads.
    """
    random = _each(len(sample.images), lambda at: _random_areas(sample, at), advance)
    networks = [
        randomise_weights(sample.network, sample.seed + number) for number in range(RANDOM_NETWORKS)
    ]
    return tuple(_judge_one(sample, method, (random, networks), advance) for method in methods)


def _judge_one(
    sample: Sample,
    method: Method,
    chance: tuple[Sequence[Areas], Sequence[ServingNetwork]],
    advance: Advance,
) -> MethodFindings:
    """chance: areas of random maps, and networks with shuffled weights."""
    random, networks = chance
    maps = _maps(sample, sample.network, method, advance)
    areas = _each(len(maps), lambda at: _areas(sample, at, maps[at]), advance)
    shuffled = [_maps(sample, network, method, advance) for network in networks]
    return MethodFindings(
        method=method,
        faithfulness=_compare(areas, random, sample.seed),
        sanity=_check(maps, shuffled, sample.seed),
    )


def _each(count: int, areas: Callable[[int], Areas], advance: Advance) -> list[Areas]:
    found = []
    for at in range(count):
        found.append(areas(at))
        advance()
    return found


def estimate(values: Floats, seed: int) -> Estimate:
    """Mean of the values of n images with its 95 % bootstrap interval; n >= 1."""
    draws = resampled_means(values, np.random.default_rng(seed), resamples=RESAMPLES)
    mean = float(values.mean())
    return Estimate(mean=mean, interval=holding(percentile_interval(draws), mean))


def _maps(sample: Sample, network: ServingNetwork, method: Method, advance: Advance) -> list[Maps]:
    return collected(attribute(network, sample.images, sample.answers, method), advance)


def collected(maps: Iterable[Maps], advance: Advance) -> list[Maps]:
    """List the maps, and advance after each."""
    found = []
    for values in maps:
        found.append(values)
        advance()
    return found


def _areas(sample: Sample, at: int, values: npt.NDArray[np.floating], draw: int = 0) -> Areas:
    """Of an image by one map; ties are broken by a generator of the image's own."""
    generator = np.random.default_rng([sample.seed, at, draw])
    image = sample.images[at].astype(np.float32)
    colour = mean_colour(sample.network, image.shape)[0].numpy()
    return measure(image, colour, ranked(values, generator), _asking(sample, at))


def _asking(sample: Sample, at: int) -> Ask:
    def ask(images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        with torch.inference_mode():
            found: npt.NDArray[np.float32] = sample.network(torch.from_numpy(images)).numpy()
        return found[:, int(sample.answers[at])]

    return ask


def _random_areas(sample: Sample, at: int) -> Areas:
    """Mean of maps without meaning: all pixels are alike, so that their order is random."""
    flat = np.zeros(sample.images.shape[2:])
    drawn = [_areas(sample, at, flat, draw) for draw in range(RANDOM_MAPS)]
    return Areas(
        deletion=float(np.mean([one.deletion for one in drawn])),
        insertion=float(np.mean([one.insertion for one in drawn])),
    )


def _compare(areas: Sequence[Areas], random: Sequence[Areas], seed: int) -> Faithfulness:
    deletion, chance_deletion = (np.array([one.deletion for one in of]) for of in (areas, random))
    insertion, chance_insertion = (
        np.array([one.insertion for one in of]) for of in (areas, random)
    )
    return Faithfulness(
        deletion=estimate(deletion, seed),
        insertion=estimate(insertion, seed),
        random_deletion=estimate(chance_deletion, seed),
        random_insertion=estimate(chance_insertion, seed),
        deletion_lead=estimate(chance_deletion - deletion, seed),
        insertion_lead=estimate(insertion - chance_insertion, seed),
    )


def _check(maps: Sequence[Maps], shuffled: Sequence[Sequence[Maps]], seed: int) -> SanityCheck:
    def correlations(change: Callable[[Maps], Maps]) -> Floats:
        """Mean over the networks, of each image."""
        pairs = [zip(maps, of, strict=True) for of in shuffled]
        found = [
            [rank_correlation(change(one), change(other)) for one, other in pair] for pair in pairs
        ]
        means: Floats = np.asarray(found, np.float64).mean(axis=0)
        return means

    return SanityCheck(
        signed=estimate(correlations(np.asarray), seed),
        absolute=estimate(correlations(np.abs), seed),
    )
