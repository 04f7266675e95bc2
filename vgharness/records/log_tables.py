"""A training log as tables: a row for each snapshot and layer, for each snapshot and parameter, for each problem."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from vgharness.display.table import Table
from vgharness.errors import UsageError
from vgharness.records.base import Record

if TYPE_CHECKING:
    from vgharness.records.training_log import Snapshot, TrainingLog

LogTableName = Literal["snapshots", "parameters", "problems"]
LOG_TABLES: Final[tuple[LogTableName, ...]] = get_args(LogTableName)

_Row = dict[str, Any]
# Of a snapshot: what is of its layers or parameters, and lists of names.
_NOT_OF_THE_STEP: Final = {
    "rows", "states", "values", "parameters", "without_gradient", "missed", "not_optimized", "nonfinite",
}  # fmt: skip


def log_table_of(log: TrainingLog, what: LogTableName) -> Table:
    """Makes a table of ``log``.

    what: ``snapshots``, a row for each snapshot and layer; ``parameters``, for each snapshot and parameter, where those
        were asked for; ``problems``, for each problem. Those of a snapshot have all that is known of its step.

    Raises :class:`~vgharness.errors.UsageError` for another name.
    """
    if what not in LOG_TABLES:
        raise UsageError(f"{what!r}: there is no such table of a training log; use {', '.join(LOG_TABLES)}")
    rows = list({"snapshots": _layers, "parameters": _parameters, "problems": _problems}[what](log))
    columns = tuple(dict.fromkeys([*_heading(what), *(name for row in rows for name in row)]))
    return Table(columns, tuple(tuple(row.get(name) for name in columns) for row in rows))


def _heading(what: LogTableName) -> tuple[str, ...]:
    """The columns of a table that may have no rows."""
    return {
        "snapshots": ("model", "step", "layer", "forward_pass", "backward_pass", "state"),
        "parameters": ("model", "step", "parameter"),
        "problems": ("kind", "model", "layer", "began", "ended"),
    }[what]


def _layers(log: TrainingLog) -> Iterator[_Row]:
    for snapshot in log.snapshots:
        own = _of_step(snapshot)
        for at, (row, state) in enumerate(zip(log.rows[snapshot.rows], snapshot.states, strict=True)):
            which = {"layer": row.name, "forward_pass": row.forward_pass, "backward_pass": row.backward_pass}
            values = {name: each[at] for name, each in snapshot.values.items()}
            yield own | which | {"state": state} | values


def _parameters(log: TrainingLog) -> Iterator[_Row]:
    for snapshot in log.snapshots:
        own = _of_step(snapshot)
        for name, parameter in snapshot.parameters.items():
            yield own | {"parameter": name} | _fields(parameter, {"nonfinite"})


def _problems(log: TrainingLog) -> Iterator[_Row]:
    for problem in log.problems:
        yield _fields(problem, set())


def _of_step(snapshot: Snapshot) -> _Row:
    return _fields(snapshot, _NOT_OF_THE_STEP)


def _fields(record: Record, but: set[str]) -> _Row:
    return record.model_dump(mode="json", exclude=but)
