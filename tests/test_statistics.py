"""Intervals: against textbook values, scipy's own and a plain loop; how often they are right."""

import math
from collections.abc import Sequence
from random import Random
from statistics import NormalDist, fmean

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from vgharness.statistics import (
    LARGEST_LOG,
    MOST_SEEDS,
    Scale,
    Summary,
    apply_cut,
    cut_at,
    difference_interval,
    difference_of_means,
    distance_interval,
    greater_p,
    interval,
    mean_over_seeds,
    ranking_auc,
    scale_of,
    seeds_for_p,
    seeds_to_decide,
    summarise,
)

pytestmark = pytest.mark.fast

NORMAL = [NormalDist(70, 2).inv_cdf((i + 0.5) / 20) for i in range(20)]
SKEWED = [math.exp(2 * NormalDist().inv_cdf((i + 0.5) / 20)) for i in range(20)]
numbers = st.floats(min_value=-1e6, max_value=1e6)


def spread(values: Sequence[float], count: int) -> Sequence[float]:
    """``count`` of ``values``, evenly spaced and both ends kept, so that a short sample has the shape of the long."""
    return [values[round(i * (len(values) - 1) / (count - 1))] for i in range(count)]


def half_width(values: Sequence[float], count: int) -> float:
    """Of the t interval of ``count`` values that scatter as ``values`` do."""
    _, high = stats.t.interval(0.95, count - 1)
    return float(high) * float(np.std(values, ddof=1)) / math.sqrt(count)


def plain_bca(values: Sequence[float], resamples: int) -> tuple[float, float]:
    """Of the mean, by Efron 1987, one resample at a time."""
    random, normal, count = Random(1), NormalDist(), len(values)
    estimate = fmean(values)
    found = sorted(fmean(random.choices(values, k=count)) for _ in range(resamples))
    z0 = normal.inv_cdf(sum((x < estimate) + 0.5 * (x == estimate) for x in found) / resamples)
    left_out = [fmean([*values[:i], *values[i + 1 :]]) for i in range(count)]
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
        "linear",
    )


@given(st.lists(numbers, min_size=2, max_size=7))
def test_interval_of_a_few_values_is_scipys_t_interval(values: list[float]) -> None:
    found = interval(values)
    deviation, mean = float(np.std(values, ddof=1)), float(np.mean(values))
    assert found.method == "t"
    assert found.low <= found.value <= found.high
    if deviation > 1e-6:
        low, high = stats.t.interval(0.95, len(values) - 1, mean, deviation / math.sqrt(len(values)))
        assert found[:3] == pytest.approx((mean, low, high), rel=1e-9, abs=1e-6)


@pytest.mark.parametrize("count", [2, 3, 8, 20])
@pytest.mark.parametrize("value", [0.0, 5.0, -3.25, 1e6])
def test_interval_of_equal_values_is_that_value(value: float, count: int) -> None:
    assert interval([value] * count) == (value, value, value, "t", "linear")


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
    assert found.value == pytest.approx(np.mean(values))
    assert found.low < found.value < found.high
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


@pytest.mark.parametrize("count", [20, 30])
def test_a_bootstrap_agrees_with_a_plain_loop(count: int) -> None:
    values = [-math.log(1 - (i + 0.5) / count) for i in range(count)]
    found, (low, high) = interval(values), plain_bca(values, 10_000)
    assert found.method == "bootstrap"
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.05 * (high - low))


def test_a_bootstrap_is_the_same_every_time() -> None:
    assert interval(SKEWED) == interval(SKEWED)


# --- coverage -------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [3, 5])
def test_about_95_of_100_t_intervals_hold_the_true_mean(count: int) -> None:
    samples = np.random.default_rng(0).normal(70, 2, (1000, count))
    held = sum(found.low <= 70 <= found.high for found in map(interval, samples.tolist()))
    assert 930 <= held <= 970


def test_intervals_of_many_skewed_values_mostly_hold_the_true_mean() -> None:
    samples = np.random.default_rng(0).exponential(1.0, (40, 25))
    found = [interval(values) for values in samples.tolist()]
    assert {x.method for x in found} == {"t", "bootstrap"}
    assert sum(x.low <= 1 <= x.high for x in found) >= 34


# --- distance between curves ----------------------------------------------------------------------


def reach(values: Sequence[float]) -> tuple[float, float]:
    """How near to 0 and how far from it the mean of ``values`` can be within its t interval."""
    found = interval(values)
    return max(found.low, -found.high, 0.0), max(-found.low, found.high)


