"""What ``vgharness check --json`` prints: one model, its problems and its layers."""

from __future__ import annotations

import math
from typing import Final, Literal

from vgharness.gradflow.diagnosis import Problem
from vgharness.gradflow.sample import FlowSample
from vgharness.gradflow.summary import layer_summaries
from vgharness.records import Name, Record
from vgharness.statistics import Summary

CHECK_VERSION: Final = 1


class CheckedValue(Record):
    """One value of a layer over the seeds.

    value: the mean on its scale, geometric but for shares; ``None``: some seed has none that is finite.
    low: lower end of its 95 % interval; ``None``: there is none.
    high: upper end.
    """

    value: float | None
    low: float | None = None
    high: float | None = None


class CheckedLayer(Record):
    """One layer and pass.

    layer: its name, and which pass where there are several.
    state: ``ok``, ``zero``, ``frozen``, ``unused`` or ``nonfinite``; with numbers of seeds where they differ.
    signal_l2: ‖∂L/∂h‖₂ over the batch.
    factor_toward_input: of ‖∂L/∂h‖₂, from the next layer to this one; ``None``: there is no next one.
    weight_l2: ‖∂L/∂W‖₂.
    saturated: share of units that pass almost no gradient, 0 to 1.
    """

    layer: Name
    state: str
    signal_l2: CheckedValue
    factor_toward_input: CheckedValue | None
    weight_l2: CheckedValue
    saturated: CheckedValue


class Checked(Record):
    """What one check found.

    schema_version: of this format.
    model: as it was named.
    healthy: whether there is no problem.
    problems: the most serious first.
    notes: what else is to be said.
    input: what the model was given, in words.
    loss: what its output was given to, in words.
    seeds: of the models that were made.
    layers: from the input to the output.
    """

    schema_version: Literal[1] = CHECK_VERSION
    model: Name
    healthy: bool
    problems: tuple[Problem, ...]
    notes: tuple[Name, ...]
    input: Name
    loss: Name
    seeds: tuple[int, ...]
    layers: tuple[CheckedLayer, ...]


def checked(model: str, sample: FlowSample, *, inputs: str, loss: str) -> Checked:
    """The record of a ``sample`` of ``model``; ``inputs`` and ``loss`` are in words."""
    return Checked(
        model=model,
        healthy=sample.diagnosis.healthy,
        problems=sample.diagnosis.problems,
        notes=sample.diagnosis.notes,
        input=inputs,
        loss=loss,
        seeds=sample.seeds,
        layers=tuple(
            CheckedLayer(
                layer=str(layer.key),
                state=layer.state,
                signal_l2=_value(layer.signal),
                factor_toward_input=_value(layer.factor) if layer.factor else None,
                weight_l2=_value(layer.values["weight_l2"]),
                saturated=_value(layer.values["saturated"]),
            )
            for layer in layer_summaries(sample.record)
        ),
    )


def _value(found: Summary) -> CheckedValue:
    return CheckedValue(value=found.value if math.isfinite(found.value) else None, low=found.low, high=found.high)
