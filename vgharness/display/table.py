"""A table of values, and what it becomes: dictionaries, a table of pandas, the content of a Parquet file."""

from __future__ import annotations

import json
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from vgharness.errors import UsageError

if TYPE_CHECKING:
    import pandas


class Table(NamedTuple):
    """A table of values.

    columns: their names.
    rows: for each column the value: text, a number, a truth value or ``None``; in a few columns of verdicts, a list, or
        values by seed.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]

    def records(self) -> list[dict[str, Any]]:
        """Each row by the names of the columns."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]

    def flat(self) -> Table:
        """The same without lists and values by seed, which become JSON text. So does a whole column that has both
        numbers and text."""
        columns = [_flat_column(values) for values in zip(*self.rows, strict=True)]
        return Table(self.columns, tuple(zip(*columns, strict=True)))

    def to_frame(self) -> pandas.DataFrame:
        """The table as a ``pandas.DataFrame``. Raises :class:`~vgharness.errors.UsageError` without pandas."""
        return _pandas().DataFrame.from_records(list(self.flat().rows), columns=list(self.columns))

    def to_parquet(self) -> bytes:
        """The content of a Parquet file. Raises :class:`~vgharness.errors.UsageError` without pandas or pyarrow."""
        frame = self.to_frame()
        try:
            import_module("pyarrow")
        except ImportError:
            raise UsageError("Parquet needs pyarrow: pip install 'vgharness[frame]'") from None
        content: bytes = frame.to_parquet(engine="pyarrow", index=False)
        return content


def table_of_rows(rows: list[dict[str, Any]], columns: tuple[str, ...] = ()) -> Table:
    """A table of rows by name, the columns in the order in which they are first met.

    columns: those that it has although there may be no rows.
    """
    names = tuple(dict.fromkeys([*columns, *(name for row in rows for name in row)]))
    return Table(names, tuple(tuple(row.get(name) for name in names) for row in rows))


def _flat_column(values: tuple[Any, ...]) -> list[Any]:
    kinds = {_kind(value) for value in values if value is not None}
    as_text = len(kinds) > 1 or kinds == {"list"}
    return [json.dumps(value) if as_text and value is not None else value for value in values]


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "truth"
    if isinstance(value, int | float):
        return "number"
    return "text" if isinstance(value, str) else "list"


def _pandas() -> ModuleType:
    try:
        return import_module("pandas")
    except ImportError:
        raise UsageError("a table of pandas needs pandas: pip install 'vgharness[frame]'") from None
