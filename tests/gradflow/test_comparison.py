"""Two sessions compared: means and intervals, what is new or gone, and that nothing passes for being missing."""

import math

import numpy as np
import pytest
from factories import MACHINE
from samples import change, compared, sample, session, times
from scipy import stats

from vgharness.gradflow.comparison import Appearance, Comparison, compare
from vgharness.gradflow.limits import parse_limit
from vgharness.records import GradientFlow, LayerGradient, LayerKey, Sample

pytestmark = pytest.mark.fast

NAN = math.nan


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


def test_a_change_from_zero_has_no_size_and_is_beyond_every_limit() -> None:
    found = change(compared(sample([0.0] * 3), sample([1.0, 1.1, 0.9]), "signal_l2:+500%"))
    assert (found.before, found.after, found.change, found.outcome) == (0, 1, None, "regression")


def test_a_signal_that_becomes_zero_is_a_fall_by_all_of_it() -> None:
    found = change(compared(sample(times(1)), sample([0.0] * 5), "signal_l2:-99%"))
    assert (found.change, found.outcome) == (-1, "regression")


@pytest.mark.parametrize("limit", ["signal_l2:20%", "signal_l2:+1", "signal_l2:0"])
def test_values_at_the_ends_of_what_a_number_holds_are_compared(limit: str) -> None:
    found = compared(sample([5e-324] * 3), sample([1.7e308] * 3), limit)
    assert change(found).outcome == "regression"
    Comparison.model_validate_json(found.model_dump_json())


def test_the_interval_of_other_seeds_is_welchs_on_logarithms() -> None:
    x, y = times(1), times(2, 3)
    found = change(compared(sample(x), sample(y, seeds=(7, 8, 9))))
    low, high = stats.ttest_ind(np.log(y), np.log(x), equal_var=False).confidence_interval()
    assert (found.low, found.high) == (pytest.approx(math.expm1(low)), pytest.approx(math.expm1(high)))
    assert (found.seeds, found.same_seeds) == ((5, 3), False)


@pytest.mark.parametrize("seeds", [2, 3, 6])
def test_the_interval_of_the_same_seeds_is_that_of_the_pairs_whatever_their_order(seeds: int) -> None:
    x, ratios = times(1, seeds), (1.1, 1.2, 1.15, 1.12, 1.13, 1.18)
    y = [value * factor for value, factor in zip(x, ratios, strict=False)]
    low, high = stats.ttest_rel(np.log(y), np.log(x)).confidence_interval()
    found = change(compared(sample(x), sample(y[::-1], seeds=range(seeds)[::-1])))
    assert (found.low, found.high) == (pytest.approx(math.expm1(low)), pytest.approx(math.expm1(high)))
    assert (found.seeds, found.same_seeds) == ((seeds, seeds), True)
    other = change(compared(sample(x), sample(y, seeds=range(10, 10 + seeds))))
    assert other.low is not None
    assert other.low < found.low


def test_the_seeds_that_both_sides_have_are_compared_alone() -> None:
    """More seeds on one side than on the other: means, change and interval are of those that both have."""
    found = change(compared(sample(times(1, 8)), sample(times(0.5, 3), seeds=(2, 1, 0))))
    assert (found.seeds, found.same_seeds) == ((3, 3), True)
    assert found.before == pytest.approx(math.prod(times(1, 3)) ** (1 / 3))
    few = change(compared(sample(times(1, 8)), sample(times(0.5, 8), seeds=range(6, 14))))  # two of them
    assert (few.seeds, few.same_seeds) == ((8, 8), False)
    twice = change(compared(sample(times(1), seeds=(1, 1, 2, 3, 4)), sample(times(1), seeds=(1, 1, 2, 3, 4))))
    assert not twice.same_seeds  # nobody knows which belong together


@pytest.mark.parametrize("seeds", [1, 2, 5])
def test_what_has_the_same_value_for_each_seed_is_unchanged_and_has_no_interval(seeds: int) -> None:
    x = times(1 / 3, seeds)
    found = change(compared(sample(x), sample(x), "signal_l2:0%"))
    assert (found.outcome, found.change, found.low, found.high, found.p) == ("unchanged", 0, None, None, None)
    stored = change(compared(sample([float(f"{value:.6g}") for value in x]), sample(x), "signal_l2:0%"))
    assert (stored.outcome, stored.change, stored.p) == ("unchanged", 0, None)  # a baseline file keeps six digits
    moved = change(compared(sample(x), sample([*x[:-1], x[-1] * 1.0001])))
    assert moved.outcome == "within"
    assert change(compared(sample(x), sample(x, seeds=range(9, 9 + seeds)))).outcome == "within"  # it may be chance


def test_one_seed_has_no_interval_and_a_constant_ratio_one_without_width() -> None:
    assert change(compared(sample([1.0]), sample([2.0, 2.1], seeds=(1, 2)))).low is None
    found = change(compared(sample(times(1, 3)), sample(times(2, 3))))
    assert (found.low, found.change, found.high) == pytest.approx((1, 1, 1))


def test_the_factor_is_the_flows_geometric_mean_over_seeds() -> None:
    before = sample([1.0, 4.0], [2.0, 2.0], [4.0, 1.0])
    after = sample([1.0, 1.0], [1.0, 1.0], [1.0, 1.0])
    found = change(compared(before, after), None, "factor")
    assert (found.before, found.after) == (pytest.approx(1.0), pytest.approx(1.0))
    assert before.flows[0].factor() == 0.5


def test_an_absolute_limit_is_on_the_difference() -> None:
    before, after = sample([0.5] * 3, [1.0] * 3), sample([0.65] * 3, [1.0] * 3)
    assert change(compared(before, after, "factor:0.1"), None, "factor").outcome == "regression"
    assert change(compared(before, after, "factor:0.15"), None, "factor").outcome == "regression"  # what prints as it
    assert change(compared(before, after, "factor:0.2"), None, "factor").outcome == "within"
    assert change(compared(before, after, "factor:-0.1"), None, "factor").outcome == "within"


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
    before, after = (sample([1.0] * 3, custom={"mine": ((x,), (1.1 * x,), (0.9 * x,))}) for x in (-2.0, -3.0))
    found = change(compared(before, after, "mine:-20%"), quantity="mine")
    assert (found.outcome, found.change) == ("regression", pytest.approx(-0.5))


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
    before = sample([1] * 3, [1] * 3, [1] * 3, names=("a", "b", "c"))
    after = sample([1] * 3, [9] * 3, [1] * 3, names=("a", "new", "c"))
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
