"""How large what modules put out is, and how much a model's own output differs from sample to sample."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import torch
from torch import Tensor

from vgharness.probe.norms import in_memory_order, norm, tensors_in

_LANES: Final = 128  # numbers of one byte, 0 or 1, of which the sum fits in a byte


class OutputSize(NamedTuple):
    """Of one tensor that a module put out; scalars on its device.

    length: its norm.
    zeros: how many of its elements are exactly zero.
    numel: how many elements it has.
    """

    length: Tensor
    zeros: Tensor
    numel: int


def output_sizes(output: Any) -> list[OutputSize]:
    """Of each floating tensor in ``output`` that has elements."""
    return [OutputSize(norm(x), _zeros(x), x.numel()) for x in _floating(output)]


def _zeros(tensor: Tensor) -> Tensor:
    """How many elements are exactly zero."""
    others = in_memory_order(tensor).to(torch.bool)
    whole = others.numel() // (8 * _LANES) * (8 * _LANES)
    if others.device.type != "cpu" or not whole:
        return others.numel() - others.sum()
    # A CPU adds up bytes one by one. As numbers of eight bytes they are eight sums in one, none of which overflows.
    eights = others[:whole].view(torch.int64).view(-1, _LANES).sum(1)
    return others.numel() - eights.view(torch.uint8).sum() - others[whole:].sum()


def output_spread(output: Any) -> Tensor | None:
    """The standard deviation over the batch of the elements of ``output`` ÷ their root mean square, over all elements:
    0 where every sample gets the same, about 1 where samples have little in common.

    Of several tensors the greatest. The batch is the first dimension; ``None`` where no floating tensor has two
    samples.
    """
    spreads = []
    for tensor in _floating(output):
        if tensor.dim() and len(tensor) > 1:
            samples = tensor.detach().to(torch.promote_types(tensor.dtype, torch.float32))
            length = norm(samples)
            spreads.append(norm(samples - samples.mean(0)) / length.clamp_min(torch.finfo(length.dtype).tiny))
    return torch.stack(spreads).max() if spreads else None


def _floating(output: Any) -> list[Tensor]:
    return [x for x in tensors_in(output) if (x.is_floating_point() or x.is_complex()) and x.numel()]
