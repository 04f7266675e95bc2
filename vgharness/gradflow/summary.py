"""A sample's layers, each summarised over the seeds: what every table of it shows, in whatever form."""

from __future__ import annotations

from collections import Counter
from typing import Final, NamedTuple

from vgharness.records import LAYER_QUANTITIES, LayerKey, Sample
from vgharness.statistics import Summary, scale_of, summarise

FACTOR: Final = "factor"  # the name of the factor toward the input, of the error signal, where quantities are named
FACTOR_HEADING: Final = "factor toward the input"
SIGNAL: Final = "signal_l2"


class LayerSummary(NamedTuple):
    """One layer of a sample over its seeds.

    key: which layer and pass.
    state: its state; where seeds differ, each with the number of seeds: ``ok (3), zero (2)``.
    values: a summary by quantity.
    factor: the factor toward the input of the error signal, from the next layer to this one; None where this layer is
        the last, or a later backward pass through it counts.
    """

    key: LayerKey
    state: str
    values: dict[str, Summary]
    factor: Summary | None

    @property
    def signal(self) -> Summary:
        return self.values[SIGNAL]


def layer_summaries(sample: Sample) -> tuple[LayerSummary, ...]:
    """A row for each layer and pass, in forward order."""
    quantities = dict.fromkeys((*LAYER_QUANTITIES, *sample.quantities))
    values = {name: sample.values(name) for name in quantities}
    factors = factor_summaries(sample)
    return tuple(
        LayerSummary(
            key=key,
            state=_state(sample, key),
            values={name: summarise(values[name][key], scale_of(name)) for name in quantities},
            factor=factors.get(key),
        )
        for key in sample.keys
    )


def factor_summaries(sample: Sample, quantity: str = SIGNAL) -> dict[LayerKey, Summary]:
    """The factor toward the input of ``quantity``, by the layer nearer the input."""
    return {key: summarise(factors, scale_of(FACTOR)) for (key, _), factors in sample.factors(quantity).items()}


def _state(sample: Sample, key: LayerKey) -> str:
    counts = Counter(layer.state for flow in sample.flows for layer in flow.layers if layer.key == key)
    return next(iter(counts)) if len(counts) == 1 else ", ".join(f"{state} ({n})" for state, n in counts.items())
