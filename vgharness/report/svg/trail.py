"""A value over saved runs, one after the other: a point each with its interval, a line through them, changes marked."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from markupsafe import Markup

from vgharness.display.elements import described, element
from vgharness.formatting import number
from vgharness.report.svg.axis import Axis, axis_over

_LEAST_RATIO: Final = 5.0
_LEAST_SPAN: Final = 0.2  # of a linear axis, as a share of the values
_LABEL: Final = 11.0  # height of one
_EDGE: Final = 2.0  # percent of the width that the first and the last point stand from its ends


class Stop(NamedTuple):
    """The value of one run; NaN: it has none.

    low, high: ends of its interval; ``None``: there is none.
    hollow: whether its point is drawn so.
    mark: what stands at a change, such as its commit; ``None``: it is none.
    says: what it is, in words; empty: its point is drawn with all the others, without a word.
    """

    value: float
    low: float | None = None
    high: float | None = None
    hollow: bool = False
    mark: str | None = None
    says: str = ""


class Trail(NamedTuple):
    """One chart.

    title: what it shows.
    says: what is to be seen, in words.
    colour: class of its colour.
    y: the axis of its values.
    height: in pixels.
    ticks: how many there are at the most; 0: it has none, and the last value stands beside its end instead.
    """

    title: str
    says: str
    stops: Sequence[Stop]
    colour: str
    y: Axis
    height: float
    ticks: int = 0


def trail_axis(values: Sequence[float]) -> Axis:
    """The axis of ``values``: logarithmic where they are positive and span so much that a linear one would hide the
    small ones."""
    logarithmic = bool(values) and min(values) > 0 and max(values) > _LEAST_RATIO * min(values)
    if values and not logarithmic:  # what hardly differs is not to look as if it did
        middle = (min(values) + max(values)) / 2
        values = [*values, middle * (1 - _LEAST_SPAN / 2), middle * (1 + _LEAST_SPAN / 2)]
    return axis_over(values, logarithmic=logarithmic)


def draw(chart: Trail) -> Markup:
    """Draws the chart as wide as there is room. Its labels reach over its edges: on the left 3 rem with ticks, on the
    right 3 rem without."""
    marks = [*_ticks(chart), *_changes(chart)]
    marks.append(
        element(
            "svg",
            *_shapes(chart),
            viewBox=f"0 0 100 {chart.height:.0f}",
            preserveAspectRatio="none",
            width="100%",
            height=chart.height,
        )
    )
    marks += [*_spoken(chart), *_end(chart)]
    return element(
        "svg",
        described(chart.title, chart.says),
        *marks,
        class_=f"trail {chart.colour}",
        width="100%",
        height=chart.height,
        role="img",
    )


def _x(chart: Trail, place: int) -> float:
    if len(chart.stops) == 1:
        return 50.0
    return _EDGE + (100 - 2 * _EDGE) * place / (len(chart.stops) - 1)


def _y(chart: Trail, value: float) -> float:
    return chart.height * (1 - chart.y.at(value) / 100)


def _known(chart: Trail) -> list[tuple[int, Stop]]:
    return [(place, stop) for place, stop in enumerate(chart.stops) if math.isfinite(stop.value)]


def _ticks(chart: Trail) -> Iterable[Markup]:
    for tick in chart.y.ticks(chart.ticks) if chart.ticks else ():
        y = _y(chart, tick)
        yield element("line", class_="grid", x1=0, x2="100%", y1=y, y2=y)
        yield element("text", f"{tick:,g}", class_="tick", x=0, dx=-6, y=y + 4, text_anchor="end")


def _changes(chart: Trail) -> Iterable[Markup]:
    """Labels of two that follow each other stand at two heights, so that they do not touch."""
    lower = False
    for place, stop in enumerate(chart.stops):
        if stop.mark is not None:
            x = _x(chart, place)
            yield element("line", class_="one", x1=f"{x:.1f}%", x2=f"{x:.1f}%", y1=0, y2=chart.height)
            if stop.mark:
                anchor, dx = ("end", -4) if x > 60 else ("start", 4)
                y = 9 + _LABEL * lower
                lower = not lower
                yield element("text", stop.mark, class_="tick", x=f"{x:.1f}%", dx=dx, y=y, text_anchor=anchor)


def _shapes(chart: Trail) -> Iterable[Markup]:
    """What needs no words of its own, as few elements; strokes keep their width."""
    known = [(_x(chart, place), _y(chart, stop.value), stop) for place, stop in _known(chart)]
    if len(known) > 1:
        yield element("polyline", class_="through", points=" ".join(f"{x:.2f},{y:.1f}" for x, y, _ in known))
    bars = [
        f"M{x:.2f} {_y(chart, stop.high):.1f}V{_y(chart, stop.low):.1f}"
        for x, _, stop in known
        if stop.low is not None and stop.high is not None
    ]
    if bars:
        yield element("path", class_="bars", d="".join(bars))
    dots = [f"M{x:.2f} {y:.1f}h0.001" for x, y, stop in known if not stop.says]
    if dots:
        yield element("path", class_="dots", d="".join(dots))


def _spoken(chart: Trail) -> Iterable[Markup]:
    for place, stop in _known(chart):
        if stop.says:
            yield element(
                "circle",
                element("title", stop.says),
                class_="dot hollow" if stop.hollow else "dot",
                cx=f"{_x(chart, place):.1f}%",
                cy=_y(chart, stop.value),
                r=3.5,
            )


def _end(chart: Trail) -> Iterable[Markup]:
    known = _known(chart)
    if known and not chart.ticks:
        place, stop = known[-1]
        y = _y(chart, stop.value)
        yield element("circle", class_="dot", cx=f"{_x(chart, place):.1f}%", cy=y, r=3.5)
        yield element("text", number(stop.value), class_="value", x="100%", dx=6, y=min(max(y + 4, 10), chart.height))
