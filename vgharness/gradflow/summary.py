"""A sample's layers and parameters, each summarised over the seeds: what every table of it shows, in whatever form."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from vgharness.display.text import FACTOR_HEADING as FACTOR_HEADING
from vgharness.records import (
    LAYER_QUANTITIES,
    LayerGradient,
    LayerKey,
    ParameterGradient,
    Sample,
    State,
    TimePath,
    nan_if_none,
)
from vgharness.statistics import Summary, scale_of, summarise

FACTOR: Final = "factor"  # the name of the factor toward the input, of the error signal, where quantities are named
SIGNAL: Final = "signal_l2"
OUTPUT_QUANTITIES: Final = ("output_rms", "output_zeros")  # of the forward pass: shown, but neither judged nor compared


def distance_from_one(factor: float) -> float:
    """How far a factor is from 1, by ratio; NaN, 0 and infinity are farthest."""
    return abs(math.log(factor)) if math.isfinite(factor) and factor > 0 else math.inf


class ParameterSummary(NamedTuple):
    """One parameter of a layer over the seeds.

    name: in ``model.named_parameters()``.
    state: as a layer's; ``unused``: it asks for a gradient and gets none.
    l2: ‖∂L/∂p‖₂.
    """

    name: str
    state: str
    l2: Summary


class LayerSummary(NamedTuple):
    """One layer of a sample over its seeds.

    key: which layer and pass.
    state: its state; where seeds differ, each with the number of seeds: ``ok (3), zero (2)``.
    values: a summary by quantity.
    factor: the factor toward the input of the error signal, from the layers that this one feeds to this one; None where
        it feeds none, or a later backward pass through it counts.
    feeds: the forward passes that it feeds in some seed, in forward order; None where that was not followed.
    parameters: its own.
    """

    key: LayerKey
    state: str
    values: dict[str, Summary]
    factor: Summary | None
    feeds: tuple[LayerKey, ...] | None
    parameters: tuple[ParameterSummary, ...]

    @property
    def signal(self) -> Summary:
        return self.values[SIGNAL]


def layer_summaries(sample: Sample) -> tuple[LayerSummary, ...]:
    """A row for each layer and pass, in forward order."""
    quantities = dict.fromkeys((*LAYER_QUANTITIES, *OUTPUT_QUANTITIES, *sample.quantities))
    values = {name: sample.values(name) for name in quantities}
    factors = factor_summaries(sample)
    rows: dict[LayerKey, list[LayerGradient]] = {}
    for flow in sample.flows:
        for layer in flow.layers:
            rows.setdefault(layer.key, []).append(layer)
    order = {key: place for place, key in enumerate(sample.keys)}
    return tuple(
        LayerSummary(
            key=key,
            state=_counted(layer.state for layer in rows[key]),
            values={name: summarise(values[name][key], scale_of(name)) for name in quantities},
            factor=factors.get(key),
            feeds=_feeds(rows[key], order),
            parameters=_parameters(rows[key]),
        )
        for key in sample.keys
    )


def factor_summaries(sample: Sample, quantity: str = SIGNAL) -> dict[LayerKey, Summary]:
    """The factor toward the input of ``quantity``, by the layer nearer the input."""
    return {key: summarise(factors, scale_of(FACTOR)) for (key, _), factors in sample.factors(quantity).items()}


def paths_through_time(sample: Sample) -> dict[tuple[str, str, int], tuple[TimePath, ...]]:
    """The paths through time of all seeds that have it, by module, part of it, and the how-manieth run of the module
    that has one."""
    found: dict[tuple[str, str, int], tuple[TimePath, ...]] = {}
    for flow in sample.flows:
        runs: Counter[tuple[str, str]] = Counter()
        for path in flow.through_time:
            key = (path.layer, path.part, runs[path.layer, path.part])
            found[key] = (*found.get(key, ()), path)
            runs[path.layer, path.part] += 1
    return found


def _counted(states: Iterable[str]) -> str:
    counts = Counter(states)
    return next(iter(counts)) if len(counts) == 1 else ", ".join(f"{state} ({n})" for state, n in counts.items())


def _feeds(rows: Iterable[LayerGradient], order: Mapping[LayerKey, int]) -> tuple[LayerKey, ...] | None:
    followed = [layer.feeds for layer in rows if layer.feeds is not None]
    found = {key for feeds in followed for key in feeds}
    return tuple(sorted(found, key=lambda key: order.get(key, len(order)))) if followed else None


def _parameters(rows: Iterable[LayerGradient]) -> tuple[ParameterSummary, ...]:
    found: dict[str, list[ParameterGradient]] = {}
    for layer in rows:
        for parameter in layer.parameters:
            found.setdefault(parameter.name, []).append(parameter)
    return tuple(
        ParameterSummary(
            name=name,
            state=_counted(map(_state, seeds)),
            l2=summarise([nan_if_none(parameter.l2) for parameter in seeds], scale_of("weight_l2")),
        )
        for name, seeds in found.items()
    )


def _state(parameter: ParameterGradient) -> State:
    if parameter.frozen:
        return "frozen"
    if parameter.l2 is None:
        return "nonfinite" if "l2" in parameter.nonfinite else "unused"
    return "ok" if parameter.l2 > 0 else "zero"
