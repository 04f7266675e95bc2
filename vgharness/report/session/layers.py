"""One sample's layers as a page shows them: a bar each, what goes on through time, and all the numbers as a table."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import Final, NamedTuple

from markupsafe import Markup

from vgharness.formatting import count, escaped, interval, listing, number, percent
from vgharness.gradflow.diagnosis import Diagnosis, Problem
from vgharness.gradflow.path import totals_toward_input
from vgharness.gradflow.rows import Row
from vgharness.gradflow.summary import FACTOR, FACTOR_HEADING, SIGNAL
from vgharness.gradflow.symptoms import EXPLODED, SATURATED, VANISHED
from vgharness.records import LayerKey, MarkLimits, Sample
from vgharness.report.study.charts import Table
from vgharness.report.svg.axis import Axis, axis_over
from vgharness.report.svg.bars import Bar, Bars, Mark, Remark, draw, name_room
from vgharness.report.tables import (
    BRANCH,
    UNREMARKABLE,
    WORTH_FOLDING,
    farthest_from_one,
    row_factor,
    row_value,
    unremarkable,
)
from vgharness.statistics import Summary, scale_of, summarise

SIGNAL_SYMBOL: Final = "‖∂L/∂h‖₂"
_FEW_ROWS: Final = 30  # as many are shown in full
_MOST_ROWS: Final = 60
_FIRST_ROWS: Final = 40  # of more, these and the last
_SMALLEST, _LARGEST = 1e-250, 1e250  # that have a place on an axis with room beside them
_SIGNS: Final = {"problem": "✗", "warning": "!"}


class Drawing(NamedTuple):
    """A chart of bars as markup, and how many characters its names are wide."""

    drawn: Markup
    room: int


def layers_drawing(sample: Sample, diagnosis: Diagnosis, rows: Sequence[Row], title: str) -> Drawing | None:
    """The error signal of each layer, with ``rows`` as :func:`~vgharness.gradflow.rows.table_rows` gives them.

    Where there are many rows, those of which nothing is to be said share one line. None: there are no layers.
    """
    layers = [row for row in rows if row.kind == "layer"]
    if not layers:
        return None
    named = {problem.layer for problem in diagnosis.problems}
    worst = farthest_from_one(layers)
    last = next((row.value.value for row in reversed(layers) if _is_drawn(row)), math.nan)
    accepts = _accepted_by(sample)
    bars: list[list[Bar | Remark]] = []
    for index, row in enumerate(layers):
        bar = _bar(row, _colour(row, diagnosis.problems, last), marked=index == worst)._replace(accepted=accepts(row))
        bars.append([*_branch(row), bar, *_starts(row, diagnosis.problems)])
    shown = _folded(bars, layers, unremarkable(layers, worst, named), named)
    marks = _thresholds(last) if math.isfinite(last) else ()
    chart = Bars(title, _says(sample, layers), shown, _axis(sample, layers), SIGNAL_SYMBOL, "× ↑", marks)
    return Drawing(draw(chart), name_room(shown))


def steps_drawing(rows: Sequence[Row], title: str) -> Drawing | None:
    """What the error signal is at the steps of recurrent layers, on an axis of their own; None: there are none."""
    shown: list[Bar | Remark] = []
    steps = [row for row in rows if row.kind == "steps"]
    layer = ""
    for row in rows:
        if row.kind == "layer":
            layer = row.label
        elif row.kind == "steps":
            if layer:
                shown.append(Remark(escaped(layer)))
                layer = ""
            shown.append(_bar(row, "c-plain")._replace(name=escaped(row.label.strip()), inside=True))
    if not steps:
        return None
    axis = _axis_of([row.value.value for row in steps])
    says = f"{SIGNAL_SYMBOL} step by step: geometric means of the seeds"
    return Drawing(draw(Bars(title, says, shown, axis, SIGNAL_SYMBOL, "× ↑")), name_room(shown))


def numbers(sample: Sample, rows: Sequence[Row], caption: str) -> Table:
    """All of ``rows`` as text."""
    worst = farthest_from_one(rows)
    columns: list[tuple[str, Callable[[int, Row], str]]] = [
        ("layer", lambda _, row: row.label.strip() if row.kind != "steps" else row.label.replace("  ", "… ")),
        ("branch", lambda _, row: _links(row)),
        ("state", lambda _, row: row.state),
        (SIGNAL_SYMBOL, lambda _, row: "" if row.kind == "parameter" else row_value(row)),
        ("95 % interval", lambda _, row: "" if row.kind == "parameter" else interval(row.value)),
        (FACTOR_HEADING, lambda index, row: row_factor(row, marked=index == worst)),
        (f"{_weight_symbol(rows)} [95 % interval]", lambda _, row: _weight(row)),
    ]
    if not any(_links(row) for row in rows):
        del columns[1]
    if "saturated" in sample.quantities:
        columns.append(("saturated", lambda _, row: _share(row, "saturated")))
    if any(layer.output_rms is not None for flow in sample.flows for layer in flow.layers):
        columns.append(("output, root mean square", lambda _, row: _of_layer(row, "output_rms")))
        columns.append(("output, zeros", lambda _, row: _share(row, "output_zeros")))
    cells = tuple(tuple(cell(index, row) for _, cell in columns) for index, row in enumerate(rows))
    return Table(caption, tuple(heading for heading, _ in columns), cells)


# --- one row ---------------------------------------------------------------------------------------------


def _bar(row: Row, colour: str, *, marked: bool = False) -> Bar:
    drawn = _is_drawn(row)
    factor = "" if row.factor is None or math.isnan(row.factor.value) else number(row.factor.value)
    said = [f"{row.label.strip()}: {row_value(row)}"]
    said += [f"95 % interval {interval(row.value)}"] if row.value.low is not None else []
    said += [f"{FACTOR_HEADING} {row_factor(row)}"] if factor else []
    return Bar(
        name=escaped(row.label),
        value=row.value.value if drawn else None,
        text=row_value(row),
        says="; ".join(said),
        colour=colour,
        low=row.value.low if drawn else None,
        high=row.value.high if drawn else None,
        factor=f"{'×' if row.feeds_below else '→ ×'} {factor}" if factor else "",
        elsewhere=not row.feeds_below,
        marked=marked,
    )


def _is_drawn(row: Row) -> bool:
    return math.isfinite(row.value.value) and row.value.value > 0


def _colour(row: Row, problems: Iterable[Problem], last: float) -> str:
    """Of the most serious problem that the row has."""
    return next((f"c-{problem.severity}" for problem in problems if _has(row, problem, last)), "c-plain")


def _has(row: Row, problem: Problem, last: float) -> bool:
    if row.label == problem.layer:
        return True
    value = row.value.value
    if problem.kind == "vanishing":
        return 0 < value < VANISHED * last
    if problem.kind == "exploding":
        return value > EXPLODED * last
    if problem.kind == "dead":
        saturated = row.layer.values["saturated"].value if row.layer else math.nan
        return row.state.startswith("zero") or saturated >= SATURATED
    return ("unused" if problem.kind == "missing" else "nonfinite") in row.state


def _branch(row: Row) -> Iterable[Remark]:
    if row.origin is not None:
        yield Remark(f"{BRANCH} {escaped(row.origin)}")


def _starts(row: Row, problems: Iterable[Problem]) -> Iterable[Remark]:
    for problem in problems:
        if problem.layer == row.label:
            warning = "warning: " if problem.severity == "warning" else ""
            yield Remark(f"{_SIGNS[problem.severity]} {warning}{problem.kind} from here", f"c-{problem.severity}")


def _links(row: Row) -> str:
    """Where a branch begins or ends at the row."""
    said = [f"{BRANCH} {row.origin}"] if row.origin is not None else []
    if not row.feeds_below and row.layer is not None and row.layer.feeds:
        said.append(f"→ {listing(row.layer.feeds, most=3)}")
    return "; ".join(said)


def _weight_symbol(rows: Iterable[Row]) -> str:
    return "‖∂L/∂W‖₂, of a parameter ‖∂L/∂p‖₂," if any(row.kind == "parameter" for row in rows) else "‖∂L/∂W‖₂"


def _weight(row: Row) -> str:
    return _with_interval(row.value) if row.kind == "parameter" else _of_layer(row, "weight_l2")


def _of_layer(row: Row, quantity: str) -> str:
    return _with_interval(row.layer.values[quantity]) if row.layer else ""


def _share(row: Row, quantity: str) -> str:
    return percent(row.layer.values[quantity].value, missing="–") if row.layer else ""


def _with_interval(found: Summary) -> str:
    return number(found.value) + (f" [{interval(found)}]" if found.low is not None else "")


# --- all rows --------------------------------------------------------------------------------------------


def _folded(
    bars: Sequence[Sequence[Bar | Remark]], layers: Sequence[Row], plain: Sequence[bool], named: set[str]
) -> list[Bar | Remark]:
    """The bars, and where there are many a line for each few of which nothing is to be said."""
    hidden = [""] * len(layers)
    ends = {0, len(layers) - 1}
    if len(layers) > _FEW_ROWS:
        for is_plain, run in groupby(range(len(layers)), lambda at: plain[at] and at not in ends):
            members = list(run)
            if is_plain and len(members) >= WORTH_FOLDING:
                for at in members:
                    hidden[at] = UNREMARKABLE
    open_rows = [at for at in range(len(layers)) if not hidden[at]]
    for at in open_rows[_FIRST_ROWS : -(_MOST_ROWS - _FIRST_ROWS)] if len(open_rows) > _MOST_ROWS else []:
        if layers[at].label not in named:
            hidden[at] = "their numbers are below"
    shown: list[Bar | Remark] = []
    for why, run in groupby(range(len(layers)), lambda at: hidden[at]):
        members = list(run)
        if not why:
            shown += [each for at in members for each in bars[at]]
            continue
        sizes = [layers[at].value.value for at in members if _is_drawn(layers[at])]
        among = (min(sizes), max(sizes)) if sizes else None
        shown.append(Remark(f"{count(len(members), 'row')}: {why}", "", among))
    return shown


def _thresholds(last: float) -> tuple[Mark, ...]:
    """What the diagnosis holds a path against."""
    return (
        Mark(VANISHED * last, f"1/{1 / VANISHED:.0f} of the last"),
        Mark(EXPLODED * last, f"{EXPLODED:,.0f} × the last"),
    )


def _accepted_by(sample: Sample) -> Callable[[Row], tuple[float | None, float | None] | None]:
    """By row, what the test's mark accepts there, as far as it speaks of the error signal: of each layer beside those
    that it feeds, of the first of a path beside its last."""
    limits = sample.limits or MarkLimits()
    step, whole = (limits.min_factor, limits.max_factor), (limits.min_total, limits.max_total)
    means: dict[LayerKey, float] = {}
    if limits.quantity == SIGNAL and whole != (None, None):
        means = {key: summarise(x, scale_of(FACTOR)).value for key, x in totals_toward_input(sample).items()}

    def accepted(row: Row) -> tuple[float | None, float | None] | None:
        if limits.quantity != SIGNAL or row.layer is None or not _is_drawn(row):
            return None
        if step != (None, None) and row.factor is not None:
            return _times(step, row.value.value, row.factor.value)
        return _times(whole, row.value.value, means[row.layer.key]) if row.layer.key in means else None

    return accepted


def _times(
    ends: tuple[float | None, float | None], value: float, factor: float
) -> tuple[float | None, float | None] | None:
    """The ends of a factor as ends of the value that it makes ``value``."""
    if not (math.isfinite(factor) and factor > 0):
        return None
    low, high = (None if end is None else end * (value / factor) for end in ends)
    return low, high


def _axis(sample: Sample, layers: Sequence[Row]) -> Axis | None:
    """One that holds every seed's value, and those of rows that several passes share."""
    seeds = [value for values in sample.values(SIGNAL).values() for value in values]
    return _axis_of([*seeds, *(row.value.value for row in layers)])


def _axis_of(values: Iterable[float]) -> Axis | None:
    known = [min(max(x, _SMALLEST), _LARGEST) for x in values if math.isfinite(x) and x > 0]
    return axis_over(known, logarithmic=True) if known else None


def _says(sample: Sample, layers: Sequence[Row]) -> str:
    return (
        f"{SIGNAL_SYMBOL} of {count(len(layers), 'row')}, from the input to the output: geometric mean over "
        f"{count(len(sample.seeds), 'seed')} and its 95 % interval; between them the {FACTOR_HEADING}"
    )
