"""The losses that a user gives, as numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor

from vgharness.errors import UsageError
from vgharness.watching.model_watch import ModelWatch

Loss = Tensor | float


def numbers_of(loss: Loss | Mapping[str, Loss] | None, models: Iterable[ModelWatch]) -> dict[str, float | None]:
    """By model, the loss that was given for it: one for all of them, or each its own; ``None`` where there is none.

    Raises :class:`~vgharness.errors.UsageError` for what is no number.
    """
    return {
        watched.name: _number(loss.get(watched.name) if isinstance(loss, Mapping) else loss, watched)
        for watched in models
    }


def _number(loss: Loss | None, watched: ModelWatch) -> float | None:
    """On the host; one that lies on a GPU only where its step is measured, as the host waits for it."""
    if loss is None:
        return None
    if isinstance(loss, Tensor):
        if loss.numel() != 1:
            raise UsageError(f"loss: give one number, not a tensor of {loss.numel()}: its mean, as it is trained by")
        if loss.device.type != "cpu" and not watched.measured:
            return None
        loss = loss.detach().item()
    try:
        return float(loss)
    except (TypeError, ValueError):
        raise UsageError(f"loss: give a number or a tensor of one, not {type(loss).__name__}") from None
