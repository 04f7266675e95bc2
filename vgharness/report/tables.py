"""Sessions and comparisons as tables of 80 columns, in the terminal and in Markdown; colour only repeats what is said.

A :class:`Sheet` is one table: rich prints it as it is, :func:`markdown` makes text of several.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from vgharness.formatting import plain, shorten
from vgharness.gradflow.comparison import FACTOR, LARGEST_LOG, Change, Comparison, is_geometric, mean_of
from vgharness.records.session import LayerKey, Sample, key_of
from vgharness.statistics import interval

SIGNAL: Final = "signal_l2"
_BAR: Final = 8
_VERDICTS: Final = {"regression": "FAIL", "inconclusive": "chance?", "not finite": "no figure", "within": "ok"}
_STYLES: Final = {"regression": "bold red", "inconclusive": "yellow", "not finite": "magenta", "within": ""}
# From ten times as much on, a change is told as a factor.
_AS_FACTOR: Final = 9.0


class Sheet(NamedTuple):
    """One table: first columns of names, as wide as ``names`` says in the terminal, then figures."""

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
            table.add_column(heading, justify="left" if named else "right", no_wrap=heading != "change")
        for row, style in zip(self.rows, self.styles, strict=True):
            names = (shorten(cell, width) for cell, width in zip(row, self.names, strict=False))
            table.add_row(*(Text(cell, style) for cell in (*names, *row[len(self.names) :])))
        return Group(Text(plain(self.title), "bold"), *([table] if self.rows else []), *map(Text, self.notes))


def session_table(sample: Sample, compared: Comparison | None = None) -> Sheet:
    """The error signal of each layer, from the input to the output: its mean over the seeds with the 95 % interval,
    what it is of the next layer's, a bar on a logarithmic scale; with ``compared`` also the change against that run."""
    values = sample.values(SIGNAL)
    means = {key: _mean(of_seeds) for key, of_seeds in values.items()}
    factors = _factors(means)
    worst = max(factors, key=lambda key: abs(math.log(factors[key])), default=None)
    bars = _bars(means)
    changes = {
        change.layer: change
        for change in (compared.changes if compared else ())
        if (change.sample, change.quantity) == (sample.label, SIGNAL)
    }
    rows, styles = [], []
    for key, of_seeds in values.items():
        states = {layer.state for flow in sample.flows for layer in flow.layers if key_of(layer) == key}
        row = [
            plain(str(key)),
            number(means[key]) if math.isfinite(means[key]) else "/".join(sorted(states - {"ok"})) or "not measured",
            _interval(of_seeds),
            f"{'! ' if key == worst else ''}{number(factors[key])}" if key in factors else "",
            bars[key],
        ]
        if compared is not None:
            row.append(_change(changes[key]) if key in changes else "new")
        rows.append(tuple(row))
        styles.append("magenta" if not math.isfinite(means[key]) else "red" if key == worst else "")
    count = len(sample.seeds)
    return Sheet(
        title=f"{sample.label} ({count} seed{'' if count == 1 else 's'})",
        names=(20 if compared else 28,),
        headings=("layer", SIGNAL, "95 % interval", "÷ next", "", *(["change"] if compared else [])),
        rows=tuple(rows),
        styles=tuple(styles),
        notes=("! the step that is farthest from 1",) if worst else (),
    )


def comparison_table(comparison: Comparison) -> tuple[Sheet, ...]:
    """A sheet for each test that is in both runs, and a last one of what else is to be said.

    Shown are the quantities that have a limit (without any: the error signal and its factor), and of the others what
    is not as it should be.
    """
    limited = any(change.limited for change in comparison.changes)
    usual = () if limited else (FACTOR, SIGNAL)
    sheets = []
    for label in dict.fromkeys(change.sample for change in comparison.changes):
        shown = [
            change
            for change in comparison.changes
            if change.sample == label and (change.limited or change.outcome != "within" or change.quantity in usual)
        ]
        if shown:
            sheets.append(
                Sheet(
                    title=label,
                    names=(16, 15),
                    headings=("layer", "quantity", "before", "after", "change", ""),
                    rows=tuple(
                        (
                            _layer(change),
                            plain(change.quantity),
                            number(change.before),
                            number(change.after),
                            _change(change, with_interval=True),
                            "" if change.outcome == "within" and not change.limited else _VERDICTS[change.outcome],
                        )
                        for change in shown
                    ),
                    styles=tuple(_STYLES[change.outcome] for change in shown),
                    notes=tuple(
                        f"{_layer(change)} {plain(change.quantity)}: {change.reason}"
                        for change in shown
                        if change.reason
                    ),
                )
            )
    return (*sheets, _summary(comparison))


