"""Norms that lose nothing, and the tensors in whatever a module puts out."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

Order = Literal[1, 2]  # of a norm: the sum of absolute values, or the length

_ROW = 2**9
_FEW = 2**13  # elements, of which a CPU adds the squares in float64 from the start
_MOST_LAYOUTS = 64  # of a buffer: more than a model has portions


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
    parts = norm_parts(tensor)
    return parts if not parts.dim() else norm_of([parts])


def norm_parts(tensor: Tensor) -> Tensor:
    """Its :func:`norm`, or a vector of the same norm: in the midst of a backward pass each operation takes long, for
    nothing of it is in what is near a CPU; many vectors are put together later in a tenth of the time."""
    if tensor.device.type != "cpu":  # a GPU adds up in float32 what is of half that, without a copy in float32 first
        line = in_memory_order(tensor)
        exact: Tensor = torch.linalg.vector_norm(line, dtype=torch.promote_types(line.dtype, torch.float32))
        return exact
    flat = _flat(tensor)
    size = flat.numel()
    if size < _FEW:
        return norm_of([flat])
    # On a CPU `vector_norm` adds millions of squares one after the other and loses four digits; by short rows, with
    # those added in float64, it loses none and costs the same.
    rest = size % _ROW
    rows: Tensor = torch.linalg.vector_norm((flat[:-rest] if rest else flat).view(-1, _ROW), dim=1)
    return torch.cat([rows, flat[-rest:].abs()]) if rest else rows


class _Layout:
    """Where tensors of certain shapes lie in a buffer.

    rows: how many each group takes.
    all_rows: of the buffer, as far as it is filled.
    """

    def __init__(self, groups: Sequence[Sequence[Tensor]], memory: Tensor, zeros: Tensor) -> None:
        tensors = [tensor for group in groups for tensor in group]
        lengths = [-(-tensor.numel() // _ROW) for tensor in tensors]
        self.rows = tuple(sum(-(-tensor.numel() // _ROW) for tensor in group) for group in groups)
        starts = [_ROW * start for start in itertools.accumulate(lengths, initial=0)]
        # In the order in which a tensor's elements lie, so that they are copied one after the other.
        self._places = [
            memory.as_strided(tensor.shape, tensor.stride(), start)
            if _is_dense(tensor)
            else memory[start : start + tensor.numel()].view(tensor.shape)
            for start, tensor in zip(starts, tensors, strict=False)
        ]
        self._zeros = []  # for what is left of the last row of each
        for start, end, tensor in zip(starts, starts[1:], tensors, strict=False):
            if rest := end - start - tensor.numel():
                self._places.append(memory[end - rest : end])
                self._zeros.append(zeros[:rest])
        self.all_rows = memory[: starts[-1]].view(-1, _ROW)

    def fill(self, tensors: list[Tensor]) -> None:
        with torch.no_grad():
            torch._foreach_copy_(self._places, [*tensors, *self._zeros])


class FlatBuffer:
    """Groups of tensors, those of each group one long vector, side by side in one buffer: the norms of many small ones
    then take few operations. The memory is kept and filled again, by fewer or smaller groups too: on a CPU to ask for
    megabytes at every step costs more than to compute with them, and a CUDA graph knows its memory by its address."""

    def __init__(self) -> None:
        self._memory = torch.empty(0)
        self._padding = torch.empty(0)
        self._layouts: dict[Hashable, _Layout] = {}  # those that were filled in, by what was
        self._layout: _Layout | None = None  # of what is here

    def fill(self, groups: Sequence[Sequence[Tensor]]) -> FlatBuffer:
        groups = [[x.coalesce().values() if x.is_sparse else x for x in group] for group in groups]
        key = tuple(tuple([(x.shape, x.stride(), x.dtype, x.device) for x in group]) for group in groups)
        layout = self._layouts.get(key)
        if layout is None:
            layout = self._layouts[key] = self._new(groups)
        layout.fill([tensor for group in groups for tensor in group])
        self._layout = layout
        return self

    def _new(self, groups: Sequence[Sequence[Tensor]]) -> _Layout:
        tensors = [tensor for group in groups for tensor in group]
        dtype = functools.reduce(
            lambda a, b: a if torch.can_cast(b, a) else b, [at_least_float32(tensor.dtype) for tensor in tensors]
        )
        size = sum(-(-tensor.numel() // _ROW) * _ROW for tensor in tensors)
        kind = self._memory.dtype, self._memory.device
        if self._memory.numel() < size or kind != (dtype, tensors[0].device):
            self._memory = tensors[0].new_empty(size, dtype=dtype)
            self._padding = tensors[0].new_zeros(_ROW, dtype=dtype)
            self._layouts.clear()
        if len(self._layouts) >= _MOST_LAYOUTS:
            self._layouts.clear()
        return _Layout(groups, self._memory, self._padding)

    def subtract(self, other: FlatBuffer) -> FlatBuffer:
        """What is here minus what is at the same place in ``other``."""
        assert self._layout is not None
        assert other._layout is not None
        self._layout.all_rows -= other._layout.all_rows
        return self

    def norms(self, order: Order = 2) -> Tensor:
        """:func:`norm` of each group → [groups]. Spoils what is here where ``order`` is 1."""
        assert self._layout is not None
        rows = self._layout.all_rows
        if order == 1 and not rows.is_complex():  # for these `vector_norm` takes several times longer
            lengths = rows.abs_().sum(1)
        else:
            lengths = torch.linalg.vector_norm(rows, ord=order, dim=1)
        wide, groups = lengths.to(wide_dtype(lengths.device)), _group_of_row(self._layout.rows, lengths.device)
        sums = wide.new_zeros(len(self._layout.rows))
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
    dtype = _in_float64(whole.dtype) if whole.device.type == "cpu" else None
    exact: Tensor = torch.linalg.vector_norm(whole, dtype=dtype)
    return exact


def _flat(tensor: Tensor) -> Tensor:
    """:func:`in_memory_order`, in at least float32: squares of float16 numbers underflow and their norm overflows."""
    line = in_memory_order(tensor)
    wide = at_least_float32(line.dtype)
    return line if line.dtype is wide else line.to(wide)


@functools.cache
def at_least_float32(dtype: torch.dtype) -> torch.dtype:
    """The type to compute norms of such numbers in."""
    return dtype if torch.finfo(dtype).bits >= 32 else torch.promote_types(dtype, torch.float32)


@functools.cache
def _in_float64(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float64)


def in_memory_order(tensor: Tensor) -> Tensor:
    """One-dimensional, in the order in which the elements lie in memory, which needs no copy."""
    if tensor.requires_grad:
        tensor = tensor.detach()
    if tensor.is_sparse:
        tensor = tensor.coalesce().values()
    return (tensor if tensor.is_contiguous() else _as_it_lies(tensor)).reshape(-1)


def _as_it_lies(tensor: Tensor) -> Tensor:
    """Its dimensions in the order of their strides."""
    return tensor.permute(sorted(range(tensor.dim()), key=tensor.stride().__getitem__, reverse=True))


def _is_dense(tensor: Tensor) -> bool:
    """Whether its elements lie one beside the other."""
    return tensor.is_contiguous() or _as_it_lies(tensor).is_contiguous()
