"""A power law through errors at growing numbers of train images, and what it promises.

error(n) = a + b n^-c (Hestness et al., 2017, arXiv:1712.00409; Rosenfeld et al., 2020,
arXiv:1909.12673): a is the error that no number of images removes, c how fast the rest falls. Three
parameters through four sizes are seldom known well, so that no single curve is believed: an
interval holds every value that some curve with 0 <= a <= 1 gives and the errors do not contradict
(profile likelihood). For a given c everything is linear, so that c alone is searched, on a grid.
Light to import: no scipy.
"""

from collections.abc import Callable
from functools import cached_property

import numpy as np
from pydantic import Field

from models.evaluation.outcomes import Floats
from models.evaluation.records import Interval
from models.record import Record

EXPONENTS = np.geomspace(0.05, 2.0, 80)
"""Exponents c that are considered. Published ones of image classifiers are 0.07 to 0.5; small sets
of easy images come near 1."""
FEWEST_SIZES = 3
"""Different numbers of train images: two always lie on many power laws."""
_HALVINGS = 40


class Estimate(Record):
    """A value with its 95 % interval."""

    value: float
    interval: Interval

    @property
    def points(self) -> str:
        """The same in percentage points: `+1.2 points, 95 % 0.5 to 1.9`."""
        value, low, high = (
            f"{round(100 * one, 1) + 0.0:+.1f}"
            for one in (self.value, self.interval.low, self.interval.high)
        )
        return f"{value} points, 95 % {low} to {high}"


