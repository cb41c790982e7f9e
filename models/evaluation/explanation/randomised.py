"""Does a map depend on what the network learnt? Sanity check with randomised weights.

Adebayo et al. (2018): a map that stays the same when the weights are replaced by random ones shows
edges of the image, whatever it is called.
"""

import copy

import numpy as np
import numpy.typing as npt
import torch
from scipy import stats

from models.networks.serving import ServingNetwork


def randomise_weights(network: ServingNetwork, seed: int) -> ServingNetwork:
    """Return a copy in which the numbers of each parameter are shuffled.

    Their distribution, and with it the scale of the features, stays; what was learnt does not. The
    normalisation of the images and running statistics stay, too. Deterministic in the seed.
    """
    shuffled = copy.deepcopy(network)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in shuffled.network.parameters():
            order = torch.randperm(parameter.numel(), generator=generator)
            parameter.copy_(parameter.reshape(-1)[order].reshape(parameter.shape))
    return shuffled


def rank_correlation(one: npt.NDArray[np.floating], other: npt.NDArray[np.floating]) -> float:
    """Return Spearman's correlation of two maps, -1 to 1; 0 where one of them ranks nothing."""
    first, second = one.ravel(), other.ravel()
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    return float(np.corrcoef(stats.rankdata(first), stats.rankdata(second))[0, 1])