def _summary(comparison: Comparison) -> Sheet:
    tests = len({change.sample for change in comparison.changes})
    bad = len(comparison.regressions)
    of_tests = f"{tests} test{'' if tests == 1 else 's'}"
    tally = f"{bad or 'no'} regression{'' if bad == 1 else 's'} in {len(comparison.changes)} figures of {of_tests}"
    return Sheet(
        title=tally if tests or bad else "nothing compared: no test with a figure is in both runs",
        notes=(
            *map(plain, comparison.notes),
            *(plain(f"{'FAIL ' if a.fails else ''}{a}") for a in comparison.appearances),
        ),
    )


def markdown(sheets: Iterable[Sheet]) -> str:
    """The same tables for a pull-request comment, with names in full."""
    return "\n".join(line for sheet in sheets for line in (*_markdown(sheet), ""))


def _markdown(sheet: Sheet) -> Iterable[str]:
    yield f"#### {_code(plain(sheet.title)) if sheet.rows else _escaped(plain(sheet.title))}"
    yield ""
    if sheet.rows:
        names = len(sheet.names)
        yield _line(heading or " " for heading in sheet.headings)
        yield _line(":---" if index < names else "---:" for index in range(len(sheet.headings)))
        for row, style in zip(sheet.rows, sheet.styles, strict=True):
            cells = [*(_code(cell) if cell else "" for cell in row[:names]), *row[names:]]
            yield _line(f"**{cell}**" if cell == _VERDICTS["regression"] and style else cell for cell in cells)
        yield ""
    for note in sheet.notes:
        yield f"- {_escaped(note)}"


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _code(text: str) -> str:
    """Of a name, which may hold any character: nothing in it is formatting, nor ends the cell."""
    return f"`{text.replace('`', '´')}`".replace("|", "\\|")


def _escaped(text: str) -> str:
    return "".join(f"\\{char}" if char in "\\`*_[]<>|#@" else char for char in text)


# --- the words in them -----------------------------------------------------------------------------


def number(value: float | None) -> str:
    """Three significant digits: ``0.123``, ``1.23e-05``."""
    return "–" if value is None else f"{value:.3g}"


def _layer(change: Change) -> str:
    return plain(str(change.layer or "all layers"))


def _change(change: Change, *, with_interval: bool = False) -> str:
    if change.change is None:
        return "–" if None in (change.before, change.after) or change.before == change.after else "from 0"
    text = _relative(change.change)
    if with_interval and change.low is not None and change.high is not None:
        text += f" ({_relative(change.low)} to {_relative(change.high)})"
    return text


def _relative(change: float) -> str:
    return f"×{change + 1:.3g}" if change >= _AS_FACTOR else f"{100 * change:+.1f}%"


def _mean(values: Sequence[float]) -> float:
    if not all(map(math.isfinite, values)):
        return math.nan
    return mean_of(values, is_geometric(SIGNAL, values))


def _interval(values: Sequence[float]) -> str:
    if len(values) < 2 or not all(map(math.isfinite, values)):
        return "–"
    if not is_geometric(SIGNAL, values):
        found = interval(values)
        return f"{number(found.low)} – {number(found.high)}"
    found = interval([math.log(value) for value in values])
    return f"{number(math.exp(found.low))} – {number(math.exp(min(found.high, LARGEST_LOG)))}"


def _factors(means: dict[LayerKey, float]) -> dict[LayerKey, float]:
    """What each step toward the input multiplies the signal by; of several backward passes the last counts."""
    last = {(key.name, key.call): key for key in means}
    return {a: means[a] / means[b] for a, b in pairwise(last.values()) if means[a] > 0 and means[b] > 0}


def _bars(means: dict[LayerKey, float]) -> dict[LayerKey, str]:
    """From the least to the greatest of them, and over one decade at least."""
    logs = {key: math.log10(mean) for key, mean in means.items() if mean > 0}
    most = max(logs.values(), default=0.0)
    span = max(most - min(logs.values(), default=0.0), 1.0)
    full = {key: max(1, round(_BAR * (1 - (most - log) / span))) for key, log in logs.items()}
    return {key: "█" * full.get(key, 0) + "░" * (_BAR - full.get(key, 0)) for key in means}
