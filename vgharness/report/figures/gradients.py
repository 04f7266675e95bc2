"""Gradients of each layer by epoch: two rows for each group of networks, a column per activation, a shade per layer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from matplotlib.axes import Axes

from vgharness.formatting import number
from vgharness.records import Quantity, Run
from vgharness.report.figures.readme import published
from vgharness.report.figures.sheet import (
    EndLabel,
    Layout,
    Sheet,
    color_of,
    draw_series,
    empty_sheet,
    epoch_axis,
    label_ends,
    left_out,
    make_sheet,
    panel,
    rests_on,
    seeds_drawn,
    shades,
    value_axis,
)
from vgharness.report.kinds import Kind, Series, by_settings, factor_series, kinds_of, layer_series
from vgharness.report.study.answer import activation_name
from vgharness.report.svg.axis import Axis, axis_over
from vgharness.statistics import Summary
from vgharness.theory import FUNCTIONS

_MOST_PANELS: Final = 40
_QUANTITIES: Final[tuple[tuple[Quantity, str], ...]] = (
    ("signal_l2", "error signal ‖∂L/∂h‖₂"),
    ("weight_mean_abs", "weights’ gradient, mean |∂L/∂W|"),
)


def gradients_sheet(run: Run) -> Sheet:
    """The figure of ``run``."""
    groups = by_settings(kind for kind in kinds_of(run) if kind.trained)
    if not groups:
        return empty_sheet("No network was trained", [rests_on(run, kinds_of(run))])
    columns = max(map(len, groups.values()))
    shown = dict(list(groups.items())[: max(_MOST_PANELS // (len(_QUANTITIES) * columns), 1)])
    kinds = [kind for group in shown.values() for kind in group]
    dashed = any(published(run, kind, "mean_abs_grad_conv1_weight") for kind in kinds)
    notes = [
        rests_on(run, kinds),
        seeds_drawn(kinds, "geometric mean"),
        "init: the first batch at the initial weights; then the mean over each epoch’s batches. "
        "The paler a layer, the nearer the output. × per layer: geometric mean of the factors toward the input.",
        "Dashed black: the document’s own plots, of the weights’ gradient." if dashed else "",
        left_out(list(groups), len(shown)),
    ]
    every = {name: [factor_series(kind, "signal_l2") for kind in group] for name, group in groups.items()}
    layout = Layout(len(shown) * len(_QUANTITIES), columns, 4.3, 2.5, right=0.95, above=0.6)
    sheet = make_sheet(gradients_title(every), notes, layout)
    rows = iter(sheet.axes)
    for name, group in shown.items():
        for quantity, words in _QUANTITIES:
            _draw_row(next(rows), run, group, quantity, f"{name}: {words}" if len(groups) > 1 else words)
    return sheet


def gradients_title(groups: dict[str, list[Series]]) -> str:
    """The factor toward the input of each activation, at the first moment and over the last epoch; of several groups of
    networks from the least to the greatest."""
    series = [each for group in groups.values() for each in group if each.means]
    start = "at initialisation" if all(each.first == 0 for each in series) else "at first"
    lasts = {each.last for each in series}
    end = f"over epoch {next(iter(lasts))}" if len(lasts) == 1 else "over each network’s last epoch"
    said = []
    for activation in dict.fromkeys(each.kind.activation for each in series):
        own = [each for each in series if each.kind.activation == activation]
        first, last = _range(each.means[0] for each in own), _range(each.means[-1] for each in own)
        # When is said of the first only.
        words = (f" {start}", f" {end}") if not said else ("", "")
        said.append(f"{activation_name(activation)} {first}{words[0]}, {last}{words[1]}")
    over = f", over {len(groups)} kinds of network" if len(groups) > 1 else ""
    return f"Gradients toward the input, per layer{over}: {'; '.join(said)}"


def _range(means: Iterable[Summary]) -> str:
    known = [mean.value for mean in means if mean.value == mean.value]
    if not known:
        return "not finite"
    least, most = number(min(known)), number(max(known))
    return f"×{least}" if least == most else f"×{least} to ×{most}"


def _draw_row(row: Sequence[Axes], run: Run, kinds: Sequence[Kind], quantity: Quantity, words: str) -> None:
    found = [layer_series(kind, quantity) for kind in kinds]
    values = [x for layers in found for each in layers.values() for seed in each.seeds.values() for x in seed]
    axis = axis_over(values, logarithmic=True)
    for ax, kind, layers in zip(row, kinds, found, strict=False):
        factor = factor_series(kind, quantity)
        panel(ax, f"{activation_name(kind.activation)}, {words}", color_of(kind), _finding(factor))
        value_axis(ax, axis)
        _draw_layers(ax, run, layers, axis, dashed=quantity == "weight_mean_abs")


def _finding(factor: Series) -> str:
    if not factor.means or all(mean.value != mean.value for mean in factor.means):
        return ""
    start = "at init" if factor.first == 0 else f"over epoch {factor.first}"
    first, last = number(factor.means[0].value, "not finite"), number(factor.means[-1].value, "not finite")
    if len(factor.means) == 1:
        return f"per layer ×{first} {start}"
    return f"per layer ×{first} {start}, ×{last} over epoch {factor.last}"


def _draw_layers(ax: Axes, run: Run, layers: dict[str, Series], axis: Axis, *, dashed: bool) -> None:
    kind = next(iter(layers.values())).kind
    colors = shades(color_of(kind), len(layers))
    first, last, labels = 1, 1, []
    for (name, series), color in zip(layers.items(), colors, strict=True):
        draw_series(ax, series, color, FUNCTIONS[kind.activation].marker)
        if series.means:
            labels.append(EndLabel(series.means[-1].value, name, color_of(kind)))
        first = min(first, series.first)
        last = max(last, *(series.first + len(values) - 1 for values in series.seeds.values()))
        plotted = published(run, kind, f"mean_abs_grad_{name}_weight") if dashed else []
        if plotted:
            ax.plot(range(1, len(plotted) + 1), plotted, color="black", linestyle=(0, (4, 3)), linewidth=0.9, zorder=4)
    epoch_axis(ax, first, last, named=True)
    label_ends(ax, axis, labels)
