"""What is seen on a device at one step and comes to the host at a later one; and the weights kept meanwhile."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from vgharness.watching.first_nan.forward_passes import ForwardPass


class Values(NamedTuple):
    """What a look sees.

    norm: of all gradients.
    outputs: the sum of all that the model put out; NaN where some of it is.
    scale: by which the loss is multiplied.
    kept: the step of the weights that are kept.
    """

    norm: float
    outputs: float = 0.0
    scale: float = 1.0
    kept: float = 0.0

    @property
    def finite(self) -> bool:
        """Whether all gradients are, and nothing that was put out is NaN."""
        return math.isfinite(self.norm) and not math.isnan(self.outputs)


class Look:
    """A look at the gradients, whose values come later.

    passes: those whose gradients it is the first to see.
    batch: the last training forward pass before it.
    values: those of :class:`Values`: on a device, or where the host waits for them, as they are.
    """

    def __init__(self, passes: tuple[ForwardPass, ...], batch: int, values: Tensor | Values) -> None:
        self.passes, self.batch = passes, batch
        self.step: int | None = None  # known once the optimizer is about to take it
        self.last = False  # of its step
        self._due = 0
        self._values = values if isinstance(values, Values) else None
        self._host, self._arrived = values if isinstance(values, Tensor) else None, None
        if self._host is not None and self._host.device.type == "cuda":
            self._arrived = _CopyToHost(self._host)

    def belongs_to(self, step: int, delay: int) -> None:
        """Its values are waited for at ``step + delay`` at the latest."""
        self.step, self._due = step, step + delay

    def is_here(self, step: int, *, wait: bool = False) -> bool:
        """Whether its values can be read without waiting; at the step at which it is due they can."""
        if self._values is not None or wait or (self.step is not None and step >= self._due):
            return True
        return self._arrived is not None and self._arrived.is_here()

    def values(self) -> Values:
        """Waits for them where they are not here."""
        if self._values is None:
            if self._arrived is not None:
                self._host = self._arrived.wait()
            assert self._host is not None
            self._values = Values(*self._host.tolist())
        return self._values


class _CopyToHost:
    """A copy of a GPU's values that nothing waits for."""

    def __init__(self, values: Tensor) -> None:
        self._host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
        self._host.copy_(values, non_blocking=True)
        self._event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        self._event.record(torch.cuda.current_stream(values.device))

    def is_here(self) -> bool:
        return bool(self._event.query())  # type: ignore[no-untyped-call]

    def wait(self) -> Tensor:
        self._event.synchronize()
        return self._host


class KeptWeights:
    """The weights with which all was still finite, on their device; nothing waits for it."""

    def __init__(self, parameters: Sequence[nn.Parameter]) -> None:
        self._parameters = parameters
        self.weights = [parameter.detach().clone() for parameter in parameters]
        device = parameters[0].device
        self._finite = torch.ones((), dtype=torch.bool, device=device)
        self.step = torch.zeros((), dtype=torch.float32, device=device)

    @property
    def fit(self) -> bool:
        """Whether the weights are still of the same types, on the same devices."""
        pairs = zip(self.weights, self._parameters, strict=True)
        return all(kept.dtype == now.dtype and kept.device == now.device for kept, now in pairs)

    def keep(self, step: int) -> None:
        """Keeps the weights as they are now, where all was finite until now."""
        with torch.no_grad():
            for kept, parameter in zip(self.weights, self._parameters, strict=True):
                finite = self._finite.to(kept.device, non_blocking=True)
                torch.where(finite, parameter.detach(), kept, out=kept)
            self.step = torch.where(self._finite, torch.full_like(self.step, step), self.step)

    def saw(self, values: Tensor) -> None:
        """Keeps nothing any more where one of ``values`` is not finite."""
        self._finite = self._finite & torch.isfinite(values).all().to(self._finite.device, non_blocking=True)

    def go_on(self) -> None:
        """Keeps weights again, for what was not finite was meant."""
        self._finite = torch.ones_like(self._finite)
