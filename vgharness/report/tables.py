"""Sessions and comparisons as tables of 80 columns, in the terminal and in Markdown; colour only repeats what is said.

A :class:`Sheet` is one table: rich prints it as it is, :func:`markdown` makes text of several.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from vgharness.formatting import bars, count, escaped, interval, number, relative_change, shorten
from vgharness.gradflow.comparison import Change, ChangeOutcome, Comparison
from vgharness.gradflow.summary import FACTOR, FACTOR_HEADING, SIGNAL, LayerSummary, layer_summaries
from vgharness.records import LayerKey, Sample
from vgharness.statistics import on_scale

_WORDS: Final[dict[ChangeOutcome, str]] = {
    "regression": "FAIL",
    "inconclusive": "maybe chance",
    "not finite": "no value",
    "within": "ok",
}
_STYLES: Final[dict[ChangeOutcome, str]] = {
    "regression": "bold red",
    "inconclusive": "yellow",
    "not finite": "magenta",
    "within": "",
}
_FARTHEST: Final = "! the factor that is farthest from 1"


class Sheet(NamedTuple):
    """One table.

    title: above it.
    names: widths in the terminal of its first columns, which hold names.
    headings: of all columns.
    rows: cells of text.
    styles: one per row, as rich knows them.
    notes: lines below it.
    """

    title: str
    names: tuple[int, ...] = ()
    headings: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    styles: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __rich__(self) -> Group:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for index, heading in enumerate(self.headings):
            named = index < len(self.names)
            wraps = heading in (FACTOR_HEADING, "change")
            table.add_column(Text(heading), justify="left" if named else "right", no_wrap=not wraps)
        for row, style in zip(self.rows, self.styles, strict=True):
            names = (shorten(cell, width) for cell, width in zip(row, self.names, strict=False))
            table.add_row(*(Text(cell, style) for cell in (*names, *row[len(self.names) :])))
        return Group(Text(escaped(self.title), "bold"), *([table] if self.rows else []), *map(Text, self.notes))


def session_table(sample: Sample, compared: Comparison | None = None) -> Sheet:
    """The error signal of each layer, from the input to the output.

    Its mean over the seeds with the 95 % interval, the factor toward the input, a bar on a logarithmic scale; with
    ``compared`` also the change against that run.
    """
    layers = layer_summaries(sample)
    worst = _farthest_from_one(layers)
    changes = {
        change.layer: change
        for change in (compared.changes if compared else ())
        if (change.sample, change.quantity) == (sample.label, SIGNAL)
    }
    rows, styles = [], []
    for layer, bar in zip(layers, bars(layer.signal.value for layer in layers), strict=True):
        row = [escaped(str(layer.key)), _signal(layer), interval(layer.signal), _factor(layer, worst), bar]
        if compared is not None:
            row.append(_change(changes[layer.key]) if layer.key in changes else "new")
        rows.append(tuple(row))
        styles.append("magenta" if not math.isfinite(layer.signal.value) else "red" if layer.key == worst else "")
    return Sheet(
        title=f"{sample.label} ({count(len(sample.seeds), 'seed')})",
        names=(20 if compared else 28,),
        headings=("layer", SIGNAL, "95 % interval", FACTOR_HEADING, "", *(["change"] if compared else [])),
        rows=tuple(rows),
        styles=tuple(styles),
        notes=(_FARTHEST,) if worst else (),
    )


def _signal(layer: LayerSummary) -> str:
    """The mean; where a seed has none the states that explain it."""
    states = layer.state.replace("ok, ", "") if layer.state != "ok" else "not measured"
    return number(layer.signal.value) if math.isfinite(layer.signal.value) else states


def _factor(layer: LayerSummary, worst: LayerKey | None) -> str:
    if layer.factor is None:
        return ""
    return f"{'! ' if layer.key == worst else ''}{number(layer.factor.value)}"


def _farthest_from_one(layers: Sequence[LayerSummary]) -> LayerKey | None:
    found = {layer.key: abs(on_scale("log", layer.factor.value)) for layer in layers if layer.factor is not None}
    return max((key for key in found if math.isfinite(found[key])), key=lambda key: found[key], default=None)


def comparison_table(comparison: Comparison) -> tuple[Sheet, ...]:
    """A sheet for each test that is in both runs, and a last one of what else is to be said.

    Shown are the quantities that have a limit (without any: the error signal and its factor), and of the others what
    is not as it should be.
    """
    limited = any(change.limited for change in comparison.changes)
    always = () if limited else (FACTOR, SIGNAL)
    sheets = []
    for label in dict.fromkeys(change.sample for change in comparison.changes):
        shown = [
            change
            for change in comparison.changes
            if change.sample == label and (change.limited or change.outcome != "within" or change.quantity in always)
        ]
        if shown:
            sheets.append(_comparison_sheet(label, shown))
    return (*sheets, _conclusion(comparison))


def _comparison_sheet(label: str, changes: Sequence[Change]) -> Sheet:
    rows = tuple(
        (
            _layer(change),
            escaped(change.quantity),
            number(change.before),
            number(change.after),
            _change(change, with_interval=True),
            "" if change.outcome == "within" and not change.limited else _WORDS[change.outcome],
        )
        for change in changes
    )
    reasons = (f"{_layer(c)} {escaped(c.quantity)}: {escaped(c.reason)}" for c in changes if c.reason)
    return Sheet(
        title=label,
        names=(16, 15),
        headings=("layer", "quantity", "before", "after", "change", ""),
        rows=rows,
        styles=tuple(_STYLES[change.outcome] for change in changes),
        notes=tuple(reasons),
    )


def _conclusion(comparison: Comparison) -> Sheet:
    return Sheet(
        title=conclusion(comparison),
        notes=(
            *map(escaped, comparison.notes),
            *(escaped(f"{'FAIL ' if a.fails else ''}{a}") for a in comparison.appearances),
        ),
    )


def conclusion(comparison: Comparison) -> str:
    """``no regressions in 12 values of 3 tests``."""
    tests = len({change.sample for change in comparison.changes})
    bad = len(comparison.regressions)
    if not tests and not bad:
        return "nothing compared: no test with a value is in both runs"
    regressions = count(bad, "regression") if bad else "no regressions"
    return f"{regressions} in {count(len(comparison.changes), 'value')} of {count(tests, 'test')}"


def markdown(sheets: Iterable[Sheet]) -> str:
    """The same tables for a pull-request comment, with names in full."""
    return "\n".join(line for sheet in sheets for line in (*_markdown(sheet), ""))


def _markdown(sheet: Sheet) -> Iterable[str]:
    title = escaped(sheet.title)
    yield f"#### {as_code(title) if sheet.rows else without_formatting(title)}"
    yield ""
    if sheet.rows:
        names = len(sheet.names)
        yield _line(heading or " " for heading in sheet.headings)
        yield _line(":---" if index < names else "---:" for index in range(len(sheet.headings)))
        for row, style in zip(sheet.rows, sheet.styles, strict=True):
            cells = [*(as_code(cell) if cell else "" for cell in row[:names]), *row[names:]]
            yield _line(f"**{cell}**" if cell == _WORDS["regression"] and style else cell for cell in cells)
        yield ""
    for note in sheet.notes:
        yield f"- {without_formatting(note)}"


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def as_code(text: str) -> str:
    """A name as Markdown, which may hold any character: nothing in it is formatting, nor ends a table's cell."""
    return f"`{escaped(text).replace('`', '´')}`".replace("|", "\\|")


def without_formatting(text: str) -> str:
    """Text as Markdown that shows it as it is."""
    return "".join(f"\\{char}" if char in "\\`*_[]<>|#@" else char for char in escaped(text))


def _layer(change: Change) -> str:
    return escaped(str(change.layer or "all layers"))


def _change(of: Change, *, with_interval: bool = False) -> str:
    if of.change is None:
        return "–" if None in (of.before, of.after) or of.before == of.after else "from 0"
    text = relative_change(of.change)
    if with_interval and of.low is not None and of.high is not None:
        text += f" ({relative_change(of.low)} to {relative_change(of.high)})"
    return text
