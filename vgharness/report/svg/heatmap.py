"""Layers × steps, a level of colour each: how a quantity went in every layer at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Final, NamedTuple

from markupsafe import Markup

from vgharness.display.elements import described, element
from vgharness.report.svg.axis import Axis
from vgharness.report.svg.steps import StepMark, draw_marks, step_ticks

LONGEST_NAME: Final = 20  # characters
_ROW: Final = 16.0
_TOP: Final = 14.0  # for the numbers of the marks
_BELOW: Final = 34.0
_WIDE: Final = 1000  # units of the stretched part


class HeatRow(NamedTuple):
    """One layer.

    short: what stands beside the row.
    levels: at each column the class of its colour; empty: nothing was measured there.
    text: its last value.
    colour: class of its name's colour.
    """

    name: str
    short: str
    levels: Sequence[str]
    text: str
    colour: str = "c-plain"


class Heatmap(NamedTuple):
    """One chart.

    steps: at which each column begins.
    x: the axis of the steps, on which the last column ends.
    heading: of the last values.
    """

    title: str
    says: str
    rows: Sequence[HeatRow]
    steps: Sequence[int]
    x: Axis
    marks: Sequence[StepMark]
    heading: str


def draw(chart: Heatmap) -> Markup:
    """Draws the chart as wide as there is room; what surrounds it leaves room at the left for names of
    :data:`LONGEST_NAME` characters, and at the right for a number."""
    bottom = _TOP + _ROW * len(chart.rows)
    cells = element(
        "svg",
        *_cells(chart),
        viewBox=f"0 0 {_WIDE} {len(chart.rows)}",
        preserveAspectRatio="none",
        width="100%",
        height=_ROW * len(chart.rows),
        y=_TOP,
    )
    marks = [cells, *draw_marks(chart.marks, chart.x, _TOP, bottom), *step_ticks(chart.x, bottom)]
    marks.append(element("text", chart.heading, class_="tick heat-value", x="100%", dx=8, y=_TOP - 3))
    for place, row in enumerate(chart.rows):
        y = _TOP + _ROW * place + 12
        full = [element("title", row.name)] if row.short != row.name else []
        marks += [
            element("text", row.short, *full, class_=f"layer {row.colour}", x=0, dx=-8, y=y, text_anchor="end"),
            element("text", row.text, class_="heat-value", x="100%", dx=8, y=y),
        ]
    return element(
        "svg",
        described(chart.title, chart.says),
        *marks,
        class_="heatmap",
        width="100%",
        height=bottom + _BELOW,
        role="img",
    )


def _cells(chart: Heatmap) -> Iterable[Markup]:
    """One path for each level, so that a map of thousands of cells is small."""
    ends = [round(_WIDE * chart.x.at(step) / 100) for step in (*chart.steps, chart.x.high)]
    parts: dict[str, list[str]] = {}
    for top, row in enumerate(chart.rows):
        for level, group in groupby(range(len(row.levels)), key=lambda column: row.levels[column]):
            columns = list(group)
            start, width = ends[columns[0]], ends[columns[-1] + 1] - ends[columns[0]]
            if level and width:
                parts.setdefault(level, []).append(f"M{start} {top}h{width}v1h-{width}z")
    for level, shapes in parts.items():
        yield element("path", class_=level, d="".join(shapes))
