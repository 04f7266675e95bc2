"""Saved sessions, runs and trainings → each value as it was from one to the next, and where it changed.

A point is a *change* where the 95 % interval of the change against the point before it, taken seed by seed where both
have the same seeds, leaves out zero and the change is 5 % or more; where one of them has a single seed, and so no
interval, where it is 20 % or more. Points of different machines, or of studies of different images, are never
held against each other.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

import numpy as np

from vgharness.formatting import bars, escaped, number, relative_change, span
from vgharness.gradflow.quantities import values_of
from vgharness.gradflow.summary import FACTOR, SIGNAL
from vgharness.records import ACTIVATIONS, Name, Record, Sample, Session, TestOutcome, TrainingLog
from vgharness.report.kinds import summary_of
from vgharness.report.past.digest import Digest
from vgharness.report.past.values import ACCURACY
from vgharness.report.training.followed import key_values
from vgharness.statistics import Scale, scale_of, share_changed

HISTORY_VERSION: Final = 1
LEAST_CHANGE: Final = 0.05
LEAST_CHANGE_OF_ONE_SEED: Final = 0.2
WHOLE: Final = "all layers"
STUDY: Final = "study: "  # before the kind of network that a value is of
TRAINING: Final = "training: "  # before the name of the log that it is of
RULE: Final = (
    "a change: its 95 % interval leaves out zero and it is 5 % or more (20 % where a side has one seed), against the "
    "point before"
)


class Saved(NamedTuple):
    """A saved session, run or training: its number and name in the store, and what it holds, a run as its digest."""

    number: int
    name: str
    record: Session | Digest | TrainingLog


class Point(Record):
    """One value of one saved session, run or training.

    number: its number in the store.
    name: its name there.
    created: when it was measured, ISO 8601, UTC.
    commit: that was measured; ``None``: in no repository.
    outcome: how the test ended; ``None``: not known, or of a study or a training.
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
    """One value over all that was saved on one machine, and is of the same images, oldest first.

    of: the test's label, the study's kind of network, or the training log's name, with that of one of its models.
    layer: which layer and pass, in words; ``all layers``: of the whole flow or training.
    quantity: which.
    machine: the machine's id.
    images: that the study's networks were trained on, in words; empty: it is of no study.
    points: one for each session, run or training that has it.
    """

    of: Name
    layer: Name
    quantity: Name
    machine: Name
    images: Name = ""
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


class _Found(NamedTuple):
    """A value by seed, of which test or network, layer and quantity it is, and how the test ended. ``images``: how many
    an accuracy is a percentage of."""

    of: str
    layer: str
    quantity: str
    by_seed: Mapping[int, float]
    outcome: TestOutcome | None = None
    images: int = 0


def history_of(saved: Iterable[Saved], test: str | None = None) -> History:
    """The history of ``saved``, oldest first; with ``test`` only of what has that in its label."""
    found: dict[tuple[str, ...], list[tuple[Saved, _Found]]] = {}
    for each in saved:
        images = (each.record.images_sha256, each.record.images) if isinstance(each.record, Digest) else ("", "")
        for value in _values_of(each):
            if test is None or test in value.of:
                key = (value.of, value.layer, value.quantity, each.record.machine.id, *images)
                found.setdefault(key, []).append((each, value))
    return History(
        series=tuple(
            Series(of=of, layer=layer, quantity=quantity, machine=machine, images=images, points=tuple(_points(values)))
            for (of, layer, quantity, machine, _, images), values in found.items()
        )
    )


def _values_of(saved: Saved) -> Iterator[_Found]:
    if isinstance(saved.record, Digest):
        return _of_run(saved.record)
    return _of_training(saved) if isinstance(saved.record, TrainingLog) else _of_session(saved.record)


def _of_training(saved: Saved) -> Iterator[_Found]:
    """One training is one value: it has no interval."""
    assert isinstance(saved.record, TrainingLog)
    for value in key_values(saved.record):
        of = f"{TRAINING}{saved.name} {value.model}".rstrip()
        yield _Found(of, value.layer or WHOLE, value.quantity, {0: value.value})


def _of_session(session: Session) -> Iterator[_Found]:
    for sample in session.samples:
        for quantity in (FACTOR, SIGNAL):
            for key, values in values_of(sample, quantity).items():
                if any(map(math.isfinite, values)):
                    name = str(key) if key is not None else WHOLE
                    yield _Found(sample.label, name, quantity, _by_seed(sample, values), sample.outcome)


def _by_seed(sample: Sample, values: Sequence[float]) -> dict[int, float]:
    return dict(zip(sample.seeds, values, strict=True))


def _of_run(run: Digest) -> Iterator[_Found]:
    for value in run.values:
        yield _Found(f"{STUDY}{value.of}", value.layer, value.quantity, value.by_seed(), images=value.images)


def _points(values: Sequence[tuple[Saved, _Found]]) -> Iterator[Point]:
    before: Mapping[int, float] | None = None
    for each, (_, _, quantity, by_seed, outcome, images) in values:
        summary = summary_of(list(by_seed.values()), "logit" if images else _scale(quantity, by_seed), images)
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
    """On which a change is taken: that of an accuracy as a share of the points that there were."""
    is_accuracy = quantity.startswith(ACCURACY)
    return "linear" if is_accuracy else scale_of(quantity, *(list(side.values()) for side in sides))


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


def colour_of(series: Series) -> str:
    """The class of its colour on a page: that of its networks' activation, where it is of a study."""
    kind = series.of.removeprefix(STUDY) if series.of.startswith(STUDY) else ""
    activation = kind.partition(" ")[0]
    return f"c-{activation}" if activation in ACTIVATIONS else "c-none"


def history_lines(found: History) -> Iterator[str]:
    """The history as text: a line for each value with a bar for each point, then a line for each change."""
    for of in dict.fromkeys(series.of for series in found.series):
        yield escaped(of)
        mine = [series for series in found.series if series.of == of]
        layer, quantity = (max(len(escaped(getattr(x, f))) for x in mine) for f in ("layer", "quantity"))
        several = len({series.images for series in mine}) > 1
        for series in mine:
            first, last = series.points[0], series.points[-1]
            moved = f"{number(first.value)} → {number(last.value)} {span(last.low, last.high)}".rstrip()
            moved += f"  ({escaped(series.images)})" if several else ""
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
    for of, layer, quantity, by_seed, outcome, _ in _of_session(session):
        summary = summary_of(list(by_seed.values()), _scale(quantity, by_seed))
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
