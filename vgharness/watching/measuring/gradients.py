"""The gradients of all parameters as backward passes leave them, before anything unscales or clips them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from vgharness.probe.norms import FlatBuffer, at_least_float32, in_memory_order, norm, norm_of, norm_parts

# Of a portion: what a CPU's cache holds. A GPU takes as long for one portion as for each of several.
_MOST_NUMBERS, _MOST_NUMBERS_ON_A_GPU = 2**20, 2**24
# From how many elements on one is read where it lies, on a CPU, in pieces that stay in its nearest cache.
_LONG, _PIECE = 2**16, 2**18


class Measured(NamedTuple):
    """Some parameters' gradients, a number for each of ``names``, on their device.

    l2: their norms.
    l1: the sums of their absolute values.
    """

    names: list[str]
    l2: Tensor
    l1: Tensor


class Sizes(NamedTuple):
    """What was measured.

    measured: the latest last, which counts where a name is in several.
    versions: by name of each parameter that has a gradient, that of the gradient when it was measured, which changes
        with most of what is done to it in place.
    """

    measured: list[Measured]
    versions: dict[str, int]


class GradientSizes:
    """Measures the gradients of ``parameters``, by name, at the end of each backward pass from :meth:`listen` to
    :meth:`rest`."""

    def __init__(self, parameters: Mapping[str, nn.Parameter]) -> None:
        self._parameters = dict(parameters)
        self._measured: list[Measured] = []
        self._versions: dict[str, int] = {}
        self._grown: dict[str, None] = {}  # since they were measured, as an ordered set
        self._queued = False
        self._handles: list[RemovableHandle] = []
        self._heard: list[str] = []  # names of those that have one
        self._buffer = FlatBuffer()
        self._piece = torch.empty(0)

    def listen(self) -> None:
        """Begins anew, for the parameters that ask for a gradient now."""
        wanted = [name for name, p in self._parameters.items() if p.requires_grad and p.is_leaf]
        self._forget()
        if wanted == self._heard:
            return
        self.rest()
        self._heard = wanted
        for name in wanted:
            add = self._parameters[name].register_post_accumulate_grad_hook
            self._handles.append(add(self._when_grown(name)))  # type: ignore[no-untyped-call]

    def rest(self) -> None:
        """Measures nothing until :meth:`listen`."""
        self._heard = []
        while self._handles:
            self._handles.pop().remove()
        self._forget()

    def take(self) -> Sizes:
        """What the last backward passes left at the parameters that have a gradient now; then forgets it.

        Those of which none came by a backward pass are measured as they are now.
        """
        with torch.no_grad():
            for name, parameter in self._parameters.items():
                if parameter.grad is not None and name not in self._versions:
                    self._grown[name] = None
            self._measure()
        there = {name: x for name, x in self._versions.items() if self._parameters[name].grad is not None}
        found = Sizes(self._measured, there)
        self._forget()
        return found

    def changed(self, versions: Mapping[str, int]) -> bool:
        """Whether something was done in place to gradients since they were measured."""
        grads = ((version, self._parameters[name].grad) for name, version in versions.items())
        return any(grad is not None and grad._version != version for version, grad in grads)

    def now(self) -> list[Tensor]:
        """The norms as they are now, a vector or several."""
        grads = {name: p.grad for name, p in self._parameters.items() if p.grad is not None}
        long = [norm(grads.pop(name)) for name in long_ones(grads)]
        return [*([torch.stack(long)] if long else []), *(filled.norms() for _, filled in self._filled(grads))]

    def _forget(self) -> None:
        self._measured, self._versions, self._grown, self._queued = [], {}, {}, False

    def _when_grown(self, name: str) -> Callable[[Tensor], None]:
        def grown(parameter: Tensor) -> None:
            self._grown[name] = None
            if not self._queued:
                self._queued = True
                _at_the_end(self._settle)

        return grown

    def _settle(self) -> None:
        """Runs at the end of a backward pass; DistributedDataParallel takes the mean over processes there too, in a
        callback that it may have asked for later."""
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            _at_the_end(self._measure_all)
        else:
            self._measure_all()

    def _measure_all(self) -> None:
        self._queued = False
        with torch.no_grad():
            self._measure()

    def _measure(self) -> None:
        grads = {name: self._parameters[name].grad for name in self._grown}
        present = {name: grad for name, grad in grads.items() if grad is not None}
        self._grown = {}
        self._versions.update((name, grad._version) for name, grad in present.items())
        found = []
        if long := long_ones(present):
            lengths, sums = zip(*(self._long_sizes(present.pop(name)) for name in long), strict=True)
            found.append(Measured(long, torch.stack(lengths), torch.stack(sums)))
        found += [Measured(names, x.norms(), x.norms(1)) for names, x in self._filled(present)]
        for new in found:
            self._measured = [before for before in self._measured if not {*before.names} <= {*new.names}]
            self._measured.append(new)

    def _long_sizes(self, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """Its norm and the sum of its absolute values."""
        line = in_memory_order(gradient)
        dtype = at_least_float32(line.dtype)
        if self._piece.dtype is not dtype.to_real() or not self._piece.numel():
            self._piece = torch.empty(_PIECE, dtype=dtype.to_real())
        lengths, sums = [], []
        for narrow in torch.split(line, _PIECE):
            piece = narrow.to(dtype)
            lengths.append(norm_parts(piece).reshape(-1))
            sums.append(torch.abs(piece, out=self._piece[: len(piece)]).sum())
        return norm_of(lengths), torch.stack(sums).sum(dtype=torch.float64)

    def _filled(self, grads: Mapping[str, Tensor]) -> Iterator[tuple[list[str], FlatBuffer]]:
        """The buffer, filled with one portion after the other."""
        for names in portions(grads):
            yield names, self._buffer.fill([[grads[name]] for name in names])


def long_ones(tensors: Mapping[str, Tensor]) -> list[str]:
    """Names of those that are better read where they lie."""
    return [name for name, x in tensors.items() if x.numel() > _LONG and x.device.type == "cpu"]


def portions(tensors: Mapping[str, Tensor]) -> list[list[str]]:
    """Their names by portions that lie on one device each and fit in what is near it."""
    found: dict[torch.device, list[list[str]]] = {}
    room: dict[torch.device, int] = {}
    for name, tensor in tensors.items():
        device, size = tensor.device, tensor.numel()
        if size > room.get(device, 0):
            found.setdefault(device, []).append([])
            room[device] = _MOST_NUMBERS if device.type == "cpu" else _MOST_NUMBERS_ON_A_GPU
        found[device][-1].append(name)
        room[device] -= size
    return [portion for each in found.values() for portion in each]


def _at_the_end(callback: Callable[[], None]) -> None:
    """Calls ``callback`` when the backward pass that runs now has ended."""
    torch.autograd.Variable._execution_engine.queue_callback(callback)
