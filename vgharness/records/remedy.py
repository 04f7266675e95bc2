"""What became of a model with remedies that were tried on copies of it."""

from __future__ import annotations

from vgharness.records.base import Name, Record


class DescentRecord(Record):
    """The loss in the first steps with one optimizer.

    optimizer: its name and learning rate.
    steps: how many were taken on one batch.
    before: the loss before them, per seed; ``None``: it is not finite.
    after: the loss after them, per seed.
    change: its relative change in the geometric mean over seeds, -0.3 for 30 % less; ``None``: there is none.
    failure: what a step raised; empty: nothing.
    """

    optimizer: str
    steps: int
    before: tuple[float | None, ...]
    after: tuple[float | None, ...]
    change: float | None
    failure: Name = ""


class RemedyRecord(Record):
    """What became of a model with one remedy.

    remedy: in words; ``unchanged`` for the model as it is.
    healthy: whether no problem is left; ``None``: the trial failed.
    diagnosis: each problem and where it starts, in one line; empty: the trial failed.
    better: whether it did better than the unchanged model.
    losses: one per optimizer.
    failure: what the trial raised; empty: nothing.
    code: Python lines that do it.
    """

    remedy: str
    healthy: bool | None
    diagnosis: Name
    better: bool
    losses: tuple[DescentRecord, ...]
    failure: Name
    code: str
