"""Values over seeds: their mean, its interval, differences, and how many seeds would decide."""

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
LARGEST_LOG = 700.0  # its exponential is finite
_SHARES = ("saturated", "output_zeros")
# All permutations of up to eight values a side, or of fourteen pairs, are fewer than this; beyond, that many are drawn.
_RESAMPLES = 20_000
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
