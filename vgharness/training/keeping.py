"""Keeps each epoch and each result of a study's cells while they train, and gives back what an earlier process kept."""

from __future__ import annotations

from collections.abc import Callable

from vgharness.records import Cell, CellResult
from vgharness.storage.checkpoints import MOST_ATTEMPTS, Checkpoint
from vgharness.storage.work import StudyWork
from vgharness.training.callback import Callback


class Keeper(Callback):
    """Keeps what trains in ``work``; without one, only how often a cell has failed, in memory."""

    def __init__(self, work: StudyWork | None = None) -> None:
        self._work = work
        self._failures: dict[Cell, tuple[str, ...]] = {}

    def found(self, cell: Cell) -> CellResult | None:
        """What earlier processes have left of the cell: its result if it has ended, or what there is of it so far,
        which is ``interrupted``."""
        if self._work is None:
            return None
        kept = self._work.cell(cell)
        if (result := kept.result()) is not None:
            return result
        if len(kept.failures) >= MOST_ATTEMPTS:
            return CellResult(cell=cell, status="failed", reason=kept.failures[-1])
        checkpoint = kept.checkpoint()
        return checkpoint.result if checkpoint else None

    def last(self, cell: Cell) -> Checkpoint | None:
        """What the cell is to go on from; ``None``: it begins."""
        return self._work.cell(cell).checkpoint() if self._work else None

    def has_failed(self, cell: Cell, reason: str) -> bool:
        """Counts an attempt that raised; returns whether it was the last one."""
        if self._work is None:
            self._failures[cell] = (*self._failures.get(cell, ()), reason)
            return len(self._failures[cell]) >= MOST_ATTEMPTS
        kept = self._work.cell(cell)
        kept.add_failure(reason)
        return len(kept.failures) >= MOST_ATTEMPTS

    def set_aside(self, cell: Cell, reason: str) -> None:
        """Puts away a checkpoint that the cell cannot go on from."""
        if self._work is not None:
            self._work.cell(cell).set_aside(reason=reason)

    def cell_started(self, cell: Cell) -> None:
        if self._work is not None:
            self._work.cell(cell).begin()

    def checkpoint(self, result: CellResult, state: Callable[[], bytes]) -> None:
        if self._work is None:
            return
        if result.status == "interrupted":
            self._work.cell(result.cell).keep(Checkpoint(result, state()))
        else:  # it has diverged, while others of its pack go on
            self._work.cell(result.cell).end(result)

    def cell_done(self, result: CellResult) -> None:
        if self._work is not None and result.status in ("finished", "diverged"):
            self._work.cell(result.cell).end(result)
