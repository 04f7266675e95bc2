"""What a ``GradScaler`` does, read off it without waiting for the device."""

from __future__ import annotations

import sys

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer


class LossScale:
    """The scale of a loss; without a scaler it is 1.

    ``alone``: the scaler is updated once for each step that is taken or left out, as where there is one model.
    """

    def __init__(self, scaler: torch.amp.GradScaler | None, *, alone: bool) -> None:
        self._scaler = scaler
        self._alone = alone
        self._accounted = self._updates()

    @property
    def used(self) -> bool:
        return self._scaler is not None

    def found(self, scaler: torch.amp.GradScaler | None) -> None:
        """It is this one, which was not given."""
        self._scaler = scaler
        self._accounted = self._updates()

    def tensor(self, device: torch.device) -> Tensor | None:
        """The scale, on ``device``."""
        return None if self._scaler is None else self._scaler.scale(torch.ones((), device=device))

    def on_the_host(self) -> float | None:
        """The scale where it can be had without waiting for a GPU."""
        scale = None if self._scaler is None else self._scaler._scale
        return None if scale is None or scale.device.type != "cpu" else float(scale)

    def expect_update(self) -> None:
        """A step is being taken, after which the scaler is updated."""
        self._accounted = self._updates() + 1

    def left_out(self) -> int:
        """How often the scaler was updated without a step since this was asked last: the optimizer was not called, for
        gradients had overflowed. 0 where that cannot be told."""
        updates = self._updates()
        unseen, self._accounted = updates - self._accounted, max(updates, self._accounted)
        return max(unseen, 0) if self._alone else 0

    def _updates(self) -> int:
        """In place each time, which PyTorch counts."""
        scale = None if self._scaler is None else self._scaler._scale
        return 0 if scale is None else scale._version

    def is_on(self, optimizer: Optimizer, *, within_step: bool) -> bool:
        """Whether the gradients that ``optimizer`` has now are still scaled. ``within_step``: the scaler has called its
        step, if it has a part in it."""
        if self._scaler is None:
            return False
        states = self._scaler._per_optimizer_states  # one more would come to be by asking for it
        if id(optimizer) not in states:
            return not within_step
        return bool(states[id(optimizer)]["stage"].name == "READY")


def scaler_that_steps() -> torch.amp.GradScaler | None:
    """The one whose ``step`` is being called, if any is: to be asked in a hook of an optimizer's step."""
    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
        own = frame.f_locals.get("self") if frame.f_code is _STEP else None
        if own is not None:
            return own if own.is_enabled() else None
    return None


_STEP = torch.amp.GradScaler.step.__code__
