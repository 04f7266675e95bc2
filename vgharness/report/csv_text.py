"""Tables as CSV that is safe to open in a spreadsheet and can be read back as it was."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

# What a spreadsheet takes for the beginning of a formula; and the mark itself, so that taking one away gives back
# every text.
_MARK: Final = "'"
_MARKED: Final = ("=", "+", "-", "@", "\t", "\r", "\n", _MARK)


def as_csv(columns: Sequence[str], rows: Iterable[Mapping[str, Any] | Sequence[Any]]) -> str:
    """Writes ``rows``, by position or by name of the column, under a line with the names.

    ``None`` is an empty cell, and numbers have all their digits. A text that a spreadsheet would take for a formula
    begins with one ``'`` more than it has; :func:`text_of_cell` takes it away.
    """
    lines = [_line(columns)]
    for row in rows:
        lines.append(_line([row.get(name) for name in columns] if isinstance(row, Mapping) else row))
    return "".join(f"{line}\n" for line in lines)


def text_of_cell(cell: str) -> str:
    """The text that :func:`as_csv` wrote as ``cell``."""
    return cell.removeprefix(_MARK)


def _line(values: Sequence[Any]) -> str:
    out = io.StringIO()
    # Only characters of the line's end are quoted by every Python, and a carriage return in a text is to be.
    csv.writer(out, lineterminator="\r\n").writerow(map(_cell, values))
    return out.getvalue().removesuffix("\r\n")


def _cell(value: Any) -> Any:
    return f"{_MARK}{value}" if isinstance(value, str) and value.startswith(_MARKED) else value
