"""Values over seeds: their mean, its interval, differences, and how many seeds would decide."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from functools import cache
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import special

CONFIDENCE = 0.95
MOST_SEEDS = 1000
LARGEST_LOG = 700.0  # its exponential is finite
_SHARES = ("saturated", "output_zeros")
# With fewer values a test of normality has no power to speak of.
_NORMALITY_NEEDS = 8

Array = npt.NDArray[np.float64]


Scale = Literal["linear", "log"]
Method = Literal["t", "bootstrap", "exact"]


class Summary(NamedTuple):
    """A value over the seeds.

    value: the mean on ``scale``, so on "log" the geometric mean; NaN where a seed's value is not finite.
    low, high: ends of its 95 % interval; None where there is none.
    method: how the interval was taken; None where there is none.
    scale: on which the mean and the interval were taken.
    """

    value: float
    low: float | None = None
    high: float | None = None
    method: Method | None = None
    scale: Scale = "linear"


def scale_of(quantity: str, *samples: Sequence[float]) -> Scale:
    """The natural scale of a quantity: norms, factors and ratios span decades, so "log"; ``saturated`` and
    ``output_zeros`` are shares.

    Zero and negative numbers have no logarithm: with one of them in ``samples``, finite values per seed, "linear".
    """
    positive = all(value > 0 for values in samples for value in values)
    return "linear" if quantity in _SHARES or not positive else "log"


def summarise(values: Sequence[float], scale: Scale) -> Summary:
    """The one summary of a value over seeds: ``values`` has one per seed.

    Mean and interval are taken on ``scale`` and brought back. On "log" with a value of zero or below they fall back to
    "linear", without an interval: a norm has no interval that reaches below zero. One value has no interval either.
    Raises ``ValueError`` without values.
    """
    if not values:
        raise ValueError("a summary needs a value")
    if not all(map(math.isfinite, values)):
        return Summary(math.nan, scale=scale)
    mean = float(mean_over_seeds(values, scale))
    if scale == "log" and min(values) <= 0:
        return Summary(mean, scale="linear")
    if len(values) == 1:
        return Summary(mean, scale=scale)
    if scale == "linear":
        return interval(values)
    found = interval([math.log(value) for value in values])
    assert found.low is not None
    assert found.high is not None
    return Summary(mean, _exp(found.low), _exp(found.high), found.method, scale)


def mean_over_seeds(values: npt.ArrayLike, scale: Scale) -> Array:
    """The mean over the first axis of ``values`` [seeds, …], taken on ``scale``: on "log" geometric, but where a seed's
    value is zero or below."""
    array = np.asarray(values, dtype=float)
    if scale == "linear":
        return np.asarray(array.mean(axis=0))
    positive = (array > 0).all(axis=0)
    logs = np.log(np.where(positive, array, 1.0)).mean(axis=0)
    # Equal values are their own mean, without the rounding of a logarithm.
    geometric = np.where((array == array[0]).all(axis=0), array[0], np.exp(np.minimum(logs, LARGEST_LOG)))
    return np.asarray(geometric if positive.all() else np.where(positive, geometric, array.mean(axis=0)))


def interval(values: Sequence[float]) -> Summary:
    """The mean of finite ``values`` with its two-sided 95 % interval: Student's t, or BCa bootstrap (Efron 1987) where
    there are enough of them to see that they are not normal (Shapiro–Wilk, p < 0.05).

    Raises ``ValueError`` with fewer than two values, which have no spread.
    """
    if len(values) < 2:
        raise ValueError(f"an interval needs two values, got {len(values)}")
    mean = float(np.mean(values))
    if len(values) >= _NORMALITY_NEEDS and len(set(values)) > 1:
        from scipy import stats  # takes half a second to import

        if stats.shapiro(values).pvalue < 1 - CONFIDENCE:
            found = stats.bootstrap((values,), np.mean, confidence_level=CONFIDENCE, rng=0).confidence_interval
            return Summary(mean, float(found.low), float(found.high), "bootstrap")
    half = float(_half_widths(np.asarray(values, dtype=float)))
    return Summary(mean, mean - half, mean + half, "t")


def distance_interval(curves: Array, target: Array) -> Summary:
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
    return Summary(float(away.mean()), float(low), float(high), "t")


def difference_of_means(before: Array, after: Array) -> float:
    """By what the mean of ``after`` is above that of ``before``; 0 where all values are equal, however many."""
    return _mean(after) - _mean(before)


def difference_interval(before: Array, after: Array, paired: bool) -> tuple[float, ...]:
    """Low and high end of Student's t interval of the difference of means: of the pairs, or Welch's; empty where a
    side has one value."""
    if min(len(before), len(after)) < 2:
        return ()
    found = _difference(before, after, paired)
    half = float(special.stdtrit(found.freedom, (1 + CONFIDENCE) / 2)) * found.error
    return found.mean - half, found.mean + half


def greater_p(before: Array, after: Array, paired: bool, least_spread: float = 0.0) -> float:
    """The one-sided p of Student's t test, of the pairs or Welch's: how likely the mean of ``after`` is so far above
    that of ``before`` by chance, if in truth it is not above it.

    ``least_spread``: a standard deviation that no side, nor the differences of pairs, is taken to be under. Values
    without any spread are decided exactly: 0 where the mean is greater, else 1. Raises ``ValueError`` where a side has
    one value.
    """
    if min(len(before), len(after)) < 2:
        raise ValueError("a test of a difference needs two values on both sides")
    found = _difference(before, after, paired, least_spread)
    if not found.error:
        return float(found.mean <= 0)
    return float(special.stdtr(found.freedom, -found.mean / found.error))


def seeds_for_p(before: Array, after: Array, paired: bool, p: float, least_spread: float = 0.0) -> int | None:
    """The fewest seeds on each side with which :func:`greater_p` would be ``p`` or less, if means and spreads stay as
    they are; None where more than :data:`MOST_SEEDS` would not do. Raises ``ValueError`` where a side has one value."""
    if min(len(before), len(after)) < 2:
        raise ValueError("a spread needs two values on both sides")
    variances = _variances(before, after, paired, least_spread)
    mean, total = difference_of_means(before, after), sum(variances)
    freedom = 1 / (sum((part / total) ** 2 for part in variances) if total else 1.0)  # for each seed but one

    def enough(seeds: int) -> bool:
        width = float(special.stdtrit((seeds - 1) * freedom, 1 - p))
        return width * math.sqrt(total / seeds) <= mean

    if mean <= 0 or not enough(MOST_SEEDS):
        return None
    return bisect_left(range(MOST_SEEDS), True, lo=2, key=enough)


class _Difference(NamedTuple):
    """Of two means, with its standard error and the degrees of freedom of its t distribution."""

    mean: float
    error: float
    freedom: float


def _difference(before: Array, after: Array, paired: bool, least_spread: float = 0.0) -> _Difference:
    counts = (len(before),) if paired else (len(before), len(after))
    variances = _variances(before, after, paired, least_spread)
    parts = [variance / count for variance, count in zip(variances, counts, strict=True)]
    total = sum(parts)
    # Welch and Satterthwaite's; of one part, the pairs', one less than there are.
    own = sum((part / total) ** 2 / (count - 1) for part, count in zip(parts, counts, strict=True)) if total else 1.0
    return _Difference(difference_of_means(before, after), math.sqrt(total), 1 / own)


def _variances(before: Array, after: Array, paired: bool, least_spread: float) -> list[float]:
    """Of the differences of pairs, or of each side."""
    return [max(_variance(x), least_spread**2) for x in ((after - before,) if paired else (before, after))]


def _mean(values: Array) -> float:
    # From the first on, so that equal values are their own mean; numpy's own mean takes some times as long for a few.
    return float(values[0] + (values - values[0]).sum() / len(values))


def _variance(values: Array) -> float:
    apart = values - _mean(values)
    return float(apart @ apart) / (len(values) - 1)


def seeds_to_decide(found: Summary, count: int, margin: float) -> int | None:
    """How many seeds would decide, if mean and spread stay as they are.

    The fewest seeds, more than the ``count`` that gave ``found``, with which its interval would stay within ``margin``
    of its value, both on the summary's scale, as widths of t intervals go; ``None`` where more than ``MOST_SEEDS``
    would not do. ``found`` must have an interval.
    """
    assert found.low is not None
    assert found.high is not None
    value, low, high = (on_scale(found.scale, x) for x in (found.value, found.low, found.high))
    half = max(high - value, value - low)
    for more in range(count + 1, MOST_SEEDS + 1):
        if half * _t_width(more) / _t_width(count) < margin:
            return more
    return None


def on_scale(scale: Scale, value: float) -> float:
    """``value`` as it stands on a scale: its logarithm on "log", minus infinity for what has none."""
    if scale == "linear":
        return value
    return math.log(value) if value > 0 else -math.inf


def ranking_auc(good: Sequence[float], bad: Sequence[float]) -> float:
    """The area under the ROC curve of a score that is larger for what is bad: the probability that a random one of
    ``bad`` has a larger score than a random one of ``good``, ties counted as half. Raises ``ValueError`` where one of
    them is empty."""
    if not (good and bad):
        raise ValueError("a ranking needs scores on both sides")
    g, b = np.asarray(good, dtype=float), np.asarray(bad, dtype=float)[:, None]
    return float(np.mean((b > g) + (b == g) / 2))


class Cut(NamedTuple):
    """A limit on a score that is larger for what is bad: what lies above it is called bad.

    value: the limit.
    sensitivity: the share of the bad that lies above it.
    specificity: the share of the good that does not.
    """

    value: float
    sensitivity: float
    specificity: float


def cut_at(good: Sequence[float], bad: Sequence[float], *, specificity: float) -> Cut | None:
    """The least cut, one of the scores in ``good``, with at least that ``specificity``, from 0 to 1; None where only an
    infinite one has it. Raises ``ValueError`` where one side is empty."""
    if not (good and bad):
        raise ValueError("a cut needs scores on both sides")
    value = sorted(good)[max(math.ceil(specificity * len(good)) - 1, 0)]
    return apply_cut(value, good, bad) if math.isfinite(value) else None


def apply_cut(value: float, good: Sequence[float], bad: Sequence[float]) -> Cut:
    """What the cut at ``value`` makes of scores, none of whose sides is empty."""
    above = [sum(score > value for score in side) / len(side) for side in (bad, good)]
    return Cut(value, above[0], 1 - above[1])


def _exp(log: float) -> float:
    return math.exp(min(log, LARGEST_LOG))


def _half_widths(values: Array) -> Array:
    """Of the t interval of the mean over the first axis."""
    return np.asarray(_t_width(len(values)) * np.std(values, axis=0, ddof=1))


@cache
def _t_width(count: int) -> float:
    """Half the width of a t interval for ``count`` values, in standard deviations of one."""
    return float(special.stdtrit(count - 1, (1 + CONFIDENCE) / 2)) / math.sqrt(count)
