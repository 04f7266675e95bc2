"""One training's figure of a reading: its value at a step of its log, over several, or how many problems it has."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Final, NamedTuple

from vgharness.claims.figures import TAKE_EPOCHS, Figure, point
from vgharness.claims.layers import of_layer, of_layers
from vgharness.claims.measurement import NotRunError
from vgharness.claims.quantities import problem_kind
from vgharness.claims.spec import Epochs, ReadingSpec
from vgharness.claims.trainings import Watched
from vgharness.formatting import together
from vgharness.records import LayerKey, LogRow, Snapshot, TrainingProblem, last_passes, links_of, nan_if_none

_ENDED: Final = {
    "running": "still goes on or was killed",
    "failed": "ended in an exception",
    "interrupted": "was interrupted",
}
_SHARES: Final = ("saturated", "output_zeros", "dead_units")  # of those layers alone that have an activation
_GRADIENT_CAME: Final = ("ok", "zero")
_NORMS: Final = ("total_norm", "clipped_norm")  # of all gradients
_ROUNDING: Final = 1e-3  # clipping changes a norm by more


class _Value(NamedTuple):
    """A quantity at the snapshot of one step.

    greatest: what it rose to at some step after ``before``, the snapshot before; ``None``: there is none before.
    """

    step: int
    value: float
    greatest: float
    before: int | None


def of_training(spec: ReadingSpec, watched: Watched) -> Figure:
    """Reads a training's figure. Raises :class:`NotRunError` where its log lacks what the reading needs."""
    if spec.what.kind == "problem":
        return _problems(spec, watched)
    if spec.at is not None:
        return point(_at(spec, watched))
    if spec.over is not None:
        return _over(spec, spec.over, watched)
    return _first_step(spec, watched)


# --- a value at a step -----------------------------------------------------------------------------------


def _at(spec: ReadingSpec, watched: Watched) -> float:
    snapshots = _snapshots(watched)
    if isinstance(spec.at, int):
        snapshot = _snapshot_of(spec.at, snapshots, watched)
    else:
        if spec.at == "last":
            _check_finished(watched)
        snapshot = snapshots[0 if spec.at == "first" else -1]
    value = _value(spec, watched, snapshot)
    if value is None:
        raise NotRunError(f"{watched.label} has no {spec.what.words} at step {snapshot.step:,}")
    return value


def _over(spec: ReadingSpec, over: Epochs, watched: Watched) -> Figure:
    first, last = _window(over, watched)
    values = [each for each in _values(spec, watched) if first <= each.step <= last]
    if len(values) < (2 if over.take == "rises" else 1):
        few = "too few snapshots" if values else "no snapshot"
        raise NotRunError(f"{watched.label} has {few} with {spec.what.words} from step {first:,} to {last:,}")
    if not all(math.isfinite(each.value) for each in values):
        return point(math.nan)
    if over.take != "greatest":
        return point(TAKE_EPOCHS[over.take]([each.value for each in values]))
    # What was greatest since the snapshot before may have been so at a step before the first that is meant.
    within = [each.greatest for each in values if each.before is None or each.before >= first - 1]
    low = max([*(each.value for each in values), *within])
    high = max(low, *(each.greatest for each in values))
    return Figure(low, low, math.inf if _is_cut_off(spec, watched, values) else high)


def _is_cut_off(spec: ReadingSpec, watched: Watched, values: Sequence[_Value]) -> bool:
    """Whether only the clipped norm is known of steps between snapshots: the norm before clipping may have been any."""
    if spec.quantity != "total_norm" or all(each.before in (None, each.step - 1) for each in values):
        return False
    norms = [(x.total_norm, x.clipped_norm) for x in _snapshots(watched)]
    return any(total and clipped is not None and clipped < (1 - _ROUNDING) * total for total, clipped in norms)


def _first_step(spec: ReadingSpec, watched: Watched) -> Figure:
    """The step at which the quantity first passes the threshold: after the snapshot before, at the latest at its own;
    where it never does, after the last."""
    assert spec.passes is not None
    values = list(_values(spec, watched))
    if not values:
        raise NotRunError(f"{watched.label} has no {spec.what.words}")
    for each in values:
        if spec.passes.by(each.value) or spec.passes.by(each.greatest):
            before = each.step if each.before is None else each.before
            return Figure(float(each.step), float(before), float(each.step))
    if not all(math.isfinite(each.value) for each in values):
        return point(math.nan)
    last = float(values[-1].step)
    return Figure(last, last, math.inf)


def _values(spec: ReadingSpec, watched: Watched) -> Iterator[_Value]:
    """At each snapshot that has one. Only of the norm of all gradients it is known how great it was between two."""
    before: int | None = None
    for snapshot in _snapshots(watched):
        value = _value(spec, watched, snapshot)
        if value is not None:
            between = snapshot.greatest_norm if spec.quantity in _NORMS else None
            if spec.quantity in _NORMS and "greatest_norm" in snapshot.nonfinite:
                between = math.inf
            yield _Value(snapshot.step, value, value if between is None else max(value, between), before)
        before = snapshot.step


def _value(spec: ReadingSpec, watched: Watched, snapshot: Snapshot) -> float | None:
    """NaN where it was not finite; ``None``: it was not measured there. Raises :class:`NotRunError` where a layer that
    is meant had no gradient, or is not there."""
    value: float | None
    if spec.what.kind == "layer":
        value = _of_rows(spec, watched, snapshot)
    elif spec.quantity == "learning_rate":
        value = max(snapshot.learning_rates, default=None)
    else:
        value = getattr(snapshot, spec.quantity)
        value = math.nan if value is None and spec.quantity in snapshot.nonfinite else value
    # A step that a GradScaler leaves out, for gradients that its own scale made overflow, moves nothing.
    left_out = snapshot.skipped and (spec.quantity == "relative_update" or (value is not None and math.isnan(value)))
    return None if left_out else value


