"""Numbers, bars and names as text."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vgharness.formatting import (
    bars,
    count,
    duration,
    escaped,
    in_one_line,
    interval,
    listing,
    number,
    percent,
    relative_change,
    shorten,
    together,
    with_span,
)
from vgharness.statistics import Summary

pytestmark = pytest.mark.fast


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (5.0, "5"),
        (52.94, "52.9"),
        (5.0001, "5.00"),
        (-8.25, "-8.25"),
        (1234.5, "1,234"),
        (984.96, "985"),
        (0.5, "0.500"),
        (0.000123456, "0.000123"),
        (1.23e-7, "1.23e-07"),
        (123.4, "123"),
        (261_322, "261,322"),
        (-0.25, "-0.250"),
        (3.2e18, "3.2e+18"),
        (math.inf, "∞"),
        (math.nan, "–"),
        (None, "–"),
    ],
)
def test_a_number_has_three_digits(value: float | None, text: str) -> None:
    assert number(value) == text


@given(st.floats(-1e300, 1e300))
def test_a_number_says_what_it_is_to_half_a_percent(value: float) -> None:
    assert float(number(value).replace(",", "")) == pytest.approx(value, rel=0.005, abs=5e-324)


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.0024, "0.24 %"),
        (0.4711, "47.1 %"),
        (0.9961, "99.6 %"),
        (1.0, "100 %"),
        (12.0, "1,200 %"),
        (None, "not finite"),
    ],
)
def test_a_share_in_percent(share: float | None, text: str) -> None:
    assert percent(share) == text


def test_plurals_lists_changes_times_and_intervals() -> None:
    assert [count(n, "seed") for n in (0, 1, 2)] == ["0 seeds", "1 seed", "2 seeds"]
    assert listing([42, 43]) == "42, 43"
    assert listing("abcde", most=3) == "a, b, c and 2 more"
    assert [relative_change(x) for x in (-0.5, 0.123, 9.0, None)] == ["-50.0%", "+12.3%", "×10", "–"]
    assert [duration(x) for x in (42.4, 200, 7500)] == ["42 s", "3 min 20 s", "2 h 5 min"]
    assert interval(Summary(1.0, 0.5, 2.0, "t")) == "0.500 to 2"
    assert interval(Summary(1.0)) == "–"


def test_bars_share_one_logarithmic_scale() -> None:
    assert bars([1.0, 10.0, 100.0]) == ["█░░░░░░░", "████░░░░", "████████"]
    assert bars([1.0, 1.1]) == ["████████", "████████"]  # a decade at least
    assert bars([0.0, math.nan, 1.0]) == ["░░░░░░░░", "░░░░░░░░", "████████"]
    assert bars([]) == []


@given(st.text(st.characters(codec=None)))
def test_escaped_text_is_one_printable_line(text: str) -> None:
    found = escaped(text)
    assert found.isprintable()
    if text.isprintable():
        assert found == text


def test_control_characters_marks_and_surrogates_are_shown() -> None:
    assert escaped("a\nb\x1b[0m\u202e\udc80 σ") == "a\\nb\\x1b[0m\\u202e\\udc80 σ"
    assert in_one_line(ValueError("two\nlines \x1b")) == "ValueError: two lines \\x1b"
    assert in_one_line(ValueError()) == "ValueError"
    assert len(in_one_line(ValueError("x" * 1000))) < 330


def test_a_long_name_loses_its_middle() -> None:
    assert shorten("abcdefghij", 10) == "abcdefghij"
    assert shorten("abcdefghijk", 10) == "abcd…ghijk"


@pytest.mark.parametrize(
    ("value", "said"),
    [((0.127, 0.126, 0.128), "0.127 (0.126 to 0.128)"), ((0.5, None, None), "0.500"), ((None, None, None), "–")],
)
def test_a_value_stands_with_its_interval(value: tuple[float | None, float | None, float | None], said: str) -> None:
    assert with_span(*value) == said


@pytest.mark.parametrize(
    ("names", "said"), [([], ""), (["a"], "a"), (["a", "b"], "a and b"), (list("abc"), "a, b and c")]
)
def test_names_stand_together(names: list[str], said: str) -> None:
    assert together(names) == said
