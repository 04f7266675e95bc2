"""One seed's figure of a reading: its value in one network, or of one network against another."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import pairwise
from typing import Final, NamedTuple

from vgharness.claims.layers import error_of, of_layer, of_layers, spread
from vgharness.claims.measurement import NotRunError
from vgharness.claims.spec import Epochs, Moment, ReadingSpec, Recipe
from vgharness.records import (
    CellResult,
    Epoch,
    GradientFlow,
    LayerGradient,
    LayerKey,
    LayerPrediction,
    Sample,
    nan_if_none,
    quotient,
)
from vgharness.statistics import mean_of, percent_grain


class Figure(NamedTuple):
    """What one seed's network shows.

    value: NaN where the network diverged or the value is not finite.
    low: the least that the true value can be; equal to ``value`` where the figure is not coarse.
    high: the most.
    error: bound of its relative numerical error; ``None``: not known.
    grain: its standard deviation as far as the figure cannot resolve it, in its own unit.
    """

    value: float
    low: float
    high: float
    error: float | None = None
    grain: float = 0.0


def point(value: float, error: float | None = None, grain: float = 0.0) -> Figure:
    """A figure whose value is what it is."""
    return Figure(value, value, value, error, grain)


class Setting(NamedTuple):
    """What a figure of a cell depends on beside the cell.

    recipe: of the document.
    shift: points that are added to every accuracy.
    train_images: how many there are to train on.
    test_images: how many there are to test on.
    """

    recipe: Recipe
    shift: float
    train_images: int
    test_images: int


def of_cell(spec: ReadingSpec, result: CellResult, setting: Setting) -> Figure:
    """Reads a cell's figure. Raises :class:`NotRunError` where its result lacks what the reading needs."""
    kind = spec.what.kind
    if kind == "count":
        return point(_count(spec, result))
    if kind == "theory":
        return point(_theory(spec, result))
    if spec.passes:
        return _first_epoch(spec, result, setting)
    if spec.over:
        return _over_epochs(spec, spec.over, result, setting)
    assert spec.at is not None
    value = _at(spec, result, spec.at, setting)
    return point(value, _numerical_error(spec, result, spec.at, setting.recipe, value), _grain(spec, value, setting))


def of_sample(spec: ReadingSpec, sample: Sample, seed: int) -> Figure:
    """Reads the figure of one of a session's models. Raises :class:`NotRunError` where the measurement lacks it."""
    index = sample.seeds.index(seed)
    flow = sample.flows[index]
    if not spec.is_custom:
        return point(_of_flow(spec, flow, sample.label))
    if spec.what.words not in sample.custom:
        raise NotRunError(f"{sample.label} has no quantity {spec.what.words}")
    column = sample.values(spec.what.words)
    return point(_of_layers(spec, flow, {layer.key: column[layer.key][index] for layer in flow.layers}))


def curve_of(result: CellResult, spec: ReadingSpec, setting: Setting) -> tuple[float, ...]:
    """The values of an epoch's quantity after each of the recipe's epochs."""
    epochs = setting.recipe.epochs or 0
    return tuple(_at(spec, result, number, setting) for number in range(1, epochs + 1))


def ratio(of: Figure, against: Figure) -> Figure:
    """``of`` ÷ ``against``."""
    if not _finite(of, against) or against.value == 0:
        return point(math.nan)
    low = of.low / against.high if against.high else math.nan
    high = of.high / against.low if against.low else math.inf
    error = None
    if of.error is not None and against.error is not None:
        error = (1 + of.error) * (1 + against.error) - 1
    value = of.value / against.value
    shares = [part.grain / abs(part.value) for part in (of, against) if part.value]
    return Figure(value, low if math.isfinite(low) else 0.0, high, error, abs(value) * math.hypot(*shares))


def difference(of: Figure, against: Figure) -> Figure:
    """``of`` − ``against``."""
    if not _finite(of, against):
        return point(math.nan)
    value, error = of.value - against.value, None
    if of.error is not None and against.error is not None:
        off = of.error * abs(of.value) + against.error * abs(against.value)
        error = off / abs(value) if value and math.isfinite(off) else math.inf
    return Figure(value, of.low - against.high, of.high - against.low, error, math.hypot(of.grain, against.grain))


