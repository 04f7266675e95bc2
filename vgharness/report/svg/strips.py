"""One reading on one line: what is accepted, a dot for each seed, the mean with its two intervals, what is printed."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

from markupsafe import Markup

from vgharness.records import Reading, SeedValue, nan_if_none
from vgharness.report.svg.axis import Axis, axis_over
from vgharness.report.svg.elements import described, element

_HEIGHT: Final = 22.0
_WITH_TICKS: Final = 36.0
_MIDDLE: Final = 11.0
_PERCENT: Final = Axis(0.0, 100.0)


def strip_axis(readings: Iterable[Reading]) -> Axis:
    """The axis that the strips of ``readings``, all of one unit and scale, share: percent from 0 to 100; of the others
    what the seeds, the accepted ends and the printed numbers need. Intervals that are wider are cut at its ends."""
    readings = list(readings)
    if all(reading.unit == "%" for reading in readings):
        return _PERCENT
    logarithmic = all(reading.scale == "log" for reading in readings)
    needed = [value for reading in readings for value in _needed(reading)]
    return axis_over(needed, logarithmic=logarithmic)


def strip(reading: Reading, axis: Axis, says: str, *, ticks: int = 5) -> Markup:
    """Draws one reading.

    says: the same in words. ticks: how many there are at the most below it.
    """
    marks = [*_accepted(reading, axis), *_ticks(axis, ticks), *_intervals(reading, axis)]
    marks += [_dot(value, axis) for value in reading.values if value.value is not None]
    if (mean := nan_if_none(reading.value)) == mean and math.isfinite(mean):
        marks.append(_upright("mean", axis.at(mean), 4.0, 18.0))
    marks += [_upright("printed", axis.at(value), 1.0, 21.0) for value in reading.printed]
    colour = f"c-{reading.activation}" if reading.activation else "c-none"
    return element(
        "svg",
        described(says, ""),
        *marks,
        class_=f"strip {colour}",
        width="100%",
        height=_WITH_TICKS,
        role="img",
    )


def _needed(reading: Reading) -> Iterable[float]:
    yield from (value.value for value in reading.values if value.value is not None)
    yield from reading.printed
    if reading.value is not None:
        yield reading.value
    if reading.accepted is not None:
        yield from (end for end in (reading.accepted.low, reading.accepted.high) if end is not None)


def _accepted(reading: Reading, axis: Axis) -> Iterable[Markup]:
    if reading.accepted is None:
        return
    low = 0.0 if reading.accepted.low is None else axis.at(reading.accepted.low)
    high = 100.0 if reading.accepted.high is None else axis.at(reading.accepted.high)
    # What is accepted exactly has no width of its own.
    yield element("rect", class_="accepted", x=f"{low:.1f}%", width=f"{max(high - low, 0.8):.1f}%", y=0, height=_HEIGHT)


def _ticks(axis: Axis, most: int) -> Iterable[Markup]:
    yield element("line", class_="grid", x1="0", x2="100%", y1=_MIDDLE, y2=_MIDDLE)
    for tick in axis.ticks(most):
        at = axis.at(tick)
        anchor = "start" if at < 3 else "end" if at > 97 else "middle"
        yield element("text", f"{tick:,g}", class_="tick", x=f"{at:.1f}%", y=34, text_anchor=anchor)


def _intervals(reading: Reading, axis: Axis) -> Iterable[Markup]:
    if reading.method == "exact":
        return
    further = _line("further", reading.further_low, reading.further_high, axis, reading)
    mean = _line("interval", reading.low, reading.high, axis, reading)
    yield from (line for line in (further, mean) if line)


def _line(kind: str, low: float | None, high: float | None, axis: Axis, reading: Reading) -> Markup | None:
    """From one end to the other; an open end reaches to that of the axis."""
    if reading.value is None or (low is None and high is None):
        return None
    ends = (0.0 if low is None else axis.at(low)), (100.0 if high is None else axis.at(high))
    return element("line", class_=kind, x1=f"{ends[0]:.1f}%", x2=f"{ends[1]:.1f}%", y1=_MIDDLE, y2=_MIDDLE)


def _dot(value: SeedValue, axis: Axis) -> Markup:
    return element("circle", class_="dot", cx=f"{axis.at(nan_if_none(value.value)):.1f}%", cy=_MIDDLE, r=3.5)


def _upright(kind: str, at: float, top: float, bottom: float) -> Markup:
    return element("line", class_=kind, x1=f"{at:.1f}%", x2=f"{at:.1f}%", y1=top, y2=bottom)
