"""From one value per seed to what is decided of a reading."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from worlds import BAND, accepts, decided, decided_by, few, small

from vgharness.claims.measures import MEASURES
from vgharness.claims.spec import Accept
from vgharness.records import Outcome
from vgharness.statistics import Summary

pytestmark = pytest.mark.fast


@pytest.mark.parametrize(
    ("accept", "numbers", "outcome"),
    [
        (BAND, (45, 45.5, 46), "reproduced"),
        (BAND, (20, 21, 22), "not reproduced"),
        (BAND, (60, 61, 62), "not reproduced"),
        (BAND, (41, 43, 45), "inconclusive"),
        (BAND, (39, 41, 43), "inconclusive"),
        (BAND, (0, 45, 90), "inconclusive"),
        (BAND, (42, 42, 42), "reproduced"),
        (BAND, (48, 48, 48), "reproduced"),
        (BAND, (48.01, 48.01, 48.01), "not reproduced"),
        (BAND, (45,), "inconclusive"),
        (BAND, (20,), "inconclusive"),
        (BAND, (45, 45.1), "inconclusive"),
        (BAND, (20, 20.1), "inconclusive"),
        ({"at_least": 2}, (2, 2, 2), "reproduced"),
        ({"above": 2}, (2, 2, 2), "not reproduced"),
        ({"above": 2}, (2.1, 2.1, 2.1), "reproduced"),
        ({"below": 2}, (2, 2, 2), "not reproduced"),
        ({"at_most": 2}, (2, 2, 2), "reproduced"),
        ({"at_most": 2}, (1, 2, 3), "inconclusive"),
        (BAND, (45, 45, math.nan), "not reproduced"),
        (BAND, (45, 45, math.inf), "not reproduced"),
        (BAND, (-math.inf, 45, 45), "not reproduced"),
        (BAND, (math.nan,) * 3, "not reproduced"),
        (BAND, (*[45] * 9, math.nan), "not reproduced"),
        ({"at_least": 2}, (math.inf,) * 3, "not reproduced"),
        ({"at_most": 2}, (-math.inf,) * 3, "not reproduced"),
        (BAND, (math.nan,), "inconclusive"),
        (BAND, (45, math.nan), "inconclusive"),
    ],
)
def test_the_place_of_the_interval_decides(
    accept: Mapping[str, float], numbers: Sequence[float], outcome: Outcome
) -> None:
    assert decided(accept, numbers).outcome == outcome


def test_a_seed_without_a_finite_value_is_named() -> None:
    assert "43" in decided(BAND, (45, math.nan, 45)).reason


def test_the_interval_is_that_of_the_values() -> None:
    reading = decided(BAND, (41, 43, 45))
    low, high = stats.t.interval(0.95, 2, 43, 2 / math.sqrt(3))
    assert (reading.value, reading.low, reading.high) == pytest.approx((43, low, high))
    assert reading.method == "t"


# Values that multiply are averaged on a logarithmic scale: an interval on the linear one could reach below zero, and
# would let one large seed outweigh all small ones.
RATIOS = ("epochs_ratio", "factor", "largest_factor")


@pytest.mark.parametrize("measure", RATIOS)
def test_the_interval_of_a_ratio_is_that_of_the_logarithms(measure: str) -> None:
    reading = decided({"below": 10}, (0.1, 0.2, 0.4), measure)
    low, high = stats.t.interval(0.95, 2, math.log(0.2), math.log(2) / math.sqrt(3))
    assert (reading.value, reading.low, reading.high) == pytest.approx((0.2, math.exp(low), math.exp(high)))
    assert reading.method == "t"


def test_measures_are_averaged_on_the_scale_of_their_values() -> None:
    assert {name for name, measure in MEASURES.items() if measure.scale == "log"} == set(RATIOS)


@pytest.mark.parametrize("measure", RATIOS)
def test_a_ratio_of_zero_has_no_logarithm_and_is_judged_on_the_linear_scale(measure: str) -> None:
    """Gradients that underflow leave it."""
    reading = decided({"below": 0.5}, (0, 0.1, 0.2), measure)
    low, high = stats.t.interval(0.95, 2, 0.1, 0.1 / math.sqrt(3))
    assert (reading.value, reading.low, reading.high) == pytest.approx((0.1, low, high))
    assert reading.outcome == "reproduced"
    assert decided({"below": 0.5}, (0, 0, 0), measure).outcome == "reproduced"
    assert decided({"at_least": 0.5}, (0, 0, 0), measure).outcome == "not reproduced"


@pytest.mark.parametrize(
    ("accept", "numbers", "linear", "logarithmic"),
    [
        ({"above": 0.5}, (2, 4, 8), "inconclusive", "reproduced"),
        ({"below": 25}, (2, 4, 13), "reproduced", "inconclusive"),
        ({"above": 0.5}, (0.01, 0.02, 0.04), "not reproduced", "not reproduced"),
    ],
)
def test_the_scale_may_decide(
    accept: Mapping[str, float], numbers: Sequence[float], linear: Outcome, logarithmic: Outcome
) -> None:
    assert decided(accept, numbers, "accuracy").outcome == linear
    assert decided(accept, numbers, "factor").outcome == logarithmic


@pytest.mark.parametrize(
    ("numbers", "needed"),
    [((41, 43, 45), 18), ((45,), 3), ((45, 45.1), 3), ((42.5, 43.5), 5), ((40, 42, 44), None), ((0, 84), None)],
)
def test_what_is_inconclusive_says_how_many_seeds_would_decide(numbers: Sequence[float], needed: int | None) -> None:
    reading = decided(BAND, numbers)
    assert reading.outcome == "inconclusive"
    assert reading.seeds_needed == needed
    assert str(needed or "") in reading.reason


def test_what_is_inconclusive_asks_for_more_seeds_than_it_has() -> None:
    straddles = Summary(2.95, low=2.8, high=3.1, method="bootstrap")
    reading = decided_by({"at_most": 3}, [3.05] * 5, straddles)
    assert reading.outcome == "inconclusive"
    assert reading.seeds_needed is None or reading.seeds_needed > 5


@pytest.mark.parametrize(
    ("accept", "numbers", "outcome"),
    [
        ({"at_least": 2}, (4, 4, 4), "reproduced"),
        ({"at_least": 2}, (1.4, 1.4, 1.4), "inconclusive"),
        ({"at_least": 2}, (1, 2, 3), "inconclusive"),
        ({"at_least": 2, "at_most": 8}, (4, 4, 4), "inconclusive"),
        ({"at_most": 8}, (4, 4, 4), "inconclusive"),
    ],
)
def test_lower_bounds_hold_a_claim_only_where_nothing_bounds_it_from_above(
    accept: Mapping[str, float], numbers: Sequence[float], outcome: Outcome
) -> None:
    assert decided(accept, numbers, at_least=True).outcome == outcome


@pytest.mark.parametrize(
    ("numbers", "found", "outcome"),
    [
        ([0], Summary(0, 0, 0, "exact"), "reproduced"),
        ([2], Summary(2, 2, 2, "exact"), "not reproduced"),
        ([0, 2], Summary(1, 0, 2, "exact"), "not reproduced"),
        ([0, 0], Summary(0, 0, 0, "bootstrap"), "inconclusive"),
        ([2, 2], Summary(2, 2, 2, "t"), "inconclusive"),
    ],
)
def test_only_an_exact_count_is_decided_by_fewer_than_three_seeds(
    numbers: Sequence[float], found: Summary, outcome: Outcome
) -> None:
    assert decided_by({"at_least": 0, "at_most": 0}, numbers, found).outcome == outcome


@given(accepts(), few)
def test_a_verdict_never_contradicts_the_mean(accept: Accept, numbers: list[float]) -> None:
    reading = decided(accept, numbers)
    assert reading.outcome != ("not reproduced" if accept.contains(reading.value) else "reproduced")


@given(accepts(), few)
def test_values_far_outside_are_never_accepted(accept: Accept, numbers: list[float]) -> None:
    shift = accept.high - min(numbers) + 5 * (max(numbers) - min(numbers)) + 1
    assert decided(accept, [x + shift for x in numbers]).outcome == "not reproduced"


@given(accepts(), st.lists(small, max_size=12), st.sampled_from((math.nan, math.inf, -math.inf)), st.randoms())
def test_one_seed_that_is_not_finite_is_never_passed(
    accept: Accept, numbers: list[float], bad: float, random: Any
) -> None:
    mixed = [*numbers, bad]
    random.shuffle(mixed)
    assert decided(accept, mixed).outcome == ("not reproduced" if len(mixed) >= 3 else "inconclusive")


@given(accepts(), few, st.integers(0, 20), st.integers(0, 20))
def test_accepting_more_never_takes_a_pass_away(accept: Accept, numbers: list[float], down: int, up: int) -> None:
    wider = Accept(**({} if accept.low == -math.inf else {"at_least": accept.low - down}), at_most=accept.high + up)
    if decided(accept, numbers).outcome == "reproduced":
        assert decided(wider, numbers).outcome == "reproduced"
    if decided(wider, numbers).outcome == "not reproduced":
        assert decided(accept, numbers).outcome == "not reproduced"


@settings(max_examples=25)
@given(accepts(), st.lists(small, min_size=2, max_size=7))
def test_the_seeds_asked_for_would_decide_if_mean_and_spread_stay(accept: Accept, numbers: list[float]) -> None:
    reading = decided(accept, numbers)
    if reading.seeds_needed is not None:
        low, high = interval_with(reading.seeds_needed, numbers)
        assert reading.seeds_needed > len(numbers)
        assert (accept.contains(low) and accept.contains(high)) or accept.excludes(low, high)


@settings(max_examples=25)
@given(accepts(), st.lists(small, min_size=2, max_size=7))
def test_the_seeds_asked_for_would_decide_a_ratio_on_its_logarithmic_scale(
    accept: Accept, logarithms: list[float]
) -> None:
    reading = decided(accept, [math.exp(x / 5) for x in logarithms], "factor")
    if reading.seeds_needed is not None:
        low, high = (math.exp(end) for end in interval_with(reading.seeds_needed, [x / 5 for x in logarithms]))
        assert reading.seeds_needed > len(logarithms)
        assert (accept.contains(low) and accept.contains(high)) or accept.excludes(low, high)


def interval_with(count: int, numbers: Sequence[float]) -> tuple[float, float]:
    """The t interval of so many numbers of the same mean and spread."""
    mean = sum(numbers) / len(numbers)
    deviation = math.sqrt(sum((x - mean) ** 2 for x in numbers) / (len(numbers) - 1))
    half = stats.t.interval(0.95, count - 1)[1] * deviation / math.sqrt(count)
    return mean - half, mean + half
