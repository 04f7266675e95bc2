"""How large what modules put out is, and how much a model's own output differs from sample to sample."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from vgharness.probe.norms import norm, tensors_in


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
    # A CPU counts bits in a fifth of the time that it takes for numbers.
    return [OutputSize(norm(x), torch.count_nonzero(x.detach() == 0), x.numel()) for x in _floating(output)]


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
