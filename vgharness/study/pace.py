"""How long what is left of a study takes, from the epochs that ran and what else the networks took that have ended:
neither from what came before the first of them, nor from what an earlier process trained."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Collection, Hashable, Mapping, Sequence
from statistics import fmean
from typing import Final

from vgharness.records import Cell

_MOST: Final = 50  # epochs of a kind: the machine may have other work to do than it had


_Known = dict[Hashable, deque[float]]  # seconds, by kind of cell


class Pace:
    """The epochs and networks of a study that ended in this process."""

    def __init__(self) -> None:
        self._seconds, self._shares, self._beside = _none_known(), _none_known(), _none_known()

    def add(self, cell: Cell, seconds: float, side_by_side: int) -> None:
        """Notes an epoch of ``cell`` that took ``seconds`` while so many networks trained."""
        self._seconds[_kind(cell)].append(seconds)
        self._shares[_kind(cell)].append(seconds / max(side_by_side, 1))

    def add_cell(self, cell: Cell, seconds: float, side_by_side: int) -> None:
        """Notes that ``cell`` ended, and took so many ``seconds`` beside its epochs: for its first batch and the
        like."""
        self._beside[_kind(cell), cell.epochs > 0].append(max(seconds, 0.0) / max(side_by_side, 1))

    def seconds_left(
        self, done: Mapping[Cell, float], under_way: Sequence[Cell], waiting: Collection[Cell] = ()
    ) -> float | None:
        """Estimates the time until every cell has ended; ``None`` before the first epoch has.

        done: of every cell of the study, how many epochs are done, begun ones by their share.
        under_way: the cells that train now: the last of them cannot be hurried by what the others leave free.
        waiting: those that have not begun.
        """
        if not self._shares:
            return None
        left = {cell: cell.epochs - epochs for cell, epochs in done.items()}
        together = sum(epochs * _mean(self._shares, _kind(cell)) for cell, epochs in left.items() if epochs > 0)
        together += sum(_mean(self._beside, (_kind(cell), cell.epochs > 0)) for cell in waiting)
        alone = [left.get(cell, 0.0) * _mean(self._seconds, _kind(cell)) for cell in under_way]
        return max(together, *alone, 0.0)


def _none_known() -> _Known:
    return defaultdict(lambda: deque(maxlen=_MOST))


def _mean(known: _Known, kind: Hashable) -> float:
    """Of the kind; of all that ran, where none of that kind has; 0 where none has."""
    seconds = known.get(kind) or [each for group in known.values() for each in group]
    return fmean(seconds) if seconds else 0.0


def _kind(cell: Cell) -> Hashable:
    """Cells of one kind take about as long for an epoch."""
    return tuple(value for name, value in cell.fields().items() if name not in ("activation", "seed", "epochs"))