@given(st.integers(2, 6), st.integers(1, 5), st.data())
def test_distance_interval_is_that_of_the_nearest_and_the_farthest_curve(
    seeds: int, points: int, data: st.DataObject
) -> None:
    small = st.integers(-20, 20).map(float)
    curves = data.draw(st.lists(st.lists(small, min_size=points, max_size=points), min_size=seeds, max_size=seeds))
    target = data.draw(st.lists(small, min_size=points, max_size=points))
    found = distance_interval(np.array(curves), np.array(target))
    columns = [
        [value - goal for value in column] for column, goal in zip(zip(*curves, strict=True), target, strict=True)
    ]
    near, far = zip(*map(reach, columns), strict=True)
    expected = (fmean(abs(fmean(column)) for column in columns), fmean(near), fmean(far))
    assert found[:3] == pytest.approx(expected, abs=1e-9)
    assert found.low <= found.value + 1e-9
    assert found.value <= found.high + 1e-9


@pytest.mark.parametrize("shifts", [(9.0, 10.0, 11.5), (-9.0, -10.0, -11.5)])
def test_the_distance_of_shifted_curves_is_that_of_their_shift(shifts: Sequence[float]) -> None:
    target = np.array([10.0, 30.0, 25.0])
    found, shift = distance_interval(np.add.outer(shifts, target), target), interval([abs(x) for x in shifts])
    assert found == (pytest.approx(shift.value), pytest.approx(shift.low), pytest.approx(shift.high), "t", "linear")


@pytest.mark.parametrize("seeds", [2, 3, 10])
def test_the_distance_of_curves_that_agree_has_no_width(seeds: int) -> None:
    target = np.zeros(3)
    assert distance_interval(np.tile([1.0, -2.0, 4.5], (seeds, 1)), target) == (2.5, 2.5, 2.5, "t", "linear")


@pytest.mark.parametrize("seeds", [3, 12])
def test_curves_that_scatter_around_the_target_may_be_on_it_or_as_far_off_as_their_mean_may_be(seeds: int) -> None:
    shifts = [(9.0, -9.0, 0.0)[i % 3] for i in range(seeds)]
    found = distance_interval(np.add.outer(shifts, np.zeros(20)), np.zeros(20))
    assert found == (0, 0, pytest.approx(half_width(shifts, seeds)), "t", "linear")


@pytest.mark.parametrize("seeds", [0, 1])
def test_a_distance_needs_two_curves(seeds: int) -> None:
    with pytest.raises(ValueError, match=f"two curves, got {seeds}"):
        distance_interval(np.zeros((seeds, 3)), np.zeros(3))


# --- seeds to decide ------------------------------------------------------------------------------


@settings(max_examples=25)
@given(
    st.lists(st.floats(min_value=-100, max_value=100), min_size=2, max_size=7), st.floats(min_value=1, max_value=100)
)
def test_seeds_to_decide_is_the_fewest_more_that_would_do(values: list[float], margin: float) -> None:
    count, there = seeds_to_decide(interval(values), len(values), margin), len(values)
    if count is None:
        assert half_width(values, MOST_SEEDS) >= margin * (1 - 1e-6)
        return
    assert there < count <= MOST_SEEDS
    assert half_width(values, count) < margin * (1 + 1e-6)
    assert count == there + 1 or half_width(values, count - 1) >= margin * (1 - 1e-6)


@pytest.mark.parametrize(
    ("values", "margin", "count"),
    [
        ((1.0, 2.0, 3.0), 100.0, 4),
        ((1.0, 2.0, 3.0), 1.5913, 4),
        ((1.0, 2.0, 3.0), 1.5912, 5),
        ((1.0, 2.0, 3.0), 0.0, None),
        ((0.0, 100.0), 100.0, 5),
        ((0.0, 100.0), 1.0, None),
        ((5.0, 5.0, 5.0), 0.1, 4),
        ((5.0, 5.0, 5.0), 0.0, None),
    ],
)
def test_seeds_to_decide_by_hand(values: Sequence[float], margin: float, count: int | None) -> None:
    assert seeds_to_decide(interval(values), len(values), margin) == count


@pytest.mark.parametrize(("low", "high"), [(7.0, 11.0), (9.0, 13.0)])
def test_the_wider_side_of_an_interval_has_to_fit_the_margin(low: float, high: float) -> None:
    both = seeds_to_decide(Summary(10.0, 7.0, 13.0, "t"), 8, 1.0)
    assert both is not None
    assert seeds_to_decide(Summary(10.0, low, high, "bootstrap"), 8, 1.0) == both


