"""A finished training → its key values: what is followed from one log of a name to the next."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final, NamedTuple

from vgharness.gradflow.summary import FACTOR
from vgharness.records import TrainingLog
from vgharness.report.training.series import UPDATE, ModelSeries, middle

PROBLEMS: Final = "problems"


class TrainingValue(NamedTuple):
    """One of them. model: of which; layer: of which layer, empty: of the model as a whole."""

    model: str
    layer: str
    quantity: str
    value: float


def key_values(log: TrainingLog) -> Iterator[TrainingValue]:
    """Of each model the loss at the last snapshot, the number of problems, and as geometric means over the snapshots
    the factor toward the input of the error signal and the update ratio of each layer."""
    for model in log.models:
        series = ModelSeries(log, model.name)
        own: list[tuple[str, str, float]] = []
        if series.steps:
            own.append(("", "final loss", series.scalars("loss")[-1]))
        own.append(("", PROBLEMS, float(sum(problem.severity == "problem" for problem in series.problems))))
        own.append(("", f"{FACTOR} over the training", middle(series.factors())))
        own += [(layer, "update ratio over the training", middle(x)) for layer, x in series.of_layers(UPDATE).items()]
        yield from (TrainingValue(model.name, *each) for each in own if math.isfinite(each[2]))
