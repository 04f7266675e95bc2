"""A study's run → its key values by seed: what is followed from one run to the next."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

from vgharness.gradflow.summary import FACTOR
from vgharness.records import CellResult, Count, Name, Record, Run, SeedValue, nan_if_none
from vgharness.report.kinds import Kind, convolutions, initial_factors, kinds_of

ACCURACY: Final = "test accuracy"
CONVOLUTIONS: Final = "convolutions"
NETWORK: Final = "the network"


class KeyValue(Record):
    """One key value of one kind of network.

    of: the kind's name.
    layer: of which layers.
    quantity: what, and at which moment.
    images: how many an accuracy is a percentage of; 0: it is none.
    values: one per seed.
    """

    of: Name
    layer: Name
    quantity: Name
    images: Count = 0
    values: tuple[SeedValue, ...]

    def by_seed(self) -> dict[int, float]:
        """Each seed's value, NaN where it was not finite."""
        return {each.seed: nan_if_none(each.value) for each in self.values}


def key_values(run: Run) -> Iterator[KeyValue]:
    """Of each kind of network the factor toward the input per layer of its convolutions' error signal at
    initialisation, the same over the last epoch, and the test accuracy after that; of the trainings that were
    finished."""
    for kind in kinds_of(run):
        if initial := initial_factors(kind):
            yield _value(kind, CONVOLUTIONS, f"{FACTOR} at initialisation", initial)
        lasts = _last_factors(kind)
        for epoch, factors in lasts.items():
            yield _value(kind, CONVOLUTIONS, f"{FACTOR} over epoch {epoch}", factors)
        for epoch, accuracies in _accuracies(kind).items():
            quantity = f"{ACCURACY} after epoch {epoch}, %"
            yield _value(kind, NETWORK, quantity, accuracies, images=run.data.test_images)


def _last_factors(kind: Kind) -> dict[int, dict[int, float]]:
    """By the number of epochs, by seed."""
    found: dict[int, dict[int, float]] = {}
    for result in _finished(kind):
        flow = convolutions(result.epochs[-1].flow)
        if len(flow.layers) > 1:
            found.setdefault(len(result.epochs), {})[result.cell.seed] = flow.factor()
    return found


def _accuracies(kind: Kind) -> dict[int, dict[int, float]]:
    found: dict[int, dict[int, float]] = {}
    for result in _finished(kind):
        if (accuracy := result.epochs[-1].test_accuracy) is not None:
            found.setdefault(len(result.epochs), {})[result.cell.seed] = accuracy
    return found


def _finished(kind: Kind) -> list[CellResult]:
    return [result for result in kind.trained if result.status == "finished"]


def _value(kind: Kind, layer: str, quantity: str, by_seed: dict[int, float], images: int = 0) -> KeyValue:
    values = tuple(
        SeedValue(seed=seed, value=value if math.isfinite(value) else None) for seed, value in by_seed.items()
    )
    return KeyValue(of=kind.name, layer=layer, quantity=quantity, images=images, values=values)
