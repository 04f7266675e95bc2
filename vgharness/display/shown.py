"""How a thing with rows behaves in a notebook: it is iterated, asked for a row, printed, and turned into a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, overload

from vgharness.display.html import HtmlTable, html_of
from vgharness.display.table import Table, table_of_rows
from vgharness.formatting import escaped, listing

if TYPE_CHECKING:
    import pandas

Row = TypeVar("Row")

_MOST_NAMED = 8


if TYPE_CHECKING:

    class _OfRows(Generic[Row]):
        pass

else:

    class _OfRows:  # pydantic has generics of its own, and no others may come before it among a record's bases
        def __class_getitem__(cls, row: object) -> type:
            return cls


class Shown(_OfRows[Row]):
    """What it holds are rows: iterating gives them, ``len`` counts them, and a number or a name gives one.

    It is true even where it has no rows, so that ``if flow:`` asks whether there is one at all.

    A class says by ``_items`` what its rows are, by ``_called`` what one of them is called, by ``_line`` itself in one
    line, by ``_records`` its rows by names of columns, and by ``_html`` the table that a notebook shows.
    """

    _noun: ClassVar[str] = "row"

    def _items(self) -> Sequence[Row]:
        raise NotImplementedError

    def _called(self, row: Row) -> str:
        raise NotImplementedError

    def _line(self) -> str:
        raise NotImplementedError

    def _records(self) -> list[dict[str, Any]]:
        raise NotImplementedError

    def _html(self) -> HtmlTable:
        raise NotImplementedError

    # --- rows ------------------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[Row]:
        return iter(self._items())

    def __len__(self) -> int:
        return len(self._items())

    def __bool__(self) -> bool:
        return True

    def __contains__(self, item: object) -> bool:
        return any(self._called(row) == item for row in self) if isinstance(item, str) else item in self._items()

    @overload
    def __getitem__(self, which: int | str) -> Row: ...

    @overload
    def __getitem__(self, which: slice) -> Sequence[Row]: ...

    def __getitem__(self, which: int | str | slice) -> Row | Sequence[Row]:
        if not isinstance(which, str):
            return self._items()[which]
        for row in self:
            if self._called(row) == which:
                return row
        names = listing(dict.fromkeys(self._called(row) for row in self), most=_MOST_NAMED)
        raise KeyError(f"no {self._noun} {which!r}: there is {names or 'none'}")

    # --- tables ----------------------------------------------------------------------------------------

    def _table(self) -> Table:
        return table_of_rows(self._records())

    def to_records(self) -> list[dict[str, Any]]:
        """The rows as dictionaries, by the names of the columns of :meth:`to_frame`."""
        return self._table().records()

    def to_frame(self) -> pandas.DataFrame:
        """The rows as a table of pandas, which the extra ``[frame]`` brings.

        Raises :class:`~vgharness.errors.UsageError` without pandas.
        """
        return self._table().to_frame()

    # --- text ------------------------------------------------------------------------------------------

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {escaped(self._line())}>"

    def __str__(self) -> str:
        return repr(self)

    def _repr_html_(self) -> str:
        return html_of(self._html())
