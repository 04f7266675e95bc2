"""By how much optimizer steps change weights, from samples of them."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import Final, NamedTuple

from torch import Tensor, nn

from vgharness.probe.norms import FlatBuffer, in_memory_order
from vgharness.watching.gradients import portions

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
        self._kept: list[tuple[list[str], FlatBuffer]] = []
        self._now = FlatBuffer()

    def keep(self) -> None:
        """Takes the samples, of the parameters that are trained."""
        samples = self._samples(self._parameters)
        buffers = [buffer for _, buffer in self._kept]
        self._kept = []
        for number, names in enumerate(portions(samples)):
            buffer = buffers[number] if number < len(buffers) else FlatBuffer()
            self._kept.append((names, buffer.fill([[samples[name]] for name in names])))

    def moved(self) -> list[Moved]:
        """What has become of them since :meth:`keep`; nothing where a parameter is elsewhere now."""
        found = []
        for names, before in self._kept:
            samples = self._samples({name: self._parameters[name] for name in names})
            if len(samples) < len(names) or not before.fits([[samples[name]] for name in names]):
                continue
            was = before.norms()
            now = self._now.fill([[samples[name]] for name in names])
            found.append(Moved(names, was, now.subtract(before).norms()))
        return found

    def _samples(self, parameters: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
        return {name: sample_of(p) for name, p in parameters.items() if p.requires_grad and p.numel()}


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
