"""What is seen at every step: the norm of all gradients, whether they are finite, and the first time that they are not.

On a GPU nothing waits: values come to the host some steps later, and the weights with which all was still finite are
kept on the device by a masked copy until they do.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

from torch import Tensor, nn

from vgharness.records import Birth
from vgharness.watching.birth import Cause, find_cause, finite_without_scale, nonfinite_parameter
from vgharness.watching.forward_passes import PassRecorder
from vgharness.watching.gradient_norm import total_norm
from vgharness.watching.late_values import KeptWeights, Look
from vgharness.watching.reproducer import Reproducer
from vgharness.watching.stand_in import unwrapped

_DELAY: Final = 3  # steps after which a GPU's values are waited for
_COLLAPSED: Final = 1.0  # a loss scale below it helps no gradient


class Beat(NamedTuple):
    """What was seen at one step.

    step: which.
    batch: the last training forward pass before it.
    total_norm: ‖∂L/∂θ‖₂ of all parameters.
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
    scaler: the ``GradScaler`` of its training.
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
        self._model, self._name, self._scaler = unwrapped(model), name, scaler
        self._parameters = list(self._model.parameters())
        on_cpu = all(parameter.device.type == "cpu" for parameter in self._parameters)
        self._delay = (0 if on_cpu else _DELAY) if delay is None else delay
        self._recorder = PassRecorder(model, self._model, self._look_between, for_steps=self._delay > 0)
        self._reproducer = Reproducer(folder, note)
        self._kept: KeptWeights | None = None
        self._looks: deque[Look] = deque()
        self._of_step: list[Look] = []  # those looks of the oldest step that have come
        self._beats: list[Beat] = []
        self._last: Beat | None = None  # that has come
        self._step = -1
        self.birth: Birth | None = None

    @property
    def batch(self) -> int:
        """The last training forward pass, from 0; -1 before the first."""
        return self._recorder.batch

    def open(self) -> None:
        """Hooks the model's own forward pass."""
        self._recorder.open()

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
        if self._delay and self._kept is None and self.birth is None and self._parameters:
            self._kept = KeptWeights(self._parameters)
        if self._kept is not None:
            self._kept.keep(step)
        self._looks.append(self._look())
        self._looks[-1].last = True
        for look in reversed(self._looks):
            if look.step is not None:
                break
            look.belongs_to(step, self._delay)
        self._collect()

    def seen(self, *, wait: bool = False) -> list[Beat]:
        """The steps whose values have come since it was called last, in order; with ``wait`` all of them."""
        self._collect(wait=wait)
        beats, self._beats = self._beats, []
        return beats

    # --- looking -----------------------------------------------------------------------------------------------

    def _look(self) -> Look:
        norm = self._norm(exact=self._delay > 0)
        scale = self._scaler._get_scale_async() if self._scaler is not None else None
        kept = self._kept.step if self._kept is not None else None
        values = norm.new_ones(3)
        values[0] = norm
        if scale is not None:
            values[1] = scale.to(norm.device, non_blocking=True)
        if kept is not None:
            values[2] = kept.to(norm.device, non_blocking=True)
        if self._kept is not None:
            self._kept.saw(norm)
        return Look(self._recorder.take_all(), self.batch, values, at_once=not self._delay)

    def _norm(self, *, exact: bool) -> Tensor:
        return total_norm((p.grad for p in self._parameters if p.grad is not None), exact=exact)

    def _look_between(self) -> None:
        """Before a forward pass: where gradients came back to all those before it, which are then of another batch of
        the same step, its own are looked at, and what was kept of those whose gradients are finite is let go."""
        passes = self._recorder.passes
        if not passes or not all(given.came_back for given in passes):
            return
        self._looks.append(self._look())
        for look in self._looks:
            if look.step is None and look.passes and look.is_here(self._step) and look.finite:
                look.passes = ()

    def _collect(self, *, wait: bool = False) -> None:
        while self._looks and self._looks[0].step is not None and self._looks[0].is_here(self._step, wait=wait):
            self._of_step.append(self._looks.popleft())
            if self._of_step[-1].last:
                looks, self._of_step = self._of_step, []
                self._end(looks)

    def _end(self, looks: list[Look]) -> None:
        """All values of a step are here."""
        step, batch, (norm, scale, kept) = looks[-1].step, looks[-1].batch, looks[-1].values()
        assert step is not None
        if not math.isfinite(norm) and not self._delay:  # their squares alone may be too large
            norm = float(self._norm(exact=True))
        beat = Beat(step, batch, norm, math.isfinite(norm))
        self._beats.append(beat)
        if self.birth is None:
            if beat.finite:
                if not all(given.inputs_unchanged for look in looks for given in look.passes):
                    self._recorder.copy_from_now_on()
            else:
                self._look_for_birth(next((x for x in looks if not x.finite), looks[-1]), beat, scale, kept)
        self._last = beat

    # --- the birth ---------------------------------------------------------------------------------------------

    def _look_for_birth(self, look: Look, beat: Beat, scale: float, kept_of: int) -> None:
        weights = self._kept.weights if self._kept is not None else None
        self._recorder.pause()
        try:
            scaled = self._scaler is not None and self._scaler.is_enabled()
            if scaled and scale >= _COLLAPSED:
                meant = finite_without_scale(self._model, look.passes, weights, scale)
            else:
                meant = False
            if meant:
                if self._kept is not None:
                    self._kept.go_on()
                return
            cause = find_cause(self._model, look.passes, weights, scale=scale)
            if weights is not None and kept_of != beat.step:
                cause = cause._replace(remark=f"{cause.remark}; the weights are those of step {kept_of}".lstrip("; "))
            self._born(cause, beat, weights, scale)
        finally:
            self._recorder.go_on()

    def _born(self, cause: Cause, beat: Beat, weights: Any, scale: float) -> None:
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
        path = self._reproducer.write(self._model, cause.given, weights, birth, scale) if cause.given else ""
        self.birth = Birth(**{**dict(birth), "reproducer": path})
        self._recorder.stop_keeping()
        self._kept = None

    def _look_at_the_end(self) -> None:
        """What no step came after: passes of a training that was ended because something is not finite, and the weights
        that the last step left."""
        self._kept = None  # the weights are those that the passes had
        looks = [*self._looks, *([self._look()] if self._recorder.passes else ())]
        self._looks.clear()
        bad = next((look for look in looks if not (look.finite and look.finite_outputs)), None)
        if bad is not None:
            self._step += 1
            _, scale, _ = bad.values()
            self._look_for_birth(bad, Beat(self._step, bad.batch, math.nan, False), scale, self._step)
        elif self._last is not None and self._last.finite:
            parameter = nonfinite_parameter(self._model, None)
            if parameter:
                self._born(Cause(parameter=parameter), self._last, None, 1.0)
