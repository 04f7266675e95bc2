"""Trainings made by hand: a small network's snapshots and steps, with whatever goes wrong in them."""

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from vgharness.gradflow.course.course import Change, Course
from vgharness.records import LogRow, Snapshot

LAYERS: Final = ("a", "b", "c", "d")
Values = Mapping[str, Any]
NOT_RUN: Final[Values] = {
    "state": "unused",
    "signal_l2": None,
    "weight_l2": None,
    "relative_update": None,
    "output_rms": None,
}
CUT_OFF: Final[Values] = {**NOT_RUN, "output_rms": 1.0}  # it runs, and no gradient comes
FROZEN: Final[Values] = {"state": "frozen", "weight_l2": None, "relative_update": None}
ZERO: Final[Values] = {"state": "zero", "signal_l2": 0.0, "weight_l2": 0.0, "weight_mean_abs": 0.0}
STILL: Final[Values] = {"relative_update": 0.0}
NAN: Final[Values] = {"state": "nonfinite", "signal_l2": None, "weight_l2": None}
_WELL: Final[Values] = {
    "state": "ok",
    "signal_l2": 1.0,
    "weight_l2": 1.0,
    "weight_mean_abs": 1e-2,
    "relative_update": 1e-3,
    "weight_norm": 5.0,
    "output_rms": 1.0,
    "dead_units": 0.1,
}


class Step(NamedTuple):
    """What happens at one step.

    layers: by name, what is other than in a layer that is well. of: the layers that there are. more: of the snapshot.
    """

    layers: Mapping[str, Values] = MappingProxyType({})
    of: tuple[str, ...] = LAYERS
    more: Values = MappingProxyType({})
    norm: float = 1.0
    loss: float | None = None
    skipped: bool = False
    scale: float | None = None


def every_layer(of: Iterable[str] = LAYERS, **values: Any) -> dict[str, Values]:
    return dict.fromkeys(of, values)


def signals(*sizes: float) -> dict[str, Values]:
    return {name: {"signal_l2": size} for name, size in zip(LAYERS, sizes, strict=True)}


def make_snapshot(step: int, at: Step, model: str = "") -> tuple[Snapshot, tuple[LogRow, ...]]:
    rows = [{**_WELL, **at.layers.get(name, {})} for name in at.of]
    fields = {
        "model": model,
        "step": step,
        "states": tuple(row["state"] for row in rows),
        "values": {key: tuple(row[key] for row in rows) for key in _WELL if key != "state"},
        "missed": tuple(name for name, row in zip(at.of, rows, strict=True) if row["signal_l2"] is None),
        "loss": at.loss,
        "skipped": at.skipped,
        "loss_scale": at.scale,
        "learning_rates": (1e-3,),
        **at.more,
    }
    return Snapshot(**fields), tuple(LogRow(name=name) for name in at.of)


def run(
    at: Callable[[int], Step], steps: int, *, every: int = 10, start: int = 0, course: Course | None = None
) -> tuple[Course, list[Change]]:
    """Takes ``steps`` steps, each as ``at`` says of it."""
    course = course or Course(every=every)
    changes: list[Change] = []
    for step in range(start, start + steps):
        now = at(step)
        if step % every == 0:
            changes += course.add(*make_snapshot(step, now))
        changes += course.stepped("", step, now.norm, loss=now.loss, skipped=now.skipped, loss_scale=now.scale)
    return course, changes


def in_short(course: Course) -> list[tuple[str, str, int, int | None, str]]:
    """Kind, layer, began, ended, severity of each problem."""
    return [(x.kind, x.layer, x.began, x.ended, x.severity) for x in course.problems]
