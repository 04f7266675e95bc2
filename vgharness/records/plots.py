"""Plots of records; matplotlib, which is slow to import, only comes with this module."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vgharness.display.figure import Line, axes_for, draw_line, draw_theory, finish, name_rows
from vgharness.records.base import nan_if_none
from vgharness.records.flow import GradientFlow, LayerKey, last_passes
from vgharness.statistics import mean_over_seeds, scale_of

if TYPE_CHECKING:
    from vgharness.records.run import Run
    from vgharness.records.theory import ModelTheory

QUANTITY_WORDS: Final = {
    "signal_l2": "error signal ‖∂L/∂h‖₂",
    "signal_rms": "error signal, rms",
    "weight_l2": "weights’ gradient ‖∂L/∂W‖₂",
    "weight_mean_abs": "weights’ gradient, mean |∂L/∂W|",
    "relative_update": "‖ΔW‖₂ ÷ ‖W‖₂",
    "saturated": "share of units that are saturated",
    "output_rms": "rms of the output",
}


def plot_flows(
    flows: Sequence[GradientFlow], ax: Axes | None, quantity: str, theory: ModelTheory | None, label: str, title: str
) -> Figure:
    """A quantity of each layer, from the input to the output: the geometric mean over the flows thick, each thin."""
    by_seed = [
        last_passes({layer.key: nan_if_none(getattr(layer, quantity)) for layer in flow.layers}) for flow in flows
    ]
    keys = list(dict.fromkeys(key for own in by_seed for key in own))
    seeds = [[own.get(key, math.nan) for key in keys] for own in by_seed]
    mean = [float(value) for value in mean_over_seeds(seeds, scale_of(quantity))]
    figure, ax = axes_for(ax, width=min(5 + 0.2 * len(keys), 14.0))
    words = {at: "0" for at, value in enumerate(mean) if value == 0} if scale_of(quantity) == "log" else {}
    words |= {at: "NaN" for at, key in enumerate(keys) if any(_not_finite(flow, key, quantity) for flow in flows)}
    draw_line(ax, Line(label or "measured", mean, seeds, words))
    if theory is not None:
        _draw_theory(ax, keys, mean, theory)
    name_rows(ax, [str(key) for key in keys])
    finish(ax, title, QUANTITY_WORDS.get(quantity, quantity), "layer, from the input to the output",
           logarithmic=scale_of(quantity) == "log")  # fmt: skip
    return figure


def _not_finite(flow: GradientFlow, key: LayerKey, quantity: str) -> bool:
    return any(layer.key == key and quantity in layer.nonfinite for layer in flow.layers)


def _draw_theory(ax: Axes, keys: Sequence[LayerKey], mean: Sequence[float], theory: ModelTheory) -> None:
    """What theory says of the signal, from where the measured one stands at the last layer that it speaks of."""
    place = {key.name: at for at, key in enumerate(keys)}
    last = next((layer.name for layer in reversed(theory.layers) if layer.name in place), None)
    if last is None or not math.isfinite(mean[place[last]]):
        return
    for label, field, style in (("mean field", "signal", "--"), ("bound of the weights", "greatest_signal", ":")):
        said = {layer.name: getattr(layer, field) for layer in theory.layers if layer.name in place}
        anchor = said.get(last)
        values = {place[x]: mean[place[last]] * y / anchor for x, y in said.items() if y is not None and anchor}
        if len(values) > 1:
            draw_theory(ax, label, values, style)


def plot_run(run: Run, ax: Axes | None, quantity: Any) -> Figure:
    """The factor toward the input by epoch: a colour for each kind of network, seeds thin, their mean thick."""
    kinds: dict[tuple[str, str], list[list[float]]] = {}
    for result in run.results:
        flows = [*([result.initial] if result.initial is not None else []), *(epoch.flow for epoch in result.epochs)]
        factors = [flow.factor(quantity) if flow.factors() else math.nan for flow in flows]
        if factors:
            padding = [] if result.initial is not None else [math.nan]
            kinds.setdefault((result.cell.activation, result.cell.settings), []).append([*padding, *factors])
    figure, ax = axes_for(ax)
    settings = {each for _, each in kinds}
    for (activation, own), seeds in kinds.items():
        longest = max(map(len, seeds))
        even = [[*values, *[math.nan] * (longest - len(values))] for values in seeds]
        name = f"{activation}, {own}" if len(settings) > 1 else activation
        draw_line(ax, Line(name, [float(x) for x in mean_over_seeds(even, "log")], even))
    ax.axhline(1, color="black", linewidth=0.8)
    last = max((len(values) for seeds in kinds.values() for values in seeds), default=1)
    step = max(1, last // 10)
    ax.set_xticks(range(0, last, step), ["init" if at == 0 else str(at) for at in range(0, last, step)])
    words = QUANTITY_WORDS.get(quantity, quantity)
    finish(ax, f"{run.study.preset}: {words}", "factor toward the input, per layer", "epoch")
    return figure


def plot_theory(theory: ModelTheory, ax: Axes | None) -> Figure:
    """The signal that is predicted relative to the last layer's, and its bound."""
    figure, ax = axes_for(ax, width=min(5 + 0.2 * len(theory.layers), 14.0))
    for label, field, style in (("mean field", "signal", "--"), ("bound of the weights", "greatest_signal", ":")):
        said = {at: getattr(layer, field) for at, layer in enumerate(theory.layers)}
        known = {at: value for at, value in said.items() if value is not None}
        if known:
            draw_theory(ax, label, known, style)
    name_rows(ax, [layer.name for layer in theory.layers])
    finish(ax, "what theory says", "‖∂L/∂h‖₂ relative to the last layer", "layer, from the input to the output")
    return figure
