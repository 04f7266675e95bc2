"""Intervals: against textbook figures, scipy's own, a plain loop, and the rate at which they are right."""

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from vgharness.statistics import MOST_SEEDS, Array, bootstrap, interval, seeds_to_decide

pytestmark = pytest.mark.fast

NORMAL = [NormalDist(70, 2).inv_cdf((i + 0.5) / 20) for i in range(20)]
SKEWED = [math.exp(2 * NormalDist().inv_cdf((i + 0.5) / 20)) for i in range(20)]
numbers = st.floats(min_value=-1e6, max_value=1e6)


def spread(values: Sequence[float], count: int) -> Sequence[float]:
    """``count`` of ``values``, evenly spaced and both ends kept, so that a short sample has the shape of the long."""
    return [values[round(i * (len(values) - 1) / (count - 1))] for i in range(count)]


def mean_abs_of_mean(samples: Array) -> Array:
    """Like the published curves' distance: of [..., seeds, epochs] the mean over epochs of |mean over seeds|."""
    return np.asarray(np.abs(samples.mean(axis=-2)).mean(axis=-1))


def plain_bca(samples: Array, statistic: Callable[[Array], float], resamples: int) -> tuple[float, float]:
    """Efron 1987, one resample at a time."""
    random, normal, count = np.random.default_rng(1), NormalDist(), len(samples)
    estimate = statistic(samples)
    found = sorted(statistic(samples[random.integers(count, size=count)]) for _ in range(resamples))
    z0 = normal.inv_cdf(sum((x < estimate) + 0.5 * (x == estimate) for x in found) / resamples)
    left_out = [statistic(np.delete(samples, i, axis=0)) for i in range(count)]
    off = [sum(left_out) / count - x for x in left_out]
    acceleration = sum(d**3 for d in off) / (6 * sum(d**2 for d in off) ** 1.5)

    def limit(quantile: float) -> float:
        z = z0 + normal.inv_cdf(quantile)
        return found[int(normal.cdf(z0 + z / (1 - acceleration * z)) * resamples)]

    return limit(0.025), limit(0.975)


# --- t --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "mean", "half"),
    [
        ((1.0, 3.0), 2.0, 12.7062),  # t table, 1 degree of freedom: 12.7062 × √2 / √2
        ((1.0, 2.0, 3.0), 2.0, 4.30265 / math.sqrt(3)),
        ((1.0, 2.0, 3.0, 4.0, 5.0), 3.0, 2.77645 * math.sqrt(2.5) / math.sqrt(5)),
    ],
)
def test_interval_is_the_textbooks(values: Sequence[float], mean: float, half: float) -> None:
    found = interval(values)
    assert found == (
        pytest.approx(mean),
        pytest.approx(mean - half, rel=1e-5),
        pytest.approx(mean + half, rel=1e-5),
        "t",
    )


@given(st.lists(numbers, min_size=2, max_size=7))
def test_interval_of_a_few_values_is_scipys_t_interval(values: list[float]) -> None:
    found = interval(values)
    deviation, mean = float(np.std(values, ddof=1)), float(np.mean(values))
    assert found.method == "t"
    assert found.low <= found.mean <= found.high
    if deviation > 1e-6:
        low, high = stats.t.interval(0.95, len(values) - 1, mean, deviation / math.sqrt(len(values)))
        assert found[:3] == pytest.approx((mean, low, high), rel=1e-9, abs=1e-6)


@pytest.mark.parametrize("count", [2, 3, 8, 20])
@pytest.mark.parametrize("value", [0.0, 5.0, -3.25, 1e6])
def test_interval_of_equal_values_is_that_value(value: float, count: int) -> None:
    assert interval([value] * count) == (value, value, value, "t")


@pytest.mark.parametrize("values", [[], [1.0]])
def test_interval_needs_two_values(values: list[float]) -> None:
    with pytest.raises(ValueError, match=f"two values, got {len(values)}"):
        interval(values)


@given(st.lists(numbers, min_size=3, max_size=7), st.floats(min_value=0.5, max_value=100))
def test_interval_widens_with_the_spread(values: list[float], times: float) -> None:
    middle = float(np.mean(values))
    narrow, wide = interval(values), interval([middle + (1 + times) * (x - middle) for x in values])
    assert wide.high - wide.low >= narrow.high - narrow.low


# --- t or bootstrap -------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [8, 12, 20])
def test_enough_values_that_are_not_normal_get_a_bootstrap(count: int) -> None:
    values = spread(SKEWED, count)
    found, symmetric = interval(values), 2 * float(np.mean(values))
    assert found.method == "bootstrap"
    assert found.mean == pytest.approx(np.mean(values))
    assert found.low < found.mean < found.high
    assert found.low + found.high > symmetric + 0.1, "an interval of skewed values reaches further to their tail"


@pytest.mark.parametrize(
    "values",
    [
        pytest.param(spread(SKEWED, 7), id="too few to tell"),
        pytest.param(spread(SKEWED, 3), id="three"),
        pytest.param(spread(NORMAL, 8), id="eight normal"),
        pytest.param(NORMAL, id="twenty normal"),
    ],
)
def test_few_or_normal_values_get_a_t_interval(values: Sequence[float]) -> None:
    assert interval(values).method == "t"


