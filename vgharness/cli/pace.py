"""How long what is left of a study takes, from the epochs that ran: neither from what came before the first of them,
nor from what an earlier process trained."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Hashable, Mapping, Sequence
from statistics import fmean
from typing import Final

from vgharness.records import Cell

_MOST: Final = 50  # epochs of a kind: the machine may have other work to do than it had


class Pace:
    """The epochs of a study that ended in this process."""

    def __init__(self) -> None:
        self._seconds: dict[Hashable, deque[float]] = defaultdict(lambda: deque(maxlen=_MOST))
        self._shares: dict[Hashable, deque[float]] = defaultdict(lambda: deque(maxlen=_MOST))

    def add(self, cell: Cell, seconds: float, side_by_side: int) -> None:
        """Notes an epoch of ``cell`` that took ``seconds`` while so many networks trained."""
        self._seconds[_kind(cell)].append(seconds)
        self._shares[_kind(cell)].append(seconds / max(side_by_side, 1))

    def seconds_left(self, done: Mapping[Cell, float], under_way: Sequence[Cell]) -> float | None:
        """Estimates the time until every cell has its epochs; ``None`` before the first epoch has ended.

        done: of every cell of the study, how many epochs are done, begun ones by their share.
        under_way: the cells that train now: the last of them cannot be hurried by what the others leave free.
        """
        if not self._shares:
            return None
        left = {cell: cell.epochs - epochs for cell, epochs in done.items()}
        together = sum(epochs * self._mean(self._shares, cell) for cell, epochs in left.items() if epochs > 0)
        alone = [left.get(cell, 0.0) * self._mean(self._seconds, cell) for cell in under_way]
        return max(together, *alone, 0.0)

    def _mean(self, known: Mapping[Hashable, Sequence[float]], cell: Cell) -> float:
        """Of the cell's kind; of all that ran, where none of that kind has."""
        own = known.get(_kind(cell))
        return fmean(own or [each for group in known.values() for each in group])


def _kind(cell: Cell) -> Hashable:
    """Cells of one kind take about as long for an epoch."""
    return tuple(value for name, value in cell if name not in ("activation", "seed", "epochs"))
