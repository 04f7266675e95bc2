"""Gradients of each layer by epoch: two rows for a group of networks, a column per activation, a shade per layer."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Final

from matplotlib.axes import Axes

from vgharness.records import Quantity, Run
from vgharness.report.figures.rows import first_groups, side_by_side
from vgharness.report.figures.sheet import (
    EndLabel,
    Layout,
    Sheet,
    color_of,
    draw_series,
    empty_sheet,
    epoch_axis,
    label_ends,
    last_epoch,
    left_out,
    make_sheet,
    name_lines,
    panel,
    range_of,
    rests_on,
    room_above,
    seeds_drawn,
    shades,
    value_axis,
)
from vgharness.report.kinds import Kind, Series, factor_series, kinds_of, layer_series, trained_groups
from vgharness.report.readme import architectures, published
from vgharness.report.study.answer import activation_name
from vgharness.report.svg.axis import Axis, axis_over
from vgharness.theory import FUNCTIONS

_MOST_PANELS: Final = 80
_SHADE: Final = 0.09  # of an interval: there are several on one another
_QUANTITIES: Final[tuple[tuple[Quantity, str], ...]] = (
    ("signal_l2", "error signal ‖∂L/∂h‖₂"),
    ("weight_mean_abs", "weights’ gradient, mean |∂L/∂W|"),
)


def gradients_sheet(run: Run) -> Sheet:
    """The figure of ``run``."""
    groups = trained_groups(run)
    if not groups:
        return empty_sheet("No network was trained", [rests_on(run, kinds_of(run))])
    columns = max(map(len, groups.values()))
    shown = first_groups(groups, _MOST_PANELS // len(_QUANTITIES))
    together = side_by_side(shown, columns)
    kinds = [kind for group in shown.values() for kind in group]
    dashed = any(published(run, kind, "mean_abs_grad_conv1_weight") for kind in kinds)
    notes = [
        rests_on(run, kinds),
        seeds_drawn(kinds, "geometric mean"),
        "init: the first batch at the initial weights; 1 and on: the mean over the epoch’s batches.",
        "The paler a layer, the nearer the output. × per layer: geometric mean of the factors toward the input.",
        "Dashed black: the README’s own plots, which are of the weights’ gradient." if dashed else "",
        architectures(run, kinds),
        left_out(list(groups), len(shown)),
    ]
    every = {name: [factor_series(kind, "signal_l2") for kind in group] for name, group in groups.items()}
    layout = Layout(len(together) * len(_QUANTITIES), columns, 4.3, 2.5, right=0.95, above=room_above(groups, 1))
    sheet = make_sheet(gradients_title(every), notes, layout)
    rows = iter(sheet.axes)
    for group in together:
        for quantity, words in _QUANTITIES:
            _draw_row(next(rows), run, group, quantity, words, groups)
    return sheet


def gradients_title(groups: dict[str, list[Series]]) -> str:
    """The factor toward the input of each activation, at the first moment and over the last epoch; of several groups of
    networks from the least to the greatest."""
    series = [each for group in groups.values() for each in group if each.means]
    firsts, lasts = {each.first for each in series}, {each.last for each in series}
    one_moment = len(firsts) == len(lasts) == 1
    said: list[str] = []
    for activation in dict.fromkeys(each.kind.activation for each in series):
        own = [each for each in series if each.kind.activation == activation]
        start = range_of((each.means[0].value for each in own), "×")
        end = range_of((each.means[-1].value for each in own), "×")
        # When is said of the first only, where it is the same of all.
        if not said or not one_moment:
            start, end = f"{start} {_when({each.first for each in own})}", f"{end} {_when({each.last for each in own})}"
        said.append(f"{activation_name(activation)} {start}, {end}")
    over = f", over {len(groups)} kinds of network" if len(groups) > 1 else ""
    return f"Gradients toward the input, per layer{over}: {'; '.join(said)}"


def _when(epochs: set[int]) -> str:
    if epochs == {0}:
        return "at initialisation"
    return f"over epoch {min(epochs)}" if len(epochs) == 1 else f"over epochs {min(epochs)} to {max(epochs)}"


def _draw_row(
    row: Sequence[Axes], run: Run, kinds: Sequence[Kind], quantity: Quantity, words: str, groups: Collection[str]
) -> None:
    found = [layer_series(kind, quantity) for kind in kinds]
    values = [x for layers in found for each in layers.values() for seed in each.seeds.values() for x in seed]
    axis = axis_over(values, logarithmic=True)
    for ax, kind, layers in zip(row, kinds, found, strict=False):
        factor = factor_series(kind, quantity)
        panel(
            ax,
            f"{activation_name(kind.activation)}, {words}",
            color_of(kind),
            *name_lines(kind.settings, groups),
            _finding(factor),
        )
        value_axis(ax, axis)
        _draw_layers(ax, run, layers, axis, dashed=quantity == "weight_mean_abs")


def _finding(factor: Series) -> str:
    if not factor.means or not any(math.isfinite(mean.value) for mean in factor.means):
        return ""
    moments = dict.fromkeys((factor.first, factor.last))
    values = (range_of([mean.value], "×") for epoch in moments if (mean := factor.at(epoch)))
    return f"per layer {', '.join(f'{value} {_when({epoch})}' for value, epoch in zip(values, moments, strict=True))}"


def _draw_layers(ax: Axes, run: Run, layers: dict[str, Series], axis: Axis, *, dashed: bool) -> None:
    kind = next(iter(layers.values())).kind
    last, labels = last_epoch(layers.values()), []
    for (name, series), color in zip(layers.items(), shades(color_of(kind), len(layers)), strict=True):
        draw_series(ax, series, color, FUNCTIONS[kind.activation].marker, _SHADE)
        if series.means:
            labels.append(EndLabel(series.means[-1].value, name, color_of(kind)))
        plotted = published(run, kind, f"mean_abs_grad_{name}_weight") if dashed else []
        if plotted:
            ax.plot(range(1, len(plotted) + 1), plotted, color="black", linestyle=(0, (4, 3)), linewidth=0.9, zorder=4)
            last = max(last, len(plotted))
    epoch_axis(ax, min(series.first for series in layers.values()), last, 0.06)
    label_ends(ax, axis, labels)
