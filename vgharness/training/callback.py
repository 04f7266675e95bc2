"""What is called while cells train."""

from __future__ import annotations

from collections.abc import Callable, Sequence

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

    def study_resumed(self, results: Sequence[CellResult]) -> None:
        """Called before the first cell trains, where earlier processes have left something.

        results: what there is of each cell of which there is anything; the status is ``running`` where it goes on.
        """

    def cell_started(self, cell: Cell) -> None:
        """Called before a cell trains."""

    def step_done(self, cell: Cell, epoch: int, step: int, steps: int) -> None:
        """Called after step number ``step`` of ``steps`` of an epoch, both numbered from 1; on a GPU once the step is
        launched."""

    def step_measured(self, cell: Cell, read: Callable[[], tuple[float, float]]) -> None:
        """Called on a CPU before :meth:`step_done`; on a GPU never, where to read a step's values is to wait for it.

        read: gives the mean training loss over the epoch's images so far and the percentage of them that were right;
            to be called at once or not at all.
        """

    def epoch_done(self, cell: Cell, epoch: Epoch) -> None:
        """Called after an epoch's training and test."""

    def cell_advanced(self, result: CellResult) -> None:
        """Called once a cell's first batch is measured at initialisation, and after each epoch once its first batch is
        measured again where that is done.

        result: all that there is of the cell; its status is ``running``, or ``diverged`` where it trains no more.
        """

    def waiting(self) -> None:
        """Called now and then while nothing else is reported: of a pack that trains elsewhere, and between the parts of
        what is measured and prepared beside the epochs."""

    def checkpoint(self, result: CellResult, state: Callable[[], bytes]) -> None:
        """Called after each epoch, with what it takes to go on from there; from several threads at a time.

        result: all that there is of the cell if nothing more comes: ``interrupted``, or ``diverged``.
        state: gives the state of its network, optimizer and generators.
        """

    def warned(self, message: str) -> None:
        """Called with a line for whoever watches: something of what was trained cannot be kept or read."""

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

    def study_resumed(self, results: Sequence[CellResult]) -> None:
        for each in self._callbacks:
            each.study_resumed(results)

    def cell_started(self, cell: Cell) -> None:
        for each in self._callbacks:
            each.cell_started(cell)

    def step_done(self, cell: Cell, epoch: int, step: int, steps: int) -> None:
        for each in self._callbacks:
            each.step_done(cell, epoch, step, steps)

    def step_measured(self, cell: Cell, read: Callable[[], tuple[float, float]]) -> None:
        for each in self._callbacks:
            each.step_measured(cell, read)

    def epoch_done(self, cell: Cell, epoch: Epoch) -> None:
        for each in self._callbacks:
            each.epoch_done(cell, epoch)

    def cell_advanced(self, result: CellResult) -> None:
        for each in self._callbacks:
            each.cell_advanced(result)

    def waiting(self) -> None:
        for each in self._callbacks:
            each.waiting()

    def checkpoint(self, result: CellResult, state: Callable[[], bytes]) -> None:
        for each in self._callbacks:
            each.checkpoint(result, state)

    def warned(self, message: str) -> None:
        for each in self._callbacks:
            each.warned(message)

    def cell_done(self, result: CellResult) -> None:
        for each in self._callbacks:
            each.cell_done(result)

    def pack_split(self, cells: Sequence[Cell], reason: str) -> None:
        for each in self._callbacks:
            each.pack_split(cells, reason)
