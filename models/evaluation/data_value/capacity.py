"""Whether the network or the data limits: the same network, narrower and wider.

The classical picture: a network too small has the same error on train as on validation, and both
fall as it grows (underfitting); one that is large enough leaves a gap that no width closes, and
more images do (overfitting).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
import numpy.typing as npt
from pydantic import JsonValue
from scipy import stats

from models.config import TrialConfig, apply_point
from models.errors import ConfigError
from models.evaluation.data_value.power_law import Estimate
from models.evaluation.data_value.records import CapacityCurve, Limit, SizedNetwork
from models.evaluation.outcomes import Floats
from models.evaluation.records import Interval
from models.evaluation.uncertainty.intervals import LEVEL

WIDTHS = ("width", "channels", "hidden_units")
"""Fields of networks that say how wide they are."""
SMALLEST_GAIN = 0.002
"""Least fall of the error that is worth a wider network: as `gate.minimum_effect` by default."""


@dataclass(frozen=True, slots=True)
class SizedTrials:
    """Trials of the network at one width, all on the same images."""

    factor: float
    parameters: int
    train_wrong: npt.NDArray[np.bool_]
    """(trials, n), on train images."""
    wrong: npt.NDArray[np.bool_]
    """(trials, m), on validation images."""
    keys: tuple[str, ...]


def scaled_network(config: TrialConfig, factor: float) -> TrialConfig:
    """Return the config with every width of its network multiplied, at least 1.

    Raises ConfigError for a network without widths, or with one that cannot be so wide.
    """
    fields: Mapping[str, JsonValue] = config.network.model_dump(mode="json")
    widths = {name: fields[name] for name in WIDTHS if name in fields}
    if not widths:
        raise ConfigError(
            f"network {config.network.name}: has no width ({', '.join(WIDTHS)}), so that it has no "
            "capacity curve; leave --capacity out"
        )
    scaled = {f"network.{name}": _times(value, factor) for name, value in widths.items()}
    try:
        return apply_point(config, scaled)
    except ValueError as error:
        raise ConfigError(
            f"a network {factor:g} times as wide ({scaled}): {error}; leave --capacity out"
        ) from error


def capacity_curve(networks: Sequence[SizedTrials]) -> CapacityCurve:
    """Judge by the network as it is (factor 1), and by the next wider one where there is any.

    networks: narrowest first, with at least two trials each. The network limits where the wider one
    is better beyond chance and by SMALLEST_GAIN; else the data do where validation is worse than
    train by as much, beyond chance.
    """
    at = next(place for place, one in enumerate(networks) if one.factor == 1)
    now, *wider = networks[at:]
    gained = _fall(now, wider[0]) if wider else None
    gap = _gap(now)
    limit: Limit = "neither shown"
    if gained is not None and gained.interval.low > 0 and gained.value >= SMALLEST_GAIN:
        limit = "network"
    elif gap.interval.low > 0 and gap.value >= SMALLEST_GAIN:
        limit = "data"
    shown = tuple(
        SizedNetwork(
            factor=one.factor,
            parameters=one.parameters,
            train_errors=tuple(map(float, one.train_wrong.mean(axis=1))),
            validation_errors=tuple(map(float, one.wrong.mean(axis=1))),
            keys=one.keys,
        )
        for one in networks
    )
    text = _describe(limit, gained, gap, wider[0].factor if wider else None)
    return CapacityCurve(networks=shown, wider=gained, gap=gap, limit=limit, text=text)


def _times(width: JsonValue, factor: float) -> JsonValue:
    if isinstance(width, list):
        return [_times(one, factor) for one in width]
    assert isinstance(width, int)
    return max(round(width * factor), 1)


def _fall(now: SizedTrials, wider: SizedTrials) -> Estimate:
    """Of the validation error, by images that both have in common and by trials."""
    shares = now.wrong.mean(axis=0) - wider.wrong.mean(axis=0)
    errors = now.wrong.mean(axis=1), wider.wrong.mean(axis=1)
    return _estimate(float(shares.mean()), shares, *errors)


def _gap(now: SizedTrials) -> Estimate:
    """Validation minus train: images differ, trials are the same."""
    errors = now.wrong.mean(axis=1) - now.train_wrong.mean(axis=1)
    shares = now.wrong.mean(axis=0), now.train_wrong.mean(axis=0)
    return _estimate(float(errors.mean()), *shares, errors)


def _estimate(value: float, *samples: Floats) -> Estimate:
    """95 % interval of a value whose error is the sum of those of the means of some samples.

    Thousands of images and a few trials: degrees of freedom by Satterthwaite (1946).
    """
    variances = [float(one.var(ddof=1)) / len(one) for one in samples]
    variance = sum(variances)
    if variance == 0:
        return Estimate(value=value, interval=Interval(low=value, high=value))
    parts = zip(variances, samples, strict=True)
    freedom = variance**2 / sum(part**2 / (len(one) - 1) for part, one in parts)
    reach = float(stats.t.ppf((1 + LEVEL) / 2, freedom)) * variance**0.5
    return Estimate(value=value, interval=Interval(low=value - reach, high=value + reach))


def _describe(limit: Limit, wider: Estimate | None, gap: Estimate, factor: float | None) -> str:
    said = {
        "network": "The network limits (underfitting): a wider one is better.",
        "data": (
            "The data limit, or the regularisation (overfitting): validation is worse than train, "
            "and a wider network is not better beyond chance."
        ),
        "neither shown": "Neither limit is shown by these trials.",
    }
    assert set(said) == set(get_args(Limit))
    more = f" {factor:g} times the width: {wider.points}." if wider and factor else ""
    return f"{said[limit]}{more} Gap between train and validation: {gap.points}."
