"""Intervals: against textbook values, scipy's own and a plain loop; how often they are right."""

import math
from collections.abc import Sequence
from statistics import fmean

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from vgharness.statistics import (
    LARGEST_LOG,
    Decidable,
    Scale,
    difference_interval,
    difference_of_means,
    from_scale,
    greater_p,
    interval,
    mean_over_seeds,
    on_scale,
    prediction_interval,
    scale_of,
    seeds_for_p,
    seeds_to_decide,
    summarise,
)

pytestmark = pytest.mark.fast

numbers = st.floats(min_value=-1e6, max_value=1e6)


# --- t --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "mean", "half"),
    [
        ((1.0, 3.0), 2.0, 12.7062),  # t table, 1 degree of freedom: 12.7062 × √2 / √2
        ((1.0, 2.0, 3.0), 2.0, 4.30265 / math.sqrt(3)),
        ((1.0, 2.0, 3.0, 4.0, 5.0), 3.0, 2.77645 * math.sqrt(2.5) / math.sqrt(5)),
    ],
)
def test_intervals_are_the_textbooks(values: Sequence[float], mean: float, half: float) -> None:
    assert interval(values) == pytest.approx((mean - half, mean + half), rel=1e-5)
    wider = half * math.sqrt(len(values) + 1)  # sd √(1 + 1/n) beside sd ÷ √n
    assert prediction_interval(values) == pytest.approx((mean - wider, mean + wider), rel=1e-5)


@given(st.lists(numbers, min_size=2, max_size=12))
def test_interval_is_scipys_t_interval(values: list[float]) -> None:
    found = interval(values)
    deviation, mean = float(np.std(values, ddof=1)), float(np.mean(values))
    assert found[0] <= math.fsum(values) / len(values) <= found[1]
    if deviation > 1e-6:
        expected = stats.t.interval(0.95, len(values) - 1, mean, deviation / math.sqrt(len(values)))
        assert found == pytest.approx(expected, rel=1e-9, abs=1e-6)


@pytest.mark.parametrize("count", [2, 3, 8, 20])
@pytest.mark.parametrize("value", [0.0, 5.0, -3.25, 1e6])
def test_interval_of_equal_values_is_that_value_where_they_have_no_grain(value: float, count: int) -> None:
    assert interval([value] * count) == (value, value)


def test_equal_values_are_as_uncertain_as_their_grain() -> None:
    low, high = interval([10.0, 10.0, 10.0], grain=0.3)
    assert (10 - low, high - 10) == pytest.approx((0.3 * 4.30265 / math.sqrt(3),) * 2, rel=1e-5)
    assert interval([10.0] * 100, grain=0.3) == pytest.approx((9.7, 10.3)), "more of them do not take it away"
    assert prediction_interval([10.0] * 3, grain=0.3)[1] == pytest.approx(10 + 0.3 * 4.30265 * math.sqrt(4 / 3))
    assert interval([1.0, 9.0], grain=0.3) == interval([1.0, 9.0]), "what scatters more is not touched"


@pytest.mark.parametrize("values", [[], [1.0]])
def test_interval_needs_two_values(values: list[float]) -> None:
    with pytest.raises(ValueError, match=f"two values, got {len(values)}"):
        interval(values)
    with pytest.raises(ValueError, match=f"two values, got {len(values)}"):
        prediction_interval(values)


@given(st.lists(numbers, min_size=3, max_size=7), st.floats(min_value=0.5, max_value=100))
def test_interval_widens_with_the_spread(values: list[float], times: float) -> None:
    middle = float(np.mean(values))
    narrow, wide = interval(values), interval([middle + (1 + times) * (x - middle) for x in values])
    assert wide[1] - wide[0] >= (narrow[1] - narrow[0]) * (1 - 1e-9)


@pytest.mark.parametrize("count", [3, 5, 20])
def test_about_95_of_100_intervals_hold_the_mean_and_one_further_value(count: int) -> None:
    samples = np.random.default_rng(0).normal(70, 2, (1000, count + 1))
    held = further = 0
    for *values, one in samples.tolist():
        low, high = interval(values)
        held += low <= 70 <= high
        low, high = prediction_interval(values)
        further += low <= one <= high
    assert 930 <= held <= 970
    assert 930 <= further <= 970