class PowerLaw(Record):
    """Errors at several numbers of train images, and every power law that they allow."""

    sizes: tuple[float, ...] = Field(min_length=FEWEST_SIZES)
    """Train images, ascending; of the class where the curve is of one class alone."""
    errors: tuple[float, ...]
    """Mean error of the trials of each size, 0..1."""
    covariance: tuple[tuple[float, ...], ...]
    """Of these means: by the trials' seeds and draws, and by the validation images."""
    threshold: float
    """Chi-square above the best curve's up to which a curve is not contradicted."""
    noise: float
    """Variance of a single trial's error e beyond its expectation, divided by e (1 - e)."""
    falls: bool = True
    """Whether errors cannot rise with the images (b >= 0): held of all classes together, while one
    class may lose what others gain."""

    def gain(self, before: float, now: float) -> Estimate:
        """Return by how much the expected error falls from `before` to `now` images, before < now.

        The interval is of the mean over trainings, not of a single one.
        """
        drop = before**-EXPONENTS - now**-EXPONENTS

        def chi_square(gain: Floats) -> Floats:
            slope = gain / drop
            left = self._errors - slope[:, None] * self._powers
            level = np.clip(left @ self._weights, 0, 1)
            return self._chi_square(left - level[:, None])

        least = 0.0 if self.falls else -1.0
        return self._estimate(self._fits[:, 1] * drop, chi_square, least=least)

    def error(self, images: float) -> Estimate:
        """Return the expected error at a number of images, with the interval of its expectation."""
        power = float(images) ** -EXPONENTS
        beside = self._powers - power[:, None]

        def chi_square(error: Floats) -> Floats:
            left = self._errors - error[:, None]
            weighted = beside @ self._precision
            # A size among those measured gives no row of zeros, as there are at least three.
            slope = (weighted * left).sum(axis=1) / (weighted * beside).sum(axis=1)
            slope = np.clip(slope, (error - 1) / power, error / power)
            slope = np.maximum(slope, 0) if self.falls else slope
            return self._chi_square(left - slope[:, None] * beside)

        return self._estimate(self._fits[:, 0] + self._fits[:, 1] * power, chi_square, least=0.0)

    def mean_of(self, trials: int, *, images: float) -> Estimate:
        """Return the mean error of so many trials to come, on the same validation images."""
        found = self.error(images)
        spread = self.noise * found.value * (1 - found.value) / trials
        reach = float(np.sqrt(self.threshold * spread))
        below = float(np.hypot(found.value - found.interval.low, reach))
        above = float(np.hypot(found.interval.high - found.value, reach))
        interval = Interval(low=max(found.value - below, 0.0), high=min(found.value + above, 1.0))
        return Estimate(value=found.value, interval=interval)

    @property
    def best(self) -> tuple[float, float, float]:
        """a, b and c of the best curve; of equally good ones that of the least c."""
        at = int(np.argmin(self._fits[:, 2]))
        a, b, _ = (float(one) for one in self._fits[at])
        return a, b, float(EXPONENTS[at])

    @cached_property
    def _errors(self) -> Floats:
        return np.array(self.errors)

    @cached_property
    def _precision(self) -> Floats:
        inverse: Floats = np.linalg.inv(np.array(self.covariance))
        return inverse

    @cached_property
    def _weights(self) -> Floats:
        """Of errors in the level that fits them best: they sum to 1."""
        weights: Floats = self._precision.sum(axis=0) / self._precision.sum()
        return weights

    @cached_property
    def _powers(self) -> Floats:
        """Size to the power -c, (exponents, sizes)."""
        return np.array(self.sizes) ** -EXPONENTS[:, None]

    @cached_property
    def _fits(self) -> Floats:
        """For each exponent a, b and chi-square of the best curve, (exponents, 3)."""
        return np.array([self._fit(powers) for powers in self._powers])

    def _fit(self, powers: Floats) -> tuple[float, float, float]:
        """Least squares; where its best is not allowed, the best of the borders is."""
        y, precision = self._errors, self._precision
        design = np.stack([np.ones(len(y)), powers], axis=1)
        free = np.linalg.lstsq(design.T @ precision @ design, design.T @ precision @ y)[0]
        slopes = [
            float(powers @ precision @ (y - a) / (powers @ precision @ powers)) for a in (0, 1)
        ]
        borders = [(0.0, slopes[0]), (1.0, slopes[1]), (float(self._weights @ y), 0.0)]
        allowed = [
            (min(max(a, 0.0), 1.0), max(b, 0.0) if self.falls else b)
            for a, b in ((float(free[0]), float(free[1])), *borders)
        ]
        curves = np.array([a + b * powers for a, b in allowed])
        scores = self._chi_square(y - curves)
        at = int(np.argmin(scores))
        return (*allowed[at], float(scores[at]))

    def _chi_square(self, residuals: Floats) -> Floats:
        """Of residuals (rows, sizes)."""
        squares: Floats = ((residuals @ self._precision) * residuals).sum(axis=1)
        return squares

    def _estimate(
        self, best: Floats, chi_square: Callable[[Floats], Floats], *, least: float
    ) -> Estimate:
        """Profile a quantity that is linear in a and b: for each exponent its values are a range.

        best: its value on the best curve of each exponent;  chi_square: of the best curve with a
        value, of each exponent;  least: the lowest value that there is, where the highest is 1.
        """
        scores = self._fits[:, 2]
        freedom = len(self.sizes) - FEWEST_SIZES
        lack_of_fit = max(float(scores.min()) / freedom, 1.0) if freedom > 0 else 1.0
        most = float(scores.min()) + self.threshold * lack_of_fit
        possible = scores <= most
        low, high = (
            _last_allowed(lambda one: chi_square(one) <= most, start=best, end=end)[possible]
            for end in (least, 1.0)
        )
        value = float(best[int(np.argmin(scores))])
        interval = Interval(low=min(float(low.min()), value), high=max(float(high.max()), value))
        return Estimate(value=value, interval=interval)


def _last_allowed(
    allowed: Callable[[Floats], np.ndarray[tuple[int], np.dtype[np.bool_]]],
    *,
    start: Floats,
    end: float,
) -> Floats:
    """Walk from `start` towards `end` while it is allowed, by halving; each element for itself."""
    inside, outside = start.copy(), np.full_like(start, end)
    whole = allowed(outside)
    for _ in range(_HALVINGS):
        middle = (inside + outside) / 2
        good = allowed(middle)
        inside, outside = np.where(good, middle, inside), np.where(good, outside, middle)
    return np.where(whole, end, inside)
