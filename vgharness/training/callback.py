"""What is called while cells train."""

from __future__ import annotations

from collections.abc import Sequence

from vgharness.records import Cell, CellResult, Epoch, Run


class Callback:
    """Methods to override, to show progress for one; here they do nothing.

    They are called one at a time, but from several threads. A ``KeyboardInterrupt`` that one of them raises, other than
    :meth:`cell_done`, ends the training as Ctrl-C does.
    """

    def study_started(self, run: Run, expected_seconds: float | None) -> None:
        """Called before the first cell, and of a study in rounds of seeds before the first one of each round.

        run: what is known beforehand, with the results of earlier rounds; its status is ``running``.
        expected_seconds: how long what is left of it will take; ``None`` on a GPU, where that is not known.
        """

    def cell_started(self, cell: Cell) -> None:
        """Called before a cell trains."""

    def step_done(self, cell: Cell, epoch: int, step: int, steps: int) -> None:
        """Called after step number ``step`` of ``steps`` of an epoch, both numbered from 1; on a GPU once the step is
        launched."""

    def epoch_done(self, cell: Cell, epoch: Epoch) -> None:
        """Called after an epoch's training and test."""

    def cell_advanced(self, result: CellResult) -> None:
        """Called once a cell's first batch is measured at initialisation, and after each epoch once its first batch is
        measured again where that is done.

        result: all that there is of the cell; its status is ``running``, or ``diverged`` where it trains no more.
        """

    def cell_done(self, result: CellResult) -> None:
        """Called after a cell that was started has ended, in whatever status."""

    def pack_split(self, cells: Sequence[Cell], reason: str) -> None:
        """Called before cells that could not train together are tried again in halves; ``reason``: the exception."""


class Callbacks(Callback):
    """Passes everything on to several callbacks, one after the other."""

    def __init__(self, *callbacks: Callback) -> None:
        self._callbacks = callbacks

    def study_started(self, run: Run, expected_seconds: float | None) -> None:
        for each in self._callbacks:
            each.study_started(run, expected_seconds)

    def cell_started(self, cell: Cell) -> None:
        for each in self._callbacks:
            each.cell_started(cell)

    def step_done(self, cell: Cell, epoch: int, step: int, steps: int) -> None:
        for each in self._callbacks:
            each.step_done(cell, epoch, step, steps)

    def epoch_done(self, cell: Cell, epoch: Epoch) -> None:
        for each in self._callbacks:
            each.epoch_done(cell, epoch)

    def cell_advanced(self, result: CellResult) -> None:
        for each in self._callbacks:
            each.cell_advanced(result)

    def cell_done(self, result: CellResult) -> None:
        for each in self._callbacks:
            each.cell_done(result)

    def pack_split(self, cells: Sequence[Cell], reason: str) -> None:
        for each in self._callbacks:
            each.pack_split(cells, reason)
