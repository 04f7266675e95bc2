"""The part of a run that one reading of a claim is measured on."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from vgharness.records import Architecture, Cell, CellResult, Epoch, GradientFlow, Run, SeedValue, nan_if_none
from vgharness.statistics import Summary

if TYPE_CHECKING:
    from vgharness.claims.spec import Claim, ReadingSpec, Subject  # which checks its measures by their table


class NotRunError(Exception):
    """The run does not hold what a reading needs; the message says what is missing."""


class Measurement(NamedTuple):
    """What a measure found in a run.

    values: one per seed.
    summary: over the seeds, where that is not simply their mean on the measure's scale; None: it is.
    error: bound of the relative error that the run's precision may have put into it; None: not known.
    """

    values: Sequence[SeedValue]
    summary: Summary | None = None
    error: float | None = None


class Evidence:
    """The results of a run that one reading of a claim speaks of, for one architecture.

    claim: the claim.
    spec: which of its readings.
    architecture: whose cells count.
    run: where they are.
    """

    def __init__(self, claim: Claim, spec: ReadingSpec, architecture: Architecture, run: Run) -> None:
        self.claim, self.spec, self.architecture, self.run = claim, spec, architecture, run

    @property
    def of(self) -> Subject:
        """The networks that the reading is measured of."""
        assert self.spec.of is not None  # ReadingSpec has checked
        return self.spec.of

    @property
    def against(self) -> Subject:
        """The networks that those are compared with."""
        assert self.spec.against is not None
        return self.spec.against

    def results(self, subject: Subject) -> dict[int, CellResult]:
        """Finds, by seed, the results of the cells of ``subject`` that were trained by the published recipe.

        Cells that ended in an exception do not count. Raises :class:`NotRunError` where there are no others.
        """
        wanted = Cell(architecture=self.architecture, activation=subject.activation, depth=subject.depth, seed=0)
        found = {r.cell.seed: r for r in self.run.results if r.cell.same_network(wanted) and r.status != "failed"}
        if not found:
            raise NotRunError(f"needs {subject} in the {self.architecture} architecture")
        return found

    def per_seed(self, measure: Callable[..., SeedValue | float], *subjects: Subject) -> Measurement:
        """Measures each seed: ``measure`` is called with its results, one for each of ``subjects``.

        Seeds that lack what it needs are left out. Raises :class:`NotRunError` where that leaves none.
        """
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
        """Gives the test accuracy, percent, mean over the reading's epochs."""
        epochs = self.spec.epoch
        assert epochs is not None
        return float(np.mean([self._test_accuracy(result, n) for n in self._epoch_numbers(result, epochs)]))

    def curve(self, result: CellResult) -> list[float]:
        """Gives the test accuracy, percent, after each of the document's epochs."""
        self._epoch_numbers(result, "last")
        return [self._test_accuracy(result, n) for n in range(1, self.claim.document_epochs + 1)]

    def flow(self, result: CellResult) -> GradientFlow | None:
        """Finds the convolutions' gradient flow at the reading's moment; None where the network had diverged before."""
        moment = self.spec.moment
        flow = result.initial
        if moment != "init":
            (number,) = self._epoch_numbers(result, "last" if moment == "last" else (1,))
            flow = next((e.flow for e in result.epochs if e.epoch == number), None)
        if flow is None and result.status != "diverged":
            raise NotRunError(f"{result.cell.name} has no gradients from {moment}")
        return flow and flow.select("conv*")

    def _epoch_numbers(self, result: CellResult, epochs: tuple[int, ...] | Literal["last"]) -> tuple[int, ...]:
        """Turns ``last`` into the number of the document's last epoch."""
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
    """Gives the test accuracy, percent; NaN where a loss was not finite, as a network of NaN still puts out a class."""
    if epoch.train_loss is None or epoch.test_loss is None:
        return math.nan
    return nan_if_none(epoch.test_accuracy)
