"""By how much optimizer steps change weights, from samples of them."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn

from vgharness.probe.norms import at_least_float32, in_memory_order

# Of one parameter, evenly spread over it: all where it is small, and one of so many at least where few of many rows may
# move, as of an embedding. The ratio of two norms over so many is right to half a percent where elements are of one
# kind; a copy of everything would double what a large model's weights take, and read memory at every step.
_ENOUGH: Final = 2**14
_ONE_OF: Final = 256


class Moved(NamedTuple):
    """How far parameters have moved, one number for each of ``names``.

    was: norm of the sample before.
    by: norm of what was added to it since.
    """

    names: list[str]
    was: Tensor
    by: Tensor


class WeightSamples:
    """Keeps a sample of each parameter's elements, to see later how far they have moved."""

    def __init__(self, parameters: Mapping[str, nn.Parameter]) -> None:
        self._parameters = dict(parameters)
        self._kept: dict[str, Tensor] = {}
        self._samples: dict[str, Tensor] = {}  # views of the weights, while a step is taken

    def keep(self) -> None:
        """Takes the samples, of the parameters that are trained."""
        samples = {name: sample_of(p) for name, p in self._parameters.items() if p.requires_grad and p.numel()}
        self._samples = samples
        kept = [self._place(name, sample) for name, sample in samples.items()]
        self._kept = dict(zip(samples, kept, strict=True))
        with torch.no_grad():
            if kept:
                torch._foreach_copy_(kept, list(samples.values()))

    def moved(self) -> list[Moved]:
        """What has become of them since :meth:`keep`; nothing where a parameter is elsewhere now."""
        samples = {name: self._sample_now(name) for name in self._kept}
        self._samples = {}
        by_kind: dict[tuple[torch.device, torch.dtype], list[str]] = {}
        for name, was in self._kept.items():
            if _fits(was, samples[name]):
                by_kind.setdefault((was.device, was.dtype), []).append(name)
        found = []
        with torch.no_grad():
            for names in by_kind.values():
                before = [self._kept[name] for name in names]
                by = torch._foreach_sub([samples[name] for name in names], before)
                found.append(Moved(names, _norms(before), _norms(by)))
        return found

    def _sample_now(self, name: str) -> Tensor:
        """The view is still one of the weights, unless their memory is another."""
        before, parameter = self._samples.get(name), self._parameters[name]
        same = before is not None and before.data_ptr() == parameter.data_ptr() and before.dtype == parameter.dtype
        return before if before is not None and same else sample_of(parameter)

    def _place(self, name: str, sample: Tensor) -> Tensor:
        """Where it is kept: where it was last time, if it still fits there."""
        was = self._kept.get(name)
        if was is not None and _fits(was, sample):
            return was
        return torch.empty(sample.shape, dtype=at_least_float32(sample.dtype), device=sample.device)


def _fits(kept: Tensor, sample: Tensor) -> bool:
    return (kept.shape, kept.dtype, kept.device) == (sample.shape, at_least_float32(sample.dtype), sample.device)


def _norms(samples: Sequence[Tensor]) -> Tensor:
    """Of samples of one type."""
    return torch.stack(torch._foreach_norm(list(samples)))


def sample_of(tensor: Tensor) -> Tensor:
    """Some of its elements, evenly spread; of up to ``_ENOUGH`` all."""
    step = _step(tensor.numel())
    line = in_memory_order(tensor)
    return line if step == 1 else line[::step]


def sampled_share(numel: int) -> float:
    """How large a share of a parameter of so many elements is in its sample."""
    return -(-numel // _step(numel)) / numel


@functools.cache
def _step(numel: int) -> int:
    step = min(-(-numel // _ENOUGH), _ONE_OF)
    while step > 1 and math.gcd(step, numel) > 1:  # one that divides a row would take the same columns of each
        step += 1
    return max(step, 1)
