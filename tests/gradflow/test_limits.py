"""Limits on how far a quantity may move: how they are read, from where on they are reached, which are refused."""

import math
from collections.abc import Sequence

import pytest
from factories import MACHINE

from vgharness.errors import UsageError
from vgharness.gradflow.limits import check_limits, parse_failures, parse_limit
from vgharness.records import GradientFlow, LayerGradient, Sample, Session

pytestmark = pytest.mark.fast


def session(*values: float, quantity: str = "signal_l2", **more: object) -> Session:
    """Of one test with one seed, and a layer for each value."""
    layers = tuple(LayerGradient(name=f"l{i}", state="ok", **{quantity: value}) for i, value in enumerate(values))
    samples = (Sample(test="t", seeds=(1,), flows=(GradientFlow(layers=layers),), **more),) if values else ()
    return Session(created="2026-01-01", command="pytest", commit=None, machine=MACHINE, samples=samples)


@pytest.mark.parametrize(
    ("text", "quantity", "size", "relative", "direction"),
    [
        ("signal_l2:20%", "signal_l2", 0.2, True, "either"),
        ("signal_l2:-20%", "signal_l2", 0.2, True, "decrease"),
        ("signal_l2:+250%", "signal_l2", 2.5, True, "increase"),
        ("factor:0.1", "factor", 0.1, False, "either"),
        ("factor:-.5", "factor", 0.5, False, "decrease"),
        ("my own: name : +0", "my own: name", 0.0, False, "increase"),
        (" weight_l2 : 99.9 % ", "weight_l2", 0.999, True, "either"),
    ],
)
def test_a_limit_is_read(text: str, quantity: str, size: float, relative: bool, direction: str) -> None:
    found = parse_limit(text)
    assert (found.quantity, found.relative, found.direction) == (quantity, relative, direction)
    assert found.size == pytest.approx(size)
    assert found.text == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "signal_l2",
        "signal_l2:",
        ":20%",
        "signal_l2:x",
        "signal_l2:--2%",
        "signal_l2:nan",
        "signal_l2:inf%",
        "signal_l2:1e400",
        "signal_l2:20%%",
        "signal_l2=20%",
        "signal_l2:" + "9" * 400,
        "signal_l2:٣%",
    ],
)
def test_what_is_no_limit_is_one_line_with_the_fix(text: str) -> None:
    with pytest.raises(UsageError, match=r"\Alimit [^\n]*: give QUANTITY:SIZE such as signal_l2:20%[^\n]*\Z"):
        parse_limit(text)


@pytest.mark.parametrize("text", ["signal_l2:-100%", "signal_l2:150%"])
def test_a_limit_that_no_decrease_can_exceed_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"\Alimit .*nothing falls by more than 100 %; give less, or signal_l2:\+1"):
        parse_limit(text)


def test_a_limit_on_what_nobody_measured_is_refused_with_what_there_is() -> None:
    run = session(1.04, custom={"mine": ((1.0,),)})
    check_limits([parse_limit("mine:1"), parse_limit("signal_l2:1"), parse_limit("factor:1")], run)
    check_limits([parse_limit("saturated:1")], session())
    for text in ("typo:1", "saturated:1"):
        with pytest.raises(UsageError, match=r"no test has measured that; there are factor, signal_l2, mine\Z"):
            check_limits([parse_limit(text)], run)
    check_limits([parse_limit("signal_l2:1")], session(math.nan))


@pytest.mark.parametrize(
    ("text", "signs", "reach"),
    [
        ("q:20%", (-1, 1), 0.1995),
        ("q:-50%", (-1,), 0.4995),  # from -49.95 % on, which is printed as -50.0 %
        ("q:+0.1%", (1,), 0.0005),
        ("q:0.01%", (-1, 1), 0.0001),
        ("q:0%", (-1, 1), 0),
        ("q:-2", (-1,), 1.999),
        ("q:0", (-1, 1), 0),
    ],
)
def test_a_limit_is_reached_by_what_prints_as_it(text: str, signs: Sequence[int], reach: float) -> None:
    limit = parse_limit(text)
    assert limit.signs == signs
    assert limit.reach == pytest.approx(reach)


@pytest.mark.parametrize(
    ("text", "fix"),
    [
        ("signal_l2:-40", "signal_l2:-40%"),
        ("signal_l2:40", "signal_l2:40%"),
        ("signal_l2: -0.04 ", "signal_l2: -0.04%"),
        ("signal_l2:-400", "signal_l2:-20%"),  # nothing falls by 400 %
        ("factor:-1", "factor:-1%"),
    ],
)
def test_a_difference_that_no_value_can_fall_by_is_refused_with_the_percent_sign(text: str, fix: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_limits([parse_limit(text)], session(0.01, 0.03))
    quantity, value = ("factor", "0.333") if "factor" in text else ("signal_l2", "0.0300")
    assert f"a difference, and {quantity} is {value} at most, so it can never fall so far" in str(caught.value)
    assert str(caught.value).endswith(f"such as {fix}")


@pytest.mark.parametrize("text", ["signal_l2:-0.03", "signal_l2:+40", "signal_l2:-40%", "factor:0.1", "signal_l2:.01"])
def test_a_difference_that_some_value_can_move_by_is_taken(text: str) -> None:
    check_limits([parse_limit(text)], session(0.01, 0.03))


def test_what_a_difference_can_do_is_held_against_what_is_compared_with() -> None:
    check_limits([parse_limit("signal_l2:-40")], session(50.0), session(0.03))
    with pytest.raises(UsageError, match="never fall"):
        check_limits([parse_limit("signal_l2:-40")], session(0.03), session(50.0))
    check_limits([parse_limit("saturated:0.1")], session(0.0, quantity="saturated"))  # for its increase
    with pytest.raises(UsageError, match="never fall"):
        check_limits([parse_limit("saturated:-0.1")], session(0.0, quantity="saturated"))
    check_limits([parse_limit("mine:-40")], session(1.0, custom={"mine": ((-3.0,),)}))  # may be negative


def test_failures_are_limits_and_words() -> None:
    limits, words = parse_failures(["renamed", "factor:0.1", "vanished"])
    assert [limit.text for limit in limits] == ["factor:0.1"]
    assert set(words) == {"vanished", "renamed"}
