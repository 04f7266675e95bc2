"""Bars on one logarithmic axis, a row each: a value, its interval, and by what it changes from row to row."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from markupsafe import Markup

from vgharness.display.elements import described, element
from vgharness.formatting import shorten
from vgharness.report.svg.axis import Axis

LONGEST_NAME: Final = 44  # characters
_ROW: Final = 26.0
_REMARK: Final = 17.0
_HEAD: Final = 30.0
_FOOT: Final = 18.0
_TOP, _THICK = 13.0, 10.0  # of the bar within its row; above it there is room for its name where the page is narrow
_MOST_TICKS: Final = 5


class Bar(NamedTuple):
    """One row.

    name: at its left, or above it where the page is narrow.
    value: its length; ``None``: it has none that a logarithm shows.
    text: the value as text, or why there is none.
    says: all of it in words.
    colour: class of its colour.
    low, high: ends of the value's interval.
    factor: by what the value is multiplied from the next bar to this one, or where that is ``elsewhere`` from another.
    marked: whether the factor stands out.
    accepted: between which values a limit wants this one; None: no limit, or an open end.
    inside: whether it belongs to the row above it.
    """

    name: str
    value: float | None
    text: str
    says: str
    colour: str
    low: float | None = None
    high: float | None = None
    factor: str = ""
    elsewhere: bool = False
    marked: bool = False
    accepted: tuple[float | None, float | None] | None = None
    inside: bool = False


class Remark(NamedTuple):
    """A line of text between bars. colour: class of its colour; among: the least and greatest value of the rows that it
    stands for."""

    text: str
    colour: str = ""
    among: tuple[float, float] | None = None


class Mark(NamedTuple):
    """A line across all bars at one value, with what it is."""

    value: float
    label: str


class Bars(NamedTuple):
    """A chart of bars.

    axis: None: none of the bars has a value.
    heading: of their values.
    factors: heading of the factors; empty: there are none.
    """

    title: str
    says: str
    rows: Sequence[Bar | Remark]
    axis: Axis | None
    heading: str
    factors: str = ""
    marks: Sequence[Mark] = ()


def draw(chart: Bars) -> Markup:
    """Draws the chart as wide as there is room. What surrounds it leaves room for the names at the left
    (:func:`name_room`) and for the numbers at the right."""
    tops = _tops(chart.rows)
    height = _HEAD + sum(map(_height, chart.rows))
    marks = [*_tints(chart, tops), *_accepted(chart, tops), *_grid(chart, height), *_headings(chart)]
    for row, top in zip(chart.rows, tops, strict=True):
        marks += _remark(row, top, chart.axis) if isinstance(row, Remark) else _bar(row, top, chart.axis)
    marks += _factors(chart.rows, tops)
    return element(
        "svg",
        described(chart.title, chart.says),
        *marks,
        class_="bars",
        width="100%",
        height=height + _FOOT,
        role="img",
    )


def name_room(rows: Iterable[Bar | Remark]) -> int:
    """How many characters wide the longest name is, as it is shown."""
    return max((len(_short(row)) + 2 * row.inside for row in rows if isinstance(row, Bar)), default=0)


def _short(bar: Bar) -> str:
    return shorten(bar.name, LONGEST_NAME)


def _height(row: Bar | Remark) -> float:
    return _REMARK if isinstance(row, Remark) else _ROW


def _tops(rows: Sequence[Bar | Remark]) -> list[float]:
    found, top = [], _HEAD
    for row in rows:
        found.append(top)
        top += _height(row)
    return found


def _grid(chart: Bars, height: float) -> Iterable[Markup]:
    if chart.axis is None:
        return
    for tick in chart.axis.ticks(_MOST_TICKS):
        at = f"{chart.axis.at(tick):.1f}%"
        yield element("line", class_="grid", x1=at, x2=at, y1=_HEAD, y2=height)
        for y in (_HEAD - 5, height + 13):
            yield element("text", f"{tick:,g}", class_="tick", x=at, y=y, text_anchor="middle")
    for index, mark in enumerate(chart.marks):
        place = chart.axis.at(mark.value)
        if 0 < place < 100:
            # Labels of two that are close go apart.
            leftward = place > 85 or (index == 0 and place > 15)
            at, anchor = f"{place:.1f}%", "end" if leftward else "start"
            yield element("line", class_="limit", x1=at, x2=at, y1=14, y2=height)
            yield element("text", mark.label, class_="tick", x=at, y=11, dx=-4 if leftward else 4, text_anchor=anchor)


def _headings(chart: Bars) -> Iterable[Markup]:
    yield element("text", chart.heading, class_="tick", x="100%", dx=8, y=_HEAD - 5)
    if chart.factors:
        yield element("text", chart.factors, class_="tick factor", x="100%", y=_HEAD - 5)


def _tints(chart: Bars, tops: Sequence[float]) -> Iterable[Markup]:
    """Behind the rows that have a problem."""
    for row, top in zip(chart.rows, tops, strict=True):
        if isinstance(row, Bar) and row.colour != "c-plain":
            yield element("rect", class_=f"tint {row.colour}", x=0, width="100%", y=top, height=_ROW)


def _accepted(chart: Bars, tops: Sequence[float]) -> Iterable[Markup]:
    for row, top in zip(chart.rows, tops, strict=True):
        if isinstance(row, Bar) and row.accepted is not None and chart.axis is not None:
            low, high = row.accepted
            start = 0.0 if low is None else chart.axis.at(low)
            end = 100.0 if high is None else chart.axis.at(high)
            yield element(
                "rect",
                class_="accepted",
                x=f"{start:.1f}%",
                width=f"{max(end - start, 0.4):.1f}%",
                y=top + 5,
                height=_ROW - 5,
            )


def _bar(row: Bar, top: float, axis: Axis | None) -> Iterable[Markup]:
    middle = top + _TOP + _THICK / 2
    short = _short(row)
    full = [element("title", row.name)] if short != row.name else []
    yield element(
        "text", short, *full, class_=f"layer{' inside' if row.inside else ''} {row.colour}", x=0, y=middle + 4
    )
    if row.value is not None and axis is not None:
        thick = _THICK / 2 if row.inside else _THICK
        yield element(
            "rect",
            element("title", row.says),
            class_=f"bar {row.colour}",
            x=0,
            width=f"{max(axis.at(row.value), 0.3):.1f}%",
            y=middle - thick / 2,
            height=thick,
        )
        if row.low is not None and row.high is not None:
            ends = axis.at(row.low), axis.at(row.high)
            start, end = f"{ends[0]:.1f}%", f"{max(ends[1], ends[0] + 0.3):.1f}%"
            yield element("line", class_="whisker", x1=start, x2=end, y1=middle, y2=middle)
    yield element("text", row.text, class_=f"value {row.colour}", x="100%", dx=8, y=middle + 4)


def _remark(row: Remark, top: float, axis: Axis | None) -> Iterable[Markup]:
    if row.among is not None and axis is not None:
        low, high = axis.at(row.among[0]), axis.at(row.among[1])
        yield element(
            "rect", class_="among", x=f"{low:.1f}%", width=f"{max(high - low, 0.4):.1f}%", y=top + _REMARK - 3, height=4
        )
    yield element("text", shorten(row.text, 2 * LONGEST_NAME), class_=f"remark {row.colour}", x=4, y=top + 12.5)


def _factors(rows: Sequence[Bar | Remark], tops: Sequence[float]) -> Iterable[Markup]:
    """Each between the two rows that it stands between; at its own row where it is against another."""
    bars = [(row, top) for row, top in zip(rows, tops, strict=True) if isinstance(row, Bar)]
    for index, (row, top) in enumerate(bars):
        if not row.factor:
            continue
        middle = top + _TOP + _THICK / 2
        if not row.elsewhere and index + 1 < len(bars):
            middle = (middle + bars[index + 1][1] + _TOP + _THICK / 2) / 2
        yield element("text", row.factor, class_=f"factor{' marked' if row.marked else ''}", x="100%", y=middle + 4)
