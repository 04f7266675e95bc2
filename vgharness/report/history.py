"""Saved sessions and runs → each value as it was from one to the next, and where it changed.

A point is a *change* where the 95 % interval of the change against the point before it, taken seed by seed where both
have the same seeds, leaves out zero and the change is 5 % or more; where one of them has a single seed, and so no
interval, where it is 20 % or more. Points of different machines are never held against each other.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

import numpy as np

from vgharness.formatting import bars, escaped, number, relative_change, span
from vgharness.gradflow.quantities import values_of
from vgharness.gradflow.summary import FACTOR, SIGNAL
from vgharness.records import Name, Record, Run, Sample, Session, TestOutcome
from vgharness.statistics import Scale, scale_of, share_changed, summarise

HISTORY_VERSION: Final = 1
LEAST_CHANGE: Final = 0.05
LEAST_CHANGE_OF_ONE_SEED: Final = 0.2
ACCURACY: Final = "test accuracy, %"
WHOLE: Final = "all layers"
RULE: Final = (
    "a change: its 95 % interval leaves out zero and it is 5 % or more (20 % where a side has one seed), against the "
    "point before"
)


class Saved(NamedTuple):
    """A saved session or run: its number and name in the store, and what it holds."""

    number: int
    name: str
    record: Session | Run


class Point(Record):
    """One value of one saved session or run.

    number: its number in the store.
    name: its name there.
    created: when it was measured, ISO 8601, UTC.
    commit: that was measured; ``None``: in no repository.
    outcome: how the test ended; ``None``: not known, or of a study.
    value: the mean over the seeds; ``None``: not finite for some seed.
    low: lower end of its 95 % interval; ``None``: there is none.
    high: upper end.
    seeds: how many.
    change: value ÷ that of the point before - 1; ``None``: there is none to compare with.
    is_change: whether that is a change, as the rule says.
    """

    number: int
    name: Name
    created: Name
    commit: Name | None
    outcome: TestOutcome | None = None
    value: float | None
    low: float | None = None
    high: float | None = None
    seeds: int
    change: float | None = None
    is_change: bool = False


class Series(Record):
    """One value over all that was saved on one machine, oldest first.

    of: the test's label, or the study's network.
    layer: which layer and pass, in words; ``all layers``: of the whole flow, or the network.
    quantity: which.
    machine: the machine's id.
    points: one for each session or run that has it.
    """

    of: Name
    layer: Name
    quantity: Name
    machine: Name
    points: tuple[Point, ...]


class History(Record):
    """All of them.

    schema_version: of this format.
    rule: what counts as a change.
    series: by test and layer, in the order in which they first came.
    """

    schema_version: Literal[1] = HISTORY_VERSION
    rule: Name = RULE
    series: tuple[Series, ...]


class _Value(NamedTuple):
    """By seed."""

    saved: Saved
    by_seed: Mapping[int, float]
    outcome: TestOutcome | None


def history_of(saved: Iterable[Saved], test: str | None = None) -> History:
    """The history of ``saved``, oldest first; with ``test`` only of what has that in its label."""
    found: dict[tuple[str, str, str, str], list[_Value]] = {}
    for each in saved:
        values = _of_run(each.record) if isinstance(each.record, Run) else _of_session(each.record)
        for (of, layer, quantity), by_seed, outcome in values:
            if test is None or test in of:
                key = (of, layer, quantity, each.record.machine.id)
                found.setdefault(key, []).append(_Value(each, by_seed, outcome))
    return History(
        series=tuple(
            Series(of=of, layer=layer, quantity=quantity, machine=machine, points=tuple(_points(quantity, values)))
            for (of, layer, quantity, machine), values in found.items()
        )
    )


_Values = Iterator[tuple[tuple[str, str, str], Mapping[int, float], TestOutcome | None]]


def _of_session(session: Session) -> _Values:
    for sample in session.samples:
        for quantity in (FACTOR, SIGNAL):
            for key, values in values_of(sample, quantity).items():
                if any(map(math.isfinite, values)):
                    name = str(key) if key is not None else WHOLE
                    yield (sample.label, name, quantity), _by_seed(sample, values), sample.outcome


def _by_seed(sample: Sample, values: Sequence[float]) -> dict[int, float]:
    return dict(zip(sample.seeds, values, strict=True))


def _of_run(run: Run) -> _Values:
    """The study's main values: the test accuracy after the last epoch, and the factor at initialisation."""
    found: dict[tuple[str, str, str], dict[int, float]] = {}
    for result in run.results:
        cell = result.cell
        of = f"study: {cell.name.replace(f' seed {cell.seed}', '')}"
        if result.status == "finished" and result.epochs and result.epochs[-1].test_accuracy is not None:
            accuracy = result.epochs[-1].test_accuracy
            found.setdefault((of, WHOLE, ACCURACY), {})[cell.seed] = accuracy
        if result.initial is not None and result.initial.factors():
            found.setdefault((of, WHOLE, FACTOR), {})[cell.seed] = result.initial.factor()
    yield from ((key, by_seed, None) for key, by_seed in found.items())


