"""Times several ways of doing one thing in turn, and gives ratios within one run.

What a machine does to the times of two runs says nothing of the code. So the ways are timed A B C A B C … and compared
round by round: a machine that is slow for a while is slow for all of them.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence

import torch

from vgharness.records import Record
from vgharness.system.device import synchronize

# One way of doing it, timed by take_turns, or by itself where it returns seconds.
Arm = Callable[[], float | None]


class Ratio(Record):
    """One arm's time over another's.

    median: over the rounds.
    low: the lower quartile.
    high: the upper quartile.
    """

    median: float
    low: float
    high: float


def take_turns(arms: Mapping[str, Arm], rounds: int, device: torch.device) -> dict[str, list[float]]:
    """Times each of ``arms``, by name, once in each of ``rounds``, after one round that does not count.

    Returns the seconds by arm, one for each round; what is queued on ``device`` is waited for before and after. An arm
    that returns seconds has timed itself.
    """
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    for _ in range(rounds + 1):
        for name, arm in arms.items():
            synchronize(device)
            started = time.perf_counter()
            own = arm()
            synchronize(device)
            seconds[name].append(time.perf_counter() - started if own is None else own)
    return {name: times[1:] for name, times in seconds.items()}


def ratio(times: Sequence[float], base: Sequence[float]) -> Ratio:
    """Divides ``times`` by ``base``, round by round. Needs two rounds or more."""
    low, middle, high = statistics.quantiles([a / b for a, b in zip(times, base, strict=True)], method="inclusive")
    return Ratio(median=middle, low=low, high=high)
