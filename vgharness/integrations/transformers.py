"""Watches what the Trainer of ``transformers`` trains.

>>> Trainer(model, arguments, train_dataset=data, callbacks=[GradientFlowCallback(every=100)]).train()
"""

from __future__ import annotations

from typing import Any

from vgharness.integrations.followed import FollowedTraining, MetricsSink, refuse, unwrapped
from vgharness.integrations.packages import required
from vgharness.watching.watch import Watch

_Callback: Any = required("transformers", "GradientFlowCallback", "transformers", "accelerate").TrainerCallback


class GradientFlowCallback(_Callback):  # type: ignore[misc]
    """Callback of a Trainer that watches the gradients of its model, as :func:`vgharness.watch` does."""

    def __init__(self, *, every: int = 100, trainer: Any = None, **options: Any) -> None:
        """``every``: steps between snapshots. ``trainer``: gives what is measured to this Trainer's own logs, and so to
        all that it reports to; to be used with ``trainer.add_callback``. ``options``: of :func:`vgharness.watch`.
        """
        self._followed = FollowedTraining({"every": every, **options})
        self._trainer = trainer

    @property
    def watch(self) -> Watch | None:
        """What watches the training, or watched the last one; ``None`` before the first."""
        return self._followed.watch

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        _refuse_what_cannot_be_watched(args)
        optimizer = kwargs["optimizer"]
        self._followed.open(
            kwargs["model"],
            [unwrapped(optimizer)],
            start=state.global_step,
            scaler=getattr(optimizer, "scaler", None),
            sink=None if self._trainer is None else MetricsSink(self._log),
        )

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._followed.before_step(unwrapped(kwargs["optimizer"]))

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._followed.after_step(unwrapped(kwargs["optimizer"]))

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._followed.close("finished")

    def _log(self, metrics: dict[str, float], step: int) -> None:
        control = self._trainer.control
        before = control.should_log
        self._trainer.log({**metrics, "gradflow/step": step})
        control.should_log = before  # else the loss of this step would not be logged


def _refuse_what_cannot_be_watched(args: Any) -> None:
    if getattr(args, "fsdp", None) or getattr(args, "deepspeed", None):
        raise refuse("with FSDP or DeepSpeed each process holds a part of each parameter; train with ddp or one device")
    if getattr(args, "torch_compile", False):
        raise refuse("hooks do not run in a compiled model; watch the training without torch_compile")
    if getattr(args, "n_gpu", 1) > 1:
        raise refuse("hooks do not run in the copies of DataParallel; start it with torchrun, a process for each GPU")
