"""Which problems are said to begin and to end, and when, in trainings made by hand."""

import math
from collections.abc import Callable
from typing import Any

import pytest
from courses import (
    CUT_OFF,
    FROZEN,
    LAYERS,
    NAN,
    NOT_RUN,
    STILL,
    ZERO,
    Step,
    every_layer,
    in_short,
    make_snapshot,
    run,
    signals,
)

from vgharness.gradflow.course.course import Course
from vgharness.records import Birth, NonfiniteOrigin

pytestmark = pytest.mark.fast

At = Callable[[int], Step]
Told = list[tuple[str, str, int, int | None, str]]
EXPERTS = ("e.0", "e.1", "e.2", "e.3", "d")
P, W = "problem", "warning"


def learning(step: int) -> float:
    return 2.0 * 0.99**step + 0.1


def stuck(step: int) -> float:
    return 2.0 + 0.01 * math.sin(step)


def between(first: int, last: int, bad: Step, good: Step = Step()) -> At:  # noqa: B008
    return lambda step: bad if first <= step <= last else good


def scatter(step: int) -> float:
    """A norm that varies from step to step by a factor of up to two either way, the same each time."""
    return float(2.0 ** math.sin(step * step))


def fades(loss: Callable[[int], float | None]) -> At:
    """A norm that falls to a thousandth from step 100 on, within 20 steps."""
    return lambda step: Step(norm=scatter(step) * 0.7 ** min(20, max(0, step - 99)), loss=loss(step))


