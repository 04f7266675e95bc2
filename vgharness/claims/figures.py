"""One seed's figure of a reading: its value in one network, or of one network against another."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Final, NamedTuple

import numpy as np

from vgharness.claims.layers import error_of, of_layer, of_layers
from vgharness.claims.measurement import NotRunError
from vgharness.claims.spec import Epochs, Moment, ReadingSpec, Recipe
from vgharness.records import CellResult, Epoch, GradientFlow, LayerKey, LayerPrediction, Sample, nan_if_none


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
    """Reads the figure of one of a session's models."""
    index = sample.seeds.index(seed)
    flow = sample.flows[index]
    if spec.what.kind == "flow":
        return point(nan_if_none(getattr(flow, spec.quantity)))
    name = spec.quantity.removeprefix("custom:")
    if spec.quantity not in sample.quantities and name not in sample.custom:
        raise NotRunError(f"{sample.label} has no {name}")
    column = sample.values(name)
    return point(_of_flow(spec, flow, {layer.key: column[layer.key][index] for layer in flow.layers}))


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
        error = off / abs(value) if value else math.inf
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
    "bound": lambda layer: layer.bound,
    "twin_factor": lambda layer: layer.twin_measured,
    "twin_mean_field_factor": lambda layer: layer.twin_predicted,
}


def _theory(spec: ReadingSpec, result: CellResult) -> float:
    if not result.predictions:
        raise NotRunError(f"{result.cell.name} has no predictions")
    values = {LayerKey(each.name): nan_if_none(_THEORY[spec.quantity](each)) for each in result.predictions}
    value = of_layer(values, spec.layer) if spec.layer is not None else math.nan
    if spec.layers:
        value = of_layers(values, {}, spec.layers)
    if math.isnan(value):
        raise NotRunError(f"theory says nothing of {spec.layer or 'a layer'}: a max-pool lies before the next one")
    return value


def _at(spec: ReadingSpec, result: CellResult, moment: Moment, setting: Setting) -> float:
    """The value at one moment; NaN where the network had diverged before it."""
    number = _number(result, moment, setting.recipe)
    epoch = next((each for each in result.epochs if each.epoch == number), None)
    if epoch is not None and spec.what.kind == "epoch":
        value = _of_epoch(epoch, spec.quantity)
        return value + setting.shift if spec.what.unit == "%" else value
    flow = epoch.flow if epoch is not None else result.initial if number == 0 else None
    if flow is None:
        if result.status == "diverged":
            return math.nan
        raise NotRunError(f"{result.cell.name} has no {f'epoch {number}' if number else 'gradients at initialisation'}")
    if spec.what.kind == "flow":
        return nan_if_none(getattr(flow, spec.quantity))
    return _of_flow(spec, flow, {layer.key: nan_if_none(getattr(layer, spec.quantity)) for layer in flow.layers})


def _number(result: CellResult, moment: Moment, recipe: Recipe) -> int:
    """The epoch of a moment; 0 at initialisation."""
    if moment == "last":
        return recipe.epochs or result.cell.epochs
    return 0 if moment == "init" else int(moment)


def _of_flow(spec: ReadingSpec, flow: GradientFlow, values: Mapping[LayerKey, float]) -> float:
    if spec.layer is not None:
        return of_layer(values, spec.layer)
    assert spec.layers is not None
    return of_layers(values, flow.select(spec.layers.match).links(), spec.layers)


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
    first, last = (_number(result, moment, setting.recipe) for moment in over.epochs)
    values = [_at(spec, result, number, setting) for number in range(first, last + 1)]
    if not all(map(math.isfinite, values)):
        return point(math.nan)
    value = _TAKE_EPOCHS[over.take](values)
    grain = 0.0 if over.take == "spread" else _grain(spec, value, setting)
    return point(value, grain=grain)


_TAKE_EPOCHS: Final[dict[str, Callable[[Sequence[float]], float]]] = {
    "mean": lambda values: float(np.mean(values)),
    "spread": lambda values: max(values) / min(values) if min(values) > 0 else math.nan,
    "greatest": max,
    "least": min,
}


def _grain(spec: ReadingSpec, value: float, setting: Setting) -> float:
    """Of an accuracy on n images: the standard deviation of a share of n, in points."""
    if spec.what.unit != "%" or not math.isfinite(value):
        return 0.0
    images = setting.test_images if spec.quantity == "test_accuracy" else setting.train_images
    # With half an image added to either side: 0 and 100 % are not without scatter.
    share = (min(max(value / 100, 0.0), 1.0) * images + 0.5) / (images + 1)
    return 100 * math.sqrt(share * (1 - share) / images)


def _numerical_error(
    spec: ReadingSpec, result: CellResult, moment: Moment, recipe: Recipe, value: float
) -> float | None:
    """Of a gradient quantity, at the moment of the reading; ``None`` where that was not measured."""
    if not spec.what.has_error:
        return None
    number = _number(result, moment, recipe)
    layers = next((each.layers for each in result.numerics if each.epoch == number), None)
    match = spec.layer if spec.layer is not None else spec.layers.match if spec.layers else "*"
    errors = [nan_if_none(getattr(x, spec.quantity)) for x in layers or () if fnmatchcase(x.name, match)]
    return error_of(errors, spec.layers, value) if errors else None
