"""Trials of remedies as validated records."""

from __future__ import annotations

import math
from collections.abc import Sequence

from vgharness.check.remedy_trials import STEPS, Trial
from vgharness.gradflow.diagnosis import summary
from vgharness.records import DescentRecord, RemedyRecord


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
                    steps=STEPS,
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