def test_a_bootstrap_is_the_same_every_time() -> None:
    assert interval(SKEWED) == interval(SKEWED)


# --- coverage -------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [3, 5])
def test_about_95_of_100_t_intervals_hold_the_true_mean(count: int) -> None:
    samples = np.random.default_rng(0).normal(70, 2, (1000, count))
    held = sum(found.low <= 70 <= found.high for found in map(interval, samples.tolist()))
    assert 930 <= held <= 970


def test_intervals_of_many_skewed_values_mostly_hold_the_true_mean() -> None:
    samples = np.random.default_rng(0).exponential(1.0, (60, 25))
    found = [interval(values) for values in samples.tolist()]
    assert {x.method for x in found} == {"t", "bootstrap"}
    assert sum(x.low <= 1 <= x.high for x in found) >= 51


def test_intervals_of_a_distance_between_curves_mostly_hold_the_true_distance_with_three_seeds() -> None:
    """EXPERIMENT.md asks for 95 %. Seeds lie 2.5 points above the published curve, and scatter by 2."""
    random, held = np.random.default_rng(0), 0
    for _ in range(60):
        samples = 2.5 + random.normal(0, 2 * math.sqrt(0.7), (3, 1)) + random.normal(0, 2 * math.sqrt(0.3), (3, 20))
        found = bootstrap(samples, mean_abs_of_mean)
        held += found.low <= 2.5 <= found.high
    assert held >= 51


# --- bootstrap of any statistic -------------------------------------------------------------------


@pytest.mark.parametrize("seeds", [6, 10])
def test_bootstrap_of_a_nonlinear_statistic_agrees_with_a_plain_loop(seeds: int) -> None:
    samples = np.random.default_rng(seeds).normal(1.0, 2.0, (seeds, 4))
    found = bootstrap(samples, mean_abs_of_mean)
    low, high = plain_bca(samples, lambda x: float(np.abs(x.mean(axis=0)).mean()), 4000)
    assert found.method == "bootstrap"
    assert found.mean == pytest.approx(np.abs(samples.mean(axis=0)).mean())
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.05 * (high - low))


@pytest.mark.parametrize("seeds", [2, 3, 10])
def test_bootstrap_of_seeds_that_agree_has_no_width(seeds: int) -> None:
    samples = np.tile([1.0, -2.0, 4.5], (seeds, 1))
    assert bootstrap(samples, mean_abs_of_mean) == (2.5, 2.5, 2.5, "bootstrap")


def test_a_bootstrap_interval_holds_an_estimate_that_no_resample_reaches() -> None:
    """Deviations from a curve that cancel: any resample but the whole sample is further away."""
    samples = np.array([[8.0, -4.0, -4.0, 0.0], [-4.0, 8.0, -4.0, 0.0], [-4.0, -4.0, 8.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    samples = np.vstack([samples, -samples, 2 * samples, -2 * samples])
    found = bootstrap(samples, mean_abs_of_mean)
    assert found.mean == 0
    assert found.low <= 0
    assert found.high > 0.5


# --- seeds to decide ------------------------------------------------------------------------------


def half_width(values: Sequence[float], count: int) -> float:
    _, high = stats.t.interval(0.95, count - 1)
    return float(high) * float(np.std(values, ddof=1)) / math.sqrt(count)


@given(
    st.lists(st.floats(min_value=-100, max_value=100), min_size=2, max_size=7), st.floats(min_value=0.01, max_value=100)
)
def test_seeds_to_decide_is_the_fewest_that_would_do(values: list[float], margin: float) -> None:
    count = seeds_to_decide(values, margin)
    if count is None:
        assert half_width(values, MOST_SEEDS) >= margin * (1 - 1e-9)
        return
    assert 3 <= count <= MOST_SEEDS
    assert half_width(values, count) < margin * (1 + 1e-9)
    assert count == 3 or half_width(values, count - 1) >= margin * (1 - 1e-9)


@pytest.mark.parametrize(
    ("values", "margin", "count"),
    [
        ((1.0, 2.0, 3.0), 100.0, 3),
        ((1.0, 2.0, 3.0), 2.4842, 3),
        ((1.0, 2.0, 3.0), 2.4841, 4),
        ((1.0, 2.0, 3.0), 0.0, None),
        ((0.0, 100.0), 1.0, None),
        ((5.0, 5.0, 5.0), 0.1, 3),
        ((5.0, 5.0, 5.0), 0.0, None),
    ],
)
def test_seeds_to_decide_by_hand(values: Sequence[float], margin: float, count: int | None) -> None:
    assert seeds_to_decide(values, margin) == count


def test_the_most_seeds_still_count_and_one_more_does_not() -> None:
    values = (-1.0, 1.0)
    at_most, beyond = half_width(values, MOST_SEEDS), half_width(values, MOST_SEEDS + 1)
    assert seeds_to_decide(values, at_most * 1.0001) == MOST_SEEDS
    assert seeds_to_decide(values, beyond * 1.0001) is None
