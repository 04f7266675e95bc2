"""A run as tables: a row for each epoch of each network, for each layer at each moment, for each reading of a verdict.

Columns are found from the records' own fields, so that a new setting or quantity is a new column by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from vgharness.display.table import Table
from vgharness.errors import UsageError
from vgharness.records.base import Record
from vgharness.records.flow import GradientFlow
from vgharness.records.study import OF_EVERY_NETWORK, Cell
from vgharness.records.verdict import Reading

if TYPE_CHECKING:
    from vgharness.records.run import CellResult, Run

TableName = Literal["curves", "gradients", "verdicts"]
TABLES: Final[tuple[TableName, ...]] = get_args(TableName)

_Row = dict[str, Any]
# Of a layer: what names the row, and what is a list of other things.
_NO_QUANTITIES: Final = {"name", "aliases", "feeds", "without_gradient", "parameters", "nonfinite"}


def table_of(run: Run, what: TableName) -> Table:
    """Makes a table of ``run``; every row has all settings of its network.

    what: ``curves``, a row for each network and epoch; ``gradients``, for each network, moment and layer, at
        initialisation (epoch 0) and in the mean over each epoch; ``verdicts``, for each reading of each verdict, with
        the settings that its networks have in common.

    Raises :class:`~vgharness.errors.UsageError` for another name.
    """
    if what not in TABLES:
        raise UsageError(f"{what!r}: there is no such table; use {', '.join(TABLES)}")
    columns = list(_heading(run, what))
    known = set(columns)
    rows: list[list[Any]] = []
    for row in {"curves": _curves, "gradients": _gradients, "verdicts": _verdicts}[what](run):
        columns += (name for name in row if name not in known)
        known.update(row)
        rows.append([row.get(name) for name in columns])  # not the row itself: of 10,000 networks there are millions
    return Table(tuple(columns), tuple((*row, *[None] * (len(columns) - len(row))) for row in rows))


def _heading(run: Run, what: TableName) -> Iterable[str]:
    """The columns of a table that may have no rows."""
    settings = _settings(run.study.cells[0])
    return {
        "curves": [*settings, "status"],
        "gradients": [*settings, "status", "epoch", "moment", "layer"],
        "verdicts": ["claim", "variant", "verdict"],
    }[what]


# --- rows ------------------------------------------------------------------------------------------------


def _curves(run: Run) -> Iterator[_Row]:
    for result in run.results:
        for epoch in result.epochs:
            yield _of_cell(result) | _fields(epoch, {"flow", "nonfinite"})


def _gradients(run: Run) -> Iterator[_Row]:
    for result in run.results:
        own = _of_cell(result)
        if result.initial is not None:
            yield from _of_flow(own | {"epoch": 0, "moment": "initialisation"}, result.initial)
        for epoch in result.epochs:
            yield from _of_flow(own | {"epoch": epoch.epoch, "moment": "epoch mean"}, epoch.flow)


def _of_flow(own: _Row, flow: GradientFlow) -> Iterator[_Row]:
    for layer in flow.layers:
        yield own | {"layer": layer.name} | _fields(layer, _NO_QUANTITIES)


def _verdicts(run: Run) -> Iterator[_Row]:
    for verdict in run.verdicts:
        first = {"claim": verdict.claim, "variant": verdict.variant, "verdict": verdict.outcome}
        rest = {f"verdict_{name}": value for name, value in _fields(verdict, {*first, "outcome", "readings"}).items()}
        for reading in verdict.readings:
            yield first | _of_reading(reading) | _in_common(run, reading) | rest


def _of_reading(reading: Reading) -> _Row:
    row = _fields(reading, {"label", "activation", "accepted", "values", "nonfinite"})
    accepted = reading.accepted
    return {
        "reading": reading.label,
        **row,
        "accepted_low": accepted.low if accepted else None,
        "accepted_high": accepted.high if accepted else None,
        "values": {str(each.seed): each.value for each in reading.values},
    }


def _in_common(run: Run, reading: Reading) -> _Row:
    """The settings and the status that all networks of the reading have; of one in which they differ, ``None``."""
    seeds = {each.seed for each in reading.values}
    rows = [
        _of_cell(result)
        for result in run.results
        if result.cell.seed in seeds
        and result.cell.settings == reading.networks
        and reading.activation in (None, result.cell.activation)
    ]
    names = dict.fromkeys([*_settings(run.study.cells[0]), "status", *(name for row in rows for name in row)])
    found = {name: _only([row.get(name) for row in rows]) for name in names}
    return found | ({"activation": reading.activation} if reading.activation else {})


def _only(values: list[Any]) -> Any:
    return values[0] if values and all(value == values[0] for value in values) else None


def _of_cell(result: CellResult) -> _Row:
    return _settings(result.cell) | {"status": result.status}


def _settings(cell: Cell) -> _Row:
    """Every field; of a user's own network those that it has, its recipe as ``own.loss`` and the like, and its factors
    as ``own.factors.skip``."""
    fields = _fields(cell, {"own"})
    row = {name: value if cell.own is None or name in OF_EVERY_NETWORK else None for name, value in fields.items()}
    if cell.own is not None:
        for name, value in _fields(cell.own, ()).items():
            named = {f"own.{name}.{key}": each for key, each in value} if isinstance(value, list) else {}
            row |= named if isinstance(value, list) else {f"own.{name}": value}
    return row


def _fields(record: Record, but: Iterable[str]) -> _Row:
    return record.model_dump(mode="json", exclude=set(but))
