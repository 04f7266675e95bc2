"""When problems began and ended: a bar each over a training's steps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from markupsafe import Markup

from vgharness.display.elements import described, element
from vgharness.formatting import shorten
from vgharness.report.svg.axis import Axis
from vgharness.report.svg.steps import step_ticks

_LONGEST: Final = 44  # characters of a label
_ROW: Final = 29.0
_THICK: Final = 8.0
_BELOW: Final = 34.0


class Span(NamedTuple):
    """One problem.

    text: above its bar.
    began, ended: steps; ``None``: it goes on to the end.
    colour: class of its colour.
    says: all of it, in words.
    """

    text: str
    began: int
    ended: int | None
    colour: str
    says: str


class Timeline(NamedTuple):
    """One chart."""

    title: str
    says: str
    spans: Sequence[Span]
    x: Axis


def draw(chart: Timeline) -> Markup:
    """Draws the chart as wide as there is room."""
    height = _ROW * len(chart.spans)
    marks = [mark for place, span in enumerate(chart.spans) for mark in _span(span, _ROW * place, chart.x)]
    return element(
        "svg",
        described(chart.title, chart.says),
        element("line", class_="grid", x1=0, x2="100%", y1=height, y2=height),
        *marks,
        *step_ticks(chart.x, height),
        class_="timeline",
        width="100%",
        height=height + _BELOW,
        role="img",
    )


def _span(span: Span, top: float, x: Axis) -> Iterable[Markup]:
    """One that goes on has no end; one that came and went in a moment is still seen."""
    start, end = x.at(span.began), 100.0 if span.ended is None else x.at(span.ended)
    start = min(start, 99.4)
    short = shorten(span.text, _LONGEST)
    full = [element("title", span.text)] if short != span.text else []
    yield element("text", short, *full, class_=f"span-name {span.colour}", x=0, y=top + 13)
    yield element(
        "rect",
        element("title", span.says),
        class_=f"span {span.colour}",
        x=f"{start:.2f}%",
        width=f"{max(end - start, 0.6):.2f}%",
        y=top + 17,
        height=_THICK,
    )
