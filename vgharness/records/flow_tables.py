"""Gradient flows of one network, one or one for each of several seeds, as lines and tables for a notebook."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from vgharness.display.html import Column, HtmlTable
from vgharness.display.text import FACTOR_HEADING, chart
from vgharness.formatting import count, number
from vgharness.records.base import nan_if_none

if TYPE_CHECKING:
    from vgharness.records.flow import GradientFlow, LayerGradient, LayerKey

_MOST_LINES: Final = 60
_SIGNAL: Final = "signal_l2"
# What a table shows of each layer, as far as it was measured, beside the error signal.
_BESIDE: Final = {
    "weight_l2": "‖∂L/∂W‖₂",
    "relative_update": "‖ΔW‖₂ ÷ ‖W‖₂",
    "saturated": "saturated",
    "output_rms": "rms of the output",
}
_NO_COLUMNS: Final = {"name", "aliases", "feeds", "without_gradient", "parameters", "nonfinite"}


def flow_line(flow: GradientFlow) -> str:
    """``5 layers, conv1 to fc, ‖∂L/∂h‖₂ 0.0012 → 0.05, factor toward the input 0.39``."""
    if not flow.layers:
        return "no layers"
    first, last = flow.layers[0], flow.layers[-1]
    parts = [count(len(flow.layers), "layer"), f"{first.key} to {last.key}" if len(flow.layers) > 1 else str(first.key)]
    parts.append(f"‖∂L/∂h‖₂ {' → '.join(_size(x) for x in dict.fromkeys((first, last)))}")
    if flow.factors():
        parts.append(f"{FACTOR_HEADING} {number(flow.factor(), missing='not finite')}")
    return ", ".join(parts)


def layer_line(layer: LayerGradient) -> str:
    """The layer, its state, and what was measured of it, by the names by which it is asked for."""
    kept = {"forward_pass", "backward_pass", "state", *_NO_COLUMNS}
    values = {name: value for name, value in layer.fields().items() if name not in kept and value is not None}
    return ", ".join([f"{layer.key}: {layer.state}", *(f"{name}={number(value)}" for name, value in values.items())])


def flow_records(flow: GradientFlow) -> list[dict[str, Any]]:
    """A row for each of the flow's rows, with its factor toward the input."""
    factors = flow.factors_by_layer()
    return [
        {"layer": layer.name, **layer.model_dump(mode="json", exclude=_NO_COLUMNS), "factor": factors.get(layer.key)}
        for layer in flow.layers
    ]


def flow_chart(flow: GradientFlow, most: int | None = _MOST_LINES) -> str:
    """A line for each layer with its signal, its factor and a bar, of many layers the first and the last."""
    signals = {layer.key: nan_if_none(layer.signal_l2) for layer in flow.layers}
    factors = flow.factors_by_layer()
    marked = {layer.key for layer in flow.layers if layer.state not in ("ok", "frozen")}
    return "\n".join(chart(signals, factors, marked, most))


def flows_html(
    title: str, flows: Sequence[GradientFlow], seeds: Sequence[int] = (), lines: Sequence[str] = ()
) -> HtmlTable:
    """The table of a network's layers; of several flows, one for each of ``seeds``, the geometric means over them."""
    keys = list(dict.fromkeys(layer.key for flow in flows for layer in flow.layers))
    signals = _over_seeds(keys, flows, _SIGNAL)
    columns = [Column("layer", [str(key) for key in keys], "text"), *_states(keys, flows)]
    columns.append(Column("‖∂L/∂h‖₂", list(signals.values())))
    columns.append(Column("", list(signals.values()), "bar"))
    if len(flows) > 1:
        columns.append(Column("least to greatest seed", _ranges(keys, flows)))
    steps = [flow.factors_by_layer() for flow in flows]
    if any(steps):
        means = {key: _mean([own[key] for own in steps if key in own]) for key in keys if any(key in x for x in steps)}
        columns.append(Column(FACTOR_HEADING, [means.get(key) for key in keys]))
    for quantity, heading in _BESIDE.items():
        if any(getattr(layer, quantity) is not None for flow in flows for layer in flow.layers):
            columns.append(Column(heading, list(_over_seeds(keys, flows, quantity).values())))
    over = f"geometric means over {count(len(seeds), 'seed')}" if len(flows) > 1 else ""
    missed = list(dict.fromkeys(name for flow in flows for name in flow.missed))
    reached = f"no error signal reached {', '.join(missed)}" if missed else ""
    return HtmlTable(title, columns, [line for line in (over, *lines, reached) if line])


def _states(keys: Sequence[LayerKey], flows: Sequence[GradientFlow]) -> list[Column]:
    """A column where not all is well."""
    found: dict[LayerKey, dict[str, None]] = {key: {} for key in keys}
    for flow in flows:
        for layer in flow.layers:
            found[layer.key][layer.state] = None
    if all(list(states) == ["ok"] for states in found.values()):
        return []
    return [Column("state", [", ".join(states) for states in found.values()], "text")]


def _over_seeds(keys: Sequence[LayerKey], flows: Sequence[GradientFlow], quantity: str) -> dict[LayerKey, float]:
    values: dict[LayerKey, list[float]] = {key: [] for key in keys}
    for flow in flows:
        for layer in flow.layers:
            values[layer.key].append(nan_if_none(getattr(layer, quantity)))
    return {key: _mean(own, quantity) for key, own in values.items()}


def _mean(values: Sequence[float], quantity: str = _SIGNAL) -> float:
    from vgharness.statistics import scale_of, summarise  # scipy is slow to import

    return summarise(values, scale_of(quantity)).value


def _ranges(keys: Sequence[LayerKey], flows: Sequence[GradientFlow]) -> list[str]:
    found: dict[LayerKey, list[float]] = {key: [] for key in keys}
    for flow in flows:
        for layer in flow.layers:
            if layer.signal_l2 is not None:
                found[layer.key].append(layer.signal_l2)
    return [f"{number(min(own))} to {number(max(own))}" if own else "–" for own in found.values()]


def _size(layer: LayerGradient) -> str:
    return number(layer.signal_l2, missing="not finite" if _SIGNAL in layer.nonfinite else "not measured")