def test_the_most_seeds_still_count_and_one_more_does_not() -> None:
    values = (-1.0, 1.0)
    at_most, beyond = half_width(values, MOST_SEEDS), half_width(values, MOST_SEEDS + 1)
    assert seeds_to_decide(interval(values), 2, at_most * 1.0001) == MOST_SEEDS
    assert seeds_to_decide(interval(values), 2, beyond * 1.0001) is None


# --- the one summary -----------------------------------------------------------------------------------

positive = st.lists(st.floats(1e-30, 1e30), min_size=2, max_size=7)


@given(positive)
def test_a_summary_on_logarithms_is_the_interval_of_the_logarithms(values: list[float]) -> None:
    found, logs = summarise(values, "log"), interval([math.log(value) for value in values])
    assert found.scale == "log"
    assert (found.low, found.value, found.high) == pytest.approx(
        tuple(math.exp(min(x, LARGEST_LOG)) for x in (logs.low, logs.value, logs.high)), rel=1e-9
    )
    assert 0 <= found.low <= found.value * (1 + 1e-9)
    assert found.value <= found.high * (1 + 1e-9)


@given(positive, st.floats(1e-6, 1e6))
def test_a_summary_on_logarithms_does_not_depend_on_the_unit(values: list[float], unit: float) -> None:
    found, scaled = summarise(values, "log"), summarise([unit * value for value in values], "log")
    assert scaled.value == pytest.approx(unit * found.value, rel=1e-9)
    inverse = summarise([1 / value for value in values], "log")
    assert inverse.value == pytest.approx(1 / found.value, rel=1e-9)


def test_a_summary_of_what_has_no_logarithm_is_linear_and_has_no_interval_below_zero() -> None:
    assert summarise([0.0, 2.0], "log") == (1.0, None, None, None, "linear")
    assert summarise([-1.0, 2.0], "log") == (0.5, None, None, None, "linear")
    assert summarise([0.0, 2.0], "linear").low == pytest.approx(1 - 12.7062, rel=1e-5)


def test_a_summary_of_one_value_and_of_what_is_not_finite() -> None:
    for scale in ("linear", "log"):
        assert summarise([3.0], scale) == (3.0, None, None, None, scale)
        for bad in (math.nan, math.inf):
            assert math.isnan(summarise([1.0, bad], scale).value)
            assert summarise([1.0, bad], scale).low is None
        with pytest.raises(ValueError, match="needs a value"):
            summarise([], scale)


def test_each_quantity_has_its_natural_scale() -> None:
    assert scale_of("signal_l2") == scale_of("factor") == scale_of("somebody's own") == "log"
    assert scale_of("saturated") == "linear"
    assert scale_of("signal_l2", [1.0, 2.0], [0.0]) == "linear"


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_means_of_arrays_are_those_of_their_values(scale: Scale) -> None:
    values = np.array([[1.0, 0.0, 5.0], [100.0, 4.0, 5.0]])
    expected = [summarise(list(column), scale).value for column in values.T]
    assert mean_over_seeds(values, scale).tolist() == expected
    assert expected == pytest.approx([50.5 if scale == "linear" else 10.0, 2.0, 5.0])


# --- differences ----------------------------------------------------------------------------------------

DRAWN = np.random.default_rng(3).normal(size=(2, 9))


@pytest.mark.parametrize("shift", [-0.3, 0.0, 2.0])
@pytest.mark.parametrize(("counts", "paired"), [((9, 9), True), ((9, 9), False), ((3, 7), False), ((5, 2), False)])
def test_a_difference_is_tested_as_scipy_tests_it(shift: float, counts: tuple[int, int], paired: bool) -> None:
    x, y = DRAWN[0, : counts[0]], DRAWN[1, : counts[1]] + shift
    found = stats.ttest_rel(y, x) if paired else stats.ttest_ind(y, x, equal_var=False)
    one_sided = found.pvalue / 2 if found.statistic > 0 else 1 - found.pvalue / 2
    assert greater_p(x, y, paired) == pytest.approx(one_sided)
    assert difference_interval(x, y, paired) == pytest.approx(tuple(found.confidence_interval()))


def test_the_smallest_p_keep_their_digits() -> None:
    x, y = np.array([0.0, 1e-3, 2e-3, 1e-3]), np.array([1.0, 1.0, 1.001, 1.0])
    found = greater_p(x, y, True)
    assert found == pytest.approx(stats.ttest_rel(y, x, alternative="greater").pvalue)
    assert 0 < found < 1e-7


