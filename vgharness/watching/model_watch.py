"""One watched model: which of its steps are measured, and when what is known of one is handed on."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from torch import nn
from torch.optim.optimizer import Optimizer

from vgharness.formatting import escaped
from vgharness.records import LogRow
from vgharness.watching.first_nan.pulse import Pulse
from vgharness.watching.measuring.absent_gradients import AbsentGradients
from vgharness.watching.measuring.snapshots import FULL_EVERY, SnapshotReader
from vgharness.watching.measuring.values import Reading
from vgharness.watching.optimizers import Optimizers
from vgharness.watching.scaling import LossScale, scaler_that_steps
from vgharness.watching.setting import Setting
from vgharness.watching.shape import Shape
from vgharness.watching.untold import Told, Untold


class Listener(Protocol):
    """What is given what becomes known of a model."""

    def snapshot(self, watched: ModelWatch, fields: dict[str, Any], rows: tuple[LogRow, ...]) -> None: ...

    def stepped(self, watched: ModelWatch, told: Told) -> None: ...

    def note(self, text: str) -> None: ...

    def folder(self, watched: ModelWatch) -> Path | None: ...


class _Taken(NamedTuple):
    """A step that was measured, and what the host knows of it."""

    step: int
    reading: Reading
    fields: dict[str, Any]
    if_finite: bool  # whether it was taken only if all gradients are finite


class ModelWatch:
    """Watches ``model`` for ``listener``; ``name``: that it was given, empty where it is the only one.

    Raises ``ValueError`` as :class:`~vgharness.GradientProbe` does.

    Attributes:

    step: the number of the next step.
    begun: whether gradients were complete, and the step is not over.
    hooked: whether the optimizer itself was called since then.
    called: whether the user has called ``step`` since the last step of the optimizer.
    losses: that were given there.
    changes: how often the model got other parameters.
    kept_by: what lives as long as the model, whose hooks lead here.
    """

    def __init__(
        self, name: str, model: nn.Module, optimizers: Sequence[Optimizer], setting: Setting, listener: Listener
    ) -> None:
        self.name, self.model, self._setting, self._listener = name, model, setting, listener
        self._scale = LossScale(setting.scaler, alone=setting.alone)
        self.optimizers = Optimizers(model, optimizers)
        self._shape = Shape.of(model)
        self._reader = self._new_reader()
        folder = partial(listener.folder, self)
        self.pulse = Pulse(model, name, folder=folder, scaler=setting.scaler, note=listener.note)
        self.step = setting.start
        self.begun = self.hooked = False
        self.changes = 0
        self.kept_by: object = None
        self.called, self.losses = True, list[float]()
        self._loss: float | None = None  # of the last step
        self._due = self._full_due = setting.start  # from which step on one is measured
        self._reading: Reading | None = None
        self._kept = False  # whether the weights of this step are
        self._taken: _Taken | None = None  # not told yet, for its loss or another optimizer's step may come
        self._untold = Untold()
        self._absent = AbsentGradients(self._shape.parameters)
        self._greatest = 0.0  # total norm since the last snapshot
        self._batch = -1  # of the last step
        self._prints: object = None  # of the weights, where no optimizer is known

    def open(self) -> None:
        self.pulse.open()
        self._arm()

    def rest(self) -> None:
        """Leaves the model alone."""
        self._reader.rest()
        self.pulse.close()

    def close(self) -> None:
        """Leaves the model alone, and tells what is not told yet."""
        self._reader.rest()
        try:
            self.drain(wait=True)
            self.tell()
        finally:
            self.pulse.close()

    # --- a step --------------------------------------------------------------------------------------

    def enter_step(self, optimizer: Optimizer, *, closure: bool) -> None:
        """``optimizer`` has been called to step; with a closure the passes may still be to come."""
        if self.optimizers.meet(optimizer):
            self._listener.note(
                f"{self._named('parameters')} are stepped by an optimizer ({type(optimizer).__name__}) that watch was "
                "not given: it is watched too"
            )
        if not self.optimizers.leads(optimizer):
            return
        self.hooked = True
        if self._is_measured() and not self._scale.used:
            self.pulse.scaler = scaler_that_steps()
            self._scale.found(self.pulse.scaler)
        if self.begun:
            return
        if not closure:
            self.begin(optimizer, within_step=True)
        elif self._is_measured():
            self.tell()
            self._keep_weights()

    def begin(self, optimizer: Optimizer | None, *, within_step: bool) -> None:
        """Gradients are complete, and the weights have not changed."""
        self.tell()
        self.leave_out(self._scale.left_out())
        if optimizer is not None:  # else the step is over, and the scaler is updated
            self._scale.expect_update()
        self.begun = True
        self._untold.begin(self.step, self._absent.changed())
        self.pulse.before_step(self.step)
        if self._is_measured() and self._reader.listens and self._is_whole():
            self._keep_weights()
            self._reading = self._reader.read(optimizer, within_step=within_step)
        self._batch = self.pulse.batch
        self.drain()

    def leave_step(self, optimizer: Optimizer) -> None:
        """``optimizer`` has taken its step."""
        if not self.optimizers.leads(optimizer):
            return
        if not self.begun:  # the step ran the passes itself, and nobody said when they were complete
            self.begin(optimizer, within_step=True)
        # What a scaler gives a fused optimizer, which it calls always: that one leaves the step out by itself.
        self.end(skipped=False, if_finite=hasattr(optimizer, "found_inf"))

    def end(self, *, skipped: bool, if_finite: bool = False) -> None:
        """The step is over; ``skipped``: it was left out; ``if_finite``: it was where a gradient was not finite."""
        if self._reading is not None:
            self._take(self._reading, skipped=skipped, if_finite=if_finite)
        if skipped:
            self._untold.leave_out(self.step)
        elif if_finite:
            self._untold.leave_out_unless_finite(self.step)
        self._reading, self.begun, self._kept, self.hooked = None, False, False, False
        self.step += 1
        waits, self.called = self.called, False
        self._arm()
        if not waits and len(self.optimizers) == 1:
            self.drain()
            self.tell()

    def announce(self, optimizer: Optimizer) -> None:
        """A framework says that gradients are complete; the first time of a step counts."""
        if optimizer not in self.optimizers:
            self.optimizers.meet(optimizer)
        if self.begun and not self.hooked:  # a scaler left the last one out
            self.end(skipped=True)
        if self.optimizers.leads(optimizer) and not self.begun:
            self.begin(optimizer, within_step=False)

    def conclude(self, optimizer: Optimizer) -> None:
        """A framework says that the step is over, if it was taken."""
        if self.optimizers.leads(optimizer) and self.begun:
            self.end(skipped=not self.hooked)

    def leave_out(self, steps: int) -> None:
        """Steps were left out: the scaler was updated, and the optimizer not called."""
        for _ in range(steps):
            self._reader.rest()  # it heard their passes, which are not the next step's
            self._untold.leave_out(self.step)
            self.step += 1

    def step_of_ones_own(self) -> bool:
        """Takes a step that no hook saw, if one has been: one that a scaler left out, or one of an optimizer that is
        none of PyTorch's, whose gradients are still there."""
        left_out = self._scale.left_out()
        if left_out and self._is_measured() and self._has_gradients():
            self.begin(None, within_step=True)
            self.end(skipped=True)
            left_out -= 1
        if left_out:
            self.leave_out(left_out)
            self._arm()
        if left_out or len(self.optimizers) or not self._weights_changed():
            return bool(left_out)
        if not self._has_gradients():
            self._listener.note("the gradients were cleared before .step(): call it before that, right after the step")
            return False
        self.begin(None, within_step=True)
        self.end(skipped=False)
        return True

    # --- snapshots -----------------------------------------------------------------------------------

    def _is_measured(self) -> bool:
        return self.step >= self._due

    def _arm(self) -> None:
        """Measures the next step, or does not."""
        if self._is_measured():
            self._reader.listen(full=self.step >= self._full_due)
        else:
            self._reader.rest()

    def _is_whole(self) -> bool:
        """Whether the model is still the one that is read, and it ran."""
        if self.pulse.batch == self._batch and not self._has_gradients():
            return False  # a step without a pass before it, as some take to please a scheduler
        if self.step < self._full_due:
            return True
        now = Shape.of(self.model)
        change = self._shape.change_to(now)
        if change is None:
            return True
        self.pulse.model_changed()
        whole = now.same_parameters(self._shape)
        self._shape = now
        self._listener.note(f"step {self.step}: {self._named('in the model')}, {change}; watching goes on")
        if not whole:
            self._reader.rest()
            self._reader = self._new_reader()
            self.optimizers = self.optimizers.of(self.model)
            self._absent = AbsentGradients(now.parameters)
            self.changes += 1
        return whole

    def _keep_weights(self) -> None:
        if not self._kept:
            self._reader.keep_weights()
        self._kept = True

    def _take(self, reading: Reading, *, skipped: bool, if_finite: bool) -> None:
        reading.optimized = self.optimizers.parameters()
        fields: dict[str, Any] = {
            "batch": max(self.pulse.batch, 0),
            "learning_rates": self.optimizers.learning_rates(),
            "not_optimized": self.optimizers.left_out() if len(self.optimizers) else (),
            "skipped": skipped,
        }
        self._taken = _Taken(self.step, reading, fields, if_finite)
        if len(self.optimizers) == 1:
            self._reader.read_updates(reading)
        every = self._setting.every
        self._due = (self.step // every + 1) * every
        if reading.full:
            self._full_due = self.step + FULL_EVERY

    def _new_reader(self) -> SnapshotReader:
        own = self._setting
        return SnapshotReader(self.model, own.layers, self._scale, parameters=own.parameters)

    def _has_gradients(self) -> bool:
        return any(parameter.grad is not None for parameter in self._shape.parameters.values())

    def _weights_changed(self) -> bool:
        """Since this was asked last. One that is written to by ``.data`` counts no version."""
        parameters = [p for p in self._shape.parameters.values() if p.requires_grad and p.numel()]
        firsts = [float(p.detach().reshape(-1)[0]) for p in parameters]
        before, self._prints = self._prints, (firsts, [p._version for p in parameters])
        return before is not None and before != self._prints

    # --- what has become known -----------------------------------------------------------------------

    def drain(self, *, wait: bool = False) -> None:
        """Takes what the pulse has brought."""
        for beat in self.pulse.seen(wait=wait):
            if beat.finite:
                self._greatest = max(self._greatest, beat.total_norm)
            self._untold.beat(beat)

    def take_losses(self) -> None:
        """Those that were given are of the last step; of several, as of micro-batches, their mean is."""
        if self.losses:
            self._loss = sum(self.losses) / len(self.losses)
            self._untold.give_loss(self.step - 1, self._loss)
            self.losses = []

    def tell(self) -> None:
        """Hands on what is known of the steps until now."""
        taken, self._taken = self._taken, None
        loss, self._loss = self._loss, None
        for told in self._untold.arrived():
            self._listener.stepped(self, told)
        if taken is None:
            return
        if len(self.optimizers) != 1:
            self._reader.read_updates(taken.reading)
        fields, rows = self._reader.fields(taken.reading)
        if taken.if_finite and not math.isfinite(fields["total_norm"] or 0.0):
            taken.fields["skipped"] = True
        more = {"model": self.name, "step": taken.step, "loss": loss, "greatest_norm": self._greatest or None}
        self._greatest = 0.0
        self._listener.snapshot(self, {**taken.fields, **fields, **more}, rows)

    def loss_scale(self) -> float | None:
        """Where it can be had without waiting for a GPU."""
        return self._scale.on_the_host()

    @property
    def measured(self) -> bool:
        """Whether the last step was, and is not told yet."""
        return self._taken is not None

    def resembles(self, optimizer: Optimizer) -> bool:
        """Whether its parameters have the shapes of the model's that are trained."""
        own = sorted(tuple(p.shape) for p in self._shape.parameters.values() if p.requires_grad)
        return own == sorted(tuple(p.shape) for group in optimizer.param_groups for p in group["params"])

    @property
    def steps(self) -> int:
        """How many it has taken while it was watched."""
        return self.step - self._setting.start

    @property
    def suffix(self) -> str:
        """Of the names of its files."""
        return "".join(f".{x}" for x in [re.sub(r"[^\w-]", "_", self.name)] if x)

    def _named(self, what: str) -> str:
        return f"{what} of {escaped(self.name)}" if self.name else what
