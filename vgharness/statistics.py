"""Intervals over seeds, and how many seeds would decide."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import special

CONFIDENCE = 0.95
MOST_SEEDS = 1000
# All permutations of up to eight values a side, or of fourteen pairs, are fewer than this; beyond, that many are drawn.
_RESAMPLES = 20_000
# With fewer values a test of normality has no power to speak of.
_NORMALITY_NEEDS = 8

Array = npt.NDArray[np.float64]


class Interval(NamedTuple):
    """A figure and its two-sided 95 % confidence interval."""

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
    mean = float(np.mean(values))
    if len(values) >= _NORMALITY_NEEDS and len(set(values)) > 1:
        from scipy import stats  # takes half a second to import

        if stats.shapiro(values).pvalue < 1 - CONFIDENCE:
            found = stats.bootstrap((values,), np.mean, confidence_level=CONFIDENCE, rng=0).confidence_interval
            return Interval(mean, float(found.low), float(found.high), "bootstrap")
    half = float(_half_widths(np.asarray(values, dtype=float)))
    return Interval(mean, mean - half, mean + half, "t")


def geometric_mean(values: Sequence[float]) -> float:
    """NaN where a value is negative or not finite; 0 where one is 0."""
    if not all(math.isfinite(x) and x >= 0 for x in values):
        return math.nan
    return 0.0 if 0 in values else math.exp(sum(map(math.log, values)) / len(values))


def distance_interval(curves: Array, target: Array) -> Interval:
    """Of the mean absolute difference between the mean of ``curves`` [seeds, points] and ``target``
    [points]: the least and the greatest that it can be within each point's t interval.

    A distance is no mean over seeds, and where seeds scatter around the target its bootstrap shrinks
    to nothing. This is wide rather than narrow: exact where seeds differ by a shift, too wide where
    their points vary independently. Raises ``ValueError`` with fewer than two curves.
    """
    if len(curves) < 2:
        raise ValueError(f"an interval needs two curves, got {len(curves)}")
    away, half = np.abs(curves.mean(axis=0) - target), _half_widths(curves)
    low, high = np.maximum(away - half, 0).mean(), (away + half).mean()
    return Interval(float(away.mean()), float(low), float(high), "t")


def difference_interval(before: Array, after: Array, paired: bool) -> tuple[float, ...]:
    """Low and high end of Student's t interval of the difference of means: of the pairs, or Welch's; empty where a
    side has one value."""
    if min(len(before), len(after)) < 2:
        return ()
    if paired:
        error, freedom = (after - before).std(ddof=1) / math.sqrt(len(before)), len(before) - 1.0
    else:
        parts = np.array([side.var(ddof=1) / len(side) for side in (before, after)])
        error, own = math.sqrt(parts.sum()), parts**2 / (len(before) - 1, len(after) - 1)
        freedom = parts.sum() ** 2 / own.sum() if own.sum() else 1.0
    half = float(special.stdtrit(freedom, (1 + CONFIDENCE) / 2) * error)
    middle = float(after.mean() - before.mean())
    return middle - half, middle + half


def permutation_p(before: Array, after: Array, paired: bool) -> float:
    """Two-sided, of the difference of means; exact where there are few enough permutations."""
    from scipy import stats  # takes half a second to import

    found = stats.permutation_test(
        (before, after),
        lambda a, b, axis: np.mean(a, axis=axis) - np.mean(b, axis=axis),
        permutation_type="samples" if paired else "independent",
        n_resamples=_RESAMPLES,
        vectorized=True,
        rng=np.random.default_rng(0),
    )
    return float(found.pvalue)


def seeds_to_decide(found: Interval, count: int, margin: float) -> int | None:
    """The fewest seeds, more than the ``count`` that gave ``found``, with which its interval would stay
    within ``margin`` of its mean if mean and spread stay as they are, as widths of t intervals go;
    ``None`` where more than ``MOST_SEEDS`` would not do."""
    half = max(found.high - found.mean, found.mean - found.low)
    for more in range(count + 1, MOST_SEEDS + 1):
        if half * _t_width(more) / _t_width(count) < margin:
            return more
    return None


def _half_widths(values: Array) -> Array:
    """Of the t interval of the mean over the first axis."""
    return np.asarray(_t_width(len(values)) * np.std(values, axis=0, ddof=1))


@cache
def _t_width(count: int) -> float:
    """Half the width of a t interval for ``count`` values, in standard deviations of one."""
    return float(special.stdtrit(count - 1, (1 + CONFIDENCE) / 2)) / math.sqrt(count)
