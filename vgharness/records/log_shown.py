"""A training log as lines and a table of its layers for a notebook."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, cast

from vgharness.display.html import Column, HtmlTable
from vgharness.display.shown import Shown
from vgharness.display.table import Table
from vgharness.formatting import count, escaped, listing, moment, together
from vgharness.records.flow import LayerKey
from vgharness.records.log_tables import LogTableName, log_table_of

if TYPE_CHECKING:
    import pandas  # slow to import, and an extra
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from vgharness.records.training_log import LogRow, Snapshot, SnapshotQuantity, TrainingLog, TrainingProblem

_MOST_LINES: Final = 6  # problems in print
_COLUMNS: Final = {
    "signal_l2": "‖∂L/∂h‖₂",
    "weight_l2": "‖∂L/∂W‖₂",
    "relative_update": "‖ΔW‖₂ ÷ ‖W‖₂",
    "output_rms": "rms of the output",
}


class ShownLog(Shown["Snapshot"]):
    """The side of a :class:`TrainingLog` that a notebook sees."""

    _noun = "snapshot"

    def plot(self, ax: Axes | None = None, *, quantity: SnapshotQuantity = "signal_l2", model: str = "") -> Figure:
        """Draws ``quantity`` of each layer over the steps as a map of shades, and marks the problems where they began;
        gives matplotlib's figure.

        ax: to draw on; by default new ones. model: which, by name; by default the first.
        """
        from vgharness.records.log_plot import plot_log  # matplotlib is slow to import

        return plot_log(self._log, ax, quantity, model or self._log.models[0].name)

    def to_frame(self, what: LogTableName = "snapshots") -> pandas.DataFrame:
        """The log as a table of pandas, which the extra ``[frame]`` brings.

        what: ``snapshots``, a row for each snapshot and layer; ``parameters``, for each snapshot and parameter, where
            those were asked for; ``problems``, for each problem.

        Raises :class:`~vgharness.errors.UsageError` for another name, and without pandas.
        """
        return log_table_of(self._log, what).to_frame()

    @property
    def _log(self) -> TrainingLog:
        return cast("TrainingLog", self)

    def _items(self) -> tuple[Snapshot, ...]:
        return self._log.snapshots

    def _called(self, row: Snapshot) -> str:
        return f"{row.model} step {row.step}".strip()

    def _line(self) -> str:
        return log_line(self._log)

    def _table(self) -> Table:
        return log_table_of(self._log, "snapshots")

    def _html(self) -> HtmlTable:
        return log_html(self._log)

    def __str__(self) -> str:
        return log_text(self._log)


def log_line(log: TrainingLog) -> str:
    """``Net, 3,000 steps, finished; 31 snapshots; 2 problems``."""
    models = listing((f"{x.name} {x.architecture}".strip() for x in log.models), most=3)
    steps = max(model.steps for model in log.models)
    found = problems_in(log)
    warnings = sum(problem.severity == "warning" for problem in found)
    said = tally_of(len(found) - warnings, warnings, len(log.births)) if found else "healthy"
    return f"{models}, {count(steps, 'step')}, {log.status}; {count(len(log.snapshots), 'snapshot')}; {said}"


def tally_of(problems: int, warnings: int, births: int) -> str:
    """``2 problems and 1 warning``; ``no problems``."""
    many = {"problem": problems, "warning": warnings}
    said = together([count(each, noun) for noun, each in many.items() if each]) or "no problems"
    return f"{said}; NaN or infinity came up" if births else said


def problems_in(log: TrainingLog) -> list[TrainingProblem]:
    """Those of all models, in the order in which they began; a first NaN whose problem was not saved is one too."""
    found = dict.fromkeys(problem for model in log.models for problem in log.problems_of(model.name))
    return sorted(found, key=lambda problem: problem.began)


def log_text(log: TrainingLog) -> str:
    """The line, and a line for each of the first problems."""
    lines = [log_line(log), *map(problem_line, problems_in(log))]
    if len(lines) > _MOST_LINES + 1:
        lines = [*lines[: _MOST_LINES + 1], f"and {len(lines) - _MOST_LINES - 1} more: .problems"]
    return "\n".join(escaped(line) for line in lines)


def problem_line(problem: TrainingProblem) -> str:
    """``step 300 to 420: warning: vanishing at conv1: …``."""
    until = "" if problem.ended is None else f" to {problem.ended:,}"
    warning = "warning: " if problem.severity == "warning" else ""
    return f"step {problem.began:,}{until}: {warning}{problem.kind}{_where(problem)}: {problem.evidence}"


def log_html(log: TrainingLog) -> HtmlTable:
    """The problems, and the layers of each model at its first and its last snapshot."""
    lines = [f"{moment(log.created)}; {log.machine.device}; a snapshot every {count(log.every, 'step')}", *log.notes]
    again = [shlex.quote(birth.reproducer) for birth in log.births if birth.reproducer]
    lines += [f"the first NaN is shown again by: vgharness reproduce {folder}" for folder in again]
    tables = [_problems(log)] if problems_in(log) else []
    for model in log.models:
        own = log.of_model(model.name)
        if own:
            tables.append(_layers(model.name or model.architecture, own[0], own[-1], log.rows))
    return HtmlTable(f"training log: {log_line(log)}", (), lines, tables)


def key_of(row: LogRow) -> LayerKey:
    """Which row of a flow it is."""
    return LayerKey(row.name, row.forward_pass, row.backward_pass)


def _problems(log: TrainingLog) -> HtmlTable:
    rows = [
        (
            f"{'warning: ' if x.severity == 'warning' else ''}{x.kind}{_where(x)}",
            f"{x.began:,}",
            "–" if x.ended is None else f"{x.ended:,}",
            f"{x.evidence}{f' ({x.times:,} times)' if x.times > 1 else ''}",
            x.advice or "–",
        )
        for x in problems_in(log)
    ]
    columns = list(zip(*rows, strict=True))
    headings = ("problem", "from step", "to step", "evidence", "what usually helps")
    return HtmlTable("problems", [Column(x, cells, "text") for x, cells in zip(headings, columns, strict=True)])


def _layers(name: str, first: Snapshot, last: Snapshot, rows: Sequence[Sequence[LogRow]]) -> HtmlTable:
    keys = [key_of(row) for row in rows[last.rows]]
    before = {key_of(row): at for at, row in enumerate(rows[first.rows])}
    columns = [Column("layer", [str(key) for key in keys], "text")]
    if any(state != "ok" for state in last.states):
        columns.append(Column("state", list(last.states), "text"))
    for quantity, heading in _COLUMNS.items():
        at_first, at_last = first.values.get(quantity), last.values.get(quantity)  # type: ignore[call-overload]
        if at_first is not None and at_last is not None:
            was = [at_first[before[key]] if key in before else None for key in keys]
            columns += [Column(f"{heading}, step {first.step:,}", was), Column(f"step {last.step:,}", at_last)]
            columns += [Column("", at_last, "bar")] if quantity == "signal_l2" else []
    return HtmlTable(name, columns)


def _where(problem: TrainingProblem) -> str:
    model = f" of {problem.model}" if problem.model else ""
    return f"{f' at {problem.layer}' if problem.layer else ''}{model}"
