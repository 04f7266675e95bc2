"""By how much optimizer steps change weights, from samples of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn

from vgharness.probe.norms import FlatBuffer, in_memory_order
from vgharness.watching.gradients import portions

# Of one parameter, evenly spread over it. The ratio of two norms over so many is right to a third of a percent where
# elements are of one kind; a copy of everything would double what a large model's weights take.
_MOST_ELEMENTS: Final = 2**16


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
    """At most ``_MOST_ELEMENTS`` of its elements, evenly spread."""
    line = in_memory_order(tensor)
    step = -(-line.numel() // _MOST_ELEMENTS)
    while step > 1 and math.gcd(step, line.numel()) > 1:  # one that divides a row would take the same columns of each
        step += 1
    return line[::step] if step > 1 else line


def sampled_share(numel: int) -> float:
    """How large a share of a parameter of so many elements is in its sample."""
    return len(sample_of(torch.empty(numel, device="meta"))) / numel
