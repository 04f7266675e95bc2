"""How arms are timed and compared; never a time."""

import pytest
import torch

from vgharness.benchmarks import timing
from vgharness.benchmarks.timing import ratio, take_turns

pytestmark = pytest.mark.fast

CPU = torch.device("cpu")


def test_arms_take_turns_and_the_first_round_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, order = [0.0], []
    monkeypatch.setattr(timing.time, "perf_counter", lambda: clock[0])

    def arm(name: str, seconds: float) -> None:
        clock[0] += seconds * (100 if name not in order else 1)  # the first time is slow
        order.append(name)

    times = take_turns({"a": lambda: arm("a", 1), "b": lambda: arm("b", 2)}, 3, CPU)
    assert order == ["a", "b"] * 4
    assert times == {"a": [1, 1, 1], "b": [2, 2, 2]}


def test_a_ratio_is_taken_round_by_round() -> None:
    """A machine ten times slower in one round changes nothing."""
    found = ratio([2, 2.2, 30, 2], [1, 1, 10, 1])
    assert (found.low, found.median, found.high) == pytest.approx((2.0, 2.1, 2.4))
