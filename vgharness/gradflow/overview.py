"""One measurement in a few values: what a table with a row per measurement shows of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from vgharness.gradflow.diagnosis import Diagnosis, Severity, diagnose, summary
from vgharness.gradflow.path import totals_toward_input
from vgharness.gradflow.summary import FACTOR, SIGNAL, distance_from_one
from vgharness.records import Sample
from vgharness.statistics import scale_of, summarise


class Overview(NamedTuple):
    """Values of one sample, geometric means over its seeds; NaN where there is none.

    first: ‖∂L/∂h‖₂ of the first layer.
    last: of the last layer.
    total: the factor toward the input over the whole path; of several ways that which is farthest from 1.
    factor: per layer, the geometric mean over the layers.
    least: the smallest of all layers' factors.
    most: the greatest.
    diagnosis: what is wrong.
    text: that in words.
    """

    first: float
    last: float
    total: float
    factor: float
    least: float
    most: float
    diagnosis: Diagnosis
    text: str

    @property
    def severity(self) -> Severity | None:
        """Of the most serious problem; None: there is none."""
        return self.diagnosis.problems[0].severity if self.diagnosis.problems else None


def overview_of(sample: Sample) -> Overview:
    """The values of ``sample``."""
    signals = list(sample.values(SIGNAL).values())
    found = [values for values in signals if not all(map(math.isnan, values))] or [(math.nan,)]
    factors = [_mean(values) for values in sample.factors().values()]
    totals = [_mean(values) for values in totals_toward_input(sample).values()]
    diagnosis = diagnose(sample.flows, sample.later)
    return Overview(
        first=_mean(found[0]),
        last=_mean(found[-1]),
        total=max(totals, key=distance_from_one, default=math.nan),
        factor=_mean([flow.factor() if flow.factors() else math.nan for flow in sample.flows]),
        least=min(_finite(factors), default=math.nan),
        most=max(_finite(factors), default=math.nan),
        diagnosis=diagnosis,
        text=summary(diagnosis),
    )


def _mean(values: Sequence[float]) -> float:
    return summarise(values, scale_of(FACTOR)).value


def _finite(values: Iterable[float]) -> list[float]:
    return [value for value in values if not math.isnan(value)]
