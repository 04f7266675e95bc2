"""A history → one self-contained HTML page: a small chart for each value, with its changes and their commits."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Final, NamedTuple

from markupsafe import Markup

from vgharness.formatting import count, moment, number, relative_change, span
from vgharness.report.claim_rows import FILTERS
from vgharness.report.history import History, Point, Series, colour_of
from vgharness.report.svg.trail import Stop, Trail, draw, trail_axis
from vgharness.report.templates import environment
from vgharness.system.files import write_text
from vgharness.theory import FUNCTIONS

_HEIGHT: Final = 120.0
_TICKS: Final = 4
_MOST_LABELS: Final = 4  # of changes in a chart; more would lie on one another
_PASSED: Final = (None, "passed", "xpassed")
_HEADINGS: Final = ("saved", "when", "commit", "value", "95 % interval", "change", "remark")


class _Chart(NamedTuple):
    """One series: what stands above it, the chart, and its numbers."""

    title: str
    where: str
    drawn: Markup
    table: dict[str, object]


class _Group(NamedTuple):
    """The charts of one test or kind of network, and how many changes they have."""

    of: str
    anchor: str
    changes: int
    charts: tuple[_Chart, ...]


def write_history_page(found: History, page: Path) -> Path:
    """Writes ``page`` and returns its path. Whatever the history holds is escaped."""
    write_text(page, render_history(found))
    return page


def render_history(found: History) -> str:
    """The page as a string."""
    by_name: dict[str, list[Series]] = {}
    for series in found.series:
        by_name.setdefault(series.of, []).append(series)
    groups = [
        _Group(of, f"history-{place}", sum(map(_changes, group)), tuple(map(_chart, group)))
        for place, (of, group) in enumerate(by_name.items(), 1)
    ]
    pages = environment()
    pages.filters |= FILTERS
    template = pages.get_template("history.html.j2")
    return template.render(headline=_headline(found), groups=groups, rule=found.rule, functions=FUNCTIONS)


def _headline(found: History) -> str:
    """``3 values of 12 changed over 20 saved sessions, runs and trainings``."""
    points = {(series.machine, point.number) for series in found.series for point in series.points}
    changed = sum(_changes(series) > 0 for series in found.series)
    what = (
        f"over {len(points):,} saved sessions, runs and trainings"
        if len(points) != 1
        else "in the one session, run or training saved"
    )
    return f"{changed if changed else 'None'} of {count(len(found.series), 'value')} changed {what}"


def _changes(series: Series) -> int:
    return sum(point.is_change for point in series.points)


def _chart(series: Series) -> _Chart:
    y = trail_axis([x for p in series.points for x in (p.value, p.low, p.high) if x is not None])
    title = f"{series.layer}: {series.quantity}"
    changes = _changes(series)
    says = f"{count(len(series.points), 'point')}, {count(changes, 'change') if changes else 'no change'}"
    stops = [_stop(point, labelled=changes <= _MOST_LABELS) for point in series.points]
    return _Chart(
        title=title,
        where=", ".join(part for part in (series.machine, series.images) if part),
        drawn=draw(Trail(title, says, stops, colour_of(series), y, _HEIGHT, _TICKS)),
        table={
            "caption": f"{series.of}, {title}",
            "headings": _HEADINGS,
            "rows": tuple(map(_row, series.points)),
        },
    )


def _stop(point: Point, *, labelled: bool) -> Stop:
    """``labelled``: whether a change has its commit beside it; that is among the numbers anyway."""
    commit = (point.commit or "no commit")[:9] if labelled else ""
    return Stop(
        value=point.value if point.value is not None else math.nan,
        low=point.low,
        high=point.high,
        hollow=point.outcome not in _PASSED,
        mark=commit if point.is_change else None,
        says=_shown(point),
    )


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
