"""From values to places along an axis, and the ticks on it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

_STEPS: Final = (1, 2, 5, 10)
_LEAST_REACH: Final = 1e-9  # of what the values are
_LEAST_SIZE: Final = 1e-200
_ROOM: Final = 0.06  # beside the outermost value, as a share of the axis


class Axis(NamedTuple):
    """An axis from ``low`` to ``high``, by the logarithm where it is ``logarithmic`` (then both are above 0)."""

    low: float
    high: float
    logarithmic: bool = False

    def at(self, value: float) -> float:
        """The place of ``value`` along the axis, 0 to 100; what lies beyond an end is put at it."""
        if math.isnan(value):
            raise ValueError("NaN has no place on an axis")
        low, high = self._scaled(self.low), self._scaled(self.high)
        return 100 * min(max((self._scaled(value) - low) / (high - low), 0.0), 1.0)

    def ticks(self, most: int = 6) -> list[float]:
        """At most ``most`` round values within the axis: of a logarithmic one powers of ten, or 1, 2 and 5 of each."""
        if self.logarithmic:
            return self._decades(most)
        rough = (self.high - self.low) / max(most - 1, 1)
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(each * power for each in _STEPS if each * power >= rough * (1 - 1e-9))
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [float(f"{step * place:.12g}") for place in range(first, last + 1)]

    def _scaled(self, value: float) -> float:
        if not self.logarithmic:
            return value
        return math.log10(value) if value > 0 else -math.inf

    def _decades(self, most: int) -> list[float]:
        first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
        found: list[float] = []
        for steps in ((1, 2, 5), (1,)):
            found = [step * 10.0**power for power in range(first, last + 1) for step in steps]
            found = [value for value in found if self.low * (1 - 1e-9) <= value <= self.high * (1 + 1e-9)]
            if len(found) <= most:
                break
        return found[:: math.ceil(len(found) / most)] if len(found) > most else found


def axis_over(values: Iterable[float], *, logarithmic: bool = False, least_decades: float = 1.0) -> Axis:
    """An axis on which all finite ``values`` (of a logarithmic one: those above 0) lie, with some room at its ends.

    least_decades: how many a logarithmic one has at least.
    """
    known = [value for value in values if math.isfinite(value) and (value > 0 or not logarithmic)]
    if logarithmic:
        logs = [math.log10(value) for value in known] or [0.0]
        low, high = min(logs), max(logs)
        lacking = max(least_decades - (high - low), 0.0) / 2
        room = _ROOM * max(high - low, least_decades)
        return Axis(10 ** (low - lacking - room), 10 ** (high + lacking + room), True)
    low, high = min(known, default=0.0), max(known, default=1.0)
    size = max(abs(low), abs(high))
    # Of values that are all but equal the axis is as wide as they are great.
    reach = high - low if high - low > _LEAST_REACH * size and size > _LEAST_SIZE else max(size, 1.0)
    return Axis(low - _ROOM * reach, high + _ROOM * reach)


def apart(places: Sequence[float], least: float, most: float) -> list[float]:
    """Where labels at ``places`` stand so that none lies on another: each moved up as far as it takes to be ``least``
    above the one before, and none above ``most`` as far as there is room."""
    order = sorted(range(len(places)), key=lambda place: places[place])
    moved = list(places)
    for before, after in pairwise(order):
        moved[after] = max(moved[after], moved[before] + least)
    for place in reversed(order):
        moved[place] = min(moved[place], most)
        most = moved[place] - least
    return moved
