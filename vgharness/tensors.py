"""Norms that lose nothing, and the tensors in whatever a module puts out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

_ROW = 2**9


def tensors_in(output: Any) -> Iterator[Tensor]:
    """The tensors in nested tuples, lists and mappings."""
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, Mapping):
        for value in output.values():
            yield from tensors_in(value)
    elif isinstance(output, tuple | list):
        for value in output:
            yield from tensors_in(value)


def widened(tensor: Tensor) -> Tensor:
    """In at least float32: the squares of float16 numbers underflow and their norm overflows."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def norm(tensor: Tensor) -> Tensor:
    """‖tensor‖₂ as a scalar of at least float32; of complex numbers, of their absolute values."""
    wide = widened(tensor)
    length: Tensor
    if wide.device.type == "cpu" and wide.numel() > _ROW:
        # On a CPU `vector_norm` adds millions of squares one after the other and loses four digits; by short rows,
        # with those added in float64, it loses none and costs the same. In the order in which they lie in memory
        # they need no copy.
        flat = wide.permute(sorted(range(wide.dim()), key=wide.stride, reverse=True)).reshape(-1)
        whole = flat.numel() // _ROW * _ROW
        rows = torch.linalg.vector_norm(flat[:whole].view(-1, _ROW), dim=1)
        length = torch.linalg.vector_norm(torch.cat([rows, flat[whole:].abs()]), dtype=torch.float64)
        length = length.to(rows.dtype)
    else:
        length = torch.linalg.vector_norm(wide)
    return length


def norm_of(parts: Sequence[Tensor]) -> Tensor:
    """The norm of the vectors whose norms are ``parts`` together."""
    length: Tensor = torch.linalg.vector_norm(torch.stack(list(parts)))
    return length
