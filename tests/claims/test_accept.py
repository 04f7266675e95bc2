"""Accepted intervals: what is inside, what is outside, how far away the ends are."""

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError

from vgharness.claims.spec import Accept

pytestmark = pytest.mark.fast

whole = st.integers(-5, 5).map(float)
any_float = st.floats() | whole
not_finite = st.sampled_from((math.nan, math.inf, -math.inf))


@st.composite
def accepts(draw: st.DrawFn) -> Accept:
    """Intervals between small whole numbers, so that values fall on their ends often."""
    lower = draw(st.sampled_from(("at_least", "above", None)))
    upper = draw(st.sampled_from(("at_most", "below") if lower is None else ("at_most", "below", None)))
    low, high = sorted((draw(whole), draw(whole)))
    assume(low < high or (lower, upper) == ("at_least", "at_most") or None in (lower, upper))
    return Accept(**{name: end for name, end in ((lower, low), (upper, high)) if name})


@given(accepts(), whole | st.floats(allow_nan=False, allow_infinity=False))
def test_a_finite_value_is_either_contained_or_excluded(accept: Accept, value: float) -> None:
    assert accept.contains(value) is not accept.excludes(value, value)


@given(accepts(), any_float, any_float)
def test_an_interval_is_never_both_contained_and_excluded(accept: Accept, one: float, other: float) -> None:
    low, high = (one, other) if math.isnan(one + other) else sorted((one, other))
    assert not (accept.contains(low) and accept.contains(high) and accept.excludes(low, high))


@given(accepts(), whole, whole)
def test_excluded_is_what_shares_no_value_with_what_is_accepted(accept: Accept, one: float, other: float) -> None:
    low, high = sorted((one, other))
    first, last = max(low, accept.low), min(high, accept.high)
    shared = first <= last and any(map(accept.contains, (first, (first + last) / 2, last)))
    assert accept.excludes(low, high) is not shared


@given(accepts(), not_finite)
def test_nan_and_infinity_are_never_inside(accept: Accept, value: float) -> None:
    assert not accept.contains(value)


@given(accepts(), whole, st.floats(min_value=-0.999, max_value=0.999))
def test_a_step_shorter_than_the_margin_does_not_cross_an_end(accept: Accept, value: float, part: float) -> None:
    margin = accept.margin(value)
    assert margin == min(abs(value - end) for end in (accept.low, accept.high))
    if margin > 0:
        assert accept.contains(value + part * margin) is accept.contains(value)
        assert any(accept.contains(value + way * 1.001 * margin) is not accept.contains(value) for way in (-1, 1)) or (
            accept.low == accept.high
        )


@given(accepts(), st.floats(0.01, 100), st.floats(min_value=-0.999, max_value=0.999))
def test_a_factor_shorter_than_the_logarithmic_margin_does_not_cross_an_end(
    accept: Accept, value: float, part: float
) -> None:
    margin = accept.margin(value, "log")
    if math.isinf(margin):  # no end is a positive number
        assert accept.contains(value) is accept.contains(2 * value) is accept.contains(value / 2)
    elif margin > 1e-9:
        assert accept.contains(value * math.exp(part * margin)) is accept.contains(value)
        crossed = [accept.contains(value * math.exp(way * 1.001 * margin)) for way in (-1, 1)]
        assert (not accept.contains(value)) in crossed or accept.low == accept.high


@pytest.mark.parametrize(
    ("bounds", "text", "inside", "outside"),
    [
        ({"at_least": 2}, "≥ 2", (2, 3, 1e300), (1.999, -1e300)),
        ({"above": 2}, "> 2", (2.001,), (2, 1)),
        ({"at_most": 2}, "≤ 2", (2, -1e300), (2.001, 1e300)),
        ({"below": 2}, "< 2", (1.999,), (2, 3)),
        ({"below": 0.5}, "< 0.5", (0.499, 0), (0.5,)),
        ({"at_least": 42, "at_most": 48}, "42 to 48", (42, 45, 48), (41.99, 48.01)),
        ({"at_least": 0.5, "at_most": 2}, "0.5 to 2", (0.5, 1, 2), (0.49, 2.01)),
        ({"at_least": 0, "at_most": 0}, "exactly 0", (0, -0.0), (1e-300, -1)),
        ({"at_least": 261_322, "at_most": 261_322}, "exactly 261,322", (261_322,), (261_321, 261_323)),
    ],
)
def test_an_accepted_interval_reads_as_it_decides(
    bounds: dict[str, float], text: str, inside: tuple[float, ...], outside: tuple[float, ...]
) -> None:
    accept = Accept(**bounds)
    assert str(accept) == text
    assert all(map(accept.contains, inside))
    assert not any(map(accept.contains, outside))


@pytest.mark.parametrize(
    ("bounds", "low", "high", "excluded"),
    [
        ({"at_least": 2}, 0, 1.99, True),
        ({"at_least": 2}, 0, 2, False),
        ({"above": 2}, 0, 2, True),
        ({"above": 2}, 0, 2.01, False),
        ({"at_most": 2}, 2.01, 9, True),
        ({"at_most": 2}, 2, 9, False),
        ({"below": 2}, 2, 9, True),
        ({"below": 2}, 1.99, 9, False),
        ({"at_least": 1, "at_most": 2}, 0, 9, False),
        ({"at_least": 1, "at_most": 2}, 1.2, 1.4, False),
    ],
)
def test_excluded_means_all_of_it_is_outside(bounds: dict[str, float], low: float, high: float, excluded: bool) -> None:
    assert Accept(**bounds).excludes(low, high) is excluded


@pytest.mark.parametrize(
    ("bounds", "problem"),
    [
        ({}, "needs a bound"),
        ({"at_least": 2, "at_most": 1}, "empty"),
        ({"above": 2, "below": 1}, "empty"),
        ({"above": 1, "below": 1}, "empty"),
        ({"at_least": 1, "below": 1}, "empty"),
        ({"above": 1, "at_most": 1}, "empty"),
        ({"at_least": 1, "above": 1}, "at_least or above, not both"),
        ({"at_most": 1, "below": 1}, "at_most or below, not both"),
        ({"at_least": math.nan}, "finite"),
        ({"at_most": math.inf}, "finite"),
        ({"at_leat": 1}, "at_leat"),
    ],
)
def test_an_interval_that_accepts_nothing_or_everything_is_refused(bounds: dict[str, float], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        Accept(**bounds)