def network_differences(spec: ReadingSpec, of: CellResult, against: CellResult) -> Figure:
    """Counts the layers in which two networks differ, and one more for other initial weights."""

    def rows(result: CellResult) -> set[tuple[str, str, tuple[int, ...]]]:
        ignored = spec.ignoring or ""
        return {(x.name, "" if fnmatchcase(x.name, ignored) else x.kind, x.shape) for x in result.layers}

    weights = of.initial_weights_sha256 != against.initial_weights_sha256
    return point(float(len(rows(of) ^ rows(against)) + weights))


def _finite(*figures: Figure) -> bool:
    return all(math.isfinite(figure.value) for figure in figures)


def _count(spec: ReadingSpec, result: CellResult) -> float:
    if spec.quantity == "parameters":
        return math.nan if result.parameters is None else float(result.parameters)
    assert spec.rows is not None
    missing = 0
    for row in spec.rows:
        there = {layer.shape for layer in result.layers if fnmatchcase(layer.name, row.layers)}
        missing += not there.issuperset(row.shapes)
    return float(missing)


_THEORY: Final[dict[str, Callable[[LayerPrediction], float | None]]] = {
    "mean_field_factor": lambda layer: layer.predicted,
    "chi": lambda layer: None if layer.predicted is None else layer.predicted**2,
    "mean_field_ratio": lambda layer: quotient(nan_if_none(layer.measured), nan_if_none(layer.predicted)),
    "bound": lambda layer: layer.bound,
    "twin_factor": lambda layer: layer.twin_measured,
    "twin_mean_field_factor": lambda layer: layer.twin_predicted,
    "twin_mean_field_ratio": lambda layer: quotient(nan_if_none(layer.twin_measured), layer.twin_predicted),
}


def _theory(spec: ReadingSpec, result: CellResult) -> float:
    """Theory's word on a layer's factor, or what is made of several: of all of them the product is its total."""
    read = _THEORY[spec.quantity]
    values = {LayerKey(each.name): nan_if_none(read(each)) for each in result.predictions}
    if not values:
        raise NotRunError(f"{result.cell.name} has no predictions")
    if spec.layers is None:
        value = of_layer(values, str(spec.layer))
    else:
        value = of_layers(values, {}, spec.layers, spec.what.scale)
        if spec.layers.take == "total":
            value = math.prod(value for key, value in values.items() if fnmatchcase(key.name, spec.layers.match))
    if math.isnan(value):
        raise NotRunError(f"theory says nothing of {spec.layer or 'a layer'}: a max-pool lies before the next one")
    return value


def _at(spec: ReadingSpec, result: CellResult, moment: Moment, setting: Setting) -> float:
    """The value at one moment; NaN where the network had diverged before it."""
    number = _number(result, moment, setting.recipe)
    epoch = next((each for each in result.epochs if each.epoch == number), None)
    if epoch is not None and spec.what.kind == "epoch":
        value = _of_epoch(epoch, spec.quantity)
        return min(value + setting.shift, 100.0) if spec.what.unit == "%" else value
    flow = epoch.flow if epoch is not None else result.initial if number == 0 else None
    if flow is not None:
        return _of_flow(spec, flow, result.cell.name)
    if result.status == "diverged":
        return math.nan
    raise NotRunError(f"{result.cell.name} has no {f'epoch {number}' if number else 'gradients at initialisation'}")


def _number(result: CellResult, moment: Moment, recipe: Recipe) -> int:
    """The epoch of a moment; 0 at initialisation."""
    if moment == "last":
        return recipe.epochs or result.cell.epochs
    return 0 if moment == "init" else int(moment)


def _of_flow(spec: ReadingSpec, flow: GradientFlow, name: str) -> float:
    """NaN where the value is not finite. Raises :class:`NotRunError` where it was not measured: of a layer that is
    frozen or that no gradient reached there is none. ``name``: whose flow it is."""
    if spec.what.kind == "flow":
        value = getattr(flow, spec.quantity)
        if value is None:
            raise NotRunError(f"{name} has no {spec.what.words}")
        return float(value)
    read = [layer for layer in flow.last_passes() if _is_read(spec, layer)]
    lacking = [layer for layer in read if not _is_measured(spec, layer)]
    # Shares of units are only where there is an activation: one layer with a share is enough.
    if lacking and (spec.what.has_error or len(lacking) == len(read)):
        why = "" if lacking[0].state == "ok" else f", which is {lacking[0].state}"
        raise NotRunError(f"{name} has no {spec.what.words} of {lacking[0].key}{why}")
    measured = [layer for layer in flow.last_passes() if _is_measured(spec, layer)]
    return _of_layers(spec, flow, {layer.key: nan_if_none(getattr(layer, spec.quantity)) for layer in measured})


