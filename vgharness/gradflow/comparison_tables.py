"""A comparison of two sessions as lines and a table for a notebook."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from vgharness.display.html import Column, HtmlTable
from vgharness.formatting import count, escaped, relative_change

if TYPE_CHECKING:
    from vgharness.gradflow.comparison import Change, Comparison

_MOST_LINES: Final = 8
# What is shown first; what has not changed at all comes last.
_ORDER: Final = ("regression", "not finite", "inconclusive", "changed", "within", "unchanged")


def comparison_line(comparison: Comparison) -> str:
    """``2 regressions; 24 values: 2 regression, 22 within; 1 new``."""
    counts = Counter(change.outcome for change in comparison.changes)
    values = ", ".join(f"{counts[outcome]} {outcome}" for outcome in _ORDER if counts[outcome])
    presences = Counter(each.presence for each in comparison.appearances)
    parts = [count(len(comparison.regressions), "regression")]
    parts.append(f"{count(len(comparison.changes), 'value')}{f': {values}' if values else ''}")
    parts += [", ".join(f"{many} {presence}" for presence, many in presences.items())] if presences else []
    return "; ".join(parts)


def comparison_text(comparison: Comparison) -> str:
    """The line, and what is worst of it."""
    worth = [f"{_of(x)}{x}" for x in in_order(comparison) if x.outcome not in ("within", "unchanged")]
    said = [*worth, *map(str, comparison.appearances), *comparison.notes]
    more = [f"and {len(said) - _MOST_LINES} more"] if len(said) > _MOST_LINES else []
    return "\n".join(escaped(line) for line in (comparison_line(comparison), *said[:_MOST_LINES], *more))


def comparison_html(comparison: Comparison) -> HtmlTable:
    """A row for each change, the worst first; the bars are of the values now."""
    rows = in_order(comparison)
    columns = [
        Column("layer", [f"{_of(x)}{x.layer or 'all layers'}" for x in rows], "text"),
        Column("quantity", [x.quantity for x in rows], "text"),
        Column("outcome", [x.outcome for x in rows], "text"),
        Column("before", [x.before for x in rows]),
        Column("after", [x.after for x in rows]),
        Column("change", [relative_change(x.change) for x in rows], "text"),
        Column("95 % interval", [_interval(x) for x in rows], "text"),
        Column("after ÷ before", [None if x.change is None else x.change + 1 for x in rows], "bar"),
        Column("why", [x.reason for x in rows], "text"),
    ]
    lines = [*map(str, comparison.appearances), *comparison.notes]
    return HtmlTable(f"comparison: {comparison_line(comparison)}", columns, lines)


def _of(change: Change) -> str:
    """What :func:`measure` gives outside of a test has no name."""
    return f"{change.sample}: " if change.sample else ""


def in_order(comparison: Comparison) -> list[Change]:
    """The changes, the worst first, else as they are."""
    return sorted(comparison.changes, key=lambda change: _ORDER.index(change.outcome))


def _interval(change: Change) -> str:
    if change.low is None or change.high is None:
        return "–"
    return f"{relative_change(change.low)} to {relative_change(change.high)}"
