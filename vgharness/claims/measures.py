"""The measures that a claim's readings can ask for: each turns a run's records into one value per seed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from vgharness.claims.evidence import Evidence, Measurement, NotRunError, accuracy_of
from vgharness.claims.published import published_curves
from vgharness.records import CellResult, Quantity, SeedValue, nan_if_none
from vgharness.statistics import Scale, Summary, distance_interval

if TYPE_CHECKING:
    from vgharness.claims.spec import Subject


def _accuracy(evidence: Evidence) -> Measurement:
    """Test accuracy, percent."""
    return evidence.per_seed(evidence.accuracy, evidence.of)


def _accuracy_gap(evidence: Evidence) -> Measurement:
    """Difference of two networks' test accuracies, in points, within each seed."""

    def gap(of: CellResult, against: CellResult) -> float:
        return evidence.accuracy(of) - evidence.accuracy(against)

    return evidence.per_seed(gap, evidence.of, evidence.against)


def _epochs_ratio(evidence: Evidence) -> Measurement:
    """Ratio of two networks' epochs until their test accuracies first exceed the threshold.

    A network that never did would have taken at least one epoch more than it was trained for, which bounds the ratio
    from one side.
    """
    threshold = nan_if_none(evidence.spec.threshold)

    def reach(result: CellResult) -> tuple[int, bool]:
        if not result.epochs:
            raise NotRunError(f"{result.cell.name} was not trained")
        first = next((e.epoch for e in result.epochs if accuracy_of(e) > threshold), None)
        return (first, True) if first is not None else (len(result.epochs) + 1, False)

    def ratio(of: CellResult, against: CellResult) -> SeedValue:
        (slow, slow_reached), (quick, quick_reached) = reach(of), reach(against)
        seed, value = of.cell.seed, slow / quick
        if any(r.status == "diverged" and not hit for r, hit in ((of, slow_reached), (against, quick_reached))):
            return SeedValue(seed=seed, value=math.nan)
        # An upper bound of the ratio decides only where it is too small already.
        if not quick_reached and (not slow_reached or value >= evidence.spec.accept.low):
            return SeedValue(seed=seed, value=None, at_least=True)
        return SeedValue(seed=seed, value=value, at_least=not slow_reached)

    return evidence.per_seed(ratio, evidence.of, evidence.against)


def _factor(evidence: Evidence) -> Measurement:
    """Geometric mean of the factors toward the input of a gradient quantity."""

    def factor(result: CellResult, quantity: Quantity) -> float:
        flow = evidence.flow(result)
        return math.nan if flow is None else flow.factor(quantity)

    def error(errors: Sequence[float]) -> float:
        return float(_ratio_error(errors[0], errors[-1]) ** (1 / (len(errors) - 1))) - 1

    return _of_gradients(evidence, factor, error)


def _largest_factor(evidence: Evidence) -> Measurement:
    """Largest factor toward the input of a gradient quantity: below 1 the quantity shrinks at every layer."""

    def largest(result: CellResult, quantity: Quantity) -> float:
        flow = evidence.flow(result)
        factors = flow.factors(quantity) if flow else (math.nan,)
        return math.nan if any(map(math.isnan, factors)) else max(factors)

    def error(errors: Sequence[float]) -> float:
        return max(_ratio_error(a, b) for a, b in pairwise(errors)) - 1

    return _of_gradients(evidence, largest, error)


def _of_gradients(
    evidence: Evidence,
    measure: Callable[[CellResult, Quantity], float],
    error: Callable[[Sequence[float]], float],
) -> Measurement:
    """Measures each seed's gradients, with the worst numerical error over the seeds.

    measure: called with a result and the reading's quantity.
    error: called with the relative errors of the convolutions' gradients; gives that of what is measured.
    """
    quantity = evidence.spec.quantity
    assert quantity is not None
    measured = evidence.per_seed(lambda result: measure(result, quantity), evidence.of)
    errors = []
    for result in evidence.results(evidence.of).values():
        layers = [nan_if_none(getattr(x, quantity)) for x in result.numerics if x.name.startswith("conv")]
        if len(layers) > 1:
            errors.append(error(layers) if all(map(math.isfinite, layers)) else math.inf)
    return measured._replace(error=max(errors, default=None))


def _ratio_error(numerator: float, denominator: float) -> float:
    """Bounds the factor by which a ratio is wrong, from the relative errors of its two parts."""
    return (1 + numerator) / (1 - denominator) if denominator < 1 else math.inf


