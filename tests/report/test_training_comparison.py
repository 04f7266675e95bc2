"""Two trainings: what became of each problem, and values at the same steps."""

from typing import Any

import pytest
from training_logs import changed, make_log, make_problem, make_snapshot

from vgharness.records import TrainingLog, WatchedModel
from vgharness.report.training.comparison import pair
from vgharness.report.training.comparison_tables import headline

pytestmark = pytest.mark.fast


def became(before: list[Any], after: list[Any], **fields: Any) -> list[tuple[str, bool]]:
    found = pair(make_log(problems=before), make_log(problems=after, **fields))
    return [(problem.presence, problem.fails) for problem in found.problems]


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        ([], [make_problem()], ("new", True)),
        ([], [make_problem(severity="warning")], ("new", False)),
        ([make_problem()], [], ("gone", False)),
        ([make_problem(began=300)], [make_problem(began=400)], ("as before", False)),  # no more than between snapshots
        ([make_problem(began=300)], [make_problem(began=401)], ("later", False)),
        ([make_problem(began=300)], [make_problem(began=199)], ("earlier", False)),
        ([make_problem(severity="warning")], [make_problem()], ("worse", True)),
    ],
)  # fmt: skip
def test_what_became_of_a_problem(before: list[Any], after: list[Any], found: tuple[str, bool]) -> None:
    assert became(before, after) == [found]


def test_another_layer_or_kind_is_another_problem() -> None:
    assert became([make_problem(layer="conv1")], [make_problem(layer="conv2")]) == [("new", True), ("gone", False)]
    assert became([make_problem("dead")], [make_problem("stopped")]) == [("new", True), ("gone", False)]


def test_a_problem_that_lies_after_the_end_of_the_later_training_is_not_gone() -> None:
    assert became([make_problem(began=900)], [], steps=501) == [("not reached", False)]


def values(before: TrainingLog, after: TrainingLog) -> dict[tuple[str, str, str], tuple[float | None, float | None]]:
    return {(x.quantity, x.layer, x.at): (x.before, x.after) for x in pair(before, after).values}


def test_values_are_of_the_steps_that_both_have_and_of_each_end() -> None:
    long = make_log(steps=2001, every=100, scatter=0.5)
    short = make_log(steps=1051, every=150)
    found = values(long, short)
    assert found["factor", "all layers", "first"] == pytest.approx((1.2, 0.8))
    assert found["relative_update", "conv1", "whole"] == pytest.approx((1.5e-3, 1e-3))
    assert found["total_norm", "all layers", "last"] == pytest.approx((2.25, 1.5))
    (last,) = [x for x in pair(long, short).values if (x.quantity, x.at) == ("loss", "last")]
    assert (last.step_before, last.step_after, last.before) == (900, 900, pytest.approx(2 / 1.9))
    (end,) = [x for x in pair(long, short).values if x.at == "end"]
    assert (end.step_before, end.step_after) == (2000, 1050)
    assert end.change == pytest.approx(3 / 2.05 - 1)


def test_a_mean_over_the_whole_is_of_the_steps_at_which_both_have_a_value() -> None:
    late = changed(
        make_log(), lambda each: {"values": {**each.values, "relative_update": (None,) * 4}} if each.step < 500 else {}
    )
    rising = changed(
        make_log(),
        lambda each: {"values": {**each.values, "relative_update": (1e-3 if each.step < 500 else 1e-2,) * 4}},
    )
    assert values(rising, late)["relative_update", "fc", "whole"] == pytest.approx((1e-2, 1e-3))


def test_without_a_step_in_common_only_the_ends_are_compared_and_it_is_said() -> None:
    found = pair(make_log([make_snapshot(0), make_snapshot(100)]), make_log([make_snapshot(5), make_snapshot(105)]))
    assert {value.at for value in found.values} == {"end"}
    assert found.notes == ("no snapshot of both is of the same step: values are of the end alone",)


def test_models_are_paired_by_name_and_a_model_that_only_one_has_is_named() -> None:
    def of(*names: str, **fields: Any) -> TrainingLog:
        models = tuple(WatchedModel(name=name, architecture="N", parameters=1, steps=1) for name in names)
        return make_log([make_snapshot(0, model=name) for name in names], models=models, **fields)

    found = pair(of("g", "c"), of("g", "d", problems=[make_problem(model="d", began=0)]))
    assert found.notes == ("only before: the model c", "only after: the model d")
    assert [(x.presence, x.model, x.fails) for x in found.problems] == [("new", "d", True)]
    assert {value.model for value in found.values} == {"g"}
    assert pair(of("a"), of("b")).notes == ()  # the only one of each


def test_the_headline_counts() -> None:
    assert headline(pair(make_log(), make_log())) == "no problem in either; the final loss is 1, was 1"
    found = pair(make_log(problems=[make_problem("dead")]), make_log(problems=[make_problem("spike", "")]))
    assert headline(found) == "problems: 1 new, 1 gone; the final loss is 1, was 1"
