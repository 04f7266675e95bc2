"""What is watched as scalars of TensorBoard, and its problems as text."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from vgharness.integrations.metrics import GOING_ON, PREFIX, Problems, metrics_of
from vgharness.integrations.packages import required
from vgharness.records import LogRow, Snapshot, TrainingProblem
from vgharness.system.files import check_folder

_PROBLEMS: Final = f"{PREFIX}/problems"


class TensorBoardSink:
    """Gives TensorBoard what ``watch`` measures: a scalar for each quantity and layer, and problems as text.

    >>> watch(model, optimizer, log=["training", TensorBoardSink("runs/first")])
    """

    def __init__(self, writer: Any) -> None:
        """``writer``: a ``SummaryWriter``, which stays open, or the folder of a new one.

        Raises :class:`~vgharness.errors.UsageError` where TensorBoard is not installed or the folder cannot be written.
        """
        self._own = isinstance(writer, str | Path)
        self._folder, self._writer = writer, None if self._own else writer
        if self._own:
            _module()
            check_folder(Path(writer), "TensorBoardSink")
        self._problems = Problems()

    def snapshot(self, snapshot: Snapshot, rows: tuple[LogRow, ...]) -> None:
        writer = self._open()
        for name, value in metrics_of(snapshot, rows).items():
            writer.add_scalar(name, value, snapshot.step)
        writer.flush()

    def problem(self, problem: TrainingProblem) -> None:
        self._problems.add(problem)
        step = problem.began if problem.ended is None else problem.ended
        writer = self._open()
        writer.add_text(_PROBLEMS, self._problems.lines[-1], step)
        writer.add_scalar(GOING_ON, self._problems.going_on, step)
        writer.flush()

    def close(self) -> None:
        if self._own and self._writer is not None:
            self._writer.close()

    def _open(self) -> Any:
        """Begins the file with the first thing to write: of several processes that train one model only one does."""
        if self._writer is None:
            self._writer = _module().SummaryWriter(str(self._folder))
        return self._writer


def _module() -> Any:
    return required("torch.utils.tensorboard", "TensorBoardSink", "tensorboard")
