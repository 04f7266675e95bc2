"""Two sessions compared: what counts as a regression, what may be chance, and that nothing passes for being missing."""

import math
from collections.abc import Sequence
from itertools import product

import numpy as np
import pytest
from factories import MACHINE
from scipy import stats

from vgharness.errors import UsageError
from vgharness.gradflow.comparison import (
    Appearance,
    Change,
    Comparison,
    compare,
)
from vgharness.gradflow.limits import Limit, check_limits, parse_failures, parse_limit
from vgharness.records import GradientFlow, LayerGradient, LayerKey, Sample, Session

pytestmark = pytest.mark.fast

NAN = math.nan
SPREAD = (0.96, 1.04, 0.98, 1.02, 1.0, 1.01, 0.99, 1.03)


def sample(
    *layers: Sequence[float | None],
    names: Sequence[str] = ("a", "b", "c", "d", "e"),
    seeds: Sequence[int] = (),
    test: str = "t",
    quantity: str = "signal_l2",
    **more: object,
) -> Sample:
    """One argument per layer: of each seed its value."""
    count = len(layers[0])
    flows = tuple(
        GradientFlow(
            layers=tuple(
                LayerGradient(name=name, state="ok", **{quantity: values[seed]})
                for name, values in zip(names, layers, strict=False)
            )
        )
        for seed in range(count)
    )
    return Sample(test=test, seeds=tuple(seeds) or tuple(range(count)), flows=flows, **more)


def session(*samples: Sample, **changes: object) -> Session:
    made = Session(created="2026-01-01", command="pytest", commit=None, machine=MACHINE, samples=samples)
    return made.model_copy(update=changes)


def compared(before: Sample, after: Sample, *fail: str) -> Comparison:
    limits, fail_on = parse_failures(fail)
    return compare(session(before), session(after), limits, fail_on)


def change(found: Comparison, layer: str | None = "a", quantity: str = "signal_l2") -> Change:
    (only,) = (c for c in found.changes if c.quantity == quantity and (c.layer.name if c.layer else None) == layer)
    return only


def times(factor: float, count: int = 5) -> list[float]:
    return [factor * spread for spread in SPREAD[:count]]


# --- limits ---------------------------------------------------------------------------------------


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
    run = session(sample(times(1), custom={"mine": ((1.0,),) * 5}))
    check_limits([parse_limit("mine:1"), parse_limit("signal_l2:1"), parse_limit("factor:1")], run)
    check_limits([parse_limit("saturated:1")], session())
    for text in ("typo:1", "saturated:1"):
        with pytest.raises(UsageError, match=r"no test has measured that; there are factor, signal_l2, mine\Z"):
            check_limits([parse_limit(text)], run)
    check_limits([parse_limit("signal_l2:1")], session(sample([NAN])))


@pytest.mark.parametrize(
    ("limit", "down", "up"),
    [
        ("q:20%", True, True),
        ("q:-20%", True, False),
        ("q:+20%", False, True),
        ("q:31%", False, False),
        ("q:2", True, True),
        ("q:-2", True, False),
        ("q:+2", False, True),
        ("q:3.1", False, False),
    ],
)
def test_a_limit_knows_its_direction(limit: str, down: bool, up: bool) -> None:
    exceeded = parse_limit(limit).exceeded
    assert (exceeded(10, 7), exceeded(10, 13)) == (down, up)
    assert not exceeded(10, 10)
    assert not exceeded(10, 9.9)
    assert not exceeded(10, 10.1)


def test_a_relative_change_from_zero_is_beyond_every_limit() -> None:
    assert parse_limit("q:+900%").exceeded(0, 1e-30)
    assert not parse_limit("q:+900%").exceeded(0, 0)


# --- means, changes, intervals --------------------------------------------------------------------


def test_means_of_positive_values_are_geometric() -> None:
    found = change(compared(sample([1e-6, 1e-2]), sample([1e-5, 1e-3])))
    assert (found.mean, found.before, found.after) == ("geometric", pytest.approx(1e-4), pytest.approx(1e-4))
    assert found.change == pytest.approx(0)