def _curve_distance(evidence: Evidence) -> Measurement:
    """Mean over the epochs of |mean over the seeds − published|, in points of test accuracy.

    The values per seed are the distances of the seeds' own curves.
    """
    published = np.array([row["test_accuracy_percent"] for row in published_curves()[evidence.of.activation]])
    curves: list[list[float]] = []

    def distance(result: CellResult) -> float:
        curve = evidence.curve(result)
        curves.append(curve)
        return float(np.abs(np.array(curve) - published).mean())

    measured = evidence.per_seed(distance, evidence.of)
    if len(curves) < 2 or not np.isfinite(curves).all():
        return measured
    return Measurement(measured.values, distance_interval(np.array(curves), published))


# The README's table: channels, and the height = width that each convolution's block passes through.
_TABLE = {"1": (32, (32,)), "2": (64, (32,)), "3": (128, (16, 8)), "4": (128, (4,))}
_TABLE_LINEAR = (("flatten", (128 * 4 * 4,)), ("fc", (10,)))


def _table_rows_that_differ(evidence: Evidence) -> Measurement:
    """Number of rows of the README's table of layers that a network does not have."""

    def differing(result: CellResult) -> float:
        shapes = {layer.name: layer.shape for layer in result.layers}
        rows = sum(shapes.get(name) != shape for name, shape in _TABLE_LINEAR)
        for block, (channels, sizes) in _TABLE.items():
            passed = [shape for name, shape in shapes.items() if name.endswith(block)]
            rows += not all((channels, size, size) in passed for size in sizes)
        return rows

    return _exact(evidence, differing)


def _parameters(evidence: Evidence) -> Measurement:
    """Number of trained numbers."""
    return _exact(evidence, lambda result: math.nan if result.parameters is None else result.parameters)


def _differences_but_for_activation(evidence: Evidence) -> Measurement:
    """Number of layers in which two networks differ, activations aside, and one more for other initial weights."""

    def differences(a: CellResult, b: CellResult) -> float:
        ours, theirs = ([(x.name, x.kind if "act" not in x.name else "φ", x.shape) for x in r.layers] for r in (a, b))
        return len(set(ours) ^ set(theirs)) + (a.initial_weights_sha256 != b.initial_weights_sha256)

    return _exact(evidence, differences, evidence.of, evidence.against)


def _exact(evidence: Evidence, measure: Callable[..., float], *subjects: Subject) -> Measurement:
    """Measures a count that does not depend on the seed: all seeds must agree, and one is enough."""
    if len(evidence.run.data.classes) != 10:
        raise NotRunError(f"needs ten classes; the images have {len(evidence.run.data.classes)}")
    measured = evidence.per_seed(measure, *(subjects or (evidence.of,)))
    numbers = [nan_if_none(value.value) for value in measured.values]
    return Measurement(measured.values, Summary(float(np.mean(numbers)), min(numbers), max(numbers), "exact"))


class Measure(NamedTuple):
    """Something that a reading of a claim can measure.

    read: called with the evidence; gives the measurement.
    needs: names of the fields that a reading must have for it.
    scale: on which its values are averaged over the seeds.
    shown_in: file name of the figure that shows it on the page; None: no figure does.
    """

    read: Callable[[Evidence], Measurement]
    needs: tuple[str, ...]
    scale: Scale = "linear"
    shown_in: str | None = None


_CURVES, _GRADIENTS = "loss_acc_comparison.png", "grad_norms_per_layer.png"
MEASURES: Final[dict[str, Measure]] = {
    "accuracy": Measure(_accuracy, ("of", "epoch"), shown_in=_CURVES),
    "accuracy_gap": Measure(_accuracy_gap, ("of", "against", "epoch"), shown_in=_CURVES),
    "epochs_ratio": Measure(_epochs_ratio, ("of", "against", "threshold"), "log", _CURVES),
    "factor": Measure(_factor, ("of", "quantity", "moment"), "log", _GRADIENTS),
    "largest_factor": Measure(_largest_factor, ("of", "quantity", "moment"), "log", _GRADIENTS),
    "curve_distance": Measure(_curve_distance, ("of",), shown_in=_CURVES),
    "table_rows_that_differ": Measure(_table_rows_that_differ, ("of",)),
    "parameters": Measure(_parameters, ("of",)),
    "differences_but_for_activation": Measure(_differences_but_for_activation, ("of", "against")),
}
