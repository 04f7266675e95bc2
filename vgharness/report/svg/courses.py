"""Lines over a training's steps: a few layers or norms, all the others as an area, what is usual shaded."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Final, NamedTuple

from markupsafe import Markup

from vgharness.display.elements import described, element
from vgharness.formatting import number
from vgharness.report.svg.axis import Axis, apart
from vgharness.report.svg.steps import StepMark, draw_marks, step_ticks

_HEIGHT: Final = 170.0
_TOP: Final = 14.0  # for the numbers of the marks
_BELOW: Final = 32.0
_LABEL: Final = 13.0
_MOST_TICKS: Final = 6


class Course(NamedTuple):
    """One line: ``values`` at ``steps``, NaN where there is none.

    label: beside its last point; empty: that value stands there, with its step where the line ends before others do.
    colour: class of its colour, and of its dashes.
    """

    label: str
    colour: str
    steps: Sequence[int]
    values: Sequence[float]


class Between(NamedTuple):
    """The least and the greatest of many at each step, NaN where there is none."""

    steps: Sequence[int]
    low: Sequence[float]
    high: Sequence[float]


class Courses(NamedTuple):
    """One chart.

    says: what is to be seen, in words.
    between: of lines that are not drawn one by one; ``None``: there are none.
    usual: between what the values usually are; ``None``: nothing is said of it.
    at_one: whether 1 is marked.
    """

    title: str
    says: str
    lines: Sequence[Course]
    x: Axis
    y: Axis
    marks: Sequence[StepMark] = ()
    between: Between | None = None
    usual: tuple[float, float] | None = None
    at_one: bool = False


def draw(chart: Courses) -> Markup:
    """Draws the chart as wide as there is room; its text keeps its size. Its labels reach over its edges: 3 rem on the
    left, 7 rem on the right."""
    marks = [*_usual(chart), *_grid(chart), *step_ticks(chart.x, _TOP + _HEIGHT)]
    marks += draw_marks(chart.marks, chart.x, _TOP, _TOP + _HEIGHT)
    marks += [_stretched("c-plain", _area(chart, chart.between))] if chart.between is not None else []
    marks += [_stretched(line.colour, _line(chart, line)) for line in chart.lines]
    marks += _ends(chart)
    return element(
        "svg",
        described(chart.title, chart.says),
        *marks,
        class_="courses",
        width="100%",
        height=_TOP + _HEIGHT + _BELOW,
        role="img",
    )


def _y(chart: Courses, value: float) -> float:
    return _HEIGHT * (1 - chart.y.at(value) / 100)


def _usual(chart: Courses) -> Iterable[Markup]:
    if chart.usual is not None:
        top, bottom = _y(chart, chart.usual[1]), _y(chart, chart.usual[0])
        yield element("rect", class_="accepted", x=0, width="100%", y=_TOP + top, height=max(bottom - top, 1.0))


def _grid(chart: Courses) -> Iterable[Markup]:
    for tick in chart.y.ticks(_MOST_TICKS):
        y = _TOP + _y(chart, tick)
        yield element("line", class_="one" if chart.at_one and tick == 1 else "grid", x1=0, x2="100%", y1=y, y2=y)
        yield element("text", f"{tick:,g}", class_="tick", x=0, dx=-6, y=y + 4, text_anchor="end")


def _stretched(colour: str, shapes: Iterable[Markup]) -> Markup:
    """To the width that there is; strokes keep theirs."""
    return element(
        "svg",
        *shapes,
        class_=colour,
        viewBox=f"0 0 100 {_HEIGHT:.0f}",
        preserveAspectRatio="none",
        width="100%",
        height=_HEIGHT,
        y=_TOP,
    )


def _line(chart: Courses, line: Course) -> Iterable[Markup]:
    for places in _known_runs(line.values):
        points = [_point(chart, line.steps[place], line.values[place]) for place in places]
        if len(points) == 1:  # a line of its own width, so that it is seen
            points.append(f"{float(points[0].partition(',')[0]) + 0.4:.2f},{points[0].partition(',')[2]}")
        yield element("polyline", class_="mean-line", points=" ".join(points))


def _area(chart: Courses, area: Between) -> Iterable[Markup]:
    for places in _known_runs([low + high for low, high in zip(area.low, area.high, strict=True)]):
        highs = [_point(chart, area.steps[place], area.high[place]) for place in places]
        lows = [_point(chart, area.steps[place], area.low[place]) for place in reversed(places)]
        yield element("polygon", class_="interval-area", points=" ".join([*highs, *lows]))


def _point(chart: Courses, step: int, value: float) -> str:
    return f"{chart.x.at(step):.2f},{_y(chart, value):.1f}"


def _known_runs(values: Sequence[float]) -> Iterable[list[int]]:
    for known, group in groupby(range(len(values)), key=lambda place: not math.isnan(values[place])):
        if known:
            yield list(group)


def _ends(chart: Courses) -> Iterable[Markup]:
    """A label beside the last point of each line, none on another."""
    places = []
    for line in chart.lines:
        known = [place for place, value in enumerate(line.values) if not math.isnan(value)]
        if known:
            last = line.values[known[-1]]
            ended = "" if known[-1] == len(line.values) - 1 else f" at {line.steps[known[-1]]:,}"
            places.append((_y(chart, last), line.label or f"{number(last)}{ended}", line.colour))
    heights = apart([y for y, *_ in places], _LABEL, _HEIGHT)
    for y, (_, text, colour) in zip(heights, places, strict=True):
        yield element("text", text, class_=f"value {colour}", x="100%", dx=8, y=_TOP + y + 4)