@pytest.mark.parametrize(
    ("before", "after", "quantity"),
    [
        ([0.0, 0.8], [0.2, 0.4], "signal_l2"),
        ([0.2, 0.6], [0.0, 0.6], "signal_l2"),
        ([0.2, 0.6], [0.2, 0.4], "saturated"),
    ],
)
def test_means_are_arithmetic_where_one_is_zero_and_of_shares(
    before: list[float], after: list[float], quantity: str
) -> None:
    found = change(compared(sample(before, quantity=quantity), sample(after, quantity=quantity)), quantity=quantity)
    assert (found.mean, found.before, found.after) == ("arithmetic", pytest.approx(0.4), pytest.approx(0.3))
    assert found.change == pytest.approx(-0.25)


def test_a_change_from_zero_has_no_size_and_exceeds_the_limit() -> None:
    found = change(compared(sample([0.0]), sample([1.0]), "signal_l2:+500%"))
    assert (found.before, found.after, found.change, found.outcome) == (0, 1, None, "regression")


def test_a_signal_that_becomes_zero_is_a_fall_by_all_of_it() -> None:
    found = change(compared(sample(times(1)), sample([0.0] * 5), "signal_l2:-99%"))
    assert (found.change, found.outcome) == (-1, "regression")


def test_values_at_the_ends_of_what_a_number_holds_are_compared() -> None:
    found = compared(sample([5e-324] * 2), sample([1.7e308] * 2), "signal_l2:20%")
    assert change(found).outcome == "regression"
    Comparison.model_validate_json(found.model_dump_json())


def test_the_interval_is_welchs_on_logarithms() -> None:
    x, y = times(1), times(2, 3)
    found = change(compared(sample(x), sample(y)))
    low, high = stats.ttest_ind(np.log(y), np.log(x), equal_var=False).confidence_interval()
    assert (found.low, found.high) == (pytest.approx(math.expm1(low)), pytest.approx(math.expm1(high)))


def test_the_interval_of_six_same_seeds_is_that_of_the_pairs_whatever_their_order() -> None:
    x = times(1, 6)
    y = [value * factor for value, factor in zip(x, (1.1, 1.2, 1.15, 1.12, 1.13, 1.18), strict=True)]
    low, high = stats.ttest_rel(np.log(y), np.log(x)).confidence_interval()
    found = change(compared(sample(x), sample(y[::-1], seeds=(5, 4, 3, 2, 1, 0))))
    assert (found.low, found.high) == (pytest.approx(math.expm1(low)), pytest.approx(math.expm1(high)))
    other = change(compared(sample(x), sample(y, seeds=range(1, 7))))
    assert other.low is not None
    assert other.low < found.low


def test_one_seed_has_no_interval_and_equal_seeds_one_without_width() -> None:
    assert change(compared(sample([1.0]), sample([2.0, 2.1]))).low is None
    found = change(compared(sample([1.0] * 3), sample([2.0] * 3)))
    assert (found.low, found.change, found.high) == pytest.approx((1, 1, 1))


def test_the_factor_is_the_flows_geometric_mean_over_seeds() -> None:
    before = sample([1.0, 4.0], [2.0, 2.0], [4.0, 1.0])
    after = sample([1.0, 1.0], [1.0, 1.0], [1.0, 1.0])
    found = change(compared(before, after), None, "factor")
    assert (found.before, found.after) == (pytest.approx(1.0), pytest.approx(1.0))
    assert before.flows[0].factor() == 0.5


def test_an_absolute_limit_is_on_the_difference() -> None:
    before, after = sample([0.5], [1.0]), sample([0.65], [1.0])
    assert change(compared(before, after, "factor:0.1"), None, "factor").outcome == "regression"
    assert change(compared(before, after, "factor:0.2"), None, "factor").outcome == "within"
    assert change(compared(before, after, "factor:-0.1"), None, "factor").outcome == "within"


