"""Which parameters got no gradient, as the host sees it at every step without waiting for a device."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn


class AbsentGradients:
    """Looks whether ``parameters`` have a gradient; most steps are as the one before, and cost one look each."""

    def __init__(self, parameters: Mapping[str, nn.Parameter]) -> None:
        self._names, self._parameters = list(parameters), list(parameters.values())
        self._last: list[bool] | None = None

    def changed(self) -> tuple[str, ...] | None:
        """Names of those that ask for one and have none; ``None``: as at the last step, or it is no step at all, for
        none of them has one."""
        now = [parameter.grad is None for parameter in self._parameters]
        if now == self._last or all(now):
            return None
        self._last = now
        each = zip(self._names, self._parameters, now, strict=True)
        return tuple(name for name, parameter, absent in each if absent and parameter.requires_grad)
