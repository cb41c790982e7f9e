"""Hyperband (Li et al., 2018), asynchronous: brackets of successive halving.

The best trial may look like the worst after one epoch, so bracket b stops no trial below rung b.
Brackets get numbers of trials such that each takes about the same number of epochs. A trial's
bracket depends on its number alone.
"""

from collections import Counter
from collections.abc import Iterator
from itertools import islice

from models.config.search import SearchParams
from models.search.asha import halving_bracket, halving_epochs
from models.search.rungs import Bracket


def hyperband_brackets(search: SearchParams) -> tuple[Bracket, ...]:
    """Return one bracket for each rung; the first may stop trials at any rung, the last at none."""
    rungs = range(len(search.rungs))
    return tuple(halving_bracket(search, first_rung=rung) for rung in rungs)


def bracket_sizes(search: SearchParams) -> tuple[int, ...]:
    """Trials of each bracket in one round of Hyperband, as in the paper.

    Bracket s of s_max + 1 has ceil((s_max + 1) / (s + 1) * reduction_factor^s) trials, s from s_max
    to 0, where s is the number of its halvings.
    """
    count = len(search.rungs)
    return tuple(
        # Upwards in whole numbers: a float may lie a bit above the whole number that it stands for.
        -(-count * search.reduction_factor**halvings // (halvings + 1))
        for halvings in reversed(range(count))
    )


def bracket_sequence(search: SearchParams) -> Iterator[int]:
    """Bracket of trial 0, 1, ..., without end.

    Trials are apportioned by the D'Hondt method; ties go to the lower bracket.
    """
    sizes = bracket_sizes(search)
    started = [0] * len(sizes)
    while True:
        bracket = min(range(len(sizes)), key=lambda b: ((started[b] + 1) / sizes[b], b))
        started[bracket] += 1
        yield bracket


def hyperband_epochs(search: SearchParams, trials: int) -> int:
    """Epochs that this many trials take in total if each rung advances its full share."""
    sizes = Counter(islice(bracket_sequence(search), trials))
    return sum(halving_epochs(search, size, first_rung=rung) for rung, size in sizes.items())
