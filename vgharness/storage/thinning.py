"""Which snapshots of a training are kept: as many at most, evenly spaced, however long it is."""

from __future__ import annotations

import bisect
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from pydantic_core import from_json, to_json

MOST_SNAPSHOTS: Final = 1024  # of one model


@dataclass
class Taken:
    """A snapshot as it is kept.

    number: the how-manieth of all that the training took.
    step: of the training.
    rows: which list of rows it has.
    line: the file's.
    place: the how-manieth of its model's; set when it is added.
    marked: whether a problem began or ended near it.
    greatest: its ``greatest_norm``: the greatest norm since the snapshot before it that is kept.
    """

    number: int
    step: int
    rows: int
    line: bytes
    place: int = 0
    marked: bool = False
    greatest: float | None = None

    def take_over(self, left_out: Taken) -> None:
        """Keeps what the snapshot before it, which is left out, knew of the steps before both."""
        if left_out.greatest is not None and (self.greatest is None or self.greatest < left_out.greatest):
            self.greatest = left_out.greatest
            content = from_json(self.line)
            content["snapshot"]["greatest_norm"] = self.greatest
            self.line = to_json(content) + b"\n"


class Thinned:
    """The snapshots of one model: every ``stride``-th, the last, and those nearest to where a problem began or ended.

    The stride is doubled whenever there are more than ``most``, which is 8 at least.
    """

    def __init__(self, most: int = MOST_SNAPSHOTS) -> None:
        self.taken: list[Taken] = []
        self.stride = 1
        self._most = most
        self._count = 0
        self._awaited: set[int] = set()  # steps that were marked and that no snapshot has reached yet

    @property
    def last(self) -> Taken | None:
        """The last one, where it is kept only until the next is there."""
        return self.taken[-1] if self.taken and not self._lasts(self.taken[-1]) else None

    def add(self, new: Taken) -> list[Taken]:
        """Takes one more. Returns those that are kept for longer than until the next one comes, from now on."""
        before, lasting = self.last, []
        new.place, self._count = self._count, self._count + 1
        self.taken.append(new)
        for step in [step for step in self._awaited if step <= new.step]:
            self._awaited.remove(step)
            self._nearest(step).marked = True
        if before is not None:
            if before.marked:
                lasting.append(before)
            else:
                new.take_over(before)
                del self.taken[-2]
        return [*lasting, new] if self._lasts(new) else lasting

    def mark(self, step: int) -> list[Taken]:
        """Keeps the snapshot that is nearest to ``step``, or will be. Returns it where it would have been left out."""
        if not self.taken or step > self.taken[-1].step:
            self._awaited.add(step)
            return []
        nearest = self._nearest(step)
        left_out = not self._lasts(nearest)
        nearest.marked = True
        return [nearest] if left_out else []

    def thin(self) -> bool:
        """Leaves out what is too much; whether anything was."""
        if len(self.taken) <= self._most:
            return False
        while sum(self._is_even(each) for each in self.taken) > self._most // 2 + 1:
            self.stride *= 2
        marked = [each.place for each in self.taken[:-1] if each.marked and not self._is_even(each)]
        while len(marked) > self._most // 4:
            marked = marked[::2]
        kept = {*marked, self.taken[-1].place}
        stays = [self._is_even(each) or each.place in kept for each in self.taken]
        for each, after, stay in zip(self.taken, self.taken[1:], stays[:-1], strict=False):
            if not stay:
                after.take_over(each)
        self.taken = [each for each, stay in zip(self.taken, stays, strict=True) if stay]
        return True

    def _is_even(self, each: Taken) -> bool:
        return each.place % self.stride == 0

    def _lasts(self, each: Taken) -> bool:
        return each.marked or self._is_even(each)

    def _nearest(self, step: int) -> Taken:
        at = bisect.bisect_left(self.taken, step, key=lambda each: each.step)
        return min(self.taken[max(0, at - 1) : at + 1], key=lambda each: abs(each.step - step))


def in_order(models: Iterable[Thinned]) -> list[Taken]:
    """All that are kept, of all models, in the order in which they were taken."""
    return sorted((each for model in models for each in model.taken), key=lambda each: each.number)
