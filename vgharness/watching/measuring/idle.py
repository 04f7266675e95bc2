"""Rows of a gradient that are exactly zero: the words an embedding did not meet, the units that got nothing."""

from __future__ import annotations

import torch
from torch import Tensor

from vgharness.probe.norms import in_memory_order


def idle_rows(gradient: Tensor) -> Tensor:
    """How many rows of ``gradient`` (its first dimension) are exactly zero, a scalar."""
    gradient = gradient.detach()
    if gradient.is_sparse:
        values = gradient.coalesce().values()
        return len(gradient) - len(values) + idle_rows(values)
    if not gradient.numel():
        return torch.zeros((), dtype=torch.int64, device=gradient.device)
    if gradient.dim() < 2:
        return gradient.numel() - torch.count_nonzero(gradient)
    each = gradient.numel() // len(gradient)
    rows = gradient.flatten(1) if gradient.stride(0) != each else in_memory_order(gradient).view(-1, each)
    if rows.is_complex():
        return len(rows) - torch.count_nonzero(rows.abs().amax(1))
    return ((rows.amax(1) == 0) & (rows.amin(1) == 0)).sum()
