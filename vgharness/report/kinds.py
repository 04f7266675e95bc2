"""A run's networks by kind, what is the same for all seeds, and what was measured of a kind from epoch to epoch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

import numpy as np

from vgharness.records import Activation, Cell, CellResult, Epoch, GradientFlow, Quantity, Reading, Run, nan_if_none
from vgharness.statistics import CONFIDENCE, Array, Scale, Summary, grain_on, mean_of, percent_grain, summarise

CONVOLUTIONS: Final = "conv*"


class Kind(NamedTuple):
    """Networks that differ in nothing but their seed and how long they were trained.

    settings: all that sets them apart but the activation, in words: ``script, depth 6``.
    activation: theirs.
    results: one per seed that was begun.
    """

    settings: str
    activation: Activation
    results: tuple[CellResult, ...]

    @property
    def name(self) -> str:
        """``sigmoid (script, depth 6)``."""
        return f"{self.activation} ({self.settings})"

    @property
    def cell(self) -> Cell:
        """The cell of the first of them."""
        return self.results[0].cell

    @property
    def trained(self) -> tuple[CellResult, ...]:
        """Those that finished an epoch."""
        return tuple(result for result in self.results if result.epochs)


def kinds_of(run: Run) -> tuple[Kind, ...]:
    """All kinds of network in ``run``, in the order in which they first come."""
    found: dict[tuple[str, Activation], list[CellResult]] = {}
    for result in run.results:
        found.setdefault((result.cell.settings, result.cell.activation), []).append(result)
    return tuple(Kind(settings, activation, tuple(x)) for (settings, activation), x in found.items())


def by_settings(kinds: Iterable[Kind]) -> dict[str, tuple[Kind, ...]]:
    """The same by what they have in common: each with one kind per activation."""
    found: dict[str, list[Kind]] = {}
    for kind in kinds:
        found.setdefault(kind.settings, []).append(kind)
    return {settings: tuple(group) for settings, group in found.items()}


def trained_groups(run: Run) -> dict[str, tuple[Kind, ...]]:
    """The kinds of which something was trained, by their settings."""
    return by_settings(kind for kind in kinds_of(run) if kind.trained)


class Series(NamedTuple):
    """One value of one kind of network, moment by moment.

    kind: of network.
    first: the epoch of the first moment; 0: the first batch at the initial weights.
    seeds: by seed its values, NaN where one was not finite; a training that stopped has fewer.
    means: at each moment that all seeds reached, the mean over them and its interval.
    """

    kind: Kind
    first: int
    seeds: dict[int, list[float]]
    means: list[Summary]

    @property
    def last(self) -> int:
        """The last epoch that all seeds reached."""
        return self.first + len(self.means) - 1

    def at(self, epoch: int) -> Summary | None:
        """The mean at an epoch; ``None``: not all reached it, or it was not measured then."""
        place = epoch - self.first
        return self.means[place] if 0 <= place < len(self.means) else None

    def values_at(self, epoch: int) -> dict[int, float]:
        """Each seed's value at an epoch."""
        place = epoch - self.first
        return {seed: values[place] for seed, values in self.seeds.items() if 0 <= place < len(values)}


def series_of(kind: Kind, value: Callable[[Epoch], float | None], scale: Scale, images: int = 0) -> Series:
    """A value of each epoch of the trained networks. ``images``: how many an accuracy is a percentage of."""
    seeds = {result.cell.seed: [nan_if_none(value(epoch)) for epoch in result.epochs] for result in kind.trained}
    return _series(kind, 1, seeds, scale, images)


def flow_series(kind: Kind, value: Callable[[GradientFlow], float], confidence: float = CONFIDENCE) -> Series:
    """A value of the gradients of the convolutions: at the initial weights, where all have those, then of each
    epoch. ``confidence``: of the means' intervals."""
    first, flows = _flows(kind)
    seeds = {seed: [value(flow) for flow in own] for seed, own in flows.items()}
    return _series(kind, first, seeds, "log", confidence=confidence)


