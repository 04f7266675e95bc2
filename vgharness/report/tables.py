"""Sessions and comparisons as tables of 80 columns, in the terminal and in Markdown; colour only repeats what is said.

A :class:`Sheet` is one table: rich prints it as it is, :func:`markdown` makes text of several.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from vgharness.formatting import bars, count, escaped, interval, number, relative_change, shorten
from vgharness.gradflow.comparison import Change, ChangeOutcome, Comparison
from vgharness.gradflow.pairs import FEWEST_SEEDS
from vgharness.gradflow.rows import Row, table_rows
from vgharness.gradflow.summary import FACTOR, FACTOR_HEADING, SIGNAL
from vgharness.records import LayerKey, Sample
from vgharness.statistics import on_scale

_WORDS: Final[dict[ChangeOutcome, str]] = {
    "regression": "FAIL",
    "inconclusive": "maybe chance",
    "not finite": "no value",
    "changed": "changed",
    "within": "ok",
    "unchanged": "ok",
}
_STYLES: Final[dict[ChangeOutcome, str]] = {
    "regression": "bold red",
    "inconclusive": "yellow",
    "not finite": "magenta",
    "changed": "yellow",
    "within": "",
    "unchanged": "",
}
_WELL: Final[tuple[ChangeOutcome, ...]] = ("within", "unchanged")
BRANCH: Final = "from"  # before the name of the layer that feeds a branch
_INDENT: Final = "  "
_FARTHEST: Final = "! the factor that is farthest from 1"
_BRANCHES: Final = f"{BRANCH} A: a branch begins, fed by A and not by the row above"
_ELSEWHERE: Final = "→ a factor against the layer that is fed, which is not the row below"
_PARAMETERS: Final = "indented with a dot: a parameter, with its own gradient ‖∂L/∂p‖₂"
_NEAR_ONE: Final = 2.0  # factors from 1/2 to 2 are unremarkable
UNREMARKABLE: Final = f"state ok, factor from {1 / _NEAR_ONE:g} to {_NEAR_ONE:g}"
WORTH_FOLDING: Final = 4  # rows


class Sheet(NamedTuple):
    """One table.

    title: above it.
    names: widths in the terminal of its first columns, which hold names.
    headings: of all columns.
    rows: cells of text.
    styles: one per row, as rich knows them.
    notes: lines below it.
    folded: per row, whether Markdown hides it until it is asked for; empty: none.
    folded_as: why.
    wrapped: whether names that are wider wrap in the terminal; else their middle is left out.
    """

    title: str
    names: tuple[int, ...] = ()
    headings: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    styles: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    folded: tuple[bool, ...] = ()
    folded_as: str = ""
    wrapped: bool = False

    def __rich__(self) -> Group:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for index, heading in enumerate(self.headings):
            named = index < len(self.names)
            wraps = heading in (FACTOR_HEADING, "change") or (named and self.wrapped)
            table.add_column(Text(heading), justify="left" if named else "right", no_wrap=not wraps)
        for row, style in zip(self.rows, self.styles, strict=True):
            wide = zip(row, self.names, strict=False)
            names = (cell if self.wrapped else shorten(cell, width) for cell, width in wide)
            table.add_row(*(Text(cell, style) for cell in (*names, *row[len(self.names) :])))
        return Group(Text(escaped(self.title), "bold"), *([table] if self.rows else []), *map(Text, self.notes))


def session_table(
    sample: Sample, compared: Comparison | None = None, *, parameters: bool = False, named: Collection[str] = ()
) -> Sheet:
    """The error signal of each layer, from the input to the output.

    Its mean over the seeds with the 95 % interval, the factor toward the input, a bar on a logarithmic scale; with
    ``parameters`` each layer's parameters below it; with ``compared`` also the change against that run. ``named``:
    layers and passes that are spoken of, whose rows no fold hides.
    """
    shown = table_rows(sample, parameters=parameters, named=named)
    worst = farthest_from_one(shown)
    changes = {
        change.layer: change
        for change in (compared.changes if compared else ())
        if (change.sample, change.quantity) == (sample.label, SIGNAL)
    }
    signals = [row.value.value if row.kind != "parameter" else math.nan for row in shown]
    rows, styles, folded = [], [], []
    plain = [False] * len(shown) if compared else unremarkable(shown, worst, named)
    for index, (row, bar) in enumerate(zip(shown, bars(signals), strict=True)):
        after = [_change_of(row, changes)] if compared else []
        if row.origin is not None:
            rows.append((f"{_INDENT}{BRANCH} {escaped(row.origin)}", "", "", "", "", *("" for _ in after)))
            styles.append("dim")
            folded.append(False)
        cells = [_label(row), row_value(row), interval(row.value), row_factor(row, marked=index == worst)]
        rows.append((*cells, bar if row.kind != "parameter" else "", *after))
        styles.append("magenta" if not math.isfinite(row.value.value) else "red" if index == worst else "")
        folded.append(plain[index])
    return Sheet(
        title=f"{sample.label} ({count(len(sample.seeds), 'seed')})",
        names=(20 if compared else 28,),
        headings=("layer", SIGNAL, "95 % interval", FACTOR_HEADING, "", *(["change"] if compared else [])),
        rows=tuple(rows),
        styles=tuple(styles),
        notes=((_FARTHEST,) if worst is not None else ()) + row_notes(shown),
        folded=tuple(folded),
        folded_as=UNREMARKABLE,
    )


def row_value(row: Row) -> str:
    """The mean; where a seed has none the states that explain it."""
    if math.isfinite(row.value.value):
        return number(row.value.value)
    return row.state.replace("ok, ", "") if row.state != "ok" else "not measured"


def row_factor(row: Row, *, marked: bool = False) -> str:
    """The factor, with a sign where it is against another row than the next, and where it is ``marked``."""
    if row.factor is None:
        return ""
    return f"{'! ' if marked else ''}{'' if row.feeds_below else '→ '}{number(row.factor.value)}"


def row_notes(rows: Sequence[Row]) -> tuple[str, ...]:
    """Lines that say what the signs in ``rows`` mean."""
    notes = {
        _BRANCHES: any(row.origin is not None for row in rows),
        _ELSEWHERE: any(row.factor is not None and not row.feeds_below for row in rows),
        _PARAMETERS: any(row.kind == "parameter" for row in rows),
    }
    return tuple(note for note, needed in notes.items() if needed)


def _label(row: Row) -> str:
    return f"{'' if row.kind == 'layer' else _INDENT}{escaped(row.label)}"


def _change_of(row: Row, changes: Mapping[LayerKey | None, Change]) -> str:
    if row.layer is None:  # several passes, or steps
        return ""
    return _change(changes[row.layer.key]) if row.layer.key in changes else "new"


def unremarkable(rows: Sequence[Row], worst: int | None, named: Collection[str]) -> list[bool]:
    """Per row, whether nothing is to be said of it, nor of the others of its layer. ``worst``, ``named``: rows that are
    spoken of."""
    layers: list[list[bool]] = []
    for index, row in enumerate(rows):
        if row.kind == "layer":
            layers.append([])
        layers[-1].append(index != worst and row.label not in named and _is_unremarkable(row))
    return [all(layer) for layer in layers for _ in layer]


def _is_unremarkable(row: Row) -> bool:
    steady = row.factor is None or (row.feeds_below and 1 / _NEAR_ONE <= row.factor.value <= _NEAR_ONE)
    return row.state == "ok" and math.isfinite(row.value.value) and steady and row.origin is None


def farthest_from_one(rows: Sequence[Row]) -> int | None:
    """Which row's factor is; None: none has one."""
    found = {i: abs(on_scale("log", row.factor.value)) for i, row in enumerate(rows) if row.factor is not None}
    return max((i for i in found if math.isfinite(found[i])), key=lambda i: found[i], default=None)


