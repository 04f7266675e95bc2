"""From values per seed to an outcome: scales, grain, bounds, printed numbers, groups, divergence, numerical error."""

import math
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vgharness.claims.accept import Accept
from vgharness.claims.decision import Decided, decide
from vgharness.claims.measurement import Measurement
from vgharness.records import Bounds, SeedValue
from vgharness.statistics import interval

pytestmark = pytest.mark.fast

AT_LEAST_2 = Accept(at_least=2)


def seeds(values: Sequence[float | None], bounds: Sequence[tuple[float | None, float | None]] = ()) -> list[SeedValue]:
    ends = [Bounds(low=low, high=high) for low, high in bounds] or [None] * len(values)
    return [SeedValue(seed=n, value=x, bounds=end) for n, (x, end) in enumerate(zip(values, ends, strict=True), 42)]


def decided(accept: Accept | None, values: Sequence[float | None], *, holds: bool = False, **fields: Any) -> Decided:
    return decide(accept, Measurement(seeds(values), **fields), diverged_holds=holds)


@pytest.mark.parametrize(
    ("accept", "values", "outcome"),
    [
        (Accept(at_least=2), (3.0, 3.1, 2.9), "reproduced"),
        (Accept(at_least=2), (1.0, 1.1, 0.9), "not reproduced"),
        (Accept(at_least=2), (2.0, 3.0, 1.0), "inconclusive"),
        (Accept(at_least=2), (9.0, 9.1), "inconclusive"),  # two seeds decide nothing
        (Accept(at_most=15), (10.0, 10.1, 9.9), "reproduced"),
        (Accept(at_least=42, at_most=48), (45.0, 45.5, 44.5), "reproduced"),
        (Accept(at_least=42, at_most=48), (47.5, 48.5, 48.0), "inconclusive"),
        (Accept(below=1), (0.0, 1.0, 2.0), "inconclusive"),
        (Accept(above=-1), (-3.0, -2.9, -3.1), "not reproduced"),
    ],
)
def test_the_place_of_the_interval_decides(accept: Accept, values: Sequence[float], outcome: str) -> None:
    assert decided(accept, values).outcome == outcome


def test_equal_values_decide_nothing_nearer_than_their_grain() -> None:
    near = Accept(at_least=9.5)
    assert decided(near, (10.0,) * 3).outcome == "reproduced", "as it would be without a grain"
    assert decided(near, (10.0,) * 3, grain=0.3).outcome == "inconclusive"
    assert decided(Accept(at_least=9), (10.0,) * 3, grain=0.3).outcome == "reproduced"


# --- what an epoch can say ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "bounds", "outcome"),
    [
        # Two epochs ÷ one: the true ratio may be anything over 1.
        ((2.0,) * 3, ((1.0, None),) * 3, "inconclusive"),
        ((7.0,) * 3, ((6.0, None),) * 3, "reproduced"),
        ((1.5,) * 3, ((1.0, 1.9),) * 3, "not reproduced"),
        ((2.1,) * 3, ((1.9, 2.3),) * 3, "inconclusive"),
        ((30.0,) * 3, ((20.0, None),) * 3, "reproduced"),  # never got there: more than the epochs that there were
        ((0.5,) * 3, ((None, None),) * 3, "inconclusive"),
        ((0.5,) * 3, ((None, 0.9),) * 3, "not reproduced"),
    ],
)
def test_both_ends_of_what_is_coarse_have_to_agree(
    values: Sequence[float], bounds: Sequence[tuple[float | None, float | None]], outcome: str
) -> None:
    assert decide(AT_LEAST_2, Measurement(seeds(values, bounds), "log")).outcome == outcome


def test_an_open_bound_is_said() -> None:
    found = decide(AT_LEAST_2, Measurement(seeds((2.0,) * 3, ((1.0, None),) * 3), "log"))
    assert "only a lower bound is known with 3 of 3 seeds" in found.reason
    assert found.seeds_needed is None


@pytest.mark.parametrize(("values", "outcome"), [((0.0,) * 3, "reproduced"), ((0.0, 0.3, 0.3), "inconclusive")])
def test_a_gradient_of_exactly_zero_lies_below_what_float32_can_hold(values: Sequence[float], outcome: str) -> None:
    found = decided(Accept(below=0.5), values, scale="log")
    assert found.outcome == outcome
    assert outcome == "reproduced" or "exactly zero with 1 of 3 seeds" in found.reason


# --- a number that was printed from one run -------------------------------------------------------

SCATTERED = (60.0, 66.0, 72.0)  # mean 66; one further run may lie from about 32 to 100


