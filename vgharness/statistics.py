"""Values over seeds: their mean, its interval, that of one further value, differences, and how many seeds decide."""

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
SHARE_TO_DECIDE = 0.9
_DRAWS = 12
_LEAST_SHARE = 5e-5

Array = npt.NDArray[np.float64]
Scale = Literal["linear", "log", "logit"]
Method = Literal["t", "exact"]


class Summary(NamedTuple):
    """A value over the seeds.

    value: the mean on ``scale``, so on "log" the geometric mean; NaN where a seed's value is not finite.
    low, high: ends of its 95 % interval; None where there is none.
    method: how the interval was taken; None where there is none.
    scale: on which the mean and the interval were taken; "logit" is of a percentage.
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


def summarise(values: Sequence[float], scale: Scale, grain: float = 0.0, confidence: float = CONFIDENCE) -> Summary:
    """The one summary of a value over seeds: ``values`` has one per seed.

    Mean and interval, Student's t, are taken on ``scale`` and brought back. ``grain``, ``confidence``: as
    :func:`interval` takes them. On "log" with a value of zero or below they fall back to "linear", without an interval:
    a norm has no interval that reaches below zero. One value has no interval either. Raises ``ValueError`` without
    values.
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
    low, high = (from_scale(scale, end) for end in interval([on_scale(scale, x) for x in values], grain, confidence))
    return Summary(mean, low, high, "t", scale)


def mean_over_seeds(values: npt.ArrayLike, scale: Scale) -> Array:
    """The mean over the first axis of ``values`` [seeds, …], taken on ``scale``: on "log" geometric, but where a seed's
    value is zero or below."""
    array = np.asarray(values, dtype=float)
    if scale == "linear":
        return np.asarray(array.mean(axis=0))
    if scale == "logit":
        shares = np.clip(array / 100, _LEAST_SHARE, 1 - _LEAST_SHARE)
        means = 100 * special.expit(special.logit(shares).mean(axis=0))
        return np.asarray(np.where((array == array[0]).all(axis=0), array[0], means))
    positive = (array > 0).all(axis=0)
    logs = np.log(np.where(positive, array, 1.0)).mean(axis=0)
    # Equal values are their own mean, without the rounding of a logarithm.
    geometric = np.where((array == array[0]).all(axis=0), array[0], np.exp(np.minimum(logs, LARGEST_LOG)))
    return np.asarray(geometric if positive.all() else np.where(positive, geometric, array.mean(axis=0)))


