"""The norm of all gradients, at the least cost: one pass over the memory, and on a GPU nothing waits."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import torch
from torch import Tensor

from vgharness.probe.norms import norm

_LONG: Final = 2**16  # elements, from which a CPU adds up so many squares that short rows are more accurate


def total_norm(gradients: Iterable[Tensor]) -> Tensor:
    """‖gradients‖₂ of all of them together, a scalar on the first one's device; infinite where their squares are too
    large for float32."""
    single: list[Tensor] = []
    together: dict[tuple[torch.device, torch.dtype], list[Tensor]] = {}
    for gradient in gradients:
        if gradient.is_sparse or gradient.is_complex() or (gradient.device.type == "cpu" and gradient.numel() > _LONG):
            single.append(norm(gradient))
        else:
            together.setdefault((gradient.device, gradient.dtype), []).append(gradient.detach())
    for (_, dtype), group in together.items():
        wide = torch.promote_types(dtype, torch.float32)
        single += torch._foreach_norm(group, 2, dtype=wide)
    if not single:
        return torch.zeros((), dtype=torch.float64)
    return _of_norms(single)


def exact_norm(gradients: Iterable[Tensor]) -> float:
    """The same in float64, which no square of a float32 number is too large for; waits for the device."""
    return float(_of_norms([torch.linalg.vector_norm(_values(x).detach(), dtype=_wide(x)) for x in gradients]))


def _of_norms(norms: list[Tensor]) -> Tensor:
    device = norms[0].device
    widest = torch.float32 if device.type == "mps" else torch.float64
    by_dtype: dict[torch.dtype, list[Tensor]] = {}
    for each in norms:
        by_dtype.setdefault(each.dtype, []).append(each.to(device, non_blocking=True))
    total: Tensor = torch.linalg.vector_norm(torch.cat([torch.stack(own).to(widest) for own in by_dtype.values()]))
    return total


def _values(tensor: Tensor) -> Tensor:
    return tensor.coalesce().values() if tensor.is_sparse else tensor


def _wide(tensor: Tensor) -> torch.dtype:
    if tensor.device.type == "mps":
        return torch.float32
    return torch.promote_types(tensor.dtype, torch.float64)
