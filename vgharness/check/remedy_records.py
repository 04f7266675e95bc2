"""Trials of remedies as validated records, for JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence

from vgharness.check.remedy_trials import STEPS, Trial
from vgharness.gradflow.diagnosis import summary
from vgharness.records import Name, Record


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
    steps: int = STEPS
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


def remedies_as_records(trials: Sequence[Trial]) -> tuple[RemedyRecord, ...]:
    """A record for each trial of :func:`try_remedies`, in their order."""
    return tuple(
        RemedyRecord(
            remedy=trial.remedy.name,
            healthy=trial.diagnosis.healthy if trial.diagnosis else None,
            diagnosis=summary(trial.diagnosis) if trial.diagnosis else "",
            better=trial.better_than(trials[0]),
            losses=tuple(
                DescentRecord(
                    optimizer=name,
                    before=tuple(map(_finite, x.before)),
                    after=tuple(map(_finite, x.after)),
                    change=_finite(x.change),
                    failure=x.failure,
                )
                for name, x in trial.descents.items()
            ),
            failure=trial.failure,
            code=trial.remedy.code,
        )
        for trial in trials
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
