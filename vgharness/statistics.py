"""Intervals over seeds, and how many seeds would decide."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

CONFIDENCE = 0.95
MOST_SEEDS = 1000
# With fewer values a test of normality has no power to speak of.
_NORMALITY_NEEDS = 8

Array = npt.NDArray[np.float64]


class Interval(NamedTuple):
    """A mean and its two-sided 95 % confidence interval."""

    mean: float
    low: float
    high: float
    method: Literal["t", "bootstrap", "exact"]


def interval(values: Sequence[float]) -> Interval:
    """Of the mean of finite ``values``: Student's t, or BCa bootstrap (Efron 1987) where there are
    enough of them to see that they are not normal (Shapiro–Wilk, p < 0.05).

    Raises ``ValueError`` with fewer than two values, from which no spread can be told.
    """
    if len(values) < 2:
        raise ValueError(f"an interval needs two values, got {len(values)}")
    if len(values) >= _NORMALITY_NEEDS and len(set(values)) > 1 and stats.shapiro(values).pvalue < 1 - CONFIDENCE:
        return bootstrap(np.asarray(values), lambda samples: np.mean(samples, axis=-1))
    mean = float(np.mean(values))
    half = _half_width(float(np.std(values, ddof=1)), len(values))
    return Interval(mean, mean - half, mean + half, "t")


def bootstrap(samples: Array, statistic: Callable[[Array], Array]) -> Interval:
    """Of a statistic over seeds: BCa, or plain percentiles where BCa is undefined (no spread).

    ``samples`` [seeds, ...]; ``statistic`` maps [..., seeds, ...] with any number of leading resampling
    axes to [...]. ``mean`` is the statistic of the samples themselves.
    """

    def of_indices(indices: npt.NDArray[np.intp], axis: int = -1) -> Array:
        return statistic(samples[np.moveaxis(indices, axis, -1)])

    def limits(method: str) -> tuple[float, float]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", stats.DegenerateDataWarning)
            found = stats.bootstrap(
                (np.arange(len(samples)),), of_indices, method=method, rng=0, confidence_level=CONFIDENCE
            ).confidence_interval
        return float(found.low), float(found.high)

    low, high = limits("BCa")
    if not (math.isfinite(low) and math.isfinite(high)):
        low, high = limits("percentile")
    return Interval(float(of_indices(np.arange(len(samples)))), low, high, "bootstrap")


def seeds_to_decide(values: Sequence[float], margin: float) -> int | None:
    """The fewest seeds whose t interval would stay within ``margin`` of the mean, if mean and spread
    stay as they are; ``None`` where more than ``MOST_SEEDS`` would not do."""
    deviation = float(np.std(values, ddof=1))
    for count in range(3, MOST_SEEDS + 1):
        if _half_width(deviation, count) < margin:
            return count
    return None


def _half_width(deviation: float, count: int) -> float:
    return float(stats.t.ppf((1 + CONFIDENCE) / 2, count - 1)) * deviation / math.sqrt(count)