@pytest.mark.parametrize(
    ("printed", "within", "values", "outcome", "could"),
    [
        ((66.0,), 3.0, (66.0, 66.3, 65.7), "reproduced", True),
        ((75.0,), 3.0, (66.0, 66.3, 65.7), "not reproduced", False),
        ((75.0,), 3.0, SCATTERED, "inconclusive", True),
        # The mean is outside, and yet 45 could be one run of ours.
        ((45.0,), 1.0, (49.5, 51.2, 50.1, 48.8, 54.0), "inconclusive", True),
        # One end of the range could be.
        ((52.0, 90.0), 0.0, (49.0, 49.6, 50.2, 50.8, 51.4), "inconclusive", True),
        ((56.0, 90.0), 0.0, (49.0, 49.6, 50.2, 50.8, 51.4), "not reproduced", False),
        ((66.0,), None, SCATTERED, "reproduced", True),
        ((75.0,), None, (66.0, 66.3, 65.7), "not reproduced", False),
    ],
)
def test_two_questions_are_asked_of_a_printed_number(
    printed: tuple[float, ...], within: float | None, values: Sequence[float], outcome: str, could: bool
) -> None:
    found = decided(Accept(printed=printed, within=within), values, scale="logit")
    assert (found.outcome, found.could_be_one_run) == (outcome, could)
    assert found.further is not None
    assert found.summary.low is not None
    assert found.further[0] < found.summary.low, "one run scatters more than the mean"


def test_within_a_factor_is_a_band_on_the_logarithm() -> None:
    accept = Accept(printed=(1e-6,), within_factor=10)
    assert (accept.low, accept.high) == pytest.approx((1e-7, 1e-5))
    assert decided(accept, (5e-6, 6e-6, 4e-6), scale="log").outcome == "reproduced"
    assert decided(accept, (5e-5, 6e-5, 4e-5), scale="log").outcome == "not reproduced"


@pytest.mark.parametrize(
    ("published", "outcome"), [(1.0, "reproduced"), (1.2, "reproduced"), (1.5, "inconclusive"), (9.0, "not reproduced")]
)
def test_a_published_curve_is_held_against_the_seeds_own(published: float, outcome: str) -> None:
    found = decided(None, (0.9, 1.0, 1.2), scale="log", published=published)
    assert found.outcome == outcome
    assert "up to 1.20" in found.reason


# --- seeds of two kinds ---------------------------------------------------------------------------


def test_seeds_at_chance_and_seeds_that_learn_are_counted_not_averaged() -> None:
    values = (10.0, 10.0, 10.0, 45.0, 45.4)
    found = decided(Accept(at_most=15), values, scale="logit", grain=0.03, plateau=15.0)
    assert found.outcome == "inconclusive"
    assert found.reason == "3 of 5 seeds stay at chance (10 %), 2 learn (45.2 %)"
    hidden = decided(Accept(at_most=40), (*(10.0,) * 9, 45.0), scale="logit", grain=0.03, plateau=15.0)
    assert hidden.summary.high is not None
    assert hidden.summary.high < 40
    assert hidden.outcome == "inconclusive", "the interval of the mean is inside, one kind of seed is not"
    sure = decided(Accept(at_most=90), values, scale="logit", grain=0.03, plateau=15.0)
    assert sure.outcome == "reproduced", "all of both kinds are inside"
    assert "3 of 5 seeds stay at chance" in sure.reason


# --- divergence, counts, numerical error ----------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "holds", "outcome"),
    [
        ((None, None, 10.0, 10.1, 9.9), False, "inconclusive"),
        ((None, None, 10.0, 10.1, 9.9), True, "reproduced"),
        ((None, None, 80.0, 80.1, 79.9), True, "inconclusive"),
        ((None,) * 5, True, "reproduced"),
        ((None,) * 5, False, "inconclusive"),
    ],
)
def test_divergence_decides_only_where_the_sentence_covers_it(
    values: Sequence[float | None], holds: bool, outcome: str
) -> None:
    found = decided(Accept(at_most=15), values, holds=holds, scale="logit")
    assert found.outcome == outcome
    lost = sum(x is None for x in values)
    assert f"{lost} of 5" in found.reason
    assert "diverged" in found.reason


@pytest.mark.parametrize(
    ("values", "outcome"), [((2.0,), "reproduced"), ((3.0,), "not reproduced"), ((2.0, 3.0), "not reproduced")]
)
def test_one_exact_count_is_enough_and_all_have_to_agree(values: Sequence[float], outcome: str) -> None:
    assert decided(Accept(printed=(2.0,), within=0), values, exact=True).outcome == outcome


@pytest.mark.parametrize(
    ("scale", "values", "accept", "error", "outcome"),
    [
        ("log", (0.30, 0.31, 0.29), Accept(below=0.5), 0.01, "reproduced"),
        ("log", (0.30, 0.31, 0.29), Accept(below=0.5), 0.6, "inconclusive"),
        ("log", (0.30, 0.31, 0.29), Accept(below=0.5), math.inf, "inconclusive"),
        ("log", (0.80, 0.81, 0.79), Accept(below=0.5), 0.1, "not reproduced"),
        ("log", (0.80, 0.81, 0.79), Accept(below=0.5), 0.5, "inconclusive"),
        # A relative error moves a negative end outward too.
        ("linear", (-2.0, -2.01, -1.99), Accept(below=-1.9), 0.2, "inconclusive"),
        ("linear", (-2.0, -2.01, -1.99), Accept(above=-2.1), 0.2, "inconclusive"),
    ],
)
def test_a_margin_inside_the_numerical_error_decides_nothing(
    scale: Any, values: Sequence[float], accept: Accept, error: float, outcome: str
) -> None:
    found = decided(accept, values, scale=scale, error=error)
    assert found.outcome == outcome
    assert outcome != "inconclusive" or "numerical error" in found.reason


