"""Hyperband (Li et al., 2018), asynchronous: halving that begins at each of the rungs.

After one epoch the best trial may look like the worst: so some trials are spared the lowest rungs.
Bracket b stops nobody before rung b, and gets such a share of the trials that all brackets take
about as many epochs. Trials are spread over brackets by their number alone.
"""

import math
from collections import Counter
from collections.abc import Iterator
from itertools import islice

from models.config.search import SearchParams
from models.search.asha import halving_epochs, halving_ladder
from models.search.rungs import Ladder, rung_budgets


def brackets(search: SearchParams) -> tuple[Ladder, ...]:
    """Ladders of successive halving, the first of which spares nobody, the last everybody."""
    return tuple(halving_ladder(search, spared=spared) for spared in range(_count(search)))


def bracket_sizes(search: SearchParams) -> tuple[int, ...]:
    """Trials of each bracket in one round of Hyperband, as in the paper."""
    count = _count(search)
    return tuple(
        math.ceil(count / (halvings + 1) * search.reduction_factor**halvings)
        for halvings in reversed(range(count))
    )


def bracket_turns(search: SearchParams) -> Iterator[int]:
    """Bracket of trial 0, 1, ...: seats given by the method of D'Hondt, ties to lower brackets."""
    sizes = bracket_sizes(search)
    begun = [0] * len(sizes)
    while True:
        bracket = min(range(len(sizes)), key=lambda b: ((begun[b] + 1) / sizes[b], b))
        begun[bracket] += 1
        yield bracket


def hyperband_epochs(search: SearchParams, trials: int) -> int:
    """Epochs that so many trials take all together if each rung passes on its share."""
    begun = Counter(islice(bracket_turns(search), trials))
    return sum(halving_epochs(search, count, spared=spared) for spared, count in begun.items())


def _count(search: SearchParams) -> int:
    return len(rung_budgets(search))
