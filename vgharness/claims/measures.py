"""What a claim's reading measures: from a run's records to one figure per seed."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Sequence
from functools import cache
from importlib.resources import files
from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np

from vgharness.claims.spec import Claim, ReadingSpec, Subject
from vgharness.records import Architecture, Cell, CellResult, Epoch, GradientFlow, Quantity, Run, SeedValue, nan_if_none
from vgharness.statistics import Interval, distance_interval


class NotRunError(Exception):
    """The run does not hold what a reading needs; the message says what is missing."""


class Measurement(NamedTuple):
    """A reading's figure per seed; its interval where that is not simply the one of their mean; and
    a bound of the relative error that the run's precision may have put into it, where that is known."""

    values: Sequence[SeedValue]
    interval: Interval | None = None
    error: float | None = None


class Evidence:
    """What one reading looks at: a run, seen from one claim and one architecture."""

    def __init__(self, claim: Claim, spec: ReadingSpec, architecture: Architecture, run: Run) -> None:
        self.claim, self.spec, self.architecture, self.run = claim, spec, architecture, run

    @property
    def of(self) -> Subject:
        assert self.spec.of is not None  # ReadingSpec has checked
        return self.spec.of

    @property
    def against(self) -> Subject:
        assert self.spec.against is not None
        return self.spec.against

    def results(self, subject: Subject) -> dict[int, CellResult]:
        """By seed, the cells of ``subject`` by the published recipe. An exception's leave no result."""
        wanted = Cell(architecture=self.architecture, activation=subject.activation, depth=subject.depth, seed=0)
        found = {r.cell.seed: r for r in self.run.results if r.cell.same_network(wanted) and r.status != "failed"}
        if not found:
            raise NotRunError(f"needs {subject} in the {self.architecture} architecture")
        return found

    def per_seed(self, measure: Callable[..., SeedValue | float], *subjects: Subject) -> Measurement:
        """``measure`` of each seed's results, one for each of ``subjects``; seeds that lack what it
        needs are left out. Raises :class:`NotRunError` where that leaves none."""
        columns = [self.results(subject) for subject in subjects]
        values, missing = [], f"needs a seed with both {' and '.join(map(str, subjects))}"
        for seed in sorted(set.intersection(*map(set, columns))):
            try:
                value = measure(*(column[seed] for column in columns))
            except NotRunError as error:
                missing = str(error)
                continue
            values.append(value if isinstance(value, SeedValue) else SeedValue(seed=seed, value=value))
        if not values:
            raise NotRunError(missing)
        return Measurement(values)

    def accuracy(self, result: CellResult) -> float:
        """Test accuracy, percent, meant over the reading's epochs."""
        epochs = self.spec.epoch
        assert epochs is not None
        return float(np.mean([self._test_accuracy(result, n) for n in self._numbers(result, epochs)]))

    def curve(self, result: CellResult) -> list[float]:
        """Test accuracy, percent, after each of the document's epochs."""
        self._numbers(result, "last")
        return [self._test_accuracy(result, n) for n in range(1, self.claim.document_epochs + 1)]

    def flow(self, result: CellResult) -> GradientFlow | None:
        """Of the convolutions, at the reading's moment; ``None`` where the network had diverged before."""
        moment = self.spec.moment
        flow = result.initial
        if moment != "init":
            (number,) = self._numbers(result, "last" if moment == "last" else (1,))
            flow = next((e.flow for e in result.epochs if e.epoch == number), None)
        if flow is None and result.status != "diverged":
            raise NotRunError(f"{result.cell.name} has no gradients from {moment}")
        return flow and flow.select("conv*")

    def _numbers(self, result: CellResult, epochs: tuple[int, ...] | Literal["last"]) -> tuple[int, ...]:
        if epochs != "last":
            return epochs
        if result.cell.epochs < self.claim.document_epochs:
            raise NotRunError(f"needs {self.claim.document_epochs} epochs; trained for {result.cell.epochs}")
        return (self.claim.document_epochs,)

    def _test_accuracy(self, result: CellResult, number: int) -> float:
        for epoch in result.epochs:
            if epoch.epoch == number:
                return accuracy_of(epoch)
        if result.status == "diverged":
            return math.nan
        raise NotRunError(f"{result.cell.name} has no epoch {number}")


def accuracy_of(epoch: Epoch) -> float:
    """Test accuracy, percent; NaN where a loss was not finite: a network of NaN still puts out a class."""
    if epoch.train_loss is None or epoch.test_loss is None:
        return math.nan
    return nan_if_none(epoch.test_accuracy)


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


@cache
def published_curves() -> dict[str, list[dict[str, float]]]:
    """The published plots, read off their pixels: by activation, one row of figures per epoch."""
    curves: dict[str, list[dict[str, float]]] = {}
    text = (files("vgharness.claims") / "document" / "published_curves.csv").read_text(encoding="utf-8")
    for row in csv.DictReader(text.splitlines()):
        curves.setdefault(row.pop("activation"), []).append({key: float(value) for key, value in row.items()})
    return curves


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
    return Measurement(measured.values, Interval(float(np.mean(numbers)), min(numbers), max(numbers), "exact"))


MEASURES: dict[str, Callable[[Evidence], Measurement]] = {
    "accuracy": _accuracy,
    "accuracy_gap": _accuracy_gap,
    "epochs_ratio": _epochs_ratio,
    "factor": _factor,
    "largest_factor": _largest_factor,
    "curve_distance": _curve_distance,
    "table_rows_that_differ": _table_rows_that_differ,
    "parameters": _parameters,
    "differences_but_for_activation": _differences_but_for_activation,
}
