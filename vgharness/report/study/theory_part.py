"""Theory beside measurement: each step's factor as it was measured against what mean field predicts."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from markupsafe import Markup

from vgharness.formatting import number
from vgharness.gradflow.summary import FACTOR
from vgharness.records import LayerPrediction, Run, nan_if_none
from vgharness.report.kinds import Kind, kinds_of
from vgharness.report.study.charts import Table
from vgharness.report.svg.axis import axis_over
from vgharness.report.svg.scatter import Point, Scatter, draw
from vgharness.statistics import scale_of, summarise

_HEADINGS: Final = (
    "network",
    "step toward the input",
    "measured",
    "predicted √χ",
    "twin measured",
    "twin predicted √χ",
    "bound",
)


class Theory(NamedTuple):
    """What the section shows: the finding, the chart and its numbers."""

    finding: str
    drawn: Markup
    table: Table


class _Step(NamedTuple):
    kind: Kind
    factors: LayerPrediction


def theory_of(run: Run) -> Theory | None:
    """The section of ``run``; ``None``: nothing was predicted."""
    steps = [step for kind in kinds_of(run) for step in _steps(kind)]
    points = [point for step in steps for point in _points(step)]
    if not steps:
        return None
    axis = axis_over([value for point in points for value in (point.x, point.y)], logarithmic=True)
    finding = _finding(steps, run)
    says = "across: predicted √χ; up: measured; filled: the network, hollow: its twin with average pools"
    chart = Scatter(
        "Measured against predicted", f"{finding}; {says}", points, axis, axis, "predicted √χ", diagonal=True
    )
    rows = tuple(_row(step) for step in steps)
    return Theory(
        finding, draw(chart), Table("Factors toward the input, geometric means over the seeds", _HEADINGS, rows)
    )


def _steps(kind: Kind) -> list[_Step]:
    predicted = [result.predictions for result in kind.results if result.predictions]
    return [_Step(kind, _mean(layers)) for layers in zip(*predicted, strict=True)] if predicted else []


def _points(step: _Step) -> list[Point]:
    factors, colour = step.factors, f"c-{step.kind.activation}"
    name = f"{step.kind.name}, {factors.above} → {factors.name}"
    pairs = ((factors.predicted, factors.measured, False), (factors.twin_predicted, factors.twin_measured, True))
    return [
        Point(x, y, colour, hollow, f"{name}{' (twin)' if hollow else ''}: predicted {number(x)}, measured {number(y)}")
        for x, y, hollow in pairs
        if x is not None and y is not None and x > 0 and y > 0 and math.isfinite(x) and math.isfinite(y)
    ]


def _finding(steps: Sequence[_Step], run: Run) -> str:
    """How far apart measured and predicted are at the most, and whether the bound held for every seed."""
    points = [point for step in steps for point in _points(step)]
    apart = max((abs(math.log(point.y / point.x)) for point in points), default=0.0)
    text = (
        f"measured and predicted factors differ by ×{number(math.exp(apart))} at the most"
        if points
        else "no prediction"
    )
    measured = [x for result in run.results for x in result.predictions if x.measured is not None]
    broken = sum(nan_if_none(x.measured) > x.bound for x in measured)
    held = f"{broken} of {len(measured)} are over their bound" if broken else "no measured factor is over its bound"
    return f"{text}; {held}"


def _row(step: _Step) -> tuple[str, ...]:
    factors = step.factors
    return (
        step.kind.name,
        f"{factors.above} → {factors.name}",
        number(factors.measured),
        "– (max-pool)" if factors.predicted is None else number(factors.predicted),
        number(factors.twin_measured),
        number(factors.twin_predicted),
        number(factors.bound),
    )


def _mean(seeds: Sequence[LayerPrediction]) -> LayerPrediction:
    def mean(of: Callable[[LayerPrediction], float | None]) -> float:
        return summarise([nan_if_none(of(seed)) for seed in seeds], scale_of(FACTOR)).value

    first = seeds[0]
    return LayerPrediction(
        name=first.name,
        above=first.above,
        measured=mean(lambda seed: seed.measured),
        predicted=None if first.predicted is None else mean(lambda seed: seed.predicted),
        bound=mean(lambda seed: seed.bound),
        twin_measured=mean(lambda seed: seed.twin_measured),
        twin_predicted=mean(lambda seed: seed.twin_predicted),
    )