def _points(quantity: str, values: Sequence[_Value]) -> Iterator[Point]:
    before: Mapping[int, float] | None = None
    for each, by_seed, outcome in values:
        scale = _scale(quantity, by_seed)
        summary = summarise(list(by_seed.values()), scale)
        change, is_change = (None, False) if before is None else _changed(quantity, before, by_seed)
        yield Point(
            number=each.number,
            name=each.name,
            created=each.record.created,
            commit=each.record.commit,
            outcome=outcome,
            value=summary.value if math.isfinite(summary.value) else None,
            low=summary.low,
            high=summary.high,
            seeds=len(by_seed),
            change=change,
            is_change=is_change,
        )
        if math.isfinite(summary.value):
            before = by_seed


def _scale(quantity: str, *sides: Mapping[int, float]) -> Scale:
    return "linear" if quantity == ACCURACY else scale_of(quantity, *(list(side.values()) for side in sides))


def _changed(quantity: str, before: Mapping[int, float], after: Mapping[int, float]) -> tuple[float | None, bool]:
    """By how much, and whether that is a change; a value that is no longer finite is one."""
    if not all(map(math.isfinite, after.values())):
        return None, True
    paired = before.keys() == after.keys()
    x = np.array(list(before.values()))
    y = np.array([after[seed] for seed in before] if paired else list(after.values()))
    shares = share_changed(x, y, paired, _scale(quantity, before, after))
    if not shares:  # from zero
        return None, bool(y.mean() != 0)
    change, *ends = shares
    if not ends:
        return change, abs(change) >= LEAST_CHANGE_OF_ONE_SEED
    return change, abs(change) >= LEAST_CHANGE and not ends[0] <= 0 <= ends[1]


def history_lines(found: History) -> Iterator[str]:
    """The history as text: a line for each value with a bar for each point, then a line for each change."""
    for of in dict.fromkeys(series.of for series in found.series):
        yield escaped(of)
        mine = [series for series in found.series if series.of == of]
        layer, quantity = (max(len(escaped(getattr(x, f))) for x in mine) for f in ("layer", "quantity"))
        for series in mine:
            first, last = series.points[0], series.points[-1]
            moved = f"{number(first.value)} → {number(last.value)} {span(last.low, last.high)}".rstrip()
            yield f"  {escaped(series.layer):{layer}}  {series.quantity:{quantity}}  {_sparkline(series)}  {moved}"
        for series in mine:
            for point in (x for x in series.points if x.is_change):
                how = relative_change(point.change) if point.change is not None else "no value"
                where = escaped(f"{point.number:04} {point.name} {(point.commit or 'no commit')[:9]}")
                yield f"  change: {escaped(series.layer)} {series.quantity} {how} at {where}, {escaped(series.machine)}"


def _sparkline(series: Series) -> str:
    """A character for each point, as high as the value on a scale of its own; ``·``: no value."""
    values = [point.value if point.value is not None else math.nan for point in series.points]
    steps = "▁▂▃▄▅▆▇█"
    heights = [bar.count("█") for bar in bars(values)]
    return "".join(steps[height - 1] if height else "·" for height in heights)


def github_action_benchmark(session: Session) -> list[dict[str, Any]]:
    """A session's values as https://github.com/benchmark-action/github-action-benchmark takes them, for its tools
    ``customSmallerIsBetter`` and ``customBiggerIsBetter``."""
    entries = []
    for (of, layer, quantity), by_seed, outcome in _of_session(session):
        summary = summarise(list(by_seed.values()), _scale(quantity, by_seed))
        if outcome not in (None, "passed", "xpassed") or not math.isfinite(summary.value):
            continue
        entry: dict[str, Any] = {
            "name": escaped(f"{of}: {layer} {quantity}"),
            "unit": "×" if quantity == FACTOR else "‖∂L/∂h‖₂",
            "value": float(f"{summary.value:.6g}"),
        }
        if summary.low is not None:
            entry["range"] = span(summary.low, summary.high)
        entries.append({**entry, "extra": f"{len(by_seed)} seeds"})
    return entries