# --- chance ---------------------------------------------------------------------------------------


def exact_p(x: Sequence[float], y: Sequence[float]) -> float:
    """Of pairs, by all signs of their differences."""
    differences = np.log(x) - np.log(y)
    all_means = [abs(np.mean(differences * signs)) for signs in product((1, -1), repeat=len(x))]
    return float(np.mean([mean >= abs(np.mean(differences)) * (1 - 1e-9) for mean in all_means]))


def test_five_seeds_that_do_not_overlap_are_significant() -> None:
    found = change(compared(sample(times(1)), sample(times(0.5)), "signal_l2:20%"))
    assert (found.outcome, found.p) == ("regression", pytest.approx(2 / 252))
    assert found.reason == "beyond signal_l2:20%; p = 0.0079"
    assert found.limited


def test_a_change_that_may_be_chance_is_no_regression() -> None:
    x, y = [1, 2, 4, 8, 16], [0.5, 1, 2, 4, 8]
    found = compared(sample(x), sample(y), "signal_l2:20%")
    assert change(found).outcome == "inconclusive"
    assert change(found).p > 0.05
    assert "may be chance: p = " in change(found).reason
    assert found.regressions == ()


def test_a_significant_change_within_its_limit_is_no_regression() -> None:
    found = change(compared(sample(times(1)), sample(times(0.85)), "signal_l2:20%"))
    assert (found.outcome, found.reason, found.p) == ("within", "", None)


@pytest.mark.parametrize(("count", "other"), [(4, 5), (5, 4), (1, 1)])
def test_with_fewer_than_five_seeds_size_alone_decides_and_says_so(count: int, other: int) -> None:
    found = change(compared(sample(times(1, count)), sample(times(0.5, other)), "signal_l2:20%"))
    assert (found.outcome, found.p, found.seeds) == ("regression", None, (count, other))
    assert f"size alone decides: {count} and {other} seeds, 5 on both sides rule out chance" in found.reason


def test_six_same_seeds_are_compared_seed_by_seed() -> None:
    """A fall in every seed shows, though the seeds are further apart than it."""
    x = [1.0, 3.0, 9.0, 27.0, 81.0, 243.0]
    y = [value * factor for value, factor in zip(x, times(0.7, 6), strict=True)]
    found = change(compared(sample(x), sample(y), "signal_l2:20%"))
    assert (found.outcome, found.p) == ("regression", pytest.approx(2 / 64))
    assert found.p == pytest.approx(exact_p(x, y))
    other = change(compared(sample(x), sample(y, seeds=range(10, 16)), "signal_l2:20%"))
    assert other.outcome == "inconclusive"
    twice = change(compared(sample(x, seeds=[1] * 6), sample(y, seeds=[1] * 6), "signal_l2:20%"))
    assert twice.p == other.p  # of seeds that are there twice, nobody knows which belong together


def test_the_same_two_sessions_give_the_same_p_every_time() -> None:
    rng = np.random.default_rng(1)
    x, y = sample(list(rng.lognormal(0, 1, 12))), sample(list(rng.lognormal(-0.5, 1, 12)), seeds=range(20, 32))
    first, second = (change(compared(x, y, "signal_l2:1%")).p for _ in range(2))
    assert first == second
    assert 0 < first < 1


def test_of_several_limits_each_counts() -> None:
    before, after = sample(times(1)), sample(times(3))
    assert change(compared(before, after, "signal_l2:-20%", "signal_l2:+500%")).outcome == "within"
    assert change(compared(before, after, "signal_l2:-20%", "signal_l2:+100%")).outcome == "regression"


def test_without_a_limit_a_change_is_told_and_fails_nothing() -> None:
    found = compared(sample(times(1)), sample(times(1e-9)), "factor:0.1")
    assert change(found).outcome == "within"
    assert not change(found).limited
    assert found.regressions == ()


# --- what is missing ------------------------------------------------------------------------------


