"""A history → one self-contained HTML page: a small chart for each value, with its changes and their commits."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Final, NamedTuple

from vgharness.formatting import moment, number, relative_change, span
from vgharness.report.history import ACCURACY, History, Point, Series
from vgharness.report.templates import environment
from vgharness.system.files import write_text

WIDTH: Final = 640
HEIGHT: Final = 120
_EDGE: Final = 12.0


class _Mark(NamedTuple):
    """A point of the chart, in pixels; ``high`` and ``low`` are the ends of its interval."""

    x: float
    y: float
    high: float
    low: float
    point: Point
    shown: str


class _Chart(NamedTuple):
    """One series: its points, the line through them, and its changes in words."""

    series: Series
    marks: tuple[_Mark, ...]
    line: str
    rows: tuple[tuple[str, ...], ...]


def write_history_page(found: History, page: Path) -> Path:
    """Writes ``page`` and returns its path. Whatever the history holds is escaped."""
    write_text(page, render_history(found))
    return page


def render_history(found: History) -> str:
    """The page as a string."""
    charts: dict[str, list[_Chart]] = {}
    for series in found.series:
        charts.setdefault(series.of, []).append(_chart(series))
    template = environment().get_template("history.html.j2")
    return template.render(charts=charts, rule=found.rule, width=WIDTH, height=HEIGHT)


def _chart(series: Series) -> _Chart:
    known = [x for p in series.points for x in (p.value, p.low, p.high) if x is not None]
    logarithmic = series.quantity != ACCURACY and all(x > 0 for x in known)
    scaled = [math.log(x) if logarithmic else x for x in known]
    least, most = min(scaled, default=0.0), max(scaled, default=1.0)
    reach = (most - least) or 1.0

    def height(value: float) -> float:
        at = math.log(value) if logarithmic else value
        return round(HEIGHT - _EDGE - (HEIGHT - 2 * _EDGE) * (at - least) / reach, 1)

    step = (WIDTH - 2 * _EDGE) / max(len(series.points) - 1, 1)
    marks = tuple(
        _Mark(
            x=round(_EDGE + step * index, 1),
            y=height(point.value),
            high=height(point.high if point.high is not None else point.value),
            low=height(point.low if point.low is not None else point.value),
            point=point,
            shown=_shown(point),
        )
        for index, point in enumerate(series.points)
        if point.value is not None
    )
    line = " ".join(f"{mark.x},{mark.y}" for mark in marks)
    return _Chart(series, marks, line, tuple(_row(point) for point in series.points))


def _shown(point: Point) -> str:
    """What a reader sees who points at it."""
    change = f", {relative_change(point.change)}" if point.change is not None else ""
    commit = f", commit {point.commit[:9]}" if point.commit else ""
    return f"{point.number:04} {point.name}: {number(point.value)}{change}{commit}"


def _row(point: Point) -> tuple[str, ...]:
    return (
        f"{point.number:04} {point.name}",
        moment(point.created),
        (point.commit or "–")[:9],
        number(point.value),
        span(point.low, point.high) or "–",
        relative_change(point.change),
        "change" if point.is_change else point.outcome if point.outcome not in (None, "passed") else "",
    )
