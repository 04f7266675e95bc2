"""Which snapshots are kept: bounded, first and last, evenly spaced, and those where a problem began or ended."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vgharness.storage.thinning import Taken, Thinned

pytestmark = pytest.mark.fast


def after(snapshots: int, every: int = 1, most: int = 16, marks: dict[int, list[int]] | None = None) -> Thinned:
    """What is left of so many; ``marks``: by the number of a snapshot, steps that are marked once it is there."""
    thinned = Thinned(most)
    for number in range(snapshots):
        thinned.add(Taken(number, number * every, 0, b""))
        for step in (marks or {}).get(number, ()):
            thinned.mark(step)
        thinned.thin()
    return thinned


@settings(max_examples=60, deadline=None)
@given(
    snapshots=st.integers(1, 600),
    most=st.sampled_from([8, 16, 64]),
    marks=st.dictionaries(st.integers(0, 599), st.lists(st.integers(0, 6500), max_size=3), max_size=40),
)
def test_however_many_there_were_those_that_are_kept_are_bounded_even_and_in_order(
    snapshots: int, most: int, marks: dict[int, list[int]]
) -> None:
    thinned = after(snapshots, every=10, most=most, marks=marks)
    numbers = [each.number for each in thinned.taken]
    assert numbers == sorted(set(numbers))
    assert (numbers[0], numbers[-1]) == (0, snapshots - 1)
    assert len(numbers) <= most
    even = list(range(0, snapshots, thinned.stride))
    assert set(even) <= set(numbers)
    assert set(numbers) - set(even) <= {each.number for each in thinned.taken if each.marked} | {snapshots - 1}
    assert len(even) > most // 4 or thinned.stride == 1


def test_a_long_training_leaves_as_many() -> None:
    thinned = after(100_000, every=1_000, most=1024)
    assert 512 <= len(thinned.taken) <= 1024
    assert thinned.taken[-1].step == 99_999_000


@pytest.mark.parametrize("told_at", [700, 703, 710], ids=["at once", "late", "at the next one"])
def test_what_is_nearest_to_where_a_problem_began_is_kept(told_at: int) -> None:
    marks = {told_at // 10: [701]} if told_at < 710 else {71: [709]}
    kept = [each.step for each in after(4_000, every=10, most=64, marks=marks).taken]
    assert {700: 700, 703: 700, 710: 710}[told_at] in kept


def test_a_mark_between_two_snapshots_waits_for_the_next() -> None:
    for step, nearest in ((714, 710), (716, 720)):
        kept = [each.step for each in after(4_000, every=10, most=64, marks={71: [step]}).taken]
        assert nearest in kept


def test_too_many_marks_are_thinned_themselves() -> None:
    thinned = after(2_000, most=64, marks={number: [number] for number in range(2_000)})
    assert len(thinned.taken) <= 64
    assert thinned.taken[0].number == 0