# --- properties -----------------------------------------------------------------------------------

some = st.lists(st.floats(-10, 10), min_size=3, max_size=7)
bounds = st.floats(-10, 10)


@given(some, bounds)
def test_the_level_agrees_with_the_outcome(values: list[float], end: float) -> None:
    found = decided(Accept(at_least=end), values)
    assert (found.p is None) == (found.outcome == "inconclusive")
    assert found.p is None or found.p <= 0.05 + 1e-9
    assert found.summary[1:3] == pytest.approx(interval(values))


@given(some, bounds, st.floats(0, 5))
def test_accepting_more_never_takes_a_pass_away(values: list[float], end: float, more: float) -> None:
    first = decided(Accept(at_least=end), values)
    if first.outcome == "reproduced":
        assert decided(Accept(at_least=end - more), values).outcome == "reproduced"


@given(some, bounds, st.floats(0, 3), st.floats(0, 3))
def test_a_verdict_never_contradicts_the_mean(values: list[float], low: float, width: float, grain: float) -> None:
    accept = Accept(at_least=low, at_most=low + width)
    found = decided(accept, values, grain=grain)
    if found.outcome == "reproduced":
        assert accept.low - 1e-9 <= found.summary.value <= accept.high + 1e-9
    if found.outcome == "not reproduced":
        assert not accept.contains(found.summary.value)


@settings(max_examples=30)
@given(st.lists(st.floats(1e-300, 1e300), min_size=3, max_size=5), st.floats(1e-300, 1e300))
def test_numbers_of_any_size_are_decided_without_an_exception(values: list[float], end: float) -> None:
    for scale in ("log", "linear"):
        decided(Accept(printed=(end,), within_factor=2), values, scale=scale)


# --- one look of several --------------------------------------------------------------------------

FIVE = (3.0, 3.2, 2.8, 3.1, 2.9)


@pytest.mark.parametrize("confidence", [0.95, 0.99, 0.9975])
def test_a_look_of_several_is_decided_at_its_share_of_the_error(confidence: float) -> None:
    for end in (2.0, 2.6, 2.7, 2.75, 2.85, 3.1, 3.3, 4.0):
        found = decide(Accept(at_least=end), Measurement(seeds(FIVE)), confidence=confidence)
        low, high = interval(FIVE, confidence=confidence)
        assert found.summary.low == low
        expected = "reproduced" if low >= end else "not reproduced" if high < end else "inconclusive"
        assert found.outcome == expected
        if found.p is not None:
            assert found.p <= 0.05, "of all looks together"
            once = decide(Accept(at_least=end), Measurement(seeds(FIVE))).p
            assert found.p == pytest.approx((once or 0.0) * 0.05 / (1 - confidence))


def test_a_number_that_only_one_of_several_looks_cannot_refute_is_not_reproduced() -> None:
    at = {0.95: "not reproduced", 0.99: "inconclusive"}  # 0.158 × 2.78 × √1.2 = 0.48 and × 4.60: 0.80
    for confidence, outcome in at.items():
        found = decide(Accept(printed=(3.6,)), Measurement(seeds(FIVE)), confidence=confidence)
        assert found.outcome == outcome
    assert decide(Accept(printed=(3.4,)), Measurement(seeds(FIVE)), confidence=0.99).outcome == "reproduced"
    assert decide(Accept(printed=(4.4,)), Measurement(seeds(FIVE)), confidence=0.99).outcome == "not reproduced"


@pytest.mark.parametrize(
    ("found", "for_good"),
    [
        (decided(AT_LEAST_2, (1.0, 3.0, 2.0)), False),
        (decided(AT_LEAST_2, (9.0, None, 9.0)), True),
        (decided(AT_LEAST_2, (None, None)), True),
        (decided(AT_LEAST_2, (9.0, 9.1)), False),  # too few
        (decided(Accept(at_least=20), (10.0, 60.0, 61.0), plateau=15.0), True),
        (decided(AT_LEAST_2, (2.2, 2.2, 2.2), error=0.2, scale="log"), True),
        (decided(AT_LEAST_2, (2.0, 3.0, 2.2), error=0.01, scale="log"), False),
        (decide(AT_LEAST_2, Measurement(seeds((2.0,) * 3, ((1.0, 4.0),) * 3), "log")), True),
        (decide(AT_LEAST_2, Measurement(seeds((2.0,) * 3, ((1.9, 9.0), (4.0, 9.0), (3.0, 9.0))), "log")), False),
        (decide(AT_LEAST_2, Measurement(seeds((4.0,) * 3, ((4.0, None), (1.0, 2.0), (4.0, 5.0))), "log")), False),
    ],
)
def test_what_keeps_it_open_is_told_from_too_few_seeds(found: Decided, for_good: bool) -> None:
    assert found.outcome == "inconclusive"
    assert found.open_for_good is for_good
