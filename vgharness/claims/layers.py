"""One value of a quantity from its values per layer, and the numerical error of that value from the layers' errors."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import pairwise
from typing import Final

import numpy as np

from vgharness.claims.measurement import NotRunError
from vgharness.claims.spec import Layers
from vgharness.records import LayerKey, factors_toward_input, last_passes
from vgharness.statistics import Scale, mean_of

Links = Mapping[LayerKey, tuple[LayerKey, ...]]


def of_layer(values: Mapping[LayerKey, float], name: str) -> float:
    """The value of the layer, or of the pass, of that name: of several backward passes the last, of several forward
    passes the first. Raises :class:`NotRunError` where there is none."""
    last = {str(key._replace(backward_pass=0)): value for key, value in last_passes(values).items()}
    if name not in last:
        raise NotRunError(f"has no layer {name}")
    return last[name]


def of_layers(values: Mapping[LayerKey, float], links: Links, layers: Layers, scale: Scale) -> float:
    """What ``layers`` makes of the values per layer, in forward order; NaN where one that it needs is not finite.

    ``links``: by forward pass, those that it feeds. ``scale``: on which a mean over the layers is taken. Raises
    :class:`NotRunError` where no layer matches, or only one where it takes two.
    """
    chosen = {key: value for key, value in last_passes(values).items() if fnmatchcase(key.name, layers.match)}
    if not chosen:
        raise NotRunError(f"has no layer {layers.match}")
    numbers = list(chosen.values())
    factors = list(factors_toward_input(chosen, links).values())
    if (layers.take == "slope" and len(numbers) < 2) or ("factor" in layers.take and not factors):
        raise NotRunError(f"has one layer {layers.match}; a {layers.take.replace('_', ' ')} needs two")
    if not all(map(math.isfinite, numbers)):
        return math.nan
    if "factor" in layers.take:
        return _factor(layers.take, factors)
    if layers.take == "mean":
        return mean_of(numbers) if scale == "linear" else _geometric_mean(numbers)
    return _TAKES[layers.take](numbers)


def error_of(errors: Sequence[float], layers: Layers | None, value: float) -> float:
    """Bounds the relative error of what ``layers`` makes of values whose relative errors against the exact ones are
    ``errors``, in forward order; of a single layer without ``layers``. ``value``: what was made. Infinite where a part
    may be zero."""
    if not all(map(math.isfinite, errors)) or max(errors) >= 1:
        return math.inf
    take = layers.take if layers else "value"
    pairs = [_ratio_error(a, b) for a, b in pairwise(errors)]
    if take == "factor" and pairs:
        return float(_ratio_error(errors[0], errors[-1]) ** (1 / (len(errors) - 1))) - 1
    if take in ("largest_factor", "least_factor") and pairs:
        return max(pairs) - 1
    if take == "total":
        return _ratio_error(errors[0], errors[-1]) - 1
    if take == "spread":
        return _ratio_error(max(errors), max(errors)) - 1
    if take == "slope":
        # Each logarithm is off by at most that of 1 ÷ (1 − error); a slope weighs them.
        weights = np.abs(_slope_weights(len(errors)))
        off = float(weights @ np.log10(1 / (1 - np.asarray(errors))))
        return off / abs(value) if value else math.inf
    return 1 / (1 - max(errors)) - 1


def _ratio_error(numerator: float, denominator: float) -> float:
    """Bounds the factor by which a ratio is wrong, from the relative errors of its two parts."""
    return (1 + numerator) / (1 - denominator)


def spread(numbers: Sequence[float]) -> float:
    """Greatest ÷ least; NaN where one is not positive."""
    return max(numbers) / min(numbers) if min(numbers) > 0 else math.nan


def _slope(numbers: Sequence[float]) -> float:
    if min(numbers) <= 0 or len(numbers) < 2:
        return math.nan
    return float(_slope_weights(len(numbers)) @ np.log10(numbers))


def _slope_weights(many: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Of the least-squares slope, toward the input: what each layer's value, in forward order, is weighed with."""
    place = np.arange(many, 0, -1.0) - (many + 1) / 2
    return place / max(float(place @ place), 1e-300)


def _factor(take: str, factors: Sequence[float]) -> float:
    # Between two layers that no gradient reached there is no factor: that it is gone, those nearer the output say.
    known = [factor for factor in factors if not math.isnan(factor)]
    if not known or not all(map(math.isfinite, known)):
        return math.nan
    if take == "factor":
        return _geometric_mean(known)
    return max(known) if take == "largest_factor" else min(known)


def _geometric_mean(numbers: Sequence[float]) -> float:
    if min(numbers) < 0:
        return mean_of(numbers)  # a user's own quantity: what can be negative has no logarithm
    return 0.0 if min(numbers) == 0 else math.exp(math.fsum(map(math.log, numbers)) / len(numbers))


_TAKES: Final[dict[str, Callable[[Sequence[float]], float]]] = {
    "total": lambda numbers: numbers[0] / numbers[-1] if numbers[-1] else math.nan,
    "spread": spread,
    "slope": _slope,
    "greatest": max,
    "least": min,
}
