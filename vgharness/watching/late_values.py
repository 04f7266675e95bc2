"""What is seen on a device at one step and comes to the host at a later one; and the weights kept meanwhile."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vgharness.watching.forward_passes import ForwardPass


class Look:
    """A look at the gradients, whose values come later.

    passes: those whose gradients it is the first to see.
    batch: the last training forward pass before it.
    values: on the device: the norm of all gradients, the loss scale, the step of the weights that are kept.
    at_once: whether the host waits for them.
    """

    def __init__(self, passes: tuple[ForwardPass, ...], batch: int, values: Tensor, *, at_once: bool) -> None:
        self.passes, self.batch = passes, batch
        self.step: int | None = None  # known once the optimizer is about to take it
        self.last = False  # of its step
        self._due, self._at_once = 0, at_once
        self._host, self._arrived = values, None
        if values.device.type == "cuda":
            self._host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
            self._host.copy_(values, non_blocking=True)
            self._arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._arrived.record(torch.cuda.current_stream(values.device))

    def belongs_to(self, step: int, delay: int) -> None:
        """Its values are waited for at ``step + delay`` at the latest."""
        self.step, self._due = step, step + delay

    def is_here(self, step: int, *, wait: bool = False) -> bool:
        """Whether its values can be read; at the step at which it is due this waits for them."""
        if wait or self._at_once or (self.step is not None and step >= self._due):
            if self._arrived is not None:
                self._arrived.synchronize()
            return True
        return self._arrived is not None and bool(self._arrived.query())  # type: ignore[no-untyped-call]

    def values(self) -> tuple[float, float, int]:
        """The norm of all gradients, the loss scale, the step of the weights that are kept."""
        norm, scale, kept = self._host.tolist()
        return norm, scale, int(kept)

    @property
    def finite(self) -> bool:
        """Whether all gradients are."""
        return math.isfinite(self.values()[0])

    @property
    def finite_outputs(self) -> bool:
        """Whether all that the model put out is."""
        return all(given.sum is None or bool(torch.isfinite(given.sum)) for given in self.passes)


class KeptWeights:
    """The weights with which all was still finite, on their device; nothing waits for it."""

    def __init__(self, parameters: Sequence[nn.Parameter]) -> None:
        self._parameters = parameters
        self.weights = [parameter.detach().clone() for parameter in parameters]
        device = parameters[0].device
        self._finite = torch.ones((), dtype=torch.bool, device=device)
        self.step = torch.zeros((), dtype=torch.float32, device=device)

    def keep(self, step: int) -> None:
        """Keeps the weights as they are now, where all was finite until now."""
        with torch.no_grad():
            for kept, parameter in zip(self.weights, self._parameters, strict=True):
                finite = self._finite.to(kept.device, non_blocking=True)
                torch.where(finite, parameter.detach(), kept, out=kept)
            self.step = torch.where(self._finite, torch.full_like(self.step, step), self.step)

    def saw(self, norm: Tensor) -> None:
        """Keeps nothing any more where ``norm`` is not finite."""
        self._finite = self._finite & torch.isfinite(norm).to(self._finite.device, non_blocking=True)

    def go_on(self) -> None:
        """Keeps weights again, for what was not finite was meant."""
        self._finite = torch.ones_like(self._finite)
