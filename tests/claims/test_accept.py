"""Accepted intervals: what is inside, what is outside, how far away the ends are."""

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError

from vgharness.claims.accept import Accept

pytestmark = pytest.mark.fast

whole = st.integers(-5, 5).map(float)
any_float = st.floats() | whole


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


@given(accepts())
def test_nan_is_never_inside_and_infinity_only_where_that_side_has_no_end(accept: Accept) -> None:
    assert not accept.contains(math.nan)
    assert accept.contains(math.inf) is (accept.high == math.inf)
    assert accept.contains(-math.inf) is (accept.low == -math.inf)


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
        ({"at_least": 1, "below": 2}, "≥ 1 and < 2", (1, 1.5), (0.9, 2)),
        ({"printed": (45.0,), "within": 3}, "45 ± 3", (42, 48), (41.9, 48.1)),
        ({"printed": (72.0, 74.0), "within": 1}, "72 to 74 ± 1", (71, 73, 75), (70.9, 75.1)),
        ({"printed": (1e-6,), "within_factor": 10}, "1e-06 within ×10", (1.1e-7, 9e-6), (9e-8, 1.1e-5)),
        ({"printed": (45.0,)}, "45 as one run", (0, 1e9), ()),
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
        ({"at_least": 2, "at_most": 1}, "ends are swapped"),
        ({"above": 2, "below": 1}, "ends are swapped"),
        ({"printed": (74.0, 72.0), "within": 1}, "ends are swapped"),
        ({"above": 1, "below": 1}, "nothing lies in it"),
        ({"at_least": 1, "below": 1}, "nothing lies in it"),
        ({"printed": (1.0,), "below": 1}, "not both"),
        ({"within": 1}, "need printed"),
        ({"printed": (1.0,), "within": 1, "within_factor": 2}, "not both"),
        ({"printed": (-1.0,), "within_factor": 2}, "above 0"),
        ({"printed": (1.0,), "within": -1}, "greater than or equal to 0"),
        ({"at_least": True}, "valid number"),
        ({"at_least": "1"}, "valid number"),
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
