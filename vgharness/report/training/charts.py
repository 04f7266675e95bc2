"""Lines over the steps of one model's training: what its gradients, updates and loss were."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from markupsafe import Markup

from vgharness.formatting import count, escaped, number, shorten
from vgharness.gradflow.summary import FACTOR_HEADING
from vgharness.report.study.charts import Table
from vgharness.report.svg.axis import Axis, axis_over
from vgharness.report.svg.courses import Between, Course, Courses, draw
from vgharness.report.svg.steps import StepMark
from vgharness.report.svg.trail import trail_axis
from vgharness.report.training.names import short_names
from vgharness.report.training.series import UPDATE, USUAL_UPDATES, ModelSeries, beginnings, chosen

_MOST_LINES: Final = 5  # drawn one by one
_LONGEST: Final = 14  # characters of a line's label
_NUMBERS: Final = 12
_SMALLEST, _LARGEST = 1e-30, 1e30


class ChartPart(NamedTuple):
    """One chart as the page shows it. remark: what is to be seen in it."""

    title: str
    remark: str
    drawn: Markup
    numbers: Table


class _Line(NamedTuple):
    label: str
    values: Sequence[float]


class _Plot:
    """What all charts of a model share: its steps, those of them that are drawn, and the marks."""

    def __init__(self, series: ModelSeries, x: Axis, marks: Sequence[StepMark], of: str, most: int) -> None:
        self.series, self.x, self.marks, self.of = series, x, marks, of
        begun = beginnings(series.problems)
        self.places = chosen(series.steps, begun, most)
        self.told = chosen(series.steps, begun, _NUMBERS)

    def part(self, title: str, remark: str, lines: Sequence[_Line], y: Axis, **fields: object) -> ChartPart:
        steps = [self.series.steps[place] for place in self.places]
        short = short_names([line.label for line in lines], _LONGEST)
        drawn = [
            Course(escaped(short[line.label]), f"line-{at}", steps, self.thinned(line.values))
            for at, line in enumerate(lines, 1)
        ]
        chart = Courses(f"{self.of}{title}", remark, drawn, self.x, y, self.marks, **fields)  # type: ignore[arg-type]
        headings = ("step", *(shorten(line.label or title, 60) for line in lines))
        rows = tuple(
            (f"{self.series.steps[place]:,}", *(number(line.values[place]) for line in lines)) for place in self.told
        )
        return ChartPart(title, remark, draw(chart), Table(f"{self.of}{title}", headings, rows))

    def thinned(self, values: Sequence[float]) -> list[float]:
        return [values[place] for place in self.places]


def chart_parts(series: ModelSeries, x: Axis, marks: Sequence[StepMark], of: str, most: int) -> tuple[ChartPart, ...]:
    """Those for which there is something to show.

    of: what titles begin with. most: how many snapshots a line is drawn through.
    """
    if not series.steps:
        return ()
    plot = _Plot(series, x, marks, of, most)
    found = [
        _factor(plot),
        _updates(plot),
        _norms(plot),
        _scalar(plot, "Loss", "of the batch", "loss"),
        _dead_units(plot),
        _scalar(plot, "Loss scale", "of the GradScaler", "loss_scale"),
        _scalar(plot, "Learning rate", "the greatest of the optimizers’ groups", "learning_rates"),
    ]
    return tuple(part for part in found if part is not None)


def _factor(plot: _Plot) -> ChartPart | None:
    values = plot.series.factors()
    if _none(values):
        return None
    title = f"Error signal: {FACTOR_HEADING}"
    remark = "geometric mean over the layers; below 1 it shrinks on its way to the input"
    return plot.part(title, remark, [_Line("", values)], _log_axis([*values, 1.0]), at_one=True)


def _updates(plot: _Plot) -> ChartPart | None:
    layers = plot.series.of_layers(UPDATE)
    if not layers:
        return None
    low, high = USUAL_UPDATES
    lines, between = _some(plot, layers, lambda value: max(low / value, value / high) if value > 0 else math.inf)
    remark = f"‖ΔW‖₂ ÷ ‖W‖₂ of each step; shaded: {low:g} to {high:g}, as it usually is{_others(layers, lines)}"
    axis = _log_axis([x for values in layers.values() for x in values] + [low, high])
    return plot.part("Update ratio of each layer", remark, lines, axis, between=between, usual=USUAL_UPDATES)


def _dead_units(plot: _Plot) -> ChartPart | None:
    layers = plot.series.of_layers("dead_units")
    if not layers:
        return None
    lines, between = _some(plot, layers, lambda value: value)
    remark = f"share of a layer’s units that no sample of the last snapshots moved{_others(layers, lines)}"
    return plot.part(
        "Dead units", remark, lines, axis_over([0.0, *(x for v in layers.values() for x in v), 0.1]), between=between
    )


def _norms(plot: _Plot) -> ChartPart | None:
    total, clipped, greatest = (plot.series.scalars(x) for x in ("total_norm", "clipped_norm", "greatest_norm"))
    is_clipped = any(after < before for before, after in zip(total, clipped, strict=True))
    is_greater = any(a > b for a, b in zip(greatest, total, strict=True))
    named = [("before" if is_clipped else "total" if is_greater else "", total)]
    named += [("after", clipped)] if is_clipped else []
    named += [("greatest", greatest)] if is_greater else []
    lines = [_Line(name, values) for name, values in named if not _none(values)]
    if not lines:
        return None
    remark = "‖∂L/∂θ‖₂ of all parameters"
    remark += ", before and after clipping" if is_clipped else ""
    if is_greater:
        remark += f"; greatest: of the steps since the snapshot before{', after clipping' if is_clipped else ''}"
    return plot.part("Total gradient norm", remark, lines, _log_axis([x for line in lines for x in line.values]))


def _scalar(plot: _Plot, title: str, remark: str, field: str) -> ChartPart | None:
    values = plot.series.scalars(field)
    known = [value for value in values if math.isfinite(value)]
    if not known:
        return None
    return plot.part(title, remark, [_Line("", values)], trail_axis(known))


def _some(plot: _Plot, layers: Mapping[str, Sequence[float]], worth: object) -> tuple[list[_Line], Between | None]:
    """The layers that are drawn one by one: those with problems, then those that at some step were worth most; and of
    all, where there are more, the least and the greatest at each step."""
    named = {problem.layer for problem in plot.series.problems}

    def order(name: str) -> tuple[bool, float]:
        known = [worth(value) for value in layers[name] if math.isfinite(value)]  # type: ignore[operator]
        return name not in named, -max(known, default=0.0)

    worst = sorted(layers, key=order)[:_MOST_LINES]
    lines = [_Line(name, layers[name]) for name in layers if name in worst]
    if len(lines) == len(layers):
        return lines, None
    columns = [[values[place] for values in layers.values() if not math.isnan(values[place])] for place in plot.places]
    low, high = ([end(column) if column else math.nan for column in columns] for end in (min, max))
    return lines, Between([plot.series.steps[place] for place in plot.places], low, high)


def _others(layers: Mapping[str, object], lines: Sequence[_Line]) -> str:
    if len(lines) == len(layers):
        return ""
    return (
        f"; grey: from the least to the greatest of all {count(len(layers), 'layer')}, of which {len(lines)} are drawn"
    )


def _log_axis(values: Iterable[float]) -> Axis:
    """What is exactly zero is drawn at its lower end."""
    known = [min(max(value, _SMALLEST), _LARGEST) for value in values if math.isfinite(value) and value > 0]
    return axis_over(known, logarithmic=True)


def _none(values: Iterable[float]) -> bool:
    return all(map(math.isnan, values))
