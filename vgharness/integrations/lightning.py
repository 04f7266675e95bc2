"""Watches what Lightning trains.

>>> Trainer(callbacks=[GradientFlowCallback(every=100)]).fit(module, data)
"""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Final

from torch import nn
from torch.optim.optimizer import Optimizer
from torch.utils.hooks import RemovableHandle

from vgharness.integrations.followed import FollowedTraining, MetricsSink, refuse, unwrapped
from vgharness.integrations.packages import MissingPackageError, required
from vgharness.records import TrainingStatus
from vgharness.watching.notices import WatchWarning
from vgharness.watching.watch import Watch

_UNCALLED: Final = (
    "training_step does not call the LightningModule itself, so that a NaN is noticed and not traced to where it was "
    "made: call self(...) there, or name the module that is called, as in GradientFlowCallback(model='net')"
)
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
        self._module: Any = None  # whose clipping is followed
        self._uncalled: RemovableHandle | None = None  # of a hook on a module that has not been called yet

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
        model = _watched(pl_module, optimizers, self._names)
        self._followed.open(
            model,
            [optimizer for optimizer in optimizers if _trains(optimizer, model)] or optimizers,
            start=trainer.global_step // max(len(optimizers), 1),  # it counts the steps of all of them
            scaler=getattr(trainer.precision_plugin, "scaler", None),
            sink=sink,
        )
        if pl_module.automatic_optimization:
            self._follow_clipping(pl_module)
        if model is pl_module:
            self._uncalled = pl_module.register_forward_pre_hook(self._when_called)

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        if not pl_module.automatic_optimization:
            self._followed.before_step(unwrapped(optimizer))

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        for optimizer in trainer.optimizers:
            self._followed.after_step(unwrapped(optimizer))
        if isinstance(outputs, Mapping) and "loss" in outputs:
            self._followed.give_loss(outputs["loss"])
        if self._uncalled is not None:
            self._when_called()
            warnings.warn(_UNCALLED, WatchWarning, stacklevel=2)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        self._close("finished")

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        self._close("failed" if isinstance(exception, Exception) else "interrupted")

    def _when_called(self, *of_the_pass: Any) -> None:
        if self._uncalled is not None:
            self._uncalled.remove()
            self._uncalled = None

    def _follow_clipping(self, module: Any) -> None:
        """Lightning clips between its last hook before the optimizer's step and the step."""
        clip = module.configure_gradient_clipping

        def clipped(optimizer: Any, *args: Any, **kwargs: Any) -> None:
            clip(optimizer, *args, **kwargs)
            self._followed.before_step(unwrapped(optimizer))

        module.configure_gradient_clipping = clipped
        self._module = module

    def _close(self, status: TrainingStatus) -> None:
        if self._module is not None:
            del self._module.configure_gradient_clipping  # which is its class's again
            self._module = None
        self._when_called()
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


def _trains(optimizer: Optimizer, model: Any) -> bool:
    parts = model.values() if isinstance(model, dict) else [model]
    own = {id(parameter) for part in parts for parameter in part.parameters()}
    return any(id(parameter) in own for group in optimizer.param_groups for parameter in group["params"])


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
