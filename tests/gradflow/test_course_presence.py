"""What is known of each step: which parameters got a gradient."""

import random
from collections.abc import Callable

import pytest
from courses import CUT_OFF, NOT_RUN, Step, in_short, make_snapshot

from vgharness.gradflow.course.course import Course
from vgharness.gradflow.course.presence import Presence

pytestmark = pytest.mark.fast

B = ("b.weight", "b.bias")
C = ("c.weight", "c.bias")
Absent = Callable[[int], tuple[str, ...]]


def told(absent: Absent, steps: int, every: int, *, runs: bool = True) -> list[tuple[str, str, int, int | None, str]]:
    """What is told of a training in which parameters get no gradient, as ``absent`` says; its layers run all the same,
    or not."""
    course, last = Course(every=every), ()
    for step in range(steps):
        now = absent(step)
        course.stepped("", step, 1.0, without=now if step == 0 or now != last else None)
        last = now
        layers = {name.partition(".")[0]: CUT_OFF if runs else NOT_RUN for name in now}
        if step % every == 0:
            course.add(*make_snapshot(step, Step(layers, more={"without_gradient": now})))
    return in_short(course)


def drawn(seed: int, share: float) -> list[bool]:
    """Whether it does not come, by step; at the first one it does."""
    numbers = random.Random(seed)
    return [False, *(numbers.random() < share for _ in range(2000))]


@pytest.mark.parametrize(("every", "steps"), [(10, 81), (50, 101), (100, 101)])
def test_what_is_cut_off_is_told_at_the_first_snapshot_that_can_tell(every: int, steps: int) -> None:
    assert told(lambda s: B if s >= 60 else (), steps, every) == [("missing", "b", 60, None, "problem")]
    assert told(lambda s: B if s >= 60 else (), 71, every) == []


def test_one_parameter_that_is_cut_off() -> None:
    course = Course(every=10)
    for step in range(81):
        gone = B[:1] if step >= 60 else ()
        course.stepped("", step, 1.0, without=gone)
        if step % 10 == 0:
            course.add(*make_snapshot(step, Step(more={"without_gradient": gone})))
    assert in_short(course) == [("missing", "b.weight", 60, None, "problem")]


HALF, THIRD = drawn(1, 0.5), drawn(2, 0.33)
QUIET: dict[str, tuple[Absent, int, int, bool]] = {
    "each drawn at random": (lambda s: B if HALF[s] else (), 2000, 10, True),
    "one in three is not used": (lambda s: B if THIRD[s] else (), 2000, 1, True),
    "used once in 16 steps": (lambda s: B if s % 16 else (), 400, 8, True),
    "used once in 50 steps": (lambda s: B if s % 50 else (), 400, 10, True),
    "a second phase without it": (lambda s: B if s >= 300 else (), 370, 10, False),
}


@pytest.mark.parametrize("name", QUIET)
def test_what_comes_by_chance_or_does_not_run_is_no_problem(name: str) -> None:
    absent, steps, every, runs = QUIET[name]
    assert [x for x in told(absent, steps, every, runs=runs) if x[4] == "problem"] == []


def test_two_heads_by_turns() -> None:
    """That one of them has had no turn yet is told, as of whatever is cut off from the start; its turns are not."""
    assert told(lambda s: B if s // 37 % 2 else C, 370, 20) == [("missing", "c", 0, 40, "problem")]


@pytest.mark.parametrize("share", [0.02, 0.1, 0.3, 0.5, 0.7])
def test_chance_alone_does_not_surprise(share: float) -> None:
    surprised = 0
    for seed in range(50):
        presence, seen = Presence(), 0
        for step, gone in enumerate(drawn(seed, share)[:500]):
            presence.add(step, B if gone else ())
            seen += presence.surprising(B) is not None
        surprised += seen > 0
    assert surprised == 0
