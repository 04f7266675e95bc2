"""Points of two values on one logarithmic scale, beside the line on which both are equal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from markupsafe import Markup

from vgharness.display.elements import described, element
from vgharness.report.svg.axis import Axis

_HEIGHT: Final = 240.0
_BELOW: Final = 38.0


class Point(NamedTuple):
    """One point.

    colour: class of its colour.
    hollow: whether it is drawn so.
    says: what it is, in words.
    """

    x: float
    y: float
    colour: str
    hollow: bool
    says: str


class Scatter(NamedTuple):
    """A chart of points.

    diagonal: whether the line of equal values is drawn; both axes are then the same.
    """

    title: str
    says: str
    points: Sequence[Point]
    x: Axis
    y: Axis
    x_name: str
    diagonal: bool = False


def draw(chart: Scatter) -> Markup:
    """Draws the chart as wide as there is room; the name of its upright axis stands outside it."""
    marks = [*_grid(chart)]
    if chart.diagonal:
        marks.append(element("line", class_="one", x1=0, y1=_HEIGHT, x2="100%", y2=0))
    for point in chart.points:
        kind = "dot hollow" if point.hollow else "dot"
        marks.append(
            element(
                "circle",
                element("title", point.says),
                class_=f"{kind} {point.colour}",
                cx=f"{chart.x.at(point.x):.1f}%",
                cy=_HEIGHT * (1 - chart.y.at(point.y) / 100),
                r=4,
            )
        )
    return element(
        "svg",
        described(chart.title, chart.says),
        *marks,
        class_="scatter",
        width="100%",
        height=_HEIGHT + _BELOW,
        role="img",
    )


def _grid(chart: Scatter) -> Iterable[Markup]:
    for tick in chart.y.ticks(5):
        y = _HEIGHT * (1 - chart.y.at(tick) / 100)
        yield element("line", class_="grid", x1=0, x2="100%", y1=y, y2=y)
        yield element("text", f"{tick:,g}", class_="tick", x=0, dx=-6, y=y + 4, text_anchor="end")
    for tick in chart.x.ticks(5):
        yield element(
            "text", f"{tick:,g}", class_="tick", x=f"{chart.x.at(tick):.1f}%", y=_HEIGHT + 15, text_anchor="middle"
        )
    yield element("text", chart.x_name, class_="tick", x="50%", y=_HEIGHT + 32, text_anchor="middle")