def _is_measured(spec: ReadingSpec, layer: LayerGradient) -> bool:
    return getattr(layer, spec.quantity) is not None or layer.state == "nonfinite" or spec.quantity in layer.nonfinite


def _is_read(spec: ReadingSpec, layer: LayerGradient) -> bool:
    if spec.layers is not None:
        return fnmatchcase(layer.name, spec.layers.match)
    return str(layer.of_forward_pass) == spec.layer


def _of_layers(spec: ReadingSpec, flow: GradientFlow, values: Mapping[LayerKey, float]) -> float:
    if spec.layers is None:
        return of_layer(values, str(spec.layer))
    return of_layers(values, flow.select(spec.layers.match).links(), spec.layers, spec.what.scale)


def _of_epoch(epoch: Epoch, quantity: str) -> float:
    """NaN where a loss was not finite, as a network of NaN still puts out a class."""
    if epoch.train_loss is None or epoch.test_loss is None:
        return math.nan
    return nan_if_none(getattr(epoch, quantity))


def _first_epoch(spec: ReadingSpec, result: CellResult, setting: Setting) -> Figure:
    """The epoch in which the quantity first passes the threshold: that lies between the end of the epoch before and its
    own end; in a network that never passes it, after the last."""
    assert spec.passes is not None
    if not result.epochs:
        raise NotRunError(f"{result.cell.name} was not trained")
    for epoch in result.epochs:
        if spec.passes.by(_at(spec, result, epoch.epoch, setting)):
            return Figure(float(epoch.epoch), float(epoch.epoch - 1), float(epoch.epoch))
    if result.status == "diverged":
        return point(math.nan)
    return Figure(float(len(result.epochs)), float(len(result.epochs)), math.inf)


def _over_epochs(spec: ReadingSpec, over: Epochs, result: CellResult, setting: Setting) -> Figure:
    first, last = (_number(result, moment, setting.recipe) for moment in over.ends)
    values = [_at(spec, result, number, setting) for number in range(first, last + 1)]
    if len(values) < (2 if over.take == "rises" else 1):
        raise NotRunError(f"{result.cell.name} has too few epochs from {first} on")
    if not all(map(math.isfinite, values)):
        return point(math.nan)
    value = TAKE_EPOCHS[over.take](values)
    return point(value, grain=_grain(spec, value, setting))


# What is made of a quantity's values, one after the other.
TAKE_EPOCHS: Final[dict[str, Callable[[Sequence[float]], float]]] = {
    "mean": mean_of,
    "spread": spread,
    "greatest": max,
    "least": min,
    "rises": lambda values: mean_of([float(after > before) for before, after in pairwise(values)]),
}


def _grain(spec: ReadingSpec, value: float, setting: Setting) -> float:
    """Of an accuracy: what so many images cannot resolve, in points."""
    is_accuracy = spec.what.unit == "%" and not (spec.over and spec.over.take in ("spread", "rises"))
    if not is_accuracy or not math.isfinite(value):
        return 0.0
    images = setting.test_images if spec.quantity == "test_accuracy" else setting.train_images
    return percent_grain(value, images)


def _numerical_error(
    spec: ReadingSpec, result: CellResult, moment: Moment, recipe: Recipe, value: float
) -> float | None:
    """Of a gradient quantity, at the moment of the reading; ``None`` where that was not measured of each layer that is
    read."""
    if not spec.what.has_error:
        return None
    number = _number(result, moment, recipe)
    measured = next((each.layers for each in result.numerics if each.epoch == number), ())
    known = {layer.name: nan_if_none(getattr(layer, spec.quantity)) for layer in measured}
    epoch = next((each for each in result.epochs if each.epoch == number), None)
    flow = epoch.flow if epoch is not None else result.initial
    read = [layer.name for layer in flow.last_passes() if _is_read(spec, layer)] if flow is not None else []
    if not read or not known.keys() >= set(read):
        return None
    return error_of([known[name] for name in read], spec.layers, value)
