"""Watches what Lightning trains.

>>> Trainer(callbacks=[GradientFlowCallback(every=100)]).fit(module, data)
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import Any, Final

from torch import nn
from torch.optim.optimizer import Optimizer
from torch.utils.hooks import RemovableHandle

from vgharness.integrations.followed import FollowedTraining, MetricsSink, refuse, unwrapped
from vgharness.integrations.packages import MissingPackageError, required
from vgharness.watching.watch import Watch

_SPLIT: Final = ("FSDP", "DeepSpeed", "ModelParallel", "XLA")  # strategies whose processes hold parts of parameters


def _callback_class() -> Any:
    """Of the Lightning that is there; of both, the one that is imported already."""
    names = ["lightning.pytorch", "pytorch_lightning"]
    names.sort(key=lambda name: name not in sys.modules)
    for name in names:
        try:
            return required(name, "GradientFlowCallback", "lightning").Callback
        except MissingPackageError as error:
            missing = error
    raise missing


class GradientFlowCallback(_callback_class()):  # type: ignore[misc]
    """Callback of a Trainer that watches the gradients of what it trains, as :func:`vgharness.watch` does."""

    def __init__(
        self, *, every: int = 100, model: str | Sequence[str] | None = None, loggers: bool = False, **options: Any
    ) -> None:
        """``every``: steps between snapshots. ``model``: the name in the LightningModule of the module to watch, or of
        several; by default the one that each optimizer trains. ``loggers``: gives what is measured to the Trainer's
        loggers too. ``options``: of :func:`vgharness.watch`.
        """
        super().__init__()
        self._followed = FollowedTraining({"every": every, **options})
        self._names = [model] if isinstance(model, str) else model
        self._loggers = loggers
        self._handles: list[RemovableHandle] = []
        self._pending: list[Optimizer] = []  # whose step has begun
        self._module: Any = None  # whose clipping is followed

    @property
    def watch(self) -> Watch | None:
        """What watches the training, or watched the last one; ``None`` before the first."""
        return self._followed.watch

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        strategy = type(trainer.strategy).__name__
        if any(name in strategy for name in _SPLIT):
            raise refuse(f"with {strategy} each process holds a part of each parameter; train with ddp or one device")
        if getattr(pl_module, "_compiler_ctx", None) is not None:
            raise refuse("hooks do not run in a compiled model; watch the training without torch.compile")
        optimizers = [unwrapped(optimizer) for optimizer in trainer.optimizers]
        sink = MetricsSink(lambda metrics, step: _log_to(trainer, metrics, step)) if self._loggers else None
        self._pending.clear()
        self._followed.open(
            _watched(pl_module, optimizers, self._names),
            optimizers,
            start=trainer.global_step,
            scaler=getattr(trainer.precision_plugin, "scaler", None),
            keeps=trainer.is_global_zero,
            sink=sink,
        )
        for optimizer in optimizers:
            self._handles.append(optimizer.register_step_post_hook(self._after_step))
        if pl_module.automatic_optimization:
            self._follow_clipping(pl_module)

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Optimizer) -> None:
        if not pl_module.automatic_optimization:
            self._before_step(optimizer, scaled=getattr(trainer.precision_plugin, "scaler", None) is not None)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        for optimizer in tuple(self._pending):  # a GradScaler left its step out
            self._finish(optimizer)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        self._close("finished")

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        self._close("interrupted" if isinstance(exception, KeyboardInterrupt) else "failed")

    def _follow_clipping(self, module: Any) -> None:
        """Lightning clips between the hook before the optimizer's step and the step, and has no hook in between."""
        clip = module.configure_gradient_clipping
        scaled = getattr(module.trainer.precision_plugin, "scaler", None) is not None

        def clipped(optimizer: Any, *args: Any, **kwargs: Any) -> None:
            clip(optimizer, *args, **kwargs)
            self._before_step(optimizer, scaled=scaled)

        module.configure_gradient_clipping = clipped
        self._module = module

    def _before_step(self, optimizer: Any, *, scaled: bool) -> None:
        optimizer = unwrapped(optimizer)
        if optimizer in self._pending:
            if not scaled:
                return  # an L-BFGS computes gradients several times in a step
            self._finish(optimizer)
        self._pending.append(optimizer)
        self._followed.before_step(optimizer)

    def _after_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if optimizer in self._pending:
            self._finish(optimizer)

    def _finish(self, optimizer: Optimizer) -> None:
        self._pending.remove(optimizer)
        self._followed.after_step(optimizer)

    def _close(self, status: Any) -> None:
        while self._handles:
            self._handles.pop().remove()
        self._pending.clear()
        if self._module is not None:
            self._module.__dict__.pop("configure_gradient_clipping", None)
            self._module = None
        self._followed.close(status)


def _watched(module: nn.Module, optimizers: Sequence[Optimizer], names: Sequence[str] | None) -> Any:
    """The module to watch, or several by their names."""
    if names is not None:
        inside = dict(module.named_modules())
        for name in names:
            if name not in inside:
                raise refuse(f"there is no module {name!r}; use names as in named_modules()")
        return inside[names[0]] if len(names) == 1 else {name: inside[name] for name in names}
    if len(optimizers) > 1:
        trained = {}
        for optimizer in optimizers:
            parameters = {id(each) for group in optimizer.param_groups for each in group["params"]}
            name, part = _smallest_with(module, parameters)
            trained[name] = part
        parts = [{id(each) for each in part.parameters()} for part in trained.values()]
        if len(trained) == len(optimizers) and sum(map(len, parts)) == len(set().union(*parts)):
            return trained
    children = [child for child in module.children() if any(True for _ in child.parameters())]
    own = any(True for _ in module.parameters(recurse=False))
    # A LightningModule often only holds the network, which its training_step calls.
    return children[0] if len(children) == 1 and not own and _can_be_called(children[0]) else module


def _smallest_with(module: nn.Module, parameters: set[int]) -> tuple[str, nn.Module]:
    """The module with the fewest others that has all of these parameters, and its name."""
    found, fewest = ("", module), math.inf
    for name, inside in module.named_modules():  # outer ones come first
        own = {id(each) for each in inside.parameters()}
        if parameters <= own and len(own) < fewest and (not name or _can_be_called(inside)):
            found, fewest = (name, inside), len(own)
    return found


def _can_be_called(module: nn.Module) -> bool:
    return type(module).forward is not nn.Module.forward


def _log_to(trainer: Any, metrics: dict[str, float], step: int) -> None:
    for logger in trainer.loggers:
        logger.log_metrics(metrics, step=step)
