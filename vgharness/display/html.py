"""A table for a notebook's cell: HTML without script, style sheet or colours of its own, to be read on any ground."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

from markupsafe import Markup

from vgharness.display.elements import element, joined
from vgharness.display.text import ends
from vgharness.formatting import bars, number

_MOST_ROWS: Final = 200
_BAR: Final = 12  # characters
# Bars are letters, which stay where a viewer drops all styles.
_STYLES: Final = {
    "text": "padding:0.2em 0.6em;text-align:left;overflow-wrap:break-word;max-width:34em",
    "number": "padding:0.2em 0.6em;text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums",
    "bar": "text-align:left;white-space:nowrap;font-family:monospace;line-height:1",
}


class Column(NamedTuple):
    """A column of a table.

    heading: its name.
    cells: of each row; text as it is, numbers with three digits, ``None`` as a dash.
    kind: how they are shown: ``bar``, after the numbers that it draws on a logarithmic scale.
    """

    heading: str
    cells: Sequence[str | float | None]
    kind: Literal["text", "number", "bar"] = "number"


class HtmlTable(NamedTuple):
    """A table and what stands around it.

    title: what it is of.
    columns: the first names the rows.
    lines: sentences below the title.
    more: further tables, below it.
    """

    title: str
    columns: Sequence[Column]
    lines: Sequence[str] = ()
    more: Sequence[HtmlTable] = ()


def html_of(table: HtmlTable) -> str:
    """The markup of ``table``; every text in it is escaped. Of many rows the first and the last."""
    return str(element("div", *_parts(table), style="overflow-x:auto"))


def _parts(table: HtmlTable) -> list[Markup]:
    parts = [element("p", element("strong", table.title), style="margin:0.3em 0;text-align:left")]
    parts += [element("p", line, style="margin:0.2em 0;text-align:left") for line in table.lines]
    if table.columns and table.columns[0].cells:
        parts.append(_table(table.columns))
    for each in table.more:
        parts += _parts(each)
    return parts


def _table(columns: Sequence[Column]) -> Markup:
    drawn = [_cells(column) for column in columns]
    first, last = ends(len(columns[0].cells), _MOST_ROWS)
    rows = [_row(columns, [cells[at] for cells in drawn]) for at in first]
    if last:
        left_out = len(columns[0].cells) - len(first) - len(last)
        words = f"… {left_out:,} more, all of them by .to_frame()"
        rows.append(element("tr", element("td", words, colspan=len(columns), style=_STYLES["text"])))
        rows += [_row(columns, [cells[at] for cells in drawn]) for at in last]
    head = element(
        "tr", *(element("th", column.heading, scope="col", style=_heading(column.kind)) for column in columns)
    )
    return element("table", element("thead", head), element("tbody", *rows), style="margin:0.4em 0")


def _heading(kind: str) -> str:
    return f"text-align:{'right' if kind == 'number' else 'left'};vertical-align:bottom"


def _cells(column: Column) -> list[Markup]:
    if column.kind == "bar":
        sizes = [value if isinstance(value, float | int) else math.nan for value in column.cells]
        # For a screen reader a bar says nothing that the number before it does not.
        drawn = zip(sizes, bars(sizes, _BAR), strict=True)
        return [element("span", "" if math.isnan(size) else bar, aria_hidden="true") for size, bar in drawn]
    return [joined(cell if isinstance(cell, str) else number(cell)) for cell in column.cells]


def _row(columns: Sequence[Column], cells: Sequence[Markup]) -> Markup:
    name = element("th", cells[0], scope="row", style=_STYLES["text"])
    rest = (
        element("td", cell, style=_STYLES[column.kind]) for column, cell in zip(columns[1:], cells[1:], strict=True)
    )
    return element("tr", name, *rest)
