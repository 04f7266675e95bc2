"""What ``vgharness check --json`` prints: one model, its problems and its layers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, Literal

from vgharness.gradflow.diagnosis import Problem
from vgharness.gradflow.sample import FlowSample
from vgharness.gradflow.summary import LayerSummary, layer_summaries, paths_through_time
from vgharness.records import Name, Record, RemedyRecord, TimePath, nan_if_none
from vgharness.statistics import Summary, scale_of, summarise

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


class CheckedParameter(Record):
    """One parameter of a layer.

    name: in ``model.named_parameters()``.
    state: ``ok``, ``zero``, ``frozen``, ``unused`` (it asks for a gradient and gets none) or ``nonfinite``.
    l2: ‖∂L/∂p‖₂.
    """

    name: Name
    state: str
    l2: CheckedValue


class CheckedSteps(Record):
    """The error signal through time in one direction of one layer inside a recurrent module.

    layer: the module's name.
    part: which layer inside it, and direction.
    signals: per seed ‖∂L/∂h_t‖₂, step by step in the order in which the direction takes them.
    direct: per seed the greatest gradient that came to any step at once, not through time.
    """

    layer: Name
    part: str
    signals: tuple[tuple[float | None, ...], ...]
    direct: tuple[float | None, ...]


class CheckedLayer(Record):
    """One layer and pass.

    layer: its name, and which pass where there are several.
    state: ``ok``, ``zero``, ``frozen``, ``unused`` or ``nonfinite``; with numbers of seeds where they differ.
    signal_l2: ‖∂L/∂h‖₂ over the batch.
    factor_toward_input: of ‖∂L/∂h‖₂, from the layers that it feeds to this one; ``None``: it feeds none.
    weight_l2: ‖∂L/∂W‖₂.
    saturated: share of units that pass almost no gradient, 0 to 1.
    feeds: the layers that its output goes into; ``None``: that was not followed.
    output_rms: root mean square of its output.
    output_zeros: share of its output's elements, 0 to 1, that are exactly zero.
    parameters: its own.
    """

    layer: Name
    state: str
    signal_l2: CheckedValue
    factor_toward_input: CheckedValue | None
    weight_l2: CheckedValue
    saturated: CheckedValue
    feeds: tuple[Name, ...] | None
    output_rms: CheckedValue
    output_zeros: CheckedValue
    parameters: tuple[CheckedParameter, ...]


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
    through_time: of its recurrent modules.
    not_judged_through_time: recurrent modules, or layers inside them, of which that could not be had.
    unreached: by name of a layer, in how many of its forward passes no gradient came, where some were reached; of seeds
        that differ the most.
    output_spread: how much the output differs from sample to sample, as share of its root mean square.
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
    through_time: tuple[CheckedSteps, ...]
    not_judged_through_time: tuple[Name, ...]
    unreached: dict[Name, int]
    output_spread: CheckedValue


class CheckedWithRemedies(Checked):
    """What one check found that was asked for remedies.

    remedies: the unchanged model, then what was tried, the best first.
    """

    remedies: tuple[RemedyRecord, ...]


def checked(
    model: str, sample: FlowSample, *, inputs: str, loss: str, remedies: Sequence[RemedyRecord] | None = None
) -> Checked:
    """The record of a ``sample`` of ``model``; ``inputs`` and ``loss`` are in words. ``remedies``: None where they were
    not asked for."""
    found = _checked(model, sample, inputs, loss)
    return found if remedies is None else CheckedWithRemedies(**found.fields(), remedies=tuple(remedies))


def _checked(model: str, sample: FlowSample, inputs: str, loss: str) -> Checked:
    unreached: dict[str, int] = {}
    for flow in sample.flows:
        for name, passes in flow.unreached.items():
            unreached[name] = max(passes, unreached.get(name, 0))
    spreads = [nan_if_none(flow.output_spread) for flow in sample.flows]
    return Checked(
        model=model,
        healthy=sample.diagnosis.healthy,
        problems=sample.diagnosis.problems,
        notes=sample.diagnosis.notes,
        input=inputs,
        loss=loss,
        seeds=sample.seeds,
        layers=tuple(map(_layer, layer_summaries(sample.record))),
        through_time=tuple(_steps(part, paths) for (_, part, _), paths in paths_through_time(sample.record).items()),
        not_judged_through_time=sample.diagnosis.unjudged,
        unreached=unreached,
        output_spread=_value(summarise(spreads, scale_of("output_spread"))),
    )


def _layer(layer: LayerSummary) -> CheckedLayer:
    return CheckedLayer(
        layer=str(layer.key),
        state=layer.state,
        signal_l2=_value(layer.signal),
        factor_toward_input=_value(layer.factor) if layer.factor else None,
        weight_l2=_value(layer.values["weight_l2"]),
        saturated=_value(layer.values["saturated"]),
        feeds=None if layer.feeds is None else tuple(map(str, layer.feeds)),
        output_rms=_value(layer.values["output_rms"]),
        output_zeros=_value(layer.values["output_zeros"]),
        parameters=tuple(CheckedParameter(name=x.name, state=x.state, l2=_value(x.l2)) for x in layer.parameters),
    )


def _steps(part: str, seeds: Sequence[TimePath]) -> CheckedSteps:
    return CheckedSteps(
        layer=seeds[0].layer, part=part, signals=tuple(x.signals for x in seeds), direct=tuple(x.direct for x in seeds)
    )


def _value(found: Summary) -> CheckedValue:
    return CheckedValue(value=found.value if math.isfinite(found.value) else None, low=found.low, high=found.high)
