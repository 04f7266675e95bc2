"""Test accuracy and test loss by epoch: a row for each group of networks, an activation a line."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from matplotlib.axes import Axes

from vgharness.formatting import number, with_span
from vgharness.records import Run
from vgharness.report.figures.sheet import (
    NOTE,
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
    value_axis,
)
from vgharness.report.kinds import Kind, Series, kinds_of, series_of, trained_groups
from vgharness.report.readme import architectures, printed_accuracies, published, speaks_of
from vgharness.report.study.answer import activation_name
from vgharness.report.svg.axis import Axis, axis_over
from vgharness.theory import FUNCTIONS

_LEAST_ABOVE: Final = 0.6  # inches
_MOST_GROUPS: Final = 24
_BAR: Final = 6.0  # its width, points
_LEAST_BAR: Final = 1.6  # its height, percent


def accuracy_sheet(run: Run) -> Sheet:
    """The figure of ``run``."""
    groups = trained_groups(run)
    if not groups:
        return empty_sheet("No network was trained", [rests_on(run, kinds_of(run))])
    every = {name: [_accuracy(run, kind) for kind in kinds] for name, kinds in groups.items()}
    shown = dict(list(groups.items())[:_MOST_GROUPS])
    kinds = [kind for group in shown.values() for kind in group]
    notes = [
        rests_on(run, kinds),
        seeds_drawn(kinds, "mean"),
        " ".join([architectures(run, kinds), _of_the_document(run, kinds)]).strip(),
        left_out(list(groups), len(shown)),
    ]
    sheet = make_sheet(
        accuracy_title(every),
        notes,
        Layout(len(shown), 2, 4.3, 2.7, right=1.75, above=max(_LEAST_ABOVE, room_above(groups, 0))),
    )
    for row, (name, group) in zip(sheet.axes, shown.items(), strict=True):
        _draw_accuracy(row[0], run, every[name], name_lines(name, groups))
        _draw_loss(row[1], run, group, name_lines(name, groups))
    return sheet


def accuracy_title(groups: dict[str, list[Series]]) -> str:
    """The accuracies after the last epoch that all seeds reached, each with its interval; of several groups of networks
    from the least to the greatest of each activation."""
    series = [each for group in groups.values() for each in group]
    lasts = {each.last for each in series}
    if len(groups) == 1:
        when = f" after epoch {series[0].last}" if len(lasts) == 1 else ""
        said = (_said(each, "" if when else f" after epoch {each.last}") for each in series)
        return f"Test accuracy{when}: {', '.join(said)}"
    ranges = []
    for activation in dict.fromkeys(each.kind.activation for each in series):
        ends = [each.means[-1].value for each in series if each.kind.activation == activation and each.means]
        ranges.append(f"{activation_name(activation)} {range_of(ends, unit=' %')}")
    when = f"after epoch {min(lasts)}" if len(lasts) == 1 else "after each network’s last epoch"
    return f"Test accuracy {when}, over {len(groups)} kinds of network: {'; '.join(ranges)}"


def _accuracy(run: Run, kind: Kind) -> Series:
    return series_of(kind, lambda epoch: epoch.test_accuracy, "logit", run.data.test_images)


def _printed(run: Run, kind: Kind) -> list[tuple[int, float, float]]:
    """What the studied README prints; the notes name no other document."""
    return printed_accuracies(run, kind) if speaks_of(run) else []


def _said(series: Series, when: str) -> str:
    mean, name = series.means[-1], activation_name(series.kind.activation)
    if not math.isfinite(mean.value):
        return f"{name} not finite{when}"
    return f"{name} {with_span(mean.value, mean.low, mean.high, unit=' %')}{when}"


def _of_the_document(run: Run, kinds: Sequence[Kind]) -> str:
    parts = []
    if any(_printed(run, kind) for kind in kinds):
        parts.append("Upright bars: accuracies that the README prints.")
    if any(published(run, kind, "test_loss") for kind in kinds):
        parts.append("Dashed: its own plots, read off their pixels.")
    return " ".join(parts)


def _draw_accuracy(ax: Axes, run: Run, series: Sequence[Series], name: Sequence[str]) -> None:
    axis = Axis(0, 100)
    panel(ax, "test accuracy, %", "black", *name)
    value_axis(ax, axis)
    labels, last = _draw(ax, run, series, "test_accuracy_percent", " %")
    bars = [(each, *bar) for each in series for bar in _printed(run, each.kind)]
    for each, epoch, low, high in bars:
        color = color_of(each.kind)
        half = max(_LEAST_BAR - (high - low), 0) / 2
        ax.vlines(epoch, low - half, high + half, color=color, linewidth=_BAR, zorder=6)
        words = number(low) if low == high else f"{number(low)}–{number(high)}"
        if epoch == last:
            text = f"{activation_name(each.kind.activation)} printed: {words} %"
            labels.append(EndLabel((low + high) / 2, text, color))
        else:
            ax.annotate(words, (epoch, (low + high) / 2), (-5, 0), textcoords="offset points", color=color,
                        fontsize=NOTE, ha="right", va="center")  # fmt: skip
    epoch_axis(ax, 1, last, 0.09 if bars else 0.03)
    label_ends(ax, axis, labels)


def _draw_loss(ax: Axes, run: Run, kinds: Sequence[Kind], name: Sequence[str]) -> None:
    series = [series_of(kind, lambda epoch: epoch.test_loss, "log") for kind in kinds]
    seen = [x for each in series for values in each.seeds.values() for x in values]
    plotted = [x for kind in kinds for x in published(run, kind, "test_loss")]
    axis = axis_over([0.0, *seen, *plotted])._replace(low=0.0)
    panel(ax, "test loss, nats", "black", *name)
    value_axis(ax, axis)
    labels, last = _draw(ax, run, series, "test_loss", "")
    epoch_axis(ax, 1, last)
    label_ends(ax, axis, labels)


def _draw(ax: Axes, run: Run, series: Sequence[Series], column: str, unit: str) -> tuple[list[EndLabel], int]:
    """Draws the lines; returns the labels at their ends and the panel's last epoch."""
    labels, last = [], last_epoch(series)
    for each in series:
        color, name = color_of(each.kind), activation_name(each.kind.activation)
        draw_series(ax, each, color, FUNCTIONS[each.kind.activation].marker)
        plotted = published(run, each.kind, column)
        if plotted:
            ax.plot(range(1, len(plotted) + 1), plotted, color=color, linestyle="--", linewidth=1.2)
            last = max(last, len(plotted))
        if each.means:
            value = each.means[-1].value
            when = f" at {each.last}" if each.last < last else ""
            labels.append(EndLabel(value, f"{name} {number(value)}{unit}{when}", color))
    return labels, last