def comparison_table(comparison: Comparison, option: str = "--fail") -> tuple[Sheet, ...]:
    """A sheet for each test that is in both runs, and a last one of what else is to be said.

    Shown are the quantities that have a limit (without any: the error signal and its factor), and of the others what
    is not as it should be. ``option``: that gives limits, where there is none.
    """
    limited = any(change.limited for change in comparison.changes)
    always = () if limited else (FACTOR, SIGNAL)
    sheets = []
    for label in dict.fromkeys(change.sample for change in comparison.changes):
        shown = [
            change
            for change in comparison.changes
            if change.sample == label and (change.limited or change.outcome not in _WELL or change.quantity in always)
        ]
        if shown:
            sheets.append(_comparison_sheet(label, shown))
    return (*sheets, _conclusion(comparison, option))


def _comparison_sheet(label: str, changes: Sequence[Change]) -> Sheet:
    rows = tuple(
        (
            _layer(change),
            escaped(change.quantity),
            number(change.before),
            number(change.after),
            _change(change, with_interval=True),
            "" if change.outcome in _WELL and not change.limited else _WORDS[change.outcome],
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
        folded=tuple(change.outcome in _WELL for change in changes),
        folded_as="within limits, or not changed by more than chance",
    )


def _conclusion(comparison: Comparison, option: str) -> Sheet:
    return Sheet(
        title=conclusion(comparison, option),
        notes=(
            *map(escaped, comparison.notes),
            *(escaped(f"{'FAIL ' if a.fails else ''}{a}") for a in comparison.appearances),
        ),
    )


def conclusion(comparison: Comparison, option: str = "--fail") -> str:
    """``no regressions in 12 values of 3 tests; 2 beyond a limit, maybe by chance``; without any limit nothing is
    claimed: ``12 values of 3 tests compared, no limit given (--fail): 2 changed by more than chance``.

    ``option``: which takes limits.
    """
    changes, bad = comparison.changes, len(comparison.regressions)
    tests = len({change.sample for change in changes})
    regressions = count(bad, "regression") if bad else "no regressions"
    if not tests:
        return f"{f'{regressions}; ' if bad else ''}nothing compared: no test with a value is in both runs"
    values = f"{count(len(changes), 'value')} of {count(tests, 'test')}"
    if not comparison.limits:
        found = f"{regressions}; " if bad or comparison.fail_on else ""
        on = " on a value" if comparison.fail_on else ""
        return f"{found}{values} compared, no limit{on} given ({option}): {_changed(changes)}"
    perhaps = sum(change.outcome == "inconclusive" for change in changes)
    return f"{regressions} in {values}{f'; {perhaps:,} beyond a limit, maybe by chance' if perhaps else ''}"


def _changed(changes: Sequence[Change]) -> str:
    changed, unchanged = (sum(change.outcome == word for change in changes) for word in ("changed", "unchanged"))
    if unchanged == len(changes):
        return "all unchanged"
    if max(min(change.seeds) for change in changes) < FEWEST_SEEDS:
        return f"{unchanged:,} unchanged; of the others fewer than {FEWEST_SEEDS} seeds do not rule out chance"
    return f"{changed:,} changed by more than chance" if changed else "none changed by more than chance"


def maybe_by_chance(comparison: Comparison, most: int = 10) -> tuple[str, ...]:
    """A line for each of the first ``most`` changes that are beyond a limit, but maybe by chance, with how many seeds
    would tell; then one for how many more there are."""
    found = [f"{change.sample}: {change}" for change in comparison.changes if change.outcome == "inconclusive"]
    more = (f"and {len(found) - most:,} more that may be chance",) if len(found) > most else ()
    return (*found[:most], *more)


def markdown(sheets: Iterable[Sheet]) -> str:
    """The same tables for a pull-request comment, with names in full."""
    return "\n".join(line for sheet in sheets for line in (*_markdown(sheet), ""))


def _markdown(sheet: Sheet) -> Iterable[str]:
    title = escaped(sheet.title)
    yield f"#### {as_code(title) if sheet.rows else without_formatting(title)}"
    yield ""
    folded = sheet.folded if sum(sheet.folded) >= WORTH_FOLDING else (False,) * len(sheet.rows)
    shown = [i for i, hidden in enumerate(folded) if not hidden]
    if shown:
        yield from (*_markdown_rows(sheet, shown), "")
    for note in sheet.notes:
        yield f"- {without_formatting(note)}"
    if any(folded):
        hidden = [i for i in range(len(folded)) if folded[i]]
        yield from ("", f"<details><summary>{count(len(hidden), 'row')}: {sheet.folded_as}</summary>", "")
        yield from (*_markdown_rows(sheet, hidden), "", "</details>")


def _markdown_rows(sheet: Sheet, which: Iterable[int]) -> Iterable[str]:
    names = len(sheet.names)
    rows = []
    for index in which:
        row, style = sheet.rows[index], sheet.styles[index]
        cells = [*(as_code(cell) if cell else "" for cell in row[:names]), *row[names:]]
        rows.append([f"**{cell}**" if cell == _WORDS["regression"] and style else cell for cell in cells])
    return markdown_table(sheet.headings, rows, texts=names)


def markdown_table(headings: Sequence[str], rows: Iterable[Sequence[str]], *, texts: int) -> Iterable[str]:
    """The lines of a table. ``texts``: how many of the first columns are aligned to the left, as texts are; what is in
    the cells is Markdown."""
    yield _line(heading or " " for heading in headings)
    yield _line(":---" if index < texts else "---:" for index in range(len(headings)))
    yield from map(_line, rows)


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
    if of.outcome == "unchanged":
        return "unchanged"
    if of.change is None:
        return "–" if None in (of.before, of.after) or of.before == of.after else "from 0"
    text = relative_change(of.change)
    if with_interval and of.low is not None and of.high is not None:
        ends = relative_change(of.low), relative_change(of.high)
        if set(ends) != {text}:  # as it is where the ratio is the same for every seed
            text += f" ({' to '.join(ends)})"
    return text
