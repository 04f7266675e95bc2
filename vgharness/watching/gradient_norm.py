"""The norm of all gradients, at the least cost: one pass over the memory, and on a GPU nothing waits."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import torch
from torch import Tensor

from vgharness.probe.norms import norm

_LONG: Final = 2**16  # elements, from which a CPU adds up so many squares that short rows are more accurate


def total_norm(gradients: Iterable[Tensor], *, exact: bool) -> Tensor:
    """‖gradients‖₂ of all of them together, a scalar on the first one's device.

    exact: adds up in float64, in which no square of a float32 number is too large; a GPU waits for its memory all the
        same. On a CPU it takes longer than without, where squares of numbers over 1e19 give infinity.
    """
    single: list[Tensor] = []
    together: dict[tuple[torch.device, torch.dtype], list[Tensor]] = {}
    for gradient in gradients:
        values = (gradient.coalesce().values() if gradient.is_sparse else gradient).detach()
        if values.device.type == "cpu" and not exact and values.numel() > _LONG:
            single.append(norm(values))
        elif values.is_complex():
            single.append(torch.linalg.vector_norm(torch.view_as_real(values), dtype=_widest(values.device)))
        else:
            together.setdefault((values.device, values.dtype), []).append(values)
    for (device, dtype), group in together.items():
        single += torch._foreach_norm(group, 2, _widest(device) if exact else torch.promote_types(dtype, torch.float32))
    if not single:
        return torch.zeros((), dtype=torch.float64)
    return _of_norms(single)


def _of_norms(norms: list[Tensor]) -> Tensor:
    device = norms[0].device
    by_dtype: dict[torch.dtype, list[Tensor]] = {}
    for each in norms:
        by_dtype.setdefault(each.dtype, []).append(each.to(device, non_blocking=True))
    total: Tensor = torch.linalg.vector_norm(torch.cat([torch.stack(own).to(_widest(device)) for own in by_dtype.values()]))
    return total


def _widest(device: torch.device) -> torch.dtype:
    return torch.float32 if device.type == "mps" else torch.float64  # which Apple's GPUs lack