@pytest.mark.parametrize("limits", [(), ("signal_l2:+50%",)])
@pytest.mark.parametrize("bad", [NAN, math.inf, None])
def test_a_value_that_is_no_longer_finite_is_a_regression_whatever_the_limits(
    bad: float | None, limits: tuple[str, ...]
) -> None:
    for after in ([bad] * 5, [*times(1, 4), bad]):
        found = compared(sample(times(1)), sample(after), *limits)
        assert change(found).outcome == "regression"
        assert change(found).after is None
        assert change(found).before == pytest.approx(1, abs=0.01)
        missing = after.count(bad)
        assert change(found).reason == f"no finite value for {missing} of 5 seeds, before for 0 of 5"
        assert change(found) in found.regressions


def test_what_is_finite_on_neither_side_is_reported() -> None:
    found = compared(sample([NAN] * 2), sample([NAN] * 2), "signal_l2:20%")
    assert (change(found).outcome, change(found).before, change(found).after) == ("not finite", None, None)
    assert found.regressions == ()


def test_more_seeds_that_are_not_finite_are_a_regression_and_fewer_are_not() -> None:
    one, two = sample([1.0, 2.0, NAN]), sample([1.0, NAN, NAN])
    assert change(compared(one, two)).outcome == "regression"
    assert change(compared(two, one)).outcome == "not finite"
    assert change(compared(one, one)).outcome == "not finite"
    assert change(compared(one, sample([1.0]))).outcome == "within"


def test_what_was_measured_on_neither_side_is_no_value() -> None:
    layers = sample([1.0], [None], [2.0])
    found = compared(layers, layers)
    assert [c.layer.name for c in found.changes if c.quantity == "signal_l2" and c.layer] == ["a", "c"]
    assert change(found, None, "factor").outcome == "not finite"
    alone = sample([1.0])
    assert {c.quantity for c in compared(alone, alone).changes} == {"signal_l2"}


def test_a_quantity_that_is_measured_no_more_is_a_regression() -> None:
    before = sample([1.0], custom={"mine": ((1.0,),)})
    assert change(compared(before, sample([1.0])), quantity="mine").outcome == "regression"
    assert change(compared(sample([1.0]), before), quantity="mine").outcome == "within"
    saturated = sample([0.5], quantity="saturated")
    assert change(compared(saturated, sample([1.0])), quantity="saturated").outcome == "regression"


def test_an_own_quantity_has_limits_like_the_others() -> None:
    before, after = (sample([1.0], custom={"mine": ((value,),)}) for value in (-2.0, -3.0))
    found = change(compared(before, after, "mine:-20%"), quantity="mine")
    assert (found.outcome, found.change) == ("regression", -0.5)


# --- new, vanished, renamed -----------------------------------------------------------------------


def described(found: Comparison) -> list[str]:
    return [str(appearance) for appearance in found.appearances]


def test_layers_that_are_new_or_gone_are_told_and_fail_on_request() -> None:
    before, after = sample([1], [1], [1], names="abc"), sample([1], [1], [1], [1], names="acxy")
    assert described(compared(before, after)) == [
        "vanished: layer b of t",
        "new: layer x of t",
        "new: layer y of t",
    ]
    assert compared(before, after).regressions == ()
    assert [each.presence for each in compared(before, after, "vanished").regressions] == ["vanished"]
    assert [each.presence for each in compared(before, after, "new", "renamed").regressions] == ["new", "new"]


def test_a_layer_renamed_between_its_neighbours_is_compared_under_its_new_name() -> None:
    before = sample([1], [1], [1], names=("a", "b", "c"))
    after = sample([1], [9], [1], names=("a", "new", "c"))
    found = compared(before, after, "signal_l2:20%", "renamed")
    assert described(found) == ["renamed: layer b of t, now new"]
    assert change(found, "new").outcome == "regression"
    assert len(found.regressions) == 2