def interval(values: Sequence[float], grain: float = 0.0, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Student's t interval, two-sided at ``confidence``, of the mean of finite ``values``, on whatever scale they are.

    ``grain`` is the standard deviation that one value has for want of resolution: a smaller one that a few equal values
    show is chance, and as it may be common to all of them (the same test images), more values do not take it away. So
    neither their standard deviation nor the half-width is less. Raises ``ValueError`` with fewer than two values.
    """
    if len(values) < 2:
        raise ValueError(f"an interval needs two values, got {len(values)}")
    middle = mean_of(values)
    half = max(_t_width(len(values), confidence) * spread_of(values, grain), grain)
    return middle - half, middle + half


def prediction_interval(
    values: Sequence[float], grain: float = 0.0, confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """Student's t interval, two-sided at ``confidence``, of one further value of the law that ``values`` are from.

    ``grain``: as for :func:`interval`. Raises ``ValueError`` with fewer than two values.
    """
    if len(values) < 2:
        raise ValueError(f"an interval needs two values, got {len(values)}")
    middle, many = mean_of(values), len(values)
    half = _t_width(many, confidence) * math.sqrt(many) * spread_of(values, grain) * math.sqrt(1 + 1 / many)
    return middle - half, middle + half


def percent_grain(percent: float, count: int) -> float:
    """What a percentage of ``count`` cannot resolve: its standard deviation, in points, as a share of so many."""
    # With half of one added to either side: 0 and 100 % are not without scatter.
    share = (min(max(percent / 100, 0.0), 1.0) * count + 0.5) / (count + 1)
    return 100 * math.sqrt(share * (1 - share) / count)


def grain_on(scale: Scale, mean: float, grain: float) -> float:
    """A ``grain``, in the values' own unit, brought to the scale by its slope at their ``mean``."""
    if scale == "logit":
        # As far from 0 and 100 % as its own grain.
        mean = min(max(mean, grain), 100 - grain)
        return 100 * grain / (mean * (100 - mean))
    return grain / abs(mean) if scale == "log" and mean else grain


def spread_of(values: Sequence[float], grain: float = 0.0) -> float:
    """The standard deviation of finite ``values``, at least ``grain``."""
    middle = mean_of(values)
    return max(math.hypot(*(x - middle for x in values)) / math.sqrt(len(values) - 1), grain)


def mean_of(values: Sequence[float]) -> float:
    """The arithmetic mean, of numbers of any size."""
    return math.fsum(x / len(values) for x in values)


def two_sided_p(t: float, seeds: int) -> float:
    """The least level at which a t interval of ``seeds`` values would still keep ``t`` standard errors away."""
    return float(min(2 * special.stdtr(seeds - 1, -max(t, 0.0)), 1.0))


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


def share_changed(before: Array, after: Array, paired: bool, scale: Scale) -> tuple[float, ...]:
    """By what share of what it was a mean, taken on ``scale``, has changed, and the ends of that share's 95 % interval
    as :func:`difference_interval` has them; empty where the mean was 0 on "linear"."""
    if scale == "log":
        before, after = np.log(before), np.log(after)
    shift = (difference_of_means(before, after), *difference_interval(before, after, paired))
    if scale == "log":
        return tuple(math.expm1(min(end, LARGEST_LOG)) for end in shift)
    mean = abs(float(before.mean()))
    return tuple(end / mean for end in shift) if mean else ()


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


def holm(ps: Sequence[float], decisions: int) -> list[float]:
    """Corrects the p of some of a family of ``decisions``, after Holm (1979): the least is multiplied by their number,
    the next by one less. The correction is right for those some however the others come out."""
    order = sorted(range(len(ps)), key=lambda i: ps[i])
    corrected, greatest, left = [0.0] * len(ps), 0.0, max(decisions, len(ps))
    for rank, i in enumerate(order):
        greatest = max(greatest, min(1.0, ps[i] * (left - rank)))
        corrected[i] = greatest
    return corrected


class Decidable(NamedTuple):
    """What would decide a reading, on its scale.

    low, high: ends of what is accepted, infinite where there is none.
    printed: the least and the greatest number that the document prints: outside is only what they are far from too;
        ``None``: nothing is printed.
    confidence: of the intervals that decide.
    """

    low: float
    high: float
    printed: tuple[float, float] | None = None
    confidence: float = CONFIDENCE


def seeds_to_decide(values: Sequence[float], accepted: Decidable, grain: float = 0.0) -> int | None:
    """How many seeds would decide in nine of ten studies, as far as ``values``, on their scale, can say.

    Neither the true mean nor the true spread is known from a few seeds: both are drawn from what the values leave open
    (the posterior of a normal law under the reference prior, by its quantiles), and a study of so many seeds must
    decide, either way, with a probability of nine tenths on the average. ``None`` where more than ``MOST_SEEDS`` would
    not do. Raises ``ValueError`` with fewer than two values.
    """
    if len(values) < 2:
        raise ValueError(f"a spread needs two values, got {len(values)}")
    many = len(values)
    quantiles = (np.arange(_DRAWS) + 0.5) / _DRAWS
    chi_square = special.chdtri(many - 1, 1 - quantiles)
    sigma = spread_of(values, grain) * np.sqrt((many - 1) / chi_square)[:, None]
    mu = float(np.mean(values)) + special.ndtri(quantiles)[None, :] * sigma / math.sqrt(many)
    if not sigma.min() > 0 or _share_decided(MOST_SEEDS, mu, sigma, accepted) < SHARE_TO_DECIDE:
        return None
    low, high = many, MOST_SEEDS
    while high - low > 1:
        middle = (low + high) // 2
        enough = _share_decided(middle, mu, sigma, accepted) >= SHARE_TO_DECIDE
        low, high = (low, middle) if enough else (middle, high)
    return high


def _share_decided(seeds: int, mu: Array, sigma: Array, accepted: Decidable) -> float:
    """How often a study of so many seeds decides, on the average over the laws with these means and spreads."""
    root = math.sqrt(seeds)
    inside, outside = np.ones_like(mu), np.zeros_like(mu)
    for end, side in ((accepted.low, 1), (accepted.high, -1)):
        if math.isfinite(end):
            away = side * (mu - end) * root / sigma
            inside = inside + _beyond(away, seeds, accepted.confidence) - 1
            outside = outside + _beyond(-away, seeds, accepted.confidence)
    if accepted.printed:
        least, most = accepted.printed
        short = np.maximum(np.maximum(least - mu, mu - most), 0)
        width = _t_width(seeds, accepted.confidence) * root * math.sqrt(1 + 1 / seeds)
        outside = outside * (short > width * sigma)
    return float(np.mean(np.maximum(inside, 0) + np.minimum(outside, 1)))


def _beyond(noncentrality: Array, seeds: int, confidence: float) -> Array:
    """The probability that t, with this noncentrality, exceeds the width of the interval; the usual normal
    approximation (Johnson, Kotz & Balakrishnan 1995, 31.6), within a percent or two even at three seeds."""
    freedom, critical = seeds - 1, _t_width(seeds, confidence) * math.sqrt(seeds)
    off = critical * (1 - 1 / (4 * freedom)) - noncentrality
    return np.asarray(special.ndtr(-off / math.sqrt(1 + critical**2 / (2 * freedom))))


def on_scale(scale: Scale, value: float) -> float:
    """``value`` as it stands on a scale: on "log" its logarithm, minus infinity for what has none; on "logit" that of a
    percentage, 0 and 100 taken half of one in ten thousand away from the end."""
    if scale == "log":
        return math.log(value) if value > 0 else -math.inf
    if scale == "logit":
        share = min(max(value / 100, _LEAST_SHARE), 1 - _LEAST_SHARE)
        return math.log(share / (1 - share))
    return value


def from_scale(scale: Scale, value: float) -> float:
    """The inverse of :func:`on_scale`; infinite ends stay the ends of what the scale can hold."""
    if scale == "log":
        return math.inf if value == math.inf else _exp(value)
    if scale == "logit":
        return float(100 * special.expit(value))
    return value


def _exp(log: float) -> float:
    return math.exp(min(log, LARGEST_LOG))


@cache
def _t_width(count: int, confidence: float) -> float:
    """Half the width of a t interval for ``count`` values, in standard deviations of one."""
    return float(special.stdtrit(count - 1, (1 + confidence) / 2)) / math.sqrt(count)
