"""The norm of all gradients, at the least cost: one pass over the memory, and on a GPU nothing waits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor, nn

from vgharness.probe.norms import norm_parts

_LONG: Final = 2**16  # elements, from which a CPU adds up so many squares that short rows are more accurate


class GradientNorm:
    """‖∂L/∂θ‖₂ of all ``parameters`` together."""

    def __init__(self, parameters: Sequence[nn.Parameter]) -> None:
        self._parameters = parameters
        self._sort()

    def _sort(self) -> None:
        self._device = self._parameters[0].device if self._parameters else torch.device("cpu")
        self._long: list[nn.Parameter] = []
        self._groups: dict[tuple[torch.device, torch.dtype], list[nn.Parameter]] = {}
        for parameter in self._parameters:
            if parameter.device.type == "cpu" and parameter.numel() > _LONG:
                self._long.append(parameter)
            else:
                self._groups.setdefault((parameter.device, parameter.dtype), []).append(parameter)

    def total(self) -> Tensor:
        """As a scalar on the first parameter's device. On a CPU infinite where squares are too large for float32."""
        return self._measured(exact=self._device.type != "cpu")

    def exact_total(self) -> Tensor:
        """The same in float64, in which no square of a float32 number is too large. A GPU waits for its memory all the
        same; a CPU takes longer."""
        return self._measured(exact=True)

    def _measured(self, *, exact: bool) -> Tensor:
        with torch.no_grad():
            try:
                return self._all(exact=exact)
            except RuntimeError:  # the model was moved to another device or type since
                self._sort()
                return self._all(exact=exact)

    def _all(self, *, exact: bool) -> Tensor:
        long = _gradients(self._long)
        if exact:
            norms = [_norms([gradient], _widest(gradient.device)) for gradient in long]
        else:
            norms = [torch.cat([norm_parts(gradient).reshape(-1) for gradient in long])] if long else []
        for (device, dtype), parameters in self._groups.items():
            gradients = _gradients(parameters)
            if gradients:
                wide = _widest(device) if exact else torch.promote_types(dtype, torch.float32)
                norms.append(_norms(gradients, wide))
        widest = _widest(self._device)
        if not norms:
            return torch.zeros((), dtype=widest, device=self._device)
        if len(norms) > 1:
            norms = [torch.cat([each.to(self._device, widest, non_blocking=True) for each in norms])]
        total: Tensor = torch.linalg.vector_norm(norms[0].to(self._device, non_blocking=True), dtype=widest)
        return total


def _gradients(parameters: Sequence[nn.Parameter]) -> list[Tensor]:
    gradients = [gradient for parameter in parameters if (gradient := parameter.grad) is not None]
    if any(gradient.is_sparse for gradient in gradients):
        return [x.coalesce().values() if x.is_sparse else x for x in gradients]
    return gradients


def _norms(gradients: list[Tensor], dtype: torch.dtype) -> Tensor:
    if gradients[0].is_complex():
        gradients, dtype = [torch.view_as_real(x) for x in gradients], _widest(gradients[0].device)
    return torch.stack(torch._foreach_norm(gradients, 2, dtype))


def _widest(device: torch.device) -> torch.dtype:
    return torch.float32 if device.type == "mps" else torch.float64  # which Apple's GPUs lack