def cases() -> dict[str, tuple[At, int, int, Told]]:
    """By name: what happens, how many steps, every, what is told."""
    shut = {"b": {**ZERO, "dead_units": 1.0}, "a": ZERO}
    without_abc = {"not_optimized": ("a.weight", "b.weight", "c.weight")}
    without_b = {"not_optimized": ("b.weight",)}
    tiny = Step(layers=every_layer(relative_update=1e-6), loss=2.0)
    return {
        "well": (lambda s: Step(loss=learning(s), norm=scatter(s)), 1000, 10, []),
        "well, every step": (lambda s: Step(loss=learning(s), norm=scatter(s)), 200, 1, []),
        # --- not finite
        "NaN in a snapshot": (between(100, 999, Step({"c": NAN})), 200, 10, [("nonfinite", "c", 100, None, P)]),
        "NaN, and all else with it": (
            between(100, 999, Step({"c": NAN, "a": ZERO, "b": CUT_OFF}, norm=math.nan)),
            300,
            10,
            [("nonfinite", "c", 100, None, P)],
        ),
        "a norm that is not finite": (between(55, 55, Step(norm=math.inf)), 100, 10, [("nonfinite", "", 55, 60, P)]),
        "a loss that is not finite": (between(55, 999, Step(loss=math.nan)), 80, 10, [("nonfinite", "", 55, None, P)]),
        "left out by the scaler": (between(50, 52, Step({"c": NAN}, norm=math.inf, skipped=True)), 200, 10, []),
        # --- no gradient, no optimizer
        "cut off from the start": (lambda s: Step({"b": CUT_OFF}), 50, 10, [("missing", "b", 0, None, P)]),
        "never run": (lambda s: Step({"b": NOT_RUN}), 50, 10, [("missing", "b", 0, None, P)]),
        "cut off, then mended": (between(0, 35, Step({"b": CUT_OFF})), 80, 10, [("missing", "b", 0, 40, P)]),
        "a branch cut off later": (
            between(100, 999, Step({"b": CUT_OFF, "c": CUT_OFF})),
            300,
            10,
            [("missing", "c", 100, None, P)],
        ),
        "the same, looked at seldom": (
            between(1000, 9999, Step({"b": CUT_OFF})),
            2000,
            100,
            [("missing", "b", 1000, None, P)],
        ),
        "cut off, its gradients cleared to zero": (
            between(100, 999, Step({"b": {**ZERO, "signal_l2": None}})),
            300,
            10,
            [("missing", "b", 100, None, P)],
        ),
        "backward is not called any more": (
            between(30, 999, Step(dict.fromkeys(LAYERS, CUT_OFF))),
            60,
            10,
            [("missing", "d", 30, None, P)],
        ),
        "backward is called at every third step": (
            lambda s: Step(dict.fromkeys(LAYERS, CUT_OFF) if s // 10 % 3 else {}),
            600,
            10,
            [],
        ),
        "a branch that is used sometimes": (lambda s: Step({"b": NOT_RUN} if s // 10 % 3 else {}), 2000, 10, []),
        "a branch of every 16th step": (lambda s: Step({"b": CUT_OFF} if s % 16 else {}), 400, 1, []),
        "experts by turns": (
            lambda s: Step(
                {f"e.{i}": NOT_RUN for i in range(4) if (s * s // 7) % 4 != i}, of=("e.0", "e.1", "e.2", "e.3", "d")
            ),
            600,
            1,
            [],
        ),
        "what a layer is given is zero": (
            lambda s: Step({"a": {"weight_l2": 0.0}}),
            60,
            10,
            [("dead", "a", 0, None, W)],
        ),
        "a learning rate of 0 at first and at last": (
            lambda s: Step(more={"learning_rates": (0.0 if s < 50 or s > 500 else 0.1,)}),
            1000,
            10,
            [],
        ),
        "frozen, later not": (between(0, 95, Step({"a": FROZEN, "b": FROZEN})), 300, 10, []),
        "a parameter without a gradient": (
            lambda s: Step(more={"without_gradient": ("b.bias",)}),
            50,
            10,
            [("missing", "b.bias", 0, None, P)],
        ),
        "in no optimizer": (
            lambda s: Step(more={"not_optimized": ("b.weight", "b.bias")}),
            50,
            10,
            [("not optimized", "b", 0, None, P)],
        ),
        "only the head is trained": (
            lambda s: Step(more={"not_optimized": ("a.weight", "b.weight", "c.weight")}),
            50,
            10,
            [("not optimized", "c", 0, None, W)],
        ),
        "unfrozen, and not given to the optimizer until later": (
            lambda s: Step({"b": FROZEN} if s < 100 else {}, more=without_b if 100 <= s < 150 else {}),
            300,
            10,
            [("not optimized", "b", 100, 150, P)],
        ),
        "unfrozen, and most of it in no optimizer": (
            lambda s: Step(dict.fromkeys("abc", FROZEN) if s < 100 else {}, more=without_abc if s >= 100 else {}),
            200,
            10,
            [("not optimized", "c", 100, None, P)],
        ),
        "a branch that pauses every so often": (
            lambda s: Step({"b": CUT_OFF} if s // 10 % 60 >= 50 else {}),
            4000,
            10,
            [("missing", "b", 500, 600, P)],  # the first time
        ),
        # --- dead
        "units that die": (between(100, 999, Step(shut)), 300, 10, [("dead", "b", 100, None, P)]),
        "units that die and come back": (between(100, 195, Step(shut)), 400, 10, [("dead", "b", 100, 200, P)]),
        "most units dead": (
            between(100, 999, Step({"b": {"dead_units": 0.95}})),
            300,
            10,
            [("dead", "b", 100, None, W)],
        ),
        "most units dead in one snapshot": (between(100, 105, Step({"b": {"dead_units": 0.95}})), 300, 10, []),
        "an output that is sure of everything": (lambda s: Step({"d": {"dead_units": 1.0}}), 300, 10, []),
        "a head that starts at zero": (between(0, 2, Step({"a": ZERO, "b": ZERO, "c": ZERO})), 60, 1, []),
        "zero from the start on": (lambda s: Step({"a": ZERO, "b": ZERO}), 300, 100, [("dead", "b", 0, None, P)]),
        "one batch whose loss is zero": (between(100, 100, Step(dict.fromkeys(LAYERS, ZERO), loss=0.0)), 200, 10, []),
        "all is learned, or nothing comes any more, and no loss is given": (
            between(100, 999, Step(dict.fromkeys(LAYERS, ZERO))),
            400,
            10,
            [("dead", "d", 100, None, W)],
        ),
        "nothing comes any more, and the loss is not zero": (
            lambda s: Step(dict.fromkeys(LAYERS, ZERO) if s >= 100 else {}, loss=1.0),
            400,
            10,
            [("dead", "d", 100, None, P)],
        ),
        "all is learned": (between(100, 999, Step(dict.fromkeys(LAYERS, ZERO), loss=0.0)), 400, 10, []),
        # --- too small and too large
        "vanishing, and level": (
            lambda s: Step(signals(1e-4, 1e-3, 1e-1, 1.0), loss=stuck(s)),
            300,
            10,
            [("vanishing", "b", 0, None, W)],
        ),
        "vanishing, and learns": (lambda s: Step(signals(1e-4, 1e-3, 1e-1, 1.0), loss=learning(s)), 500, 10, []),
        "vanishing until it learns": (
            lambda s: Step(signals(1e-4, 1e-3, 1e-1, 1.0) if s < 200 else {}, loss=stuck(s)),
            400,
            10,
            [("vanishing", "b", 0, 200, W)],
        ),
        "cut in one step of the path": (
            lambda s: Step(signals(1e-7, 1e-7, 1.0, 1.0), loss=stuck(s)),
            100,
            10,
            [("vanishing", "b", 0, None, P)],
        ),
        "exploding toward the input": (
            between(100, 999, Step(signals(1e6, 1e5, 10.0, 1.0))),
            300,
            10,
            [("exploding", "b", 100, None, P)],
        ),
        "exploding in one snapshot": (between(100, 100, Step(signals(1e6, 1e5, 10.0, 1.0))), 300, 10, []),
        "a norm that grows and grows": (
            lambda s: Step(norm=1.1 ** max(0, s - 100), loss=2.0 * 1.05 ** max(0, s - 100)),
            300,
            10,
            [("exploding", "", 120, None, P)],
        ),
        "a norm that explodes in a few steps": (
            lambda s: Step(norm=30.0 ** min(9, max(0, s - 100)), loss=2.0 * 5.0 ** min(9, max(0, s - 100))),
            130,
            10,
            [("exploding", "", 101, None, P)],
        ),
        "a norm that leaves a plateau": (
            lambda s: Step(norm=1e-4 * 1.1 ** min(100, max(0, s - 100)), loss=2.0 * 0.99 ** max(0, s - 100)),
            400,
            10,
            [],
        ),
        # --- spikes
        "an unlucky batch": (
            lambda s: Step(norm=60.0 if s == 150 else scatter(s), loss=learning(s)),
            300,
            10,
            [("spike", "", 150, 151, W)],
        ),
        "hard batches now and then": (lambda s: Step(norm=scatter(s) * (4.0 if s % 37 == 0 else 1.0)), 500, 10, []),
        "another level": (lambda s: Step(norm=scatter(s) * (40.0 if s >= 150 else 1.0), loss=learning(s)), 400, 10, []),
        "another level, and ruined": (
            lambda s: Step(norm=scatter(s) * (40.0 if s >= 150 else 1.0), loss=1.0 if s <= 150 else 9.0),
            300,
            10,
            [("spike", "", 150, None, P)],
        ),
        "an unlucky batch that ruins it": (
            lambda s: Step(
                norm=scatter(s) * (40.0 if s >= 150 else 1.0), loss=900.0 if s == 150 else 1.0 + 8 * (s > 150)
            ),
            300,
            10,
            [("spike", "", 150, None, P)],
        ),
        "another loss": (
            lambda s: Step(
                norm=scatter(s) * (1e5 if s >= 150 else 1.0),
                loss=learning(s) if s < 150 else 60.0 * 0.995 ** (s - 150),
            ),
            400,
            10,
            [("spike", "", 150, 159, W)],
        ),
        "clipped, and it explodes": (
            lambda s: Step(
                norm=1.0,
                more={"total_norm": 2.0 * 1.1 ** max(0, s - 100), "clipped_norm": 1.0},
                loss=2.0 * 1.05 ** max(0, s - 100),
            ),
            300,
            10,
            [("exploding", "", 120, None, P)],
        ),
        # --- the whole gradient fades
        "fades, and the loss rises": (
            fades(lambda s: 0.7 if s < 100 else 0.9),
            250,
            10,
            [("vanishing", "", 100, None, P)],
        ),
        "fades, no loss": (fades(lambda s: None), 250, 10, [("vanishing", "", 100, None, W)]),
        "fades for a while": (
            lambda s: Step(norm=1e-3 if 100 <= s < 150 else 1.0, loss=0.7),
            250,
            10,
            [("vanishing", "", 100, 159, P)],
        ),
        "fades, and it is learned": (fades(lambda s: 0.7 if s < 100 else 0.7 * 0.8 ** (s - 100)), 250, 10, []),
        "fades by and by, and the loss rises": (
            lambda s: Step(norm=0.97**s, loss=0.5 + 0.001 * s),
            300,
            10,
            [("vanishing", "", 60, None, W)],
        ),
        "converges": (lambda s: Step(norm=0.9**s, loss=0.5 + 0.5 * 0.9**s), 250, 10, []),
        "converges, and no loss": (lambda s: Step(norm=min(1.0, 10 * 0.9**s)), 250, 10, []),
        "the first steps": (lambda s: Step(norm=100.0 if s == 3 else scatter(s)), 100, 10, []),
        "one layer's spike": (
            lambda s: Step({"b": {"weight_l2": 500.0}} if s == 200 else {}),
            400,
            10,
            [("spike", "b", 200, 210, W)],
        ),
        # --- steps
        "a layer whose steps end under its weights' last digit": (
            lambda s: Step({"b": STILL if s >= 100 else {"relative_update": 1e-2 * 0.9**s}}),
            300,
            10,
            [("stopped", "b", 100, None, W)],
        ),
        "a layer that stops": (between(100, 999, Step({"b": STILL})), 300, 10, [("stopped", "b", 100, None, P)]),
        "a rate of zero": (
            lambda s: Step({"b": STILL} if s >= 100 else {}, more={"learning_rates": (1e-3, 0.0)}),
            300,
            10,
            [],
        ),
        "a layer that stops, and the training ends": (
            lambda s: Step({"b": {"relative_update": 0.0 if s > 60 else 1e-9}} if s >= 60 else {}),
            81,
            10,
            [("stopped", "b", 60, None, P)],
        ),
        "two layers by turns": (
            lambda s: Step({"b": STILL} if s // 40 % 2 == 0 else {"c": STILL}, more={"learning_rates": (1e-3, 1e-3)}),
            400,
            10,
            [],
        ),
        "no rate at all": (
            lambda s: Step(every_layer(relative_update=0.0), more={"learning_rates": (0.0, 0.0)}),
            110,
            10,
            [("stopped", "", 0, None, P)],
        ),
        "a first epoch at a rate of zero": (
            lambda s: Step(every_layer(relative_update=1e-3 * (s >= 25)), more={"learning_rates": (1e-3 * (s >= 25),)}),
            200,
            10,
            [("stopped", "", 0, 30, W)],
        ),
        "weights that round every step away": (
            lambda s: Step(every_layer(relative_update=0.0), more={"learning_rates": (1e-6,)}),
            110,
            10,
            [("stopped", "", 0, None, P)],
        ),
        "no rate at all, and all is frozen": (
            lambda s: Step(dict.fromkeys(LAYERS, FROZEN), more={"learning_rates": (0.0,)}),
            300,
            10,
            [],
        ),
        "a warm-up from zero": (
            lambda s: Step(
                every_layer(relative_update=1e-5 * min(s, 99)), more={"learning_rates": (1e-5 * min(s, 99),)}
            ),
            300,
            1,
            [],
        ),
        "a schedule that ends at zero": (
            lambda s: Step(
                every_layer(relative_update=1e-3 if s < 100 else 0.0),
                more={"learning_rates": (1e-3 if s < 100 else 0.0,)},
            ),
            190,
            10,
            [],
        ),
        "a schedule that ends at zero, and steps that go on": (
            lambda s: Step(
                every_layer(relative_update=1e-3 if s < 100 else 0.0),
                more={"learning_rates": (1e-3 if s < 100 else 0.0,)},
            ),
            201,
            10,
            [("stopped", "", 100, None, W)],
        ),
        "frozen in between": (between(100, 999, Step({"b": FROZEN})), 300, 10, []),
        "a schedule that ends": (
            lambda s: Step(
                every_layer(relative_update=1e-3 if s < 200 else 0.0),
                more={"learning_rates": (1e-3 if s < 200 else 1e-8,)},
                loss=2.0,
            ),
            400,
            10,
            [],
        ),
        "steps too large, and the loss rises": (
            lambda s: Step(every_layer(relative_update=0.3), loss=2.0 + 0.2 * s),
            100,
            10,
            [("update too large", "", 0, None, P)],
        ),
        "large steps that learn": (lambda s: Step(every_layer(relative_update=0.3), loss=learning(s)), 300, 10, []),
        "layers that start near zero": (
            lambda s: Step(every_layer(of="cd", weight_norm=1e-4 * (s + 1), relative_update=1.0), loss=stuck(s)),
            100,
            10,
            [],
        ),
        "steps too small": (lambda s: tiny, 400, 10, [("update too small", "", 200, None, W)]),
        "small steps in a warm-up": (
            lambda s: tiny._replace(more={"learning_rates": (1e-6 * (s + 1),)}),
            400,
            10,
            [],
        ),
        "small steps that learn": (lambda s: tiny._replace(loss=learning(s)), 400, 10, []),
        # --- the loss scale
        "a scale that finds its place": (
            lambda s: Step(scale=65536.0 / 2 ** min(s, 8), skipped=s < 8, norm=math.inf if s < 8 else 1.0),
            100,
            10,
            [],
        ),
        "a scale that collapses": (
            lambda s: Step(scale=1024.0 / 2 ** max(0, s - 100), skipped=s >= 100, norm=math.inf if s >= 100 else 1.0),
            200,
            10,
            [("loss scale", "", 100, None, P)],
        ),
        "a scale that collapses by and by": (
            lambda s: Step(scale=65536.0 / 2 ** (s // 2), skipped=s % 2 == 0),
            60,
            10,
            [("loss scale", "", 0, None, P)],
        ),
        "a scale that recovers": (
            lambda s: Step(scale=65536.0, skipped=100 <= s < 115),
            200,
            10,
            [("loss scale", "", 100, 115, P)],
        ),
        "one step left out now and then": (lambda s: Step(scale=1024.0, skipped=s % 50 == 49), 1000, 10, []),
    }


@pytest.mark.parametrize("name", cases())
def test_what_is_told(name: str) -> None:
    at, steps, every, told = cases()[name]
    course, _ = run(at, steps, every=every)
    assert in_short(course) == told


def test_a_resumed_training_is_not_judged_by_its_first_steps() -> None:
    small = lambda s: Step({**signals(1e-4, 1e-3, 1e-1, 1.0)}, loss=stuck(s))  # noqa: E731
    assert in_short(run(small, 400, start=5000)[0]) == []
    tiny = lambda s: Step(every_layer(relative_update=1e-6), loss=2.0)  # noqa: E731
    assert in_short(run(tiny, 400, start=5000)[0]) == []
    cut = run(lambda s: Step({"b": CUT_OFF}), 50, start=5000)[0]
    assert in_short(cut) == [("missing", "b", 5000, None, P)]


def test_models_are_judged_apart() -> None:
    course = Course(every=10)
    for step in range(0, 100, 10):
        course.add(*make_snapshot(step, Step(), "G"))
        course.add(*make_snapshot(step, Step({"b": CUT_OFF}), "D"))
    assert [(x.kind, x.model, x.layer) for x in course.problems] == [("missing", "D", "b")]


def test_a_birth_names_the_layer_of_what_was_seen_before() -> None:
    birth = Birth(
        step=100, batch=100, noticed=103, origin=NonfiniteOrigin(stage="forward", module="c", operation="LogBackward0")
    )
    course, _ = run(lambda s: Step(), 100)
    (change,) = course.born(birth)
    assert (change.number, change.what) == (0, "began")
    assert in_short(course) == [("nonfinite", "c", 100, None, P)]
    assert "LogBackward0" in change.problem.evidence

    late, _ = run(lambda s: Step(norm=math.nan if s == 100 else 1.0), 104)
    assert in_short(late) == [("nonfinite", "", 100, None, P)]
    (change,) = late.born(birth)
    assert (change.number, change.what) == (0, "began")
    assert in_short(late) == [("nonfinite", "c", 100, None, P)]
    assert (
        run(lambda s: Step({"b": CUT_OFF}, norm=math.nan), 50, start=110, course=late)[1] == []
    )  # nothing else is looked at


@pytest.mark.parametrize(
    ("made", "layer", "evidence", "advice"),
    [
        ({"parameter": "c.weight"}, "c", "the optimizer's step makes c.weight NaN", "optimizer"),
        ({"loss": True}, "", "the model puts out finite numbers", "targets"),
        ({"origin": NonfiniteOrigin(stage="inputs", module="", operation="")}, "", "the batch itself", "read"),
        ({"origin": NonfiniteOrigin(stage="backward", module="", operation="Mul")}, "model", "by Mul", "a root"),
        ({"remark": "it came from outside"}, "", "it came from outside", "a root"),
    ],
)
def test_a_birth_is_told_by_what_made_it(made: dict[str, Any], layer: str, evidence: str, advice: str) -> None:
    course, _ = run(lambda s: Step(), 20)
    (change,) = course.born(Birth(step=20, batch=21, noticed=20, **made))
    assert (change.problem.layer, evidence in change.problem.evidence) == (layer, True)
    assert "step 20, batch 21" in change.problem.evidence
    assert advice in change.problem.advice


def test_what_comes_and_goes_is_told_a_few_times_and_counted() -> None:
    course, changes = run(lambda s: Step({"b": CUT_OFF} if s == 0 else {}), 100)
    assert [change.what for change in changes] == ["began", "ended"]
    course, changes = run(lambda s: Step(norm=60.0 if s % 100 == 99 else scatter(s)), 2000)
    assert [x.times for x in course.problems] == [1, 1, 17]  # the last one is not known to be over
    assert [change.what for change in changes if change.what != "again"] == ["began", "ended"] * 3
    assert [change.number for change in changes[:6]] == [0, 0, 1, 1, 2, 2]


def test_a_warning_that_becomes_a_problem_is_told_again() -> None:
    def at(step: int) -> Step:
        return Step(
            {"b": {"dead_units": 0.95 if step < 200 else 1.0}}
            | ({"b": {**ZERO, "dead_units": 1.0}} if step >= 200 else {})
        )

    course, changes = run(at, 300)
    assert in_short(course) == [("dead", "b", 0, None, P)]
    assert [(change.what, change.problem.severity) for change in changes] == [("began", W), ("began", P)]
    assert "from step" in changes[1].problem.evidence


def test_one_layer_stands_for_all_that_begin_with_it() -> None:
    course, _ = run(lambda s: Step({"a": CUT_OFF, "b": CUT_OFF, "c": CUT_OFF}), 30)
    assert in_short(course) == [("missing", "c", 0, None, P)]
    assert "c, b, a" in course.problems[0].evidence


def test_without_updates_losses_and_outputs_nothing_is_made_up() -> None:
    """What was not measured is no evidence, neither way."""
    bare = {
        "relative_update": None,
        "weight_norm": None,
        "output_rms": None,
        "dead_units": None,
        "weight_mean_abs": None,
    }
    at = Step(every_layer(**bare), more={"learning_rates": ()})
    assert in_short(run(lambda s: at, 300)[0]) == []
