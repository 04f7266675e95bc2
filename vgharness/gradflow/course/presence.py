"""In which steps a gradient came to each parameter, from what the host sees at every step."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, NamedTuple

from vgharness.gradflow.course.history import Habit

# Steps in which a gradient came, before its absence is judged by steps: twice the longest usual pause (history.py).
_KNOWN_WELL: Final = 32


class Absence(NamedTuple):
    """A row of steps in which no gradient came. ``came``: in how many it did before."""

    since: int
    steps: int
    came: int


class Presence:
    """Knows for each parameter that has ever gone without a gradient when it came and when it did not.

    Only changes cost anything: most steps are as the one before.
    """

    def __init__(self) -> None:
        self._seen = 0  # steps
        self._step = 0
        self._absent: dict[str, tuple[int, int]] = {}  # since which step, and how many were seen before
        self._habits: dict[str, Habit] = {}
        self._last_came: dict[str, int] = {}  # steps seen, when it came again
        self._exchanged: set[str] = set()  # that went when others came: another branch has its turn

    def add(self, step: int, without: Collection[str] | None) -> None:
        """``without``: the parameters that ask for a gradient and got none; ``None``: the same as at the last step."""
        self._step = step
        if without is not None:
            gone, back = set(without) - self._absent.keys(), self._absent.keys() - set(without)
            for name in back:
                self._end(name)
            for name in gone:
                self._absent[name] = step, self._seen
            self._exchanged = (self._exchanged - back) | (gone if back else set())
        self._seen += 1

    def surprising(self, names: Collection[str]) -> Absence | None:
        """The present row of those ``names``, where none of them got a gradient for longer than chance has it."""
        rows = [self._row(name) for name in names]
        if not rows or any(row is None for row in rows):
            return None
        return min((row for row in rows if row is not None), key=lambda row: row.steps)

    def _row(self, name: str) -> Absence | None:
        if name not in self._absent or name in self._exchanged:
            return None
        since, before = self._absent[name]
        habit = self._habits.get(name, Habit()).copied()
        habit.came += before - self._last_came.get(name, -1) - 1
        habit.miss(since, self._step, self._seen - before)
        if habit.came < _KNOWN_WELL or not habit.surprises(strictly=True):
            return None
        return Absence(since, habit.away, habit.came)

    def _end(self, name: str) -> None:
        since, before = self._absent.pop(name)
        habit = self._habits.setdefault(name, Habit())
        habit.came += before - self._last_came.get(name, -1) - 1
        habit.miss(since, self._step, self._seen - before)
        habit.look(self._step, there=True)
        self._last_came[name] = self._seen
