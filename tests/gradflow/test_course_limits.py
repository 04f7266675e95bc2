"""What holds whatever a training does: bounded, in order, never the same problem twice at once."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from courses import CUT_OFF, FROZEN, LAYERS, NAN, NOT_RUN, STILL, ZERO, Step, make_snapshot, run
from hypothesis import given, settings
from hypothesis import strategies as st

from vgharness.gradflow.course.course import Change, Course
from vgharness.gradflow.course.history import Habit, Spikes
from vgharness.gradflow.course.ledger import MOST_OF_A_KIND, MOST_PROBLEMS, MOST_WARNINGS, TOLD, Ledger, Sighting
from vgharness.gradflow.course.state import Seen
from vgharness.gradflow.symptoms import find_symptoms
from vgharness.records import Birth, TrainingProblem, TrainingProblemKind

pytestmark = pytest.mark.fast

KINDS: tuple[TrainingProblemKind, ...] = ("missing", "not optimized", "stopped")
CONDITIONS: tuple[Mapping[str, Any], ...] = (
    {},
    *({}, {}),
    CUT_OFF,
    NOT_RUN,
    FROZEN,
    ZERO,
    {**ZERO, "dead_units": 1.0},
    STILL,
    NAN,
    {"signal_l2": 1e9},
    {"signal_l2": 1e-9},
    {"weight_l2": 1e5},
    {"relative_update": 0.5},
    {"relative_update": None, "weight_norm": None, "signal_l2": None},
)
layers = st.fixed_dictionaries({name: st.sampled_from(CONDITIONS) for name in LAYERS})
steps = st.builds(
    Step,
    layers=layers,
    of=st.sampled_from((LAYERS, LAYERS[:2], ("b", "d"))),
    more=st.sampled_from(({}, {"not_optimized": ("b.weight",)}, {"without_gradient": ("a.bias", "other")})),
    norm=st.sampled_from((0.0, 1.0, 1.0, 2.0, 1e4, 1e30, math.inf, math.nan)),
    loss=st.sampled_from((None, 0.0, 1.0, 2.0, 1e6, -3.0, math.nan)),
    skipped=st.sampled_from((False, False, False, True)),
    scale=st.sampled_from((None, 1024.0, 0.5)),
)


def check(course: Course, changes: Sequence[Change], known: dict[int, TrainingProblem]) -> None:
    for change in changes:
        known[change.number] = change.problem
        assert (change.problem.ended is None) or change.what != "began"
    assert known == dict(enumerate(course.problems))  # whoever keeps the changes has all there is
    for problem in course.problems:
        assert problem.ended is None or problem.ended >= problem.began
        assert problem.evidence
        assert problem.advice
    going_on = [(x.kind, x.model, x.layer) for x in course.problems if x.ended is None]
    assert len(set(going_on)) == len(going_on)


@given(st.lists(st.tuples(steps, st.integers(1, 12)), max_size=12), st.sampled_from((1, 10, 100)), st.booleans())
@settings(max_examples=40, deadline=None)
def test_changes_add_up_to_the_problems_and_none_goes_on_twice(
    parts: list[tuple[Step, int]], every: int, birth: bool
) -> None:
    course, known = Course(every=every), dict[int, TrainingProblem]()
    step = 0
    for at, times in parts:
        for _ in range(times):
            changes = course.add(*make_snapshot(step, at))
            for more in range(step, step + min(every, 10)):
                changes += course.stepped("", more, at.norm, loss=at.loss, skipped=at.skipped, loss_scale=at.scale)
            step += every
            check(course, changes, known)
    if birth:
        check(course, course.born(Birth(step=step, noticed=step)), known)


@given(
    st.lists(st.floats(1e-3, 1.0) | st.sampled_from((0.0, 1e-12, 1.0)), min_size=4, max_size=4),
    st.sampled_from((1e-2, 1e-12, 0.0)),
)
@settings(max_examples=100, deadline=None)
def test_what_is_called_quiet_has_no_symptoms(sizes: list[float], weights: float) -> None:
    at = {name: {"signal_l2": size, "weight_mean_abs": weights} for name, size in zip(LAYERS, sizes, strict=True)}
    now = Seen(*make_snapshot(0, Step(at)))
    assert not now.quiet or not find_symptoms(now.flow, ())


def test_problems_are_bounded_whatever_the_length() -> None:
    ledger = Ledger()
    for step in range(3000):
        model, name = f"model {step % 4}", f"layer {step // 4 % 29}"
        for kind in KINDS:
            ledger.look(model, step, kind, {name: Sighting(name, "seen", severe=step % 5 < 2, at_once=True)})
            for later in (1, 2):
                ledger.look(model, step + later, kind, {}, (name,))
    kinds = Counter((x.model, x.kind) for x in ledger.problems)
    assert max(kinds.values()) <= MOST_OF_A_KIND
    assert len(ledger.problems) == MOST_PROBLEMS
    assert max(x.times for x in ledger.problems) > TOLD


def test_one_kind_of_one_model_does_not_take_all_the_room() -> None:
    ledger = Ledger()
    for i in range(100):
        ledger.look("", i, "dead", {f"{i}": Sighting(f"{i}", "seen", at_once=True)})
    assert len(ledger.problems) == MOST_OF_A_KIND


def test_what_is_more_than_a_warning_has_room_left() -> None:
    ledger = Ledger()
    for model in range(300):
        ledger.look(f"{model}", 0, "missing", {"b": Sighting("b", "seen", severe=False)})
    assert len(ledger.problems) == MOST_WARNINGS
    (change,) = ledger.look("last", 0, "missing", {"b": Sighting("b", "seen")})
    assert change.number == MOST_WARNINGS


@pytest.mark.parametrize("period", [2, 3, 5, 8, 13])
def test_what_flickers_is_not_told_each_time(period: int) -> None:
    def at(step: int) -> Step:
        return Step({"b": {"dead_units": 0.95}, "c": CUT_OFF} if step // 10 % period < period / 2 else {})

    _, changes = run(at, 1000)
    assert sum(change.what == "began" for change in changes) <= 2 * TOLD


@pytest.mark.parametrize("share", [0.02, 0.1, 0.3, 0.5, 0.7])
def test_a_branch_that_is_used_now_and_then_hardly_ever_surprises(share: float) -> None:
    """``share`` of the times it does not come, drawn by a linear congruence: scattered, and the same in every run."""
    surprised = Counter[bool]()
    for seed in range(50):
        habit, drawn, runs = Habit(), 12345 + 7919 * seed, Counter[bool]()
        for step in range(400):
            drawn = (1103515245 * drawn + 12345) % 2**31
            habit.look(10 * step, there=drawn / 2**31 >= share)
            for strictly in (False, True):
                runs[strictly] += habit.surprises(strictly=strictly)
        for strictly in (False, True):
            surprised[strictly] += runs[strictly] > 0
    assert surprised[True] == 0
    assert surprised[False] <= 1  # of 50


def test_spikes_of_a_heavy_tail_are_none() -> None:
    """Norms like those of single samples: from one in a hundred on a hundred times the median and more."""
    spikes, drawn, found = Spikes(), 1, 0
    for step in range(20_000):
        drawn = (1103515245 * drawn + 12345) % 2**31
        found += spikes.add(step, 1 / (1e-3 + drawn / 2**31)) is not None
    assert found <= 4  # of 20,000 steps


def test_a_rise_from_step_to_step_is_no_spike() -> None:
    spikes = Spikes()
    norms = [*50 * [1.0], 2.5, 6.0, 15.0, 37.0, 15.0, 6.0, 2.5, *20 * [1.0]]
    assert [x for step, norm in enumerate(norms) if (x := spikes.add(step, norm))] == []