# --- how many seeds would decide ------------------------------------------------------------------


def test_more_seeds_are_needed_nearer_to_the_end_and_with_more_spread() -> None:
    values = [0.0, 1.0, -1.0]
    needed = [seeds_to_decide(values, Decidable(-end, math.inf)) for end in (4.0, 2.0, 1.0, 0.5)]
    assert all(a is not None for a in needed[:2])
    assert sorted(needed, key=lambda x: math.inf if x is None else x) == needed
    assert len(set(needed)) == 4
    wide = seeds_to_decide([3 * x for x in values], Decidable(-4.0, math.inf))
    assert wide is None or wide > (needed[0] or 0)


def test_seeds_that_can_never_be_enough_are_none() -> None:
    assert seeds_to_decide([0.0, 1.0, -1.0], Decidable(-0.01, 0.01)) is None
    assert seeds_to_decide([5.0, 5.0, 5.0], Decidable(5.0, math.inf)) is None, "without a spread nothing can be said"


def test_a_band_is_decided_on_either_side_of_it() -> None:
    values = [0.0, 0.3, -0.3, 0.1, -0.1]
    inside, outside = Decidable(-1.0, 1.0), Decidable(1.0, 3.0)
    assert (seeds_to_decide(values, inside) or 99) < 20
    assert (seeds_to_decide(values, outside) or 99) < 20
    narrow = seeds_to_decide(values, Decidable(-0.2, 0.2))
    assert narrow is None or narrow > 20


def test_what_is_printed_from_one_run_stays_open_where_it_could_be_one_of_ours() -> None:
    values, band = [0.0, 1.0, -1.0, 0.4, -0.4], (0.9, 1.1)
    assert seeds_to_decide(values, Decidable(*band)) is not None
    assert seeds_to_decide(values, Decidable(*band, printed=(1.0, 1.0))) is None


@pytest.mark.parametrize("seeds", [3, 5])
def test_nine_of_ten_studies_are_decided_by_the_seeds_asked_for(seeds: int) -> None:
    rng, asked, decided = np.random.default_rng(0), 0, 0
    while asked < 150:
        truth = rng.uniform(-3, 3)
        values = rng.normal(truth, 1, seeds).tolist()
        needed = None if abs_beyond(values) else seeds_to_decide(values, Decidable(0.0, math.inf))
        if needed is not None and needed < 200:
            asked += 1
            decided += abs_beyond([*values, *rng.normal(truth, 1, needed - seeds)])
    assert decided / asked > 0.87, (decided, asked)


def abs_beyond(values: Sequence[float]) -> bool:
    low, high = interval(values)
    return low > 0 or high < 0


# --- scales ---------------------------------------------------------------------------------------


@given(st.floats(0.01, 99.99))
def test_a_percentage_comes_back_from_its_logit(value: float) -> None:
    assert from_scale("logit", on_scale("logit", value)) == pytest.approx(value)


def test_the_ends_of_a_scale_stay_the_ends() -> None:
    assert [from_scale("logit", x) for x in (-math.inf, math.inf)] == [0, 100]
    assert [from_scale("log", x) for x in (-math.inf, math.inf)] == [0, math.inf]
    assert math.isfinite(on_scale("logit", 0)) and math.isfinite(on_scale("logit", 100))  # noqa: PT018
    assert on_scale("log", 0) == -math.inf


def test_an_interval_of_a_percentage_stays_within_0_and_100() -> None:
    found = summarise([99.9, 99.0, 90.0], "logit")
    assert found.low is not None
    assert found.high is not None
    assert 0 < found.low < found.value < found.high < 100


# --- the one summary -----------------------------------------------------------------------------------

positive = st.lists(st.floats(1e-30, 1e30), min_size=2, max_size=7)


@given(positive)
def test_a_summary_on_logarithms_is_the_interval_of_the_logarithms(values: list[float]) -> None:
    logs = [math.log(value) for value in values]
    found, (low, high) = summarise(values, "log"), interval(logs)
    assert found.scale == "log"
    assert (found.low, found.value, found.high) == pytest.approx(
        tuple(math.exp(min(x, LARGEST_LOG)) for x in (low, fmean(logs), high)), rel=1e-9
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
