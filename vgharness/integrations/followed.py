"""A training that a framework runs, followed from what its callback is told."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from torch import nn
from torch.optim.optimizer import Optimizer

from vgharness.errors import UsageError
from vgharness.formatting import listing
from vgharness.integrations.metrics import GOING_ON, Problems, metrics_of
from vgharness.records import LogRow, Snapshot, TrainingProblem, TrainingStatus
from vgharness.watching.sink import Sink
from vgharness.watching.start import watch
from vgharness.watching.watch import Watch

_FOUND: Final = ("model", "optimizer", "start")  # by the callback itself


class FollowedTraining:
    """Holds the :class:`Watch` of one training; before the first one does nothing."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        """``options``: of ``watch``. Raises ``TypeError`` for one that it does not have."""
        known = [name for name in inspect.signature(watch).parameters if name not in _FOUND]
        unknown = [name for name in options if name not in known]
        if unknown:
            raise TypeError(f"GradientFlowCallback has no option {unknown[0]!r}; it has {listing(known)}")
        self._options = dict(options)
        self.watch: Watch | None = None

    def open(
        self,
        model: nn.Module | Mapping[str, nn.Module],
        optimizers: Sequence[Optimizer],
        *,
        start: int,
        scaler: Any,
        sink: Sink | None = None,
    ) -> None:
        """Begins to watch.

        start: the training's first step.
        scaler: the ``GradScaler`` that the framework uses, if it does.
        sink: takes what is watched beside those of the user.
        """
        self.close("failed")  # of an earlier training that ended without a word
        options = {"scaler": scaler, "log": True, **self._options}
        if sink is not None:
            log = options["log"]
            options["log"] = [*(log if isinstance(log, list | tuple) else [log]), sink]
        self.watch = watch(model, list(optimizers), start=start, **options)

    def before_step(self, optimizer: Optimizer) -> None:
        """The gradients are complete."""
        if self.watch is not None:
            self.watch.before_step(optimizer)

    def after_step(self, optimizer: Optimizer) -> None:
        """The weights are changed, or the step was left out."""
        if self.watch is not None:
            self.watch.after_step(optimizer)

    def give_loss(self, loss: Any) -> None:
        """Of the last batch."""
        if self.watch is not None:
            self.watch.step(loss)

    def close(self, status: TrainingStatus) -> None:
        """Ends the watching, if it goes on."""
        if self.watch is not None:
            self.watch.close(status)


class MetricsSink:
    """Passes numbers on to the loggers of a framework, those of problems as how many go on."""

    def __init__(self, log: Callable[[dict[str, float], int], None]) -> None:
        """``log``: takes metrics by name, and the step."""
        self._log, self._problems = log, Problems()

    def snapshot(self, snapshot: Snapshot, rows: tuple[LogRow, ...]) -> None:
        self._log(metrics_of(snapshot, rows), snapshot.step)

    def problem(self, problem: TrainingProblem) -> None:
        self._problems.add(problem)
        self._log({GOING_ON: float(self._problems.going_on)}, problem.began if problem.ended is None else problem.ended)

    def close(self) -> None:
        """The loggers are the framework's."""


def refuse(why: str) -> UsageError:
    """An error that says which training cannot be followed, before it begins."""
    return UsageError(f"GradientFlowCallback: {why}")


def unwrapped(optimizer: Any) -> Any:
    """The optimizer that Lightning or accelerate has wrapped."""
    return (
        optimizer.optimizer if type(optimizer).__name__ in ("LightningOptimizer", "AcceleratedOptimizer") else optimizer
    )
