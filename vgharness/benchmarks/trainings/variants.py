"""More trainings of the same kinds: other seeds, other steps, other layers, so that rates have intervals."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from vgharness.benchmarks.trainings import HEALTHY, WRONG
from vgharness.benchmarks.trainings.cases import Training, Variant

# In which layers it may go wrong; of those that are not named here, the place does not matter.
_PLACES: Final[Mapping[str, tuple[int, ...]]] = {
    "NaN in the forward pass": (0, 1, 2),
    "NaN in the backward pass": (0, 1, 2),
    "loss scale that collapses": (0, 1, 2),
    "layer that dies": (1, 2),
    "layer the optimizer lacks": (1, 2),
    "branch detached": (0, 1),
    "sigmoid that saturates": (1, 2),
}
_EARLIEST, _LATEST = 35, 95  # step at which it goes wrong


def draw_trainings(count: int, seed: int) -> list[Training]:
    """Draws ``count`` trainings, in turn of each kind, half of which are healthy."""
    random_numbers = random.Random(seed)
    kinds = [training for pair in zip(WRONG, HEALTHY, strict=True) for training in pair]
    drawn = []
    for number in range(count):
        training = kinds[number % len(kinds)]
        variant = Variant(
            seed=random_numbers.randrange(2, 10_000),
            at=random_numbers.randrange(_EARLIEST, _LATEST),
            place=random_numbers.choice(_PLACES.get(training.name, (1,))),
        )
        drawn.append(replace(training, variant=variant))
    return drawn
