"""What is seen at every step: the norm of all gradients, whether they are finite, and the first time that they are not.

On a GPU nothing waits: values come to the host some steps later, and the weights with which all was still finite are
kept on the device by a masked copy until they do.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd import Variable

from vgharness.records import Birth
from vgharness.watching.first_nan.birth import Cause, find_cause, finite_without_scale, nonfinite_parameter, uses_nan
from vgharness.watching.first_nan.forward_passes import PassRecorder
from vgharness.watching.first_nan.gradient_norm import GradientNorm
from vgharness.watching.first_nan.late_values import KeptWeights, Look, Values
from vgharness.watching.first_nan.reproducer import Reproducer
from vgharness.watching.first_nan.stand_in import unwrapped

_DELAY: Final = 3  # steps after which a GPU's values are waited for
_MOST_PENDING: Final = 8  # looks that no step came after; the first of them tells where it began
_COLLAPSED: Final = 1.0  # a loss scale below it helps no gradient


class Beat(NamedTuple):
    """What was seen at one step.

    step: which.
    batch: the last training forward pass before it.
    total_norm: ‖∂L/∂θ‖₂ of all parameters as the optimizer gets it, after clipping.
    finite: whether all gradients are.
    """

    step: int
    batch: int
    total_norm: float
    finite: bool


class Pulse:
    """Looks at a model's gradients at every step.

    model: whose training is watched; it may be wrapped for several processes or compiled.
    name: of the model in the log.
    folder: gives a fresh folder for a reproducer, or ``None`` where there is none to write to.
    scaler: the ``GradScaler`` of its training; it may be set later, where it is found out.
    delay: steps after which a device's values are waited for; ``None``: 0 on a CPU, 3 elsewhere.
    note: is called with a line for what the user should know.
    """

    def __init__(
        self,
        model: nn.Module,
        name: str,
        *,
        folder: Callable[[], Path | None],
        scaler: Any = None,
        delay: int | None = None,
        note: Callable[[str], None],
    ) -> None:
        self._model, self._name, self.scaler = unwrapped(model), name, scaler
        on_cpu = all(parameter.device.type == "cpu" for parameter in self._model.parameters())
        self._delay = (0 if on_cpu else _DELAY) if delay is None else delay
        self._recorder = PassRecorder(model, self._model, self, for_steps=self._delay > 0)
        self._reproducer = Reproducer(folder, note)
        self._looks: deque[Look] = deque()
        self._pending: list[Look] = []  # those between two forward passes, of no step yet
        self._of_step: list[Look] = []  # those looks of the oldest step that have come
        self._beats: list[Beat] = []
        self._last: Beat | None = None  # that has come
        self._step, self._steps = -1, 0
        self._queued = False  # whether it is looked at the gradients when this backward pass ends
        self._sees_outputs = True  # until what they hold is known to be meant
        self.birth: Birth | None = None
        self._read()

    @property
    def batch(self) -> int:
        """The last training forward pass, from 0; -1 before the first."""
        return self._recorder.batch

    def open(self) -> None:
        """Hooks the model's own forward pass."""
        self._recorder.open()

    def model_changed(self) -> None:
        """To be called where the model got other parameters or modules, or was moved."""
        self._collect(wait=True)
        self._pending.clear()
        self._recorder.read(self._model)
        self._read()

    def _read(self) -> None:
        self._parameters = list(self._model.parameters())
        self._norm = GradientNorm(self._parameters)
        self._kept: KeptWeights | None = None

    def close(self) -> None:
        """Takes the hooks away, having waited for what is still to come."""
        self._collect(wait=True)
        if self.birth is None:
            self._look_at_the_end()
        self._recorder.close()
        self._kept = None

    def before_step(self, step: int) -> None:
        """To be called when the gradients of ``step`` are complete and the weights not yet changed."""
        self._step = step
        self._steps += 1
        if self.batch < 0:
            self._recorder.keep_parts(self._steps)
        if self._kept is not None and not self._kept.fit:
            self._kept = None
        if self._delay and self._kept is None and self.birth is None and self._parameters:
            self._kept = KeptWeights(self._parameters)
        if self._kept is not None:
            self._kept.keep(step)
        looks = [*self._pending, self._look()]
        self._pending.clear()
        looks[-1].last = True
        for look in looks:
            look.belongs_to(step, self._delay)
        self._looks.extend(looks)
        self._collect()

    def seen(self, *, wait: bool = False) -> list[Beat]:
        """The steps whose values have come since it was called last, in order; with ``wait`` all of them."""
        self._collect(wait=wait)
        beats, self._beats = self._beats, []
        return beats

    # --- looking -----------------------------------------------------------------------------------------------

    def _look(self) -> Look:
        passes = self._recorder.take_all()
        norm = self._norm.exact_total() if self._delay else self._norm.total()
        sums = [given.sum for given in passes if given.sum is not None] if self._sees_outputs else []
        scale = self.scaler._get_scale_async() if self.scaler is not None else None
        if not self._delay:
            here = sum(map(float, sums)) if sums else 0.0
            return Look(passes, self.batch, Values(float(norm), here, 1.0 if scale is None else float(scale)))
        device, one = norm.device, torch.ones_like(norm)
        kept = one if self._kept is None else self._kept.step
        put_out = torch.stack([each.to(device, non_blocking=True) for each in sums]).sum() if sums else 0 * one
        # Infinity may stand for what is not to be chosen.
        put_out = put_out.nan_to_num(nan=math.nan, posinf=0.0, neginf=0.0)
        seen = [norm, put_out, one if scale is None else scale, kept]
        values = torch.stack([each.to(device, norm.dtype, non_blocking=True) for each in seen])
        if self._kept is not None:
            self._kept.saw(values)
        return Look(passes, self.batch, values)

    def gradient_came(self) -> None:
        """Where a scaler may leave the step out, of which nothing else is seen."""
        if self._is_scaled() and not self._queued and self.birth is None:
            self._queued = True
            Variable._execution_engine.queue_callback(self._add_look)

    def before_pass(self) -> None:
        """Before a forward pass: where gradients came back to all those before it, which are then of another batch of
        the same step, its own are looked at, and those that are finite are let go."""
        passes = self._recorder.passes
        if passes and all(given.came_back for given in passes):
            self._add_look()
        for look in [each for each in self._pending if each.is_here(self._step)]:
            values = look.values()
            if values.norm == 0:  # they were cleared
                del self._pending[: self._pending.index(look) + 1]
            elif math.isfinite(values.norm):  # what was not finite before was cleared
                place = self._pending.index(look)
                before = [each for each in self._pending[:place] if math.isfinite(each.values().norm)]
                self._pending[: place + 1] = [*before, *([] if values.finite else [look])]
            elif self._is_scaled() and self.birth is None:
                self._look_for_birth(look, Beat(self._step + 1, look.batch, values.norm, False))
                self._pending.remove(look)
        del self._pending[_MOST_PENDING:]

    def _add_look(self) -> None:
        self._queued = False
        self._pending.append(self._look())

    def _collect(self, *, wait: bool = False) -> None:
        while self._looks and self._looks[0].is_here(self._step, wait=wait):
            self._of_step.append(self._looks.popleft())
            if self._of_step[-1].last:
                looks, self._of_step = self._of_step, []
                self._end(looks)

    def _end(self, looks: list[Look]) -> None:
        """All values of a step are here."""
        step, batch, norm = looks[-1].step, looks[-1].batch, looks[-1].values().norm
        assert step is not None
        if not math.isfinite(norm) and not self._delay:  # their squares alone may be too large
            norm = float(self._norm.exact_total())
        beat = Beat(step, batch, norm, math.isfinite(norm))
        self._beats.append(beat)
        if self.birth is None:
            if not beat.finite:
                self._look_for_birth(_first_of_those_that_last(looks), beat)
            elif self._sees_outputs:
                self._look_at_outputs([look for look in looks if math.isnan(look.values().outputs)], beat)
            if not all(given.inputs_unchanged for look in looks for given in look.passes):
                self._recorder.copy_from_now_on()
        self._last = beat

    # --- the birth ---------------------------------------------------------------------------------------------

    def _look_at_outputs(self, looks: list[Look], beat: Beat) -> None:
        """Some of what the model put out is NaN, and all gradients are finite: the loss may leave it out, or not."""
        for look in looks:
            with self._undisturbed() as weights:
                used = uses_nan(self._model, look.passes, weights)
            if used:
                self._look_for_birth(look, beat)
                return
            self._sees_outputs = False  # it will be so at the next step, too
            self._was_meant()

    def _look_for_birth(self, look: Look, beat: Beat) -> None:
        scale = look.values().scale
        scaled = self._is_scaled() and scale >= _COLLAPSED
        with self._undisturbed() as weights:
            if scaled and finite_without_scale(self._model, look.passes, weights, scale):
                self._was_meant()
                return
            cause = find_cause(self._model, look.passes, weights, scale=scale)
            kept = int(look.values().kept)
            if weights is not None and kept != beat.step:
                cause = cause._replace(remark=f"{cause.remark}; the weights are those of step {kept}".lstrip("; "))
            self._born(cause, beat, weights, scale)

    @contextmanager
    def _undisturbed(self) -> Iterator[list[Tensor] | None]:
        """Gives the weights that are kept; what runs within is no pass of the training."""
        self._recorder.pause()
        try:
            yield None if self._kept is None else self._kept.weights
        finally:
            self._recorder.go_on()

    def _is_scaled(self) -> bool:
        return self.scaler is not None and bool(self.scaler.is_enabled())

    def _was_meant(self) -> None:
        if self._kept is not None:
            self._kept.go_on()

    def _born(self, cause: Cause, beat: Beat, weights: list[Tensor] | None, scale: float) -> None:
        step, batch = beat.step, cause.given.batch if cause.given is not None else beat.batch
        if cause.parameter and self._last is not None:  # whose gradients were finite
            step, batch = self._last.step, self._last.batch
            cause = cause._replace(origin=None)
        elif cause.parameter:
            cause = cause._replace(remark=f"{cause.parameter} was not finite before the first step", parameter="")
        birth = Birth(
            model=self._name,
            step=step,
            batch=max(batch, 0),
            origin=cause.origin,
            loss=cause.loss,
            parameter=cause.parameter,
            remark=cause.remark,
            noticed=max(self._step, step),
        )
        path = "" if cause.given is None else self._reproducer.write(self._model, cause.given, weights, birth, scale)
        self.birth = Birth(**{**dict(birth), "reproducer": path})
        self._recorder.stop_keeping()
        self._kept, self._sees_outputs = None, False

    def _look_at_the_end(self) -> None:
        """What no step came after: passes of a training that was ended because something is not finite, and the weights
        that the last step left."""
        self._kept = None  # the weights are those that the passes had
        looks = [*self._pending, *([self._look()] if self._recorder.passes else ())]
        self._pending.clear()
        bad = next((look for look in looks if not look.values().finite), None)
        if bad is not None:
            with self._undisturbed():
                cause = find_cause(self._model, bad.passes, None, scale=bad.values().scale)
                if cause.known:
                    self._step += 1
                    self._born(cause, Beat(self._step, bad.batch, math.nan, False), None, bad.values().scale)
        elif self._last is not None and self._last.finite and (name := nonfinite_parameter(self._model, None)):
            self._born(Cause(parameter=name), self._last, None, 1.0)


def _first_of_those_that_last(looks: list[Look]) -> Look:
    """Where gradients that are added up became what they are at the end, which is not finite."""
    found = looks[-1]
    for look in reversed(looks[:-1]):
        if math.isfinite(look.values().norm):
            break
        found = look
    return found
