"""Curves over the epochs: seeds thin, their mean thick within its interval, ends labelled, what is accepted shaded."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Final, NamedTuple

from markupsafe import Markup

from vgharness.display.elements import described, element
from vgharness.formatting import number
from vgharness.report.svg.axis import Axis, apart

_HEIGHT: Final = 170.0
_BELOW: Final = 32.0  # for the numbers of the epochs and their name
_LABEL: Final = 13.0  # height of one
_MOST_EPOCH_TICKS: Final = 6


class Curve(NamedTuple):
    """One curve: a value at each epoch from ``first`` on, NaN where there is none.

    colour: class of its colour.
    values: the thick line.
    low, high: ends of its intervals; empty: it has none.
    seeds: the thin lines.
    label: before the value at its end.
    dashed: whether it is drawn so, as what somebody else published.
    """

    colour: str
    first: int
    values: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    seeds: Sequence[Sequence[float]] = ()
    label: str = ""
    dashed: bool = False


class Band(NamedTuple):
    """What is accepted: between two values (``None``: without an end), and of which claim that is."""

    low: float | None
    high: float | None
    label: str


class Printed(NamedTuple):
    """A number that a document prints for an epoch, or the two ends of a range of it."""

    colour: str
    epoch: int
    low: float
    high: float


class Panel(NamedTuple):
    """One chart.

    title: what it shows, or what was found.
    says: what is to be seen, in words.
    y: the axis of its values; panels side by side share one.
    epochs: the first and the last.
    unit: after a label's number.
    at_one: whether 1 is marked, as what a factor is compared with.
    """

    title: str
    says: str
    curves: Sequence[Curve]
    y: Axis
    epochs: tuple[int, int]
    unit: str = ""
    bands: Sequence[Band] = ()
    printed: Sequence[Printed] = ()
    at_one: bool = False


def draw(panel: Panel) -> Markup:
    """Draws the chart as wide as there is room; its text keeps its size. Its labels reach over its edges: 3 rem on the
    left, 6 rem on the right."""
    x = Axis(*panel.epochs) if panel.epochs[0] < panel.epochs[1] else Axis(panel.epochs[0] - 0.5, panel.epochs[0] + 0.5)
    marks = [_band(band, panel.y) for band in panel.bands]
    marks += [*_grid(panel), *_epochs(x, panel.epochs)]
    for curve in panel.curves:
        marks += _curve(curve, x, panel.y)
    marks += [_printed(each, x, panel.y) for each in panel.printed]
    marks += [*_points(panel, x), *_ends(panel)]
    marks += [_band_name(band, panel, x) for band in panel.bands if band.label]
    return element(
        "svg",
        described(panel.title, panel.says),
        *marks,
        class_="curves",
        width="100%",
        height=_HEIGHT + _BELOW,
        role="img",
    )


def _y(axis: Axis, value: float) -> float:
    return _HEIGHT * (1 - axis.at(value) / 100)


def _band(band: Band, axis: Axis) -> Markup:
    top, bottom = _edges(band, axis)
    return element("rect", class_="accepted", x=0, width="100%", y=top, height=max(bottom - top, 1.0))


def _edges(band: Band, axis: Axis) -> tuple[float, float]:
    top = 0.0 if band.high is None else _y(axis, band.high)
    return top, _HEIGHT if band.low is None else _y(axis, band.low)


def _band_name(band: Band, panel: Panel, x: Axis) -> Markup:
    """In the corner of the band that the curves leave most room."""
    top, bottom = _edges(band, panel.y)

    def room(corner: tuple[float, bool]) -> float:
        y, right = corner
        near = [
            abs(_y(panel.y, value) - y)
            for curve in panel.curves
            for place, value in enumerate(curve.values)
            if math.isfinite(value) and (x.at(curve.first + place) > 45 if right else x.at(curve.first + place) < 55)
        ]
        return min(near, default=_HEIGHT)

    y, right = max([(bottom - 5, True), (top + 12, True), (bottom - 5, False), (top + 12, False)], key=room)
    where = {"x": "100%", "dx": -4, "text_anchor": "end"} if right else {"x": 0, "dx": 4}
    return element("text", band.label, class_="name", y=y, **where)


def _grid(panel: Panel) -> Iterable[Markup]:
    for tick in panel.y.ticks():
        y = _y(panel.y, tick)
        is_one = panel.at_one and tick == 1
        yield element("line", class_="one" if is_one else "grid", x1=0, x2="100%", y1=y, y2=y)
        yield element("text", f"{tick:,g}", class_="tick", x=0, dx=-6, y=y + 4, text_anchor="end")


def _epochs(x: Axis, epochs: tuple[int, int]) -> Iterable[Markup]:
    for epoch in epoch_ticks(*epochs):
        yield element("text", str(epoch), class_="tick", x=f"{x.at(epoch):.1f}%", y=_HEIGHT + 15, text_anchor="middle")
    yield element("text", "epoch", class_="tick", x="50%", y=_HEIGHT + 30, text_anchor="middle")


def epoch_ticks(first: int, last: int) -> list[int]:
    """The first and the last epoch, and round ones between them that do not touch those."""
    step = next(
        each for power in range(9) for each in (10**power, 2 * 10**power, 5 * 10**power)
        if (last - first) / each <= _MOST_EPOCH_TICKS
    )  # fmt: skip
    between = [epoch for epoch in range(0, last, step) if epoch - first >= 0.6 * step and last - epoch >= 0.6 * step]
    return list(dict.fromkeys([first, *between, last]))


def _curve(curve: Curve, x: Axis, y: Axis) -> Iterable[Markup]:
    shapes = [*_areas(curve, x, y)] if curve.low else []
    shapes += [line for seed in curve.seeds for line in _lines("seed", curve.first, seed, x, y)]
    shapes += _lines("published" if curve.dashed else "mean-line", curve.first, curve.values, x, y)
    # Stretched to the width there is; strokes keep theirs.
    yield element(
        "svg",
        *shapes,
        class_=curve.colour,
        viewBox=f"0 0 100 {_HEIGHT:.0f}",
        preserveAspectRatio="none",
        width="100%",
        height=_HEIGHT,
    )


def _areas(curve: Curve, x: Axis, y: Axis) -> Iterable[Markup]:
    for places in _finite_runs([a + b for a, b in zip(curve.low, curve.high, strict=True)]):
        highs = [_point(curve.first + place, curve.high[place], x, y) for place in places]
        lows = [_point(curve.first + place, curve.low[place], x, y) for place in reversed(places)]
        yield element("polygon", class_="interval-area", points=" ".join([*highs, *lows]))


def _lines(kind: str, first: int, values: Sequence[float], x: Axis, y: Axis) -> Iterable[Markup]:
    for places in _finite_runs(values):
        points = " ".join(_point(first + place, values[place], x, y) for place in places)
        yield element("polyline", class_=kind, points=points)


def _point(epoch: int, value: float, x: Axis, y: Axis) -> str:
    return ",".join(f"{place:.1f}".removesuffix(".0") for place in (x.at(epoch), _y(y, value)))


def _finite_runs(values: Sequence[float]) -> Iterable[list[int]]:
    """Places of values that are known, one after the other."""
    for finite, group in groupby(range(len(values)), key=lambda place: math.isfinite(values[place])):
        if finite:
            yield list(group)


def _printed(each: Printed, x: Axis, y: Axis) -> Markup:
    top, bottom = _y(y, each.high) - 3, _y(y, each.low) + 3
    at = f"{x.at(each.epoch):.1f}%"
    return element("line", class_=f"said-bar {each.colour}", x1=at, x2=at, y1=top, y2=bottom)


def _points(panel: Panel, x: Axis) -> Iterable[Markup]:
    """The first and the last value of each thick line."""
    for curve in panel.curves:
        known = [place for place, value in enumerate(curve.values) if math.isfinite(value)]
        if curve.dashed or not known:
            continue
        for place in dict.fromkeys((known[0], known[-1])):
            at = x.at(curve.first + place)
            y = _y(panel.y, curve.values[place])
            yield element("circle", class_=f"dot {curve.colour}", cx=f"{at:.1f}%", cy=y, r=3.5)


def _ends(panel: Panel) -> Iterable[Markup]:
    """Labels: each last value beside its point and, of up to two curves, each first one above it; none on another."""
    solid = [curve for curve in panel.curves if not curve.dashed]
    for last in (False, True) if len(solid) <= 2 else (True,):
        places = []
        for curve in panel.curves:
            known = [value for value in curve.values if math.isfinite(value)]
            if known and not (curve.dashed and not last):
                value = known[-1] if last else known[0]
                name = f"{curve.label} " if curve.label and last else ""
                places.append((_y(panel.y, value), f"{name}{number(value)}{panel.unit}", curve.colour))
        heights = apart([y for y, *_ in places], _LABEL, _HEIGHT)
        for y, (_, text, colour) in zip(heights, places, strict=True):
            where = {"x": "100%", "dx": 8} if last else {"x": 0, "dx": 7, "dy": -9 if y > 24 else 13}
            yield element("text", text, class_=f"value {colour}" if last else "value start", y=y + 4, **where)
