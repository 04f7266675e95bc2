"""Norms that lose nothing, and the tensors in whatever a module puts out."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

Order = Literal[1, 2]  # of a norm: the sum of absolute values, or the length

_ROW = 2**9


def tensors_in(output: Any) -> Iterator[Tensor]:
    """The tensors in nested tuples, lists, mappings and dataclasses."""
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, Mapping):
        for value in output.values():
            yield from tensors_in(value)
    elif isinstance(output, tuple | list):
        for value in output:
            yield from tensors_in(value)
    elif dataclasses.is_dataclass(output) and not isinstance(output, type):
        for field in dataclasses.fields(output):
            yield from tensors_in(getattr(output, field.name, None))


def norm(tensor: Tensor) -> Tensor:
    """‖tensor‖₂ as a scalar of at least float32, accurate to 1e-6; of complex numbers, of their absolute values."""
    if tensor.device.type != "cpu":  # a GPU adds up in float32 what is of half that, without a copy in float32 first
        line = in_memory_order(tensor)
        exact: Tensor = torch.linalg.vector_norm(line, dtype=torch.promote_types(line.dtype, torch.float32))
        return exact
    flat = _flat(tensor)
    whole = flat.numel() // _ROW * _ROW
    if not whole:
        return norm_of([flat])
    # On a CPU `vector_norm` adds millions of squares one after the other and loses four digits; by short rows, with
    # those added in float64, it loses none and costs the same.
    rows = torch.linalg.vector_norm(flat[:whole].view(-1, _ROW), dim=1)
    return norm_of([rows] if whole == flat.numel() else [rows, flat[whole:].abs()])


class FlatBuffer:
    """Groups of tensors, those of each group one long vector, side by side in one buffer: the norms of many small ones
    then take few operations. The memory is kept and filled again, by fewer or smaller groups too: on a CPU to ask for
    megabytes at every step costs more than to compute with them, and a CUDA graph knows its memory by its address."""

    def __init__(self) -> None:
        self._memory = torch.empty(0)
        self._buffer = self._memory  # as much of it as is filled
        self._padding = torch.empty(0)
        self._rows: tuple[int, ...] = ()  # of each group

    def fill(self, groups: Sequence[Sequence[Tensor]]) -> FlatBuffer:
        flats = [[_flat(tensor) for tensor in group] for group in groups]
        like = functools.reduce(
            lambda a, b: a if torch.can_cast(b.dtype, a.dtype) else b, [flat for group in flats for flat in group]
        )
        self._rows = tuple(sum(-(-flat.numel() // _ROW) for flat in group) for group in flats)
        size = _ROW * sum(self._rows)
        kind = self._memory.dtype, self._memory.device
        if self._memory.numel() < size or kind != (like.dtype, like.device):
            self._memory, self._padding = like.new_empty(size), like.new_zeros(_ROW)
        self._buffer = self._memory[:size]
        pieces = [piece for group in flats for flat in group for piece in (flat, self._padding[: -flat.numel() % _ROW])]
        torch.cat(pieces, out=self._buffer)
        return self

    def fits(self, groups: Sequence[Sequence[Tensor]]) -> bool:
        """Whether ``groups`` would lie as what is here does."""
        tensors = [tensor for group in groups for tensor in group]
        rows = tuple(sum(-(-tensor.numel() // _ROW) for tensor in group) for group in groups)
        return rows == self._rows and all(tensor.device == self._memory.device for tensor in tensors)

    def subtract(self, other: FlatBuffer) -> FlatBuffer:
        """What is here minus what is at the same place in ``other``."""
        self._buffer -= other._buffer
        return self

    def norms(self, order: Order = 2) -> Tensor:
        """:func:`norm` of each group → [groups]. Spoils what is here where ``order`` is 1."""
        rows = self._buffer.view(-1, _ROW)
        if order == 1 and not rows.is_complex():  # for these `vector_norm` takes several times longer
            lengths = rows.abs_().sum(1)
        else:
            lengths = torch.linalg.vector_norm(rows, ord=order, dim=1)
        wide, groups = lengths.to(wide_dtype(lengths.device)), _group_of_row(self._rows, lengths.device)
        sums = wide.new_zeros(len(self._rows))
        if order == 1:
            return sums.index_add_(0, groups, wide)
        return sums.index_add_(0, groups, wide.square()).sqrt_()


# Constants are brought to a device once and kept for good: a copy at every step would wait for a GPU, and a CUDA graph
# knows no more of one than its address.


@functools.cache
def constant(values: tuple[float, ...], device: torch.device) -> Tensor:
    """``values`` on ``device``, in float64 where it has that."""
    return torch.tensor(values, dtype=wide_dtype(device), device=device)


@functools.cache
def _group_of_row(rows: tuple[int, ...], device: torch.device) -> Tensor:
    """Groups of so many rows each → int64 [all rows]."""
    return torch.arange(len(rows)).repeat_interleave(torch.tensor(rows)).to(device)


def wide_dtype(device: torch.device) -> torch.dtype:
    """float64 where the device has it."""
    return torch.float32 if device.type == "mps" else torch.float64  # which Apple's GPUs lack


def stacked(values: Sequence[Tensor]) -> Tensor:
    """Scalars of one device → one vector, of the type that all can be cast to.

    Each type by itself, then all at once: a GPU stacks numbers of several types by a cast and a copy for each.
    """
    places: dict[torch.dtype, list[int]] = {}
    for place, value in enumerate(values):
        places.setdefault(value.dtype, []).append(place)
    groups = [torch.stack([values[place] for place in own]) for own in places.values()]
    if len(groups) == 1:
        return groups[0]
    widest = functools.reduce(torch.promote_types, places)
    order = tuple(place for own in places.values() for place in own)
    return torch.cat([group.to(widest) for group in groups])[_back_from(order, groups[0].device)]


@functools.cache
def _back_from(order: tuple[int, ...], device: torch.device) -> Tensor:
    """The index, int64, that puts what lies in that ``order`` back in its place."""
    return torch.tensor(order).argsort().to(device)


def norm_of(parts: Sequence[Tensor]) -> Tensor:
    """‖parts‖₂ of the one-dimensional ``parts``, put together; on a CPU in float64."""
    whole = parts[0] if len(parts) == 1 else torch.cat(list(parts))
    dtype = torch.promote_types(whole.dtype, torch.float64) if whole.device.type == "cpu" else None
    exact: Tensor = torch.linalg.vector_norm(whole, dtype=dtype)
    return exact


def _flat(tensor: Tensor) -> Tensor:
    """:func:`in_memory_order`, in at least float32: squares of float16 numbers underflow and their norm overflows."""
    line = in_memory_order(tensor)
    if torch.finfo(line.dtype).bits >= 32:
        return line
    return line.to(torch.promote_types(line.dtype, torch.float32))


def in_memory_order(tensor: Tensor) -> Tensor:
    """One-dimensional, in the order in which the elements lie in memory, which needs no copy."""
    tensor = tensor.detach()
    if tensor.is_sparse:
        tensor = tensor.coalesce().values()
    if not tensor.is_contiguous():
        tensor = tensor.permute(sorted(range(tensor.dim()), key=tensor.stride, reverse=True))
    return tensor.reshape(-1)
