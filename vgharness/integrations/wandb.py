"""What is watched as metrics of Weights & Biases."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from vgharness.errors import UsageError
from vgharness.integrations.metrics import GOING_ON, PREFIX, Problems, metrics_of
from vgharness.integrations.packages import required
from vgharness.records import LogRow, Snapshot, TrainingProblem

_STEP: Final = f"{PREFIX}/step"


class WandbSink:
    """Gives a run of Weights & Biases what ``watch`` measures: a metric for each quantity and layer over
    ``gradflow/step``, and the problems as ``gradflow/problems`` in its summary.

    >>> watch(model, optimizer, log=["training", WandbSink(project="digits")])

    What it logs joins the row that the run's next ``log`` writes, and is written by itself only where none came since
    the last snapshot. So let ``log`` count its own steps, or log at every step.
    """

    def __init__(
        self, run: Any = None, *, project: str | None = None, mode: str = "offline", folder: Path | str | None = None
    ) -> None:
        """``run``: what ``wandb.init`` gave; by default the one that is active. ``project``: begins a run of its own
        in this project, in this ``mode`` of ``wandb.init``, below this ``folder``.

        Raises :class:`~vgharness.errors.UsageError` where wandb is not installed, or both are given.
        """
        _wandb()
        if run is not None and project is not None:
            raise UsageError("WandbSink: give a run or a project, not both")
        self._run, self._project, self._mode, self._folder = run, project, mode, folder
        self._defined = False
        self._waiting: tuple[int, int] | None = None  # the run's step and ours of values that wait for the next `log`
        self._problems = Problems()

    def snapshot(self, snapshot: Snapshot, rows: tuple[LogRow, ...]) -> None:
        self._log(snapshot.step, metrics_of(snapshot, rows))

    def problem(self, problem: TrainingProblem) -> None:
        self._problems.add(problem)
        step = problem.began if problem.ended is None else problem.ended
        self._log(step, {GOING_ON: self._problems.going_on})
        self._opened().summary[f"{PREFIX}/problems"] = self._problems.lines

    def close(self) -> None:
        if self._run is not None and self._project is not None:
            self._run.finish()

    def _log(self, step: int, values: dict[str, float]) -> None:
        run = self._opened()
        if self._waiting is not None and self._waiting[0] == run.step and self._waiting[1] != step:
            run.log({}, commit=True)  # else these would take the place of those
        run.log({**values, _STEP: step}, commit=False)
        self._waiting = (run.step, step)

    def _opened(self) -> Any:
        """Begins the run with the first thing to log: of several processes that train one model only one does."""
        if self._run is None and self._project is not None:
            self._run = _wandb().init(project=self._project, mode=self._mode, dir=self._folder, reinit="create_new")
        elif self._run is None:
            self._run = _wandb().run
        if self._run is None:
            raise UsageError("WandbSink: no run is active; call wandb.init() before, or give it a project")
        if not self._defined:
            self._run.define_metric(_STEP, hidden=True)
            self._run.define_metric(f"{PREFIX}/*", step_metric=_STEP)
            self._defined = True
        return self._run


def _wandb() -> Any:
    return required("wandb", "WandbSink", "wandb")