def factor_series(kind: Kind, quantity: Quantity, confidence: float = CONFIDENCE) -> Series:
    """The factor toward the input per layer, of the convolutions. ``confidence``: of the means' intervals."""
    return flow_series(kind, lambda flow: flow.factor(quantity) if len(flow.layers) > 1 else math.nan, confidence)


def readings_of(run: Run, kind: Kind) -> Iterable[tuple[str, Reading]]:
    """The deciding readings of networks of this kind alone, each with its claim."""
    for verdict in run.verdicts:
        for reading in verdict.readings:
            if not reading.context and (reading.networks, reading.activation) == (kind.settings, kind.activation):
                yield verdict.claim, reading


def layer_series(kind: Kind, quantity: Quantity) -> dict[str, Series]:
    """By the name of each convolution, in forward order, the quantity of its gradient; of a trained kind."""
    first, flows = _flows(kind)
    values = {
        seed: [[nan_if_none(getattr(layer, quantity)) for layer in flow.last_passes()] for flow in own]
        for seed, own in flows.items()
    }
    names = [layer.name for layer in flows[kind.trained[0].cell.seed][-1].last_passes()]
    return {
        name: _series(kind, first, {seed: [row[place] for row in rows] for seed, rows in values.items()}, "log")
        for place, name in enumerate(names)
    }


def _flows(kind: Kind) -> tuple[int, dict[int, list[GradientFlow]]]:
    """The epoch of the first moment that all trained networks have, and by seed the convolutions' gradients from it
    on."""
    first = 0 if all(result.initial is not None for result in kind.trained) else 1
    found = {}
    for result in kind.trained:
        initial = [result.initial] if first == 0 and result.initial is not None else []
        found[result.cell.seed] = [convolutions(flow) for flow in (*initial, *(epoch.flow for epoch in result.epochs))]
    return first, found


def convolutions(flow: GradientFlow) -> GradientFlow:
    """Only the convolutions; all layers of a network that has none of that name."""
    chosen = flow.select(CONVOLUTIONS)
    return chosen if chosen.layers else flow


def heatmaps_of(kind: Kind) -> list[Array]:
    """The maps of the seeds that have one."""
    return [np.array(result.heatmap) for result in kind.results if result.heatmap]


def numerical_errors(run: Run, *quantities: Quantity) -> list[float]:
    """The errors of those quantities' gradients, of every network, moment and layer; NaN where one was not finite."""
    return [
        nan_if_none(getattr(layer, quantity))
        for result in run.results
        for moment in result.numerics
        for layer in moment.layers
        for quantity in quantities
    ]


def initial_factors(kind: Kind) -> dict[int, float]:
    """By seed the factor toward the input per layer of the error signal at the initial weights."""
    return {
        result.cell.seed: convolutions(result.initial).factor()
        for result in kind.results
        if result.initial is not None and len(convolutions(result.initial).layers) > 1
    }


def _series(
    kind: Kind,
    first: int,
    seeds: dict[int, list[float]],
    scale: Scale,
    images: int = 0,
    confidence: float = CONFIDENCE,
) -> Series:
    shortest = min(map(len, seeds.values()), default=0)
    moments = [[values[place] for values in seeds.values()] for place in range(shortest)]
    return Series(kind, first, seeds, [summary_of(values, scale, images, confidence) for values in moments])


def summary_of(values: Sequence[float], scale: Scale, images: int = 0, confidence: float = CONFIDENCE) -> Summary:
    """The mean over the seeds and its interval. ``images``: how many an accuracy is a percentage of."""
    return summarise(values, scale, _grain(values, scale, images), confidence)


def _grain(values: Sequence[float], scale: Scale, images: int) -> float:
    """Of accuracies, as claims take it: what so many images cannot resolve."""
    if not images or not all(map(math.isfinite, values)):
        return 0.0
    grains = [percent_grain(value, images) for value in values]
    return grain_on(scale, mean_of(values), mean_of(grains))