@pytest.mark.parametrize("paired", [True, False])
def test_values_without_a_spread_are_decided_exactly(paired: bool) -> None:
    x = np.full(3, 0.1)
    assert greater_p(x, x, paired) == 1
    assert greater_p(x, x + 1e-9, paired) == 0
    assert greater_p(x, x - 1e-9, paired) == 1
    assert difference_interval(x, x, paired) == (0, 0)
    assert difference_of_means(x, np.full(7, 0.1)) == 0  # whose sums by seven and by three are rounded differently
    assert seeds_for_p(x, x + 1, paired, 1e-9) == 2
    assert seeds_for_p(x, x, paired, 1e-9) is None


def test_a_least_spread_is_that_of_each_side_or_of_the_pairs() -> None:
    x, y = np.zeros(4), np.ones(4)
    assert greater_p(x, y, True, 0.5) == pytest.approx(stats.t.sf(1 / (0.5 / 2), 3))
    assert greater_p(x, y, False, 0.5) == pytest.approx(stats.t.sf(1 / (0.5 / math.sqrt(2)), 6))
    assert greater_p(*DRAWN, True, 1e-9) == greater_p(*DRAWN, True)


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("p", [0.05, 1e-4])
def test_seeds_for_a_p_are_the_fewest_with_which_the_same_means_and_spreads_have_it(paired: bool, p: float) -> None:
    x, y = DRAWN[0], DRAWN[1] - DRAWN[1].mean() + DRAWN[0].mean() + 0.6
    found = seeds_for_p(x, y, paired, p)
    assert found is not None

    def p_of(seeds: int) -> float:
        if paired:
            variances, freedom = [np.var(y - x, ddof=1)], seeds - 1.0
        else:
            variances = [np.var(side, ddof=1) for side in (x, y)]
            freedom = (seeds - 1) * sum(variances) ** 2 / sum(part**2 for part in variances)
        return float(stats.t.sf(0.6 / math.sqrt(sum(variances) / seeds), freedom))

    assert p_of(found) <= p < p_of(found - 1)
    assert seeds_for_p(y, x, paired, p) is None
    assert seeds_for_p(x, y - 0.599, paired, p) is None


def test_one_value_has_no_difference_that_could_be_tested() -> None:
    one, two = np.ones(1), np.ones(2)
    assert difference_interval(one, two, False) == ()
    for wrong in (lambda: greater_p(one, two, False), lambda: seeds_for_p(two, one, False, 0.05)):
        with pytest.raises(ValueError, match="two values on both sides"):
            wrong()


scores = st.lists(st.integers(0, 5).map(float), min_size=1, max_size=12)


@given(scores, scores)
def test_the_area_under_the_roc_curve_is_mann_whitneys(good: list[float], bad: list[float]) -> None:
    u = stats.mannwhitneyu(bad, good, method="asymptotic").statistic if len({*good, *bad}) > 1 else None
    expected = 0.5 if u is None else u / (len(good) * len(bad))
    assert ranking_auc(good, bad) == pytest.approx(expected)


def test_infinite_scores_rank_last() -> None:
    assert ranking_auc([1, 2], [math.inf, math.inf]) == 1
    assert ranking_auc([math.inf], [math.inf]) == 0.5


@given(scores, scores, st.sampled_from([0.0, 0.5, 0.9, 0.95, 1.0]))
def test_a_cut_is_the_least_with_the_specificity_asked_for(
    good: list[float], bad: list[float], specificity: float
) -> None:
    cut = cut_at(good, bad, specificity=specificity)
    assert cut is not None
    assert cut == apply_cut(cut.value, good, bad)
    assert cut.specificity >= specificity
    lower = [apply_cut(value, good, bad) for value in good if value < cut.value]
    assert all(other.specificity < specificity for other in lower)


def test_a_cut_counts_what_lies_above_it() -> None:
    good, bad = [1.0] * 18 + [5.0, 9.0], [4.0, 5.0, 6.0, math.inf]
    cut = cut_at(good, bad, specificity=0.95)
    assert cut is not None
    assert (cut.value, cut.sensitivity, cut.specificity) == (5.0, 0.5, pytest.approx(0.95))
    assert cut_at([1.0, math.inf], bad, specificity=1.0) is None


@pytest.mark.parametrize(("good", "bad"), [([], [1.0]), ([1.0], [])])
def test_one_side_alone_has_no_ranking_and_no_cut(good: list[float], bad: list[float]) -> None:
    with pytest.raises(ValueError, match="both sides"):
        ranking_auc(good, bad)
    with pytest.raises(ValueError, match="both sides"):
        cut_at(good, bad, specificity=0.9)
