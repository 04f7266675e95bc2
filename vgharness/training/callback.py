"""What is called while cells train."""

from __future__ import annotations

from collections.abc import Sequence

from vgharness.records import Cell, CellResult, Epoch, Study


class Callback:
    """Methods to override, to show progress for one; here they do nothing.

    They are called one at a time, but from several threads. A ``KeyboardInterrupt`` that one of them raises, other than
    :meth:`cell_done`, ends the training as Ctrl-C does.
    """

    def study_started(self, study: Study, expected_seconds: float | None) -> None:
        """Called before the first cell, with how long all will take; ``None`` on a GPU, where that is not known."""

    def cell_started(self, cell: Cell) -> None:
        """Called before a cell trains."""

    def step_done(self, cell: Cell, epoch: int, step: int, steps: int) -> None:
        """Called after step number ``step`` of ``steps`` of an epoch, both numbered from 1; on a GPU once the step is
        launched."""

    def epoch_done(self, cell: Cell, epoch: Epoch) -> None:
        """Called after an epoch's training and test."""

    def cell_done(self, result: CellResult) -> None:
        """Called after a cell that was started has ended, in whatever status."""

    def pack_split(self, cells: Sequence[Cell], reason: str) -> None:
        """Called before cells that could not train together are tried again in halves; ``reason``: the exception."""
