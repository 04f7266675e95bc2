"""What is called while cells train."""

from __future__ import annotations

from collections.abc import Sequence

from vgharness.records import Cell, CellResult, Epoch, Study


class Callback:
    """Override its methods to show progress; here they do nothing. Calls come one at a time, from several threads."""

    def study_started(self, study: Study, expected_seconds: float | None) -> None: ...

    def cell_started(self, cell: Cell) -> None: ...

    def step_done(self, cell: Cell, epoch: int, step: int, steps: int) -> None: ...

    def epoch_done(self, cell: Cell, epoch: Epoch) -> None: ...

    def cell_done(self, result: CellResult) -> None: ...

    def pack_split(self, cells: Sequence[Cell], reason: str) -> None: ...
