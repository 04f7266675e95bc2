"""Two trainings → which problems are new, gone, earlier or later, and what their gradients were at the same steps."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Final, Literal, NamedTuple

from vgharness.records import Name, Record, TrainingLog, TrainingProblem, TrainingProblemKind
from vgharness.report.training.series import UPDATE, ModelSeries, middle

Presence = Literal["new", "worse", "gone", "not reached", "earlier", "later", "as before"]
Moment = Literal["first", "last", "whole", "end"]

FAILING: Final[tuple[Presence, ...]] = ("new", "worse")
WHOLE: Final = "all layers"
FACTOR: Final = "factor"
TOTAL_NORM: Final = "total_norm"
LOSS: Final = "loss"


class ComparedProblem(Record):
    """One problem of one of two trainings, or of both.

    kind: which.
    model: of which model, as the later training calls it; empty: it is the only one.
    layer: where; empty: the model as a whole.
    severity: ``problem`` or ``warning``, as the later training has it, where that has it.
    presence: ``new``: the earlier training did not have it; ``worse``: there it was a warning; ``gone``: the later one
        does not have it; ``not reached``: nor was it trained as far as the step where it began; ``earlier``, ``later``:
        it begins at another step, by more than lies between two snapshots; else ``as before``.
    before: the step at which it began in the earlier training; ``None``: it has none.
    after: the same in the later one.
    ended_before: the step at which it ended in the earlier training; ``None``: it did not.
    ended_after: the same in the later one.
    """

    kind: TrainingProblemKind
    model: Name = ""
    layer: Name = ""
    severity: Literal["problem", "warning"]
    presence: Presence
    before: int | None = None
    after: int | None = None
    ended_before: int | None = None
    ended_after: int | None = None

    @property
    def fails(self) -> bool:
        """Whether the later training has a problem, not a warning, that the earlier one did not have."""
        return self.severity == "problem" and self.presence in FAILING


class ComparedValue(Record):
    """One value in both trainings.

    model: of which model, as the later training calls it.
    layer: of which layer; ``all layers``: of the model as a whole.
    quantity: ``factor`` toward the input of the error signal, ``relative_update``, ``total_norm`` or ``loss``.
    at: ``first`` or ``last``: of the steps that both have a snapshot of; ``whole``: the geometric mean over those;
        ``end``: each training's own last snapshot.
    step_before: of which step, in the earlier training; ``None``: of several.
    step_after: in the later one.
    before: the value; ``None``: not measured there, or not finite.
    after: the same in the later training.
    """

    model: Name = ""
    layer: Name
    quantity: str
    at: Moment
    step_before: int | None
    step_after: int | None
    before: float | None
    after: float | None

    @property
    def change(self) -> float | None:
        """Value after ÷ value before − 1; ``None``: there is none, as from 0."""
        if self.before is None or self.after is None or not self.before:
            return None
        return (self.after - self.before) / abs(self.before)


class TrainingPair(NamedTuple):
    """Two trainings, side by side. notes: what could not be compared, a line each."""

    before: TrainingLog
    after: TrainingLog
    problems: tuple[ComparedProblem, ...]
    values: tuple[ComparedValue, ...]
    notes: tuple[str, ...]

    @property
    def failures(self) -> tuple[ComparedProblem, ...]:
        """The problems of the later training that the earlier one did not have."""
        return tuple(problem for problem in self.problems if problem.fails)


def pair(before: TrainingLog, after: TrainingLog) -> TrainingPair:
    """Compares two trainings, model by model: those of one name, or the only ones that both have."""
    problems: list[ComparedProblem] = []
    values: list[ComparedValue] = []
    notes: list[str] = []
    names, others = _models(before, after)
    for old, new in names:
        mine, theirs = ModelSeries(before, old), ModelSeries(after, new)
        problems += _problems(mine, theirs)
        found = list(_values(mine, theirs))
        if not any(value.at == "first" for value in found):
            notes.append(
                f"{f'{new}: ' if new else ''}no snapshot of both is of the same step: values are of the end alone"
            )
        values += found
    for name, log, when in others:
        notes.append(f"only {when}: the model {name or 'without a name'}")
        problems += (_alone(problem, name, when) for problem in log.problems_of(name))
    # A problem that is of no model by name is of each: it is told once.
    return TrainingPair(before, after, tuple(dict.fromkeys(problems)), tuple(values), tuple(notes))


def _models(
    before: TrainingLog, after: TrainingLog
) -> tuple[list[tuple[str, str]], list[tuple[str, TrainingLog, Literal["before", "after"]]]]:
    old, new = ([model.name for model in log.models] for log in (before, after))
    if len(old) == len(new) == 1:
        return [(old[0], new[0])], []
    others: list[tuple[str, TrainingLog, Literal["before", "after"]]] = []
    others += [(name, before, "before") for name in old if name not in new]
    others += [(name, after, "after") for name in new if name not in old]
    return [(name, name) for name in new if name in old], others


# --- problems --------------------------------------------------------------------------------------------


def _problems(old: ModelSeries, new: ModelSeries) -> Iterator[ComparedProblem]:
    """Those of one kind and layer are matched in the order in which they began."""
    left: dict[tuple[str, str], list[TrainingProblem]] = {}
    for problem in old.problems:
        left.setdefault((problem.kind, problem.layer), []).append(problem)
    close = max(old.log.every, new.log.every)
    for problem in new.problems:
        same = left.get((problem.kind, problem.layer), [])
        was = same.pop(0) if same else None
        yield _compared(was, problem, new.name, _presence(was, problem, close))
    for problems in left.values():
        for was in problems:
            yield _compared(was, None, new.name, "gone" if new.last >= was.began else "not reached")


def _presence(was: TrainingProblem | None, now: TrainingProblem, close: int) -> Presence:
    if was is None:
        return "new"
    if was.severity == "warning" and now.severity == "problem":
        return "worse"
    if abs(now.began - was.began) <= close:
        return "as before"
    return "earlier" if now.began < was.began else "later"


def _alone(problem: TrainingProblem, model: str, when: Literal["before", "after"]) -> ComparedProblem:
    if when == "before":
        return _compared(problem, None, model, "gone")
    return _compared(None, problem, model, "new")


def _compared(
    was: TrainingProblem | None, now: TrainingProblem | None, model: str, presence: Presence
) -> ComparedProblem:
    one = now or was
    assert one is not None
    return ComparedProblem(
        kind=one.kind,
        model=model if one.model else "",
        layer=one.layer,
        severity=one.severity,
        presence=presence,
        before=was.began if was else None,
        after=now.began if now else None,
        ended_before=was.ended if was else None,
        ended_after=now.ended if now else None,
    )


# --- values ----------------------------------------------------------------------------------------------


def _values(old: ModelSeries, new: ModelSeries) -> Iterator[ComparedValue]:
    steps = sorted(set(old.steps) & set(new.steps))
    sides = (old, new)
    yield from _of_steps(new.name, WHOLE, FACTOR, steps, [(each.steps, each.factors()) for each in sides])
    updates = [each.of_layers(UPDATE) for each in sides]
    for layer in updates[1]:
        if layer in updates[0]:
            columns = [(each.steps, own[layer]) for each, own in zip(sides, updates, strict=True)]
            yield from _of_steps(new.name, layer, UPDATE, steps, columns)
    for field in (TOTAL_NORM, LOSS):
        columns = [(each.steps, each.scalars(field)) for each in sides]
        yield from _of_steps(new.name, WHOLE, field, steps, columns)
    losses = [each.scalars(LOSS) for each in sides]
    if all(any(map(math.isfinite, values)) for values in losses):
        ends = [series.steps[-1] for series in sides]
        yield _value(new.name, WHOLE, LOSS, "end", ends, [values[-1] for values in losses])


def _of_steps(
    model: str,
    layer: str,
    quantity: str,
    steps: Sequence[int],
    columns: Sequence[tuple[Sequence[int], Sequence[float]]],
) -> Iterator[ComparedValue]:
    """At the first and the last of ``steps``, and over all of them; nothing where one side has no value there."""
    by_step = [dict(zip(own, values, strict=True)) for own, values in columns]
    if not steps or any(all(math.isnan(side[step]) for step in steps) for side in by_step):
        return
    for at, step in (("first", steps[0]), ("last", steps[-1])):
        yield _value(model, layer, quantity, at, [step, step], [side[step] for side in by_step])  # type: ignore[arg-type]
    # Of those steps alone at which both have one: else the two means would be of different steps.
    both = [step for step in steps if not any(math.isnan(side[step]) for side in by_step)]
    whole = [middle(side[step] for step in both) for side in by_step]
    yield _value(model, layer, quantity, "whole", [None, None], whole)


def _value(
    model: str, layer: str, quantity: str, at: Moment, steps: Sequence[int | None], values: Sequence[float]
) -> ComparedValue:
    before, after = (value if math.isfinite(value) else None for value in values)
    return ComparedValue(
        model=model,
        layer=layer,
        quantity=quantity,
        at=at,
        step_before=steps[0],
        step_after=steps[1],
        before=before,
        after=after,
    )
