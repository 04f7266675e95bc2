"""Logs of trainings made up for tests: a chain of layers whose gradients a test knows, step by step."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from factories import MACHINE

from vgharness.records import LogRow, Snapshot, TrainingLog, TrainingProblem, WatchedModel
from vgharness.storage.store import DEFAULT_ROOT, RunStore
from vgharness.storage.training_log import TrainingLogWriter

NAMES = ("conv1", "conv2", "conv3", "fc")


def make_snapshot(
    step: int, factor: float = 0.8, *, model: str = "", layers: int = len(NAMES), **fields: Any
) -> Snapshot:
    """The error signal is 1 at the last layer and multiplied by ``factor`` for each toward the input.

    ``fields``: of the snapshot; those of ``values`` are put among them.
    """
    values = {
        "signal_l2": tuple(factor ** (layers - 1 - place) for place in range(layers)),
        "weight_l2": (0.5,) * layers,
        "relative_update": (1e-3,) * layers,
        "weight_norm": (2.0,) * layers,
        "dead_units": (0.02,) * (layers - 1) + (None,),
        **fields.pop("values", {}),
    }
    given = {"batch": step, "loss": 2.0 / (1 + step / 1000), "total_norm": 1.5, "learning_rates": (0.01,), **fields}
    return Snapshot(model=model, step=step, states=given.pop("states", ("ok",) * layers), values=values, **given)


def make_log(
    snapshots: Iterable[Snapshot] | None = None,
    problems: Iterable[TrainingProblem] = (),
    *,
    names: Iterable[str] = NAMES,
    steps: int = 1001,
    every: int = 100,
    scatter: float = 0.0,
    **fields: Any,
) -> TrainingLog:
    """A finished training of ``steps`` steps, with a snapshot at each ``every``; ``scatter``: by what share its total
    norm, update ratios and factor are more than the snapshots' own."""
    names = tuple(names)
    if snapshots is None:
        snapshots = [
            make_snapshot(
                step,
                0.8 * (1 + scatter),
                layers=len(names),
                total_norm=1.5 * (1 + scatter),
                values={"relative_update": (1e-3 * (1 + scatter),) * len(names)},
            )
            for step in range(0, steps, every)
        ]
    models = fields.pop("models", None) or (WatchedModel(architecture="Net", parameters=1234, steps=steps),)
    given = {
        "created": "2026-01-01T00:00:00+00:00",
        "status": "finished",
        "commit": "abc",
        "command": "python train.py",
        "machine": MACHINE,
        "every": every,
        "models": models,
        "rows": (tuple(LogRow(name=name) for name in names),),
        "snapshots": tuple(snapshots),
        "problems": tuple(problems),
        **fields,
    }
    return TrainingLog(**given)


def make_problem(kind: str = "stopped", layer: str = "conv1", began: int = 300, **fields: Any) -> TrainingProblem:
    return TrainingProblem(kind=kind, layer=layer, began=began, **{"evidence": "what was measured", **fields})


def changed(log: TrainingLog, change: Callable[[Snapshot], dict[str, Any]]) -> TrainingLog:
    """``log`` with what ``change`` gives for each snapshot in place of its own."""
    return log.changed(snapshots=tuple(each.changed(**change(each)) for each in log.snapshots))


def save_log(log: TrainingLog, name: str = "training", root: Path = DEFAULT_ROOT) -> Path:
    """Writes ``log`` into a store, as a training that is watched would, and returns its path."""
    writer = TrainingLogWriter(log, store=RunStore(root), name=name, warn=pytest.fail)
    for snapshot in log.snapshots:
        rows = writer.rows(log.rows[snapshot.rows])
        writer.snapshot(snapshot.model_copy(update={"rows": rows}))
    for number, problem in enumerate(log.problems):
        writer.problem(number, problem)
    for birth in log.births:
        writer.birth(birth)
    for model in log.models:
        writer.steps(model.name, model.steps)
    writer.close(log.status)
    assert writer.path is not None
    return writer.path