def test_every_layer_renamed_by_a_wrapper_is_a_rename() -> None:
    before = sample([1], [2], [3], names=("a", "b", "c"))
    found = compared(before, sample([1], [2], [3], names=("w.a", "w.b", "w.c")), "vanished", "new")
    assert [appearance.presence for appearance in found.appearances] == ["renamed"] * 3
    assert [change(found, name).change for name in ("w.a", "w.b", "w.c")] == [0] * 3
    assert found.regressions == ()


def test_layers_that_swapped_places_are_still_themselves() -> None:
    found = compared(sample([1], [2], names="ab"), sample([2], [1], names="ba"))
    assert described(found) == []
    assert [change(found, name).change for name in "ab"] == [0, 0]


def test_calls_of_one_layer_are_rows_of_their_own() -> None:
    rows = [LayerGradient(name="rnn", forward_pass=call, state="ok", signal_l2=1.0 + call) for call in range(3)]
    before = Sample(test="t", seeds=(1,), flows=(GradientFlow(layers=tuple(rows)),))
    after = Sample(test="t", seeds=(1,), flows=(GradientFlow(layers=tuple(rows[:2])),))
    found = compared(before, after)
    assert [c.layer for c in found.changes if c.layer] == [LayerKey("rnn", 0), LayerKey("rnn", 1)]
    assert described(found) == ["vanished: layer rnn[2] of t"]


def test_tests_that_are_new_or_gone_are_told_and_fail_on_request() -> None:
    before = session(sample([1], test="a"), sample([2], test="gone"))
    after = session(sample([1], test="a"), sample([3], test="fresh"))
    assert described(compare(before, after)) == ["vanished: test gone", "new: test fresh"]
    (failed,) = compare(before, after, (), ("vanished",)).regressions
    assert isinstance(failed, Appearance)
    assert failed.sample == "gone"


def test_a_test_with_the_same_values_under_another_name_is_renamed() -> None:
    before = session(sample([1], test="a"), sample([1], test="b"))
    after = session(sample([1], test="a"), sample([1], test="c"), sample([1], test="d"))
    found = compare(before, after, [parse_limit("signal_l2:1%")], ("vanished", "renamed"))
    assert described(found) == ["renamed: test b, now c", "new: test d"]
    assert [each.presence for each in found.regressions] == ["renamed"]
    assert {c.sample for c in found.changes} == {"a", "c"}


def test_sessions_without_anything_in_common_compare_nothing() -> None:
    found = compare(session(), session(sample([1])))
    assert found.changes == ()
    assert described(found) == ["new: test t"]


# --- elsewhere ------------------------------------------------------------------------------------


def test_another_machine_torch_or_precision_is_said_once_each() -> None:
    there = MACHINE.model_copy(update={"id": "gpu", "versions": {"torch": "9.9"}, "cores": 64, "threads": 1})
    before, after = (session(*(sample([1], test=name) for name in "abc"), extra=x) for x in ({}, {"precision": "bf16"}))
    assert compare(before, after.model_copy(update={"machine": there})).notes == (
        "another machine: Linux-x86_64-py3.11-cpu before, gpu after",
        "another torch: 2.11.0 before, 9.9 after",
        "another precision: unknown before, bf16 after",
    )


def test_what_changes_on_one_machine_is_not_said() -> None:
    same = MACHINE.model_copy(update={"cores": 64, "threads": 1, "python": "3.11.9", "driver": "1"})
    assert compare(session(sample([1])), session(sample([1]), machine=same)).notes == ()


def test_a_comparison_is_immutable_and_comes_back_from_json() -> None:
    found = compared(sample(times(1), times(2)), sample(times(0.5), [NAN] * 5), "signal_l2:20%", "vanished")
    assert Comparison.model_validate_json(found.model_dump_json()) == found
    with pytest.raises(ValueError, match="frozen"):
        found.changes = ()  # type: ignore[misc]
    assert isinstance(parse_limit("a:1"), Limit)


def test_failures_are_limits_and_words() -> None:
    limits, words = parse_failures(["renamed", "factor:0.1", "vanished"])
    assert [limit.text for limit in limits] == ["factor:0.1"]
    assert set(words) == {"vanished", "renamed"}
