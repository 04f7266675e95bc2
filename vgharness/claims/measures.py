"""What the readings of claims measure: from a run's records to one value per seed."""

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
    return evidence.per_seed(evidence.accuracy, evidence.of)


def _accuracy_gap(evidence: Evidence) -> Measurement:
    def gap(of: CellResult, against: CellResult) -> float:
        return evidence.accuracy(of) - evidence.accuracy(against)

    return evidence.per_seed(gap, evidence.of, evidence.against)


def _epochs_ratio(evidence: Evidence) -> Measurement:
    """Epochs until the test accuracy first exceeds the threshold. A network that never did would have
    taken at least one epoch more than it was trained for, which bounds the ratio from one side."""
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
        # From above a bound decides only where even it is too small.
        if not quick_reached and (not slow_reached or value >= evidence.spec.accept.low):
            return SeedValue(seed=seed, value=None, at_least=True)
        return SeedValue(seed=seed, value=value, at_least=not slow_reached)

    return evidence.per_seed(ratio, evidence.of, evidence.against)


def _factor(evidence: Evidence) -> Measurement:
    def factor(result: CellResult, quantity: Quantity) -> float:
        flow = evidence.flow(result)
        return math.nan if flow is None else flow.factor(quantity)

    def error(errors: Sequence[float]) -> float:
        return float(_ratio_error(errors[0], errors[-1]) ** (1 / (len(errors) - 1))) - 1

    return _of_gradients(evidence, factor, error)


def _largest_factor(evidence: Evidence) -> Measurement:
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
    """``measure`` per seed; ``error`` of it from the errors of the convolutions, the worst over the seeds."""
    quantity = evidence.spec.quantity
    assert quantity is not None
    measured = evidence.per_seed(lambda result: measure(result, quantity), evidence.of)
    errors = []
    for result in evidence.results(evidence.of).values():
        layers = [nan_if_none(getattr(x, quantity)) for x in result.numerics if x.name.startswith("conv")]
        if len(layers) > 1:
            errors.append(error(layers) if all(map(math.isfinite, layers)) else math.inf)
    return measured._replace(error=max(errors, default=None))


def _ratio_error(over: float, under: float) -> float:
    """By what a ratio can be wrong, as a factor, if its two parts are by these relative errors."""
    return (1 + over) / (1 - under) if under < 1 else math.inf


def _curve_distance(evidence: Evidence) -> Measurement:
    """Mean over the epochs of |mean over the seeds − published|; the seeds' own values are of their curves."""
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
    def differing(result: CellResult) -> float:
        shapes = {layer.name: layer.shape for layer in result.layers}
        rows = sum(shapes.get(name) != shape for name, shape in _TABLE_LINEAR)
        for block, (channels, sizes) in _TABLE.items():
            passed = [shape for name, shape in shapes.items() if name.endswith(block)]
            rows += not all((channels, size, size) in passed for size in sizes)
        return rows

    return _exact(evidence, differing)


def _parameters(evidence: Evidence) -> Measurement:
    return _exact(evidence, lambda result: math.nan if result.parameters is None else result.parameters)


def _differences_but_for_activation(evidence: Evidence) -> Measurement:
    def differences(a: CellResult, b: CellResult) -> float:
        ours, theirs = ([(x.name, x.kind if "act" not in x.name else "φ", x.shape) for x in r.layers] for r in (a, b))
        return len(set(ours) ^ set(theirs)) + (a.initial_weights_sha256 != b.initial_weights_sha256)

    return _exact(evidence, differences, evidence.of, evidence.against)


def _exact(evidence: Evidence, measure: Callable[..., float], *subjects: Subject) -> Measurement:
    """A count that no seed changes: every seed must agree, and one is enough."""
    if len(evidence.run.data.classes) != 10:
        raise NotRunError(f"needs ten classes; the images have {len(evidence.run.data.classes)}")
    measured = evidence.per_seed(measure, *(subjects or (evidence.of,)))
    numbers = [nan_if_none(value.value) for value in measured.values]
    return Measurement(measured.values, Summary(float(np.mean(numbers)), min(numbers), max(numbers), "exact"))


class Measure(NamedTuple):
    """What a reading of a claim can measure.

    read: the measurement.
    needs: names of the fields of a reading that say of what it is taken.
    scale: on which its values are averaged over the seeds.
    shown_in: the figure of the page that shows it; None: no figure does.
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
