"""One reading on one line: what is accepted, a dot for each seed, the mean with its two intervals, what is printed."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

from markupsafe import Markup

from vgharness.display.elements import element
from vgharness.records import Reading
from vgharness.report.svg.axis import Axis, axis_over

_PERCENT: Final = Axis(0.0, 100.0)


def can_be_drawn(reading: Reading) -> bool:
    """Whether it has a value, and is no count: those have no strip."""
    return bool(reading.values) and reading.value is not None and reading.method != "exact"


def strip_axes(readings: Iterable[Reading]) -> dict[tuple[str, str], Axis]:
    """By unit and scale, the axis that the strips of those of ``readings`` share that have them."""
    found: dict[tuple[str, str], list[Reading]] = {}
    for reading in readings:
        found.setdefault((reading.unit, reading.scale), []).append(reading)
    return {key: strip_axis(those) for key, those in found.items()}


def strip_axis(readings: Iterable[Reading]) -> Axis:
    """The axis that the strips of ``readings``, all of one unit and scale, share: percent from 0 to 100; of the others
    what the seeds, the accepted ends and the printed numbers need. Intervals that are wider are cut at its ends."""
    readings = list(readings)
    if all(reading.unit == "%" for reading in readings):
        return _PERCENT
    logarithmic = all(reading.scale == "log" for reading in readings)
    needed = [value for reading in readings for value in _needed(reading)]
    return axis_over(needed, logarithmic=logarithmic)


def strip(reading: Reading, axis: Axis, says: str, *, ticks: int = 5, hollow: bool = False) -> Markup:
    """Draws one reading. Heights and the line in the middle are the style sheet's.

    says: the same in words. ticks: how many there are at the most below it. hollow: whether seeds are drawn so.
    """
    marks = [*_accepted(reading, axis), *_ticks(axis, ticks), *_intervals(reading, axis)]
    marks += [_mark("circle", "dot", axis, value.value) for value in reading.values if value.value is not None]
    if reading.value is not None and math.isfinite(reading.value):
        marks.append(_mark("rect", "mean", axis, reading.value))
    marks += [_mark("rect", "printed", axis, value) for value in reading.printed]
    colour = f"c-{reading.activation}" if reading.activation else "c-none"
    kind = "strip hollow" if hollow else "strip"
    return element("svg", element("title", says), *marks, class_=f"{kind} {colour}", role="img")


def _needed(reading: Reading) -> Iterable[float]:
    yield from (value.value for value in reading.values if value.value is not None)
    yield from reading.printed
    if reading.value is not None:
        yield reading.value
    if reading.accepted is not None:
        yield from (end for end in (reading.accepted.low, reading.accepted.high) if end is not None)


def _accepted(reading: Reading, axis: Axis) -> Iterable[Markup]:
    if reading.accepted is not None:
        # What is accepted exactly has no width of its own.
        yield _between("accepted", reading.accepted.low, reading.accepted.high, axis, least=0.8)


def _ticks(axis: Axis, most: int) -> Iterable[Markup]:
    for tick in axis.ticks(most) if most else ():
        at = axis.at(tick)
        anchor = "start" if at < 3 else "end" if at > 97 else None
        yield element("text", f"{tick:,g}", x=_percent(at), y=34, text_anchor=anchor)


def _intervals(reading: Reading, axis: Axis) -> Iterable[Markup]:
    if reading.method == "exact" or reading.value is None:
        return
    for kind, low, high in (
        ("further", reading.further_low, reading.further_high),
        ("interval", reading.low, reading.high),
    ):
        if low is not None or high is not None:
            yield _between(kind, low, high, axis)


def _between(kind: str, low: float | None, high: float | None, axis: Axis, least: float = 0.0) -> Markup:
    """From one end to the other; an open end reaches to that of the axis."""
    left, right = 0.0 if low is None else axis.at(low), 100.0 if high is None else axis.at(high)
    return element("rect", class_=kind, x=_percent(left), width=_percent(max(right - left, least)))


def _mark(shape: str, kind: str, axis: Axis, value: float) -> Markup:
    place = _percent(axis.at(value))
    return element(shape, class_=kind, **{"cx" if shape == "circle" else "x": place})


def _percent(share: float) -> str:
    return f"{share:.1f}".removesuffix(".0") + "%"
