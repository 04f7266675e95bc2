"""A training log in the terminal and in Markdown: how it ended, its problems, and its layers at first and at last."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Final

from vgharness.formatting import bars, count, escaped, number, percent
from vgharness.gradflow.rows import Row, table_rows
from vgharness.gradflow.summary import FACTOR_HEADING
from vgharness.records import (
    Birth,
    LayerKey,
    Sample,
    Snapshot,
    SnapshotQuantity,
    TrainingLog,
    TrainingProblem,
    tally_of,
)
from vgharness.report.tables import BRANCH, Sheet, row_factor, row_notes, row_value

_SIGNAL: Final = "‖∂L/∂h‖₂"
_MISSING: Final = "–"
_NAME_WIDTH: Final = 24
_ENDS: Final = {"running": "goes on", "interrupted": "was interrupted", "killed": "was killed"}


def log_sheets(log: TrainingLog, status: str) -> tuple[Sheet, ...]:
    """A sheet of what the training was, one of its problems, and two for each model that has a snapshot.

    status: how it ended, or ``running`` or ``killed``.
    """
    layers = [sheet for model in log.models for sheet in _of_model(log, model.name)]
    return (_head(log, status), _problems(log, ended=status != "running"), *layers)


def _head(log: TrainingLog, status: str) -> Sheet:
    models = (
        f"{escaped(f'{x.name}: {x.architecture}' if x.name else x.architecture)}, {count(x.parameters, 'parameter')}, "
        f"{count(x.steps, 'step')}{_last_step(log, x.name)}"
        for x in log.models
    )
    resumed = f"; resumed at step {log.first_step:,}" if log.first_step else ""
    kept = f"{count(len(log.snapshots), 'snapshot')} kept, one was taken every {count(log.every, 'step')}{resumed}"
    commit = [f"commit {escaped(log.commit)}"] if log.commit else []
    return Sheet(
        title=f"the training {_ENDS.get(status, status)}", notes=(*models, kept, *commit, *map(escaped, log.notes))
    )


def _last_step(log: TrainingLog, model: str) -> str:
    own = log.of_model(model)
    return f", the last snapshot at step {own[-1].step:,}" if own else ""


# --- problems --------------------------------------------------------------------------------------------


def _problems(log: TrainingLog, *, ended: bool) -> Sheet:
    births = [line for birth in log.births for line in _birth(birth)]
    return Sheet(title=tally(log), notes=(*births, *(_problem(x, ended=ended) for x in log.problems)))


def tally(log: TrainingLog) -> str:
    """``2 problems and 1 warning``; ``no problems``."""
    warnings = sum(problem.severity == "warning" for problem in log.problems)
    return tally_of(len(log.problems) - warnings, warnings, len(log.births))


def _problem(problem: TrainingProblem, *, ended: bool) -> str:
    end = f"to {problem.ended:,}" if problem.ended is not None else "to the end" if ended else "and it goes on"
    times = f", {problem.times:,} times" if problem.times > 1 else ""
    where = " of ".join(filter(None, [problem.layer, problem.model])) or "the model"
    advice = f". What usually helps: {problem.advice}" if problem.advice else ""
    kind = f"{problem.severity}: {problem.kind}, {where}"
    return escaped(f"{kind}, step {problem.began:,} {end}{times}: {problem.evidence}{advice}")


def _birth(birth: Birth) -> Iterator[str]:
    model = f" of {birth.model}" if birth.model else ""
    late = f"; noticed at step {birth.noticed:,}" if birth.noticed != birth.step else ""
    yield escaped(
        f"first NaN or infinity{model}: step {birth.step:,}, batch {birth.batch:,}: {birth.cause}{late}"
        f"{'; what shows it again:' if birth.reproducer else ''}"
    )
    if birth.reproducer:
        yield escaped(f"vgharness reproduce {shlex.quote(birth.reproducer)}")


# --- layers ----------------------------------------------------------------------------------------------


def _of_model(log: TrainingLog, model: str) -> Iterator[Sheet]:
    own = log.of_model(model)
    if own:
        ends = own[:1] if len(own) == 1 else (own[0], own[-1])
        at = f"{f'{model}, ' if model else ''}{_steps(ends)}"
        yield _signals(log, ends, at)
        yield from _updates(log, ends, at)


def _steps(ends: tuple[Snapshot, ...]) -> str:
    first = f"at step {ends[0].step:,}"
    return first if len(ends) == 1 else f"{first} (left) and at step {ends[-1].step:,}"


def _signals(log: TrainingLog, ends: tuple[Snapshot, ...], at: str) -> Sheet:
    shown = [table_rows(Sample(test="training", seeds=(0,), flows=(log.flow(each),))) for each in ends]
    before = {row.label: row for row in shown[0]} if len(ends) > 1 else None
    rows: list[tuple[str, ...]] = []
    for row, bar in zip(shown[-1], bars(row.value.value for row in shown[-1]), strict=True):
        cells = (*(_cells(before.get(row.label)) if before is not None else ()), *_cells(row), bar)
        if row.origin is not None:
            rows.append((f"  {BRANCH} {escaped(row.origin)}", *("" for _ in cells)))
        rows.append((escaped(row.label), *cells))
    return Sheet(
        title=f"error signal {_SIGNAL} and its {FACTOR_HEADING}, {at}",
        names=(_NAME_WIDTH,),
        headings=("layer", *((_SIGNAL, "factor") * len(ends)), ""),
        rows=tuple(rows),
        styles=("",) * len(rows),
        notes=row_notes(shown[-1]),
    )


def _cells(row: Row | None) -> tuple[str, str]:
    return (_MISSING, "") if row is None else (row_value(row), row_factor(row))


def _updates(log: TrainingLog, ends: tuple[Snapshot, ...], at: str) -> Iterator[Sheet]:
    """A layer's weight has one update, however often it runs: its first row has it."""
    found = [{row.name: place for place, row in reversed(list(enumerate(log.rows[each.rows])))} for each in ends]
    measured = {name for each in ends for name in ("relative_update", "dead_units") if _any(each, name)}
    if measured:
        names = list(dict.fromkeys(row.name for row in log.rows[ends[-1].rows]))
        rows = [
            (
                escaped(str(LayerKey(name))),
                *(cell for each, places in zip(ends, found, strict=True) for cell in _update(each, places.get(name))),
            )
            for name in names
        ]
        yield Sheet(
            title=f"relative update ‖ΔW‖₂ ÷ ‖W‖₂ and share of dead units, {at}",
            names=(_NAME_WIDTH,),
            headings=("layer", *(("update", "dead units") * len(ends))),
            rows=tuple(rows),
            styles=("",) * len(rows),
        )


def _any(snapshot: Snapshot, name: SnapshotQuantity) -> bool:
    return any(value is not None for value in snapshot.values.get(name, ()))


def _update(snapshot: Snapshot, place: int | None) -> tuple[str, str]:
    update, dead = (
        None if place is None or name not in snapshot.values else snapshot.values[name][place]
        for name in ("relative_update", "dead_units")
    )
    return number(update), percent(dead, _MISSING)