def _of_rows(spec: ReadingSpec, watched: Watched, snapshot: Snapshot) -> float | None:
    column = snapshot.values.get(spec.quantity)  # type: ignore[call-overload]
    if column is None:
        return None
    rows = watched.log.rows[snapshot.rows]
    keys = [LayerKey(row.name, row.forward_pass, row.backward_pass) for row in rows]
    found = last_passes(dict(zip(keys, zip(snapshot.states, column, strict=True), strict=True)))
    meant = {key: each for key, each in found.items() if _is_meant(spec, key)}
    where = f"at step {snapshot.step:,}"
    if not meant:
        raise NotRunError(
            f"{watched.label} has no layer {spec.layer or str(spec.layers and spec.layers.match)} {where}"
        )
    lacking = {key: state for key, (state, value) in meant.items() if value is None and state != "nonfinite"}
    if lacking and (spec.quantity not in _SHARES or len(lacking) == len(meant)):
        for key, state in lacking.items():
            if state not in _GRADIENT_CAME:
                raise NotRunError(f"{watched.label} has no {spec.what.words} of {key} {where}: it is {state}")
        return None
    values = {key: nan_if_none(value) for key, (_, value) in meant.items() if key not in lacking}
    if spec.layers is None:
        return of_layer(values, str(spec.layer))
    links = _links(rows, spec.layers.match) if "factor" in spec.layers.take else {}
    return of_layers(values, links, spec.layers, spec.what.scale)


def _is_meant(spec: ReadingSpec, key: LayerKey) -> bool:
    if spec.layers is not None:
        return fnmatchcase(key.name, spec.layers.match)
    return str(key._replace(backward_pass=0)) == spec.layer


@lru_cache(maxsize=8)
def _links(rows: tuple[LogRow, ...], match: str) -> dict[LayerKey, tuple[LayerKey, ...]]:
    """Most snapshots of a log have the same rows, and a flow is slow to make."""
    return links_of(rows, match)


# --- problems --------------------------------------------------------------------------------------------


def _problems(spec: ReadingSpec, watched: Watched) -> Figure:
    """How many begin at the steps that are meant, of the whole training where none are; or go on at one step.

    Of one that comes and goes only the first time is known: where it may have come again, the count has two ends.
    """
    quantity, kind = problem_kind(spec.quantity) or (spec.quantity, "")
    severity = quantity.removesuffix("s")
    own = [
        problem
        for problem in watched.log.problems_of(watched.model)
        if problem.severity == severity
        and kind in ("", problem.kind)
        and (spec.layer is None or problem.layer == spec.layer)
    ]
    if spec.at is not None:
        return _going_on(spec, watched, own)
    if spec.over is not None:
        first, last = _window(spec.over, watched)
    else:
        _check_finished(watched)
        first, last = watched.log.first_step, watched.log.last_step(watched.model)
    sure = sum(first <= problem.began <= last for problem in own)
    again = sum(
        problem.began < first and problem.times > 1 and (problem.ended is None or problem.ended > first)
        for problem in own
    )
    return Figure(float(sure), float(sure), float(sure + again))


def _going_on(spec: ReadingSpec, watched: Watched, problems: list[TrainingProblem]) -> Figure:
    last = watched.log.last_step(watched.model)
    if spec.at == "last":
        _check_finished(watched)
    step = {"first": watched.log.first_step, "last": last}.get(str(spec.at)) if isinstance(spec.at, str) else spec.at
    assert step is not None
    _check_reached(step, watched)
    there = [each for each in problems if each.began <= step and (each.ended is None or each.ended > step)]
    sure = sum(each.times == 1 or step in (each.began, last) for each in there)
    return Figure(float(sure), float(sure), float(len(there)))


# --- the log's steps -------------------------------------------------------------------------------------


def _snapshots(watched: Watched) -> tuple[Snapshot, ...]:
    found = watched.log.of_model(watched.model)
    if not found:
        raise NotRunError(f"{watched.label} has no snapshot")
    return found


def _snapshot_of(step: int, snapshots: tuple[Snapshot, ...], watched: Watched) -> Snapshot:
    found = next((snapshot for snapshot in snapshots if snapshot.step == step), None)
    if found is not None:
        return found
    _check_reached(step, watched)
    near = sorted({snapshot.step for snapshot in snapshots}, key=lambda other: abs(other - step))[:2]
    which = together([f"{other:,}" for other in sorted(near)])
    raise NotRunError(f"{watched.label} has no snapshot of step {step:,}; the nearest are of {which}")


def _window(over: Epochs, watched: Watched) -> tuple[int, int]:
    first, end = over.ends
    if end == "last":
        _check_finished(watched)
        last = max(watched.log.last_step(watched.model), first)
    else:
        last = end
    _check_reached(last, watched)
    return first, last


def _check_reached(step: int, watched: Watched) -> None:
    last = watched.log.last_step(watched.model)
    if step > last:
        raise NotRunError(f"needs step {step:,} of {watched.label}, whose last is {last:,}")


def _check_finished(watched: Watched) -> None:
    """What is to come could change what is true up to the last step."""
    if watched.log.status != "finished":
        last = watched.log.last_step(watched.model)
        ended = _ENDED[watched.log.status]
        raise NotRunError(f"{watched.label} {ended} at step {last:,}: name a step up to that in place of the last")
