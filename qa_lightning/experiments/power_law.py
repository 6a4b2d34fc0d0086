"""A power law through a learning curve, and what twice the data would bring by it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import numpy as np

from qa_lightning.scoring.intervals import percentile_interval
from qa_lightning.utils.arrays import FloatArray

LEAST_SIZES = 4
"""A law has three numbers: with as many sizes it goes through all of them, whatever they are."""

_EXPONENTS = (0.05, 3.0)
_GRID = np.geomspace(*_EXPONENTS, 40)


@dataclass(frozen=True, slots=True)
class PowerLaw:
    """``score = limit - drop · (size / largest) ** -exponent``.

    Attributes:
        limit: What the score would come to with all the data of the world.
        drop: How far below that it is at the largest size; negative where it falls with more data.
        exponent: How fast it comes near it.
        largest: The size that sizes are divided by.
    """

    limit: float
    drop: float
    exponent: float
    largest: float

    def at(self, size: float | FloatArray) -> FloatArray:
        """The score at a size, or at several, no less than 0 and no more than 100."""
        ratio = np.asarray(size, dtype=np.float64) / self.largest
        return np.clip(self.limit - self.drop * ratio**-self.exponent, 0.0, 100.0)


@dataclass(frozen=True)
class Forecast:
    """What twice the data would bring.

    Attributes:
        law: The law through the mean scores; None where there are too few sizes for one.
        size: Twice the largest size.
        gain: The score there, by the law, minus that at the largest size.
        interval: The gain's 95 % interval.
        doubt: Why the gain is not determined by these trainings; empty where it is.
    """

    law: PowerLaw | None
    size: float
    gain: float
    interval: tuple[float, float]
    doubt: str


def fit_power_law(sizes: FloatArray, scores: FloatArray) -> PowerLaw:
    """Fits a power law by least squares.

    For each exponent limit and drop are a straight line's, so that only the exponent, from 0.05 to 3, is searched: on a
    grid, and beside its best by scipy.

    Args:
        sizes: Numbers of questions; ``[points]``, three different ones at least.
        scores: The scores, 0 to 100; ``[points]``.
    """
    from scipy.optimize import minimize_scalar

    largest = float(sizes.max())
    logs = np.log(sizes / largest)

    def error(exponent: float) -> float:
        return _line(np.exp(-exponent * logs), scores)[2]

    best = int(np.argmin([error(exponent) for exponent in _GRID]))
    around = _GRID[max(best - 1, 0)], _GRID[min(best + 1, len(_GRID) - 1)]
    found = float(minimize_scalar(error, bounds=around, method="bounded").x)
    exponent = min((found, float(_GRID[best])), key=error)
    limit, drop, _ = _line(np.exp(-exponent * logs), scores)
    return PowerLaw(limit, drop, exponent, largest)


def forecast(sizes: FloatArray, scores: FloatArray, resampled: FloatArray) -> Forecast:
    """Says what twice the data would bring by a power law, and whether that is determined.

    Args:
        sizes: The numbers of questions that were trained on, ascending; ``[sizes]``.
        scores: The mean score of each; ``[sizes]``.
        resampled: The same of resamples of seeds and questions; ``[sizes, resamples]``.
    """
    twice = 2 * float(sizes[-1])
    different = len(set(sizes.tolist()))
    if different < LEAST_SIZES:
        doubt = f"{different} sizes do not determine a power law: it takes {LEAST_SIZES} or more"
        return Forecast(None, twice, math.nan, (math.nan, math.nan), doubt)
    gain_of = partial(_gain, float(sizes[-1]), twice)
    law = fit_power_law(sizes, scores)
    gains = np.array([gain_of(fit_power_law(sizes, column)) for column in resampled.T])
    low, high = percentile_interval(gains)
    rise = float(np.ptp(scores))
    doubt = ""
    if low <= 0 <= high:
        doubt = "its interval holds 0: these trainings do not tell whether more data would bring anything"
    elif high - low > rise:
        doubt = f"its interval is wider than all that the data brought so far, {rise:.2f}"
    return Forecast(law, twice, gain_of(law), (low, high), doubt)


def _gain(size: float, twice: float, law: PowerLaw) -> float:
    return float(law.at(twice) - law.at(size))


def _line(x: FloatArray, y: FloatArray) -> tuple[float, float, float]:
    """The least-squares line ``y = limit - drop · x``, and the sum of its squared errors."""
    centred = x - x.mean()
    spread = float(centred @ centred)
    slope = float(centred @ (y - y.mean())) / spread if spread else 0.0
    errors = y - y.mean() - slope * centred
    return float(y.mean() - slope * x.mean()), -slope, float(errors @ errors)
