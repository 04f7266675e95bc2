"""The error signal of each layer at each snapshot, relative to the last layer's: a heatmap, and its numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from markupsafe import Markup

from vgharness.formatting import escaped, number, shorten
from vgharness.report.study.charts import Table
from vgharness.report.svg.axis import Axis
from vgharness.report.svg.heatmap import LONGEST_NAME, Heatmap, HeatRow, draw
from vgharness.report.svg.steps import StepMark
from vgharness.report.training.names import short_names
from vgharness.report.training.series import ModelSeries, beginnings, chosen

LEAST_LEVEL, MOST_LEVEL = -6, 4  # powers of ten that have a colour of their own
_NUMBERS: Final = 12  # columns of the table
_LONGEST: Final = 80
SYMBOL: Final = "‖∂L/∂h‖₂"


class Level(NamedTuple):
    """One colour of the map: its class, and what it stands for."""

    colour: str
    text: str


class HeatPart(NamedTuple):
    """What the page shows of the map.

    left_out: what of the log it does not show, in words; empty: it shows everything.
    levels: colours that it has, for its key.
    """

    drawn: Markup
    left_out: str
    levels: tuple[Level, ...]
    numbers: Table


def heat_part(
    series: ModelSeries, x: Axis, marks: Sequence[StepMark], of: str, most: tuple[int, int]
) -> HeatPart | None:
    """``of``: what titles begin with; ``most``: how many rows and columns are drawn. ``None``: no layer has an error
    signal."""
    values, states = series.relative_signal(), series.states()
    if not values:
        return None
    named = {problem.layer: f"c-{problem.severity}" for problem in reversed(series.problems)}
    names = list(values)
    rows = chosen(range(len(names)), (names.index(name) for name in named if name in values), most[0])
    columns = chosen(series.steps, beginnings(series.problems), most[1])
    shown = [names[row] for row in rows]
    short = short_names(shown, LONGEST_NAME)
    levels = {name: [_level(values[name][at], states[name][at]) for at in columns] for name in shown}
    chart = Heatmap(
        title=f"{of}error signal by layer and step",
        says=f"{SYMBOL} of {len(shown)} layers at {len(columns)} steps, ÷ that of the last layer; numbers below",
        rows=[
            HeatRow(
                shorten(escaped(name), _LONGEST),
                escaped(short[name]),
                levels[name],
                _last(values[name], states[name]),
                named.get(name, "c-plain"),
            )
            for name in shown
        ],
        steps=[series.steps[at] for at in columns],
        x=x,
        marks=marks,
        heading="last",
    )
    used = {level for each in levels.values() for level in each}
    return HeatPart(
        draw(chart),
        _left_out((len(rows), len(names)), (len(columns), len(series.steps))),
        tuple(level for level in LEVELS if level.colour in used),
        _numbers(series, values, states, shown, of),
    )


def _levels() -> Iterable[Level]:
    for power in range(LEAST_LEVEL, MOST_LEVEL + 1):
        words = f"{10.0**power:g}"
        beyond = "≤ " if power == LEAST_LEVEL else "≥ " if power == MOST_LEVEL else ""
        yield Level(f"lv-{'m' if power < 0 else 'p'}{abs(power)}", f"{beyond}{words}")
    yield Level("lv-zero", "exactly zero")
    yield Level("lv-nonfinite", "not finite")


LEVELS: Final = tuple(_levels())


def _level(value: float, state: str) -> str:
    if state == "nonfinite":
        return "lv-nonfinite"
    if math.isnan(value):
        return "lv-zero" if state == "zero" else ""
    if value == 0:
        return "lv-zero"
    power = MOST_LEVEL if math.isinf(value) else min(max(round(math.log10(value)), LEAST_LEVEL), MOST_LEVEL)
    return f"lv-{'m' if power < 0 else 'p'}{abs(power)}"


def _text(value: float, state: str) -> str:
    if not math.isnan(value):
        return number(value)
    return {"nonfinite": "not finite", "ok": "–", "": "–"}.get(state, state)


def _last(values: Sequence[float], states: Sequence[str]) -> str:
    return shorten(_text(values[-1], states[-1]), 10)


def _left_out(rows: tuple[int, int], columns: tuple[int, int]) -> str:
    said = [
        f"{shown:,} of {there:,} {what} are drawn"
        for (shown, there), what in ((rows, "layers"), (columns, "snapshots"))
        if shown < there
    ]
    return "; ".join(said)


def _numbers(
    series: ModelSeries, values: dict[str, list[float]], states: dict[str, list[str]], shown: Sequence[str], of: str
) -> Table:
    columns = chosen(series.steps, beginnings(series.problems), _NUMBERS)
    headings = ("layer", *(f"step {series.steps[at]:,}" for at in columns))
    rows = tuple(
        (shorten(name, _LONGEST), *(_text(values[name][at], states[name][at]) for at in columns)) for name in shown
    )
    several = f", at {len(columns)} of {len(series.steps):,} snapshots" if len(columns) < len(series.steps) else ""
    return Table(f"{of}{SYMBOL} ÷ that of the last layer{several}", headings, rows)
