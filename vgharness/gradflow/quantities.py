"""Which quantities a sample has, and their values: those of its layers, and the factor of its whole flow."""

from __future__ import annotations

import math

from vgharness.gradflow.summary import FACTOR
from vgharness.records import LAYER_QUANTITIES, LayerKey, Sample
from vgharness.statistics import scale_of


def measured_quantities(sample: Sample) -> tuple[str, ...]:
    """The sample's quantities, and those that are finite for no seed."""
    flagged = {name for flow in sample.flows for layer in flow.layers for name in layer.nonfinite}
    return tuple(dict.fromkeys((*sample.quantities, *sorted(flagged & set(LAYER_QUANTITIES)))))


def values_of(sample: Sample, quantity: str) -> dict[LayerKey | None, tuple[float, ...]]:
    """Of each layer, one value per seed, NaN where there is none; of the factor, which is the whole flow's, by None."""
    if quantity == FACTOR:
        return {None: tuple(flow.factor() if flow.factors() else math.nan for flow in sample.flows)}
    if quantity in sample.custom or quantity in LAYER_QUANTITIES:
        return dict(sample.values(quantity).items())
    return dict.fromkeys(sample.keys, (math.nan,) * len(sample.seeds))  # a user's own, which this sample lacks


def is_share(quantity: str) -> bool:
    """Whether it is a share of units, from 0 to 1, and not a size."""
    return scale_of(quantity) != "log"


def is_measured(sample: Sample, quantity: str, key: LayerKey | None = None) -> bool:
    """Whether some layer, or the one of that ``key``, has a value for some seed, finite or not."""
    return quantity in sample.custom or any(
        quantity in layer.nonfinite or getattr(layer, quantity, None) is not None
        for flow in sample.flows
        for layer in flow.layers
        if key is None or layer.key == key
    )


def has_factor(sample: Sample) -> bool:
    """Whether some flow has two layers one of which feeds the other."""
    return any(flow.factors() for flow in sample.flows)
