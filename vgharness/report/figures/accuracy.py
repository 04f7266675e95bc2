"""Test accuracy and test loss by epoch: a row for each group of networks, an activation a line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from matplotlib.axes import Axes

from vgharness.formatting import number, span
from vgharness.records import Run
from vgharness.report.figures.readme import printed_accuracies, published
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
    left_out,
    make_sheet,
    panel,
    rests_on,
    seeds_drawn,
    value_axis,
)
from vgharness.report.kinds import Kind, Series, by_settings, kinds_of, series_of
from vgharness.report.study.answer import activation_name
from vgharness.report.svg.axis import Axis, axis_over
from vgharness.theory import FUNCTIONS

_MOST_GROUPS: Final = 12
_BAR: Final = 6.0  # points


def accuracy_sheet(run: Run) -> Sheet:
    """The figure of ``run``."""
    groups = by_settings(kind for kind in kinds_of(run) if kind.trained)
    if not groups:
        return empty_sheet("No network was trained", [rests_on(run, kinds_of(run))])
    every = {name: [_accuracy(run, kind) for kind in kinds] for name, kinds in groups.items()}
    shown = dict(list(groups.items())[:_MOST_GROUPS])
    kinds = [kind for group in shown.values() for kind in group]
    notes = [
        rests_on(run, kinds),
        seeds_drawn(kinds, "mean"),
        _of_the_document(run, kinds),
        left_out(list(groups), len(shown)),
    ]
    sheet = make_sheet(accuracy_title(every), notes, Layout(len(shown), 2, 4.3, 2.7))
    for row, (name, group) in zip(sheet.axes, shown.items(), strict=True):
        before = f"{name}: " if len(groups) > 1 else ""
        _draw_accuracy(row[0], run, every[name], before)
        _draw_loss(row[1], run, group, before)
    return sheet


def accuracy_title(groups: dict[str, list[Series]]) -> str:
    """The accuracies after the last epoch that all seeds reached, each with its interval; of several groups of networks
    from the least to the greatest of each activation."""
    series = [each for group in groups.values() for each in group]
    lasts = {each.last for each in series}
    when = f"after epoch {next(iter(lasts))}" if len(lasts) == 1 else "after each network’s last epoch"
    if len(groups) == 1:
        said = ", ".join(f"{activation_name(each.kind.activation)} {_value(each)}" for each in series)
        return f"Test accuracy {when}: {said}"
    said = []
    for activation in dict.fromkeys(each.kind.activation for each in series):
        ends = [each.means[-1].value for each in series if each.kind.activation == activation and each.means]
        known = [value for value in ends if value == value]
        text = "not finite" if not known else f"{number(min(known))} to {number(max(known))} %"
        said.append(f"{activation_name(activation)} {text}")
    return f"Test accuracy {when}, over {len(groups)} kinds of network: {'; '.join(said)}"


def _accuracy(run: Run, kind: Kind) -> Series:
    return series_of(kind, lambda epoch: epoch.test_accuracy, "logit", run.data.test_images)


def _value(series: Series) -> str:
    mean = series.means[-1]
    if mean.value != mean.value:
        return "not finite"
    ends = span(mean.low, mean.high)
    return f"{number(mean.value)} %{f' ({ends})' if ends else ''}"


def _of_the_document(run: Run, kinds: Sequence[Kind]) -> str:
    parts = []
    if any(printed_accuracies(run, kind) for kind in kinds):
        parts.append("Upright bars: accuracies that the document prints.")
    if any(published(run, kind, "test_loss") for kind in kinds):
        parts.append("Dashed: its own plots, read off their pixels.")
    return " ".join(parts)


def _draw_accuracy(ax: Axes, run: Run, series: Sequence[Series], before: str) -> None:
    axis = Axis(0, 100)
    panel(ax, f"{before}test accuracy, %")
    value_axis(ax, axis)
    labels = []
    for each in series:
        labels += _draw(ax, run, each, "test_accuracy_percent", " %")
        color, name = color_of(each.kind), activation_name(each.kind.activation)
        for epoch, low, high in printed_accuracies(run, each.kind):
            half = 0.8 if low == high else 0.0
            ax.plot(
                [epoch, epoch], [low - half, high + half], color=color, linewidth=_BAR, solid_capstyle="butt", zorder=6
            )
            words = number(low) if low == high else f"{number(low)}–{number(high)}"
            if epoch == each.last:
                labels.append(EndLabel((low + high) / 2, f"{name} printed: {words} %", color))
            else:
                ax.annotate(f"{words}", (epoch, high), (6, 4), textcoords="offset points", color=color, fontsize=NOTE)
    label_ends(ax, axis, labels)


def _draw_loss(ax: Axes, run: Run, kinds: Sequence[Kind], before: str) -> None:
    series = [series_of(kind, lambda epoch: epoch.test_loss, "log") for kind in kinds]
    axis = axis_over([0.0, *(x for each in series for values in each.seeds.values() for x in values)])
    axis = axis._replace(low=0.0)
    panel(ax, f"{before}test loss, nats")
    value_axis(ax, axis)
    label_ends(ax, axis, [label for each in series for label in _draw(ax, run, each, "test_loss", "")])


def _draw(ax: Axes, run: Run, series: Series, column: str, unit: str) -> list[EndLabel]:
    color, name = color_of(series.kind), activation_name(series.kind.activation)
    draw_series(ax, series, color, FUNCTIONS[series.kind.activation].marker)
    labels = []
    if series.means:
        labels.append(EndLabel(series.means[-1].value, f"{name} {number(series.means[-1].value)}{unit}", color))
    plotted = published(run, series.kind, column)
    if plotted:
        ax.plot(range(1, len(plotted) + 1), plotted, color=color, linestyle="--", linewidth=1.2)
    longest = max(len(values) for values in series.seeds.values())
    last = max(longest, len(plotted), round(ax.get_xlim()[1]) - 1 if ax.get_xlabel() else 1)
    epoch_axis(ax, 1, last, named=True)
    return labels
