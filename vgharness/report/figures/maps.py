"""|∂L/∂h| at the first convolution after training: a map per activation, all on one scale of colours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm

from vgharness.formatting import number
from vgharness.records import Run
from vgharness.report.figures.rows import first_groups, side_by_side
from vgharness.report.figures.sheet import (
    Layout,
    Sheet,
    color_of,
    empty_sheet,
    left_out,
    make_sheet,
    name_lines,
    panel,
    range_of,
    rests_on,
    room_above,
    tick,
)
from vgharness.report.kinds import Kind, by_settings, heatmaps_of, kinds_of
from vgharness.report.readme import architectures
from vgharness.report.study.answer import activation_name
from vgharness.report.study.maps import COLOURS
from vgharness.report.svg.axis import Axis
from vgharness.statistics import Array, mean_over_seeds

_MOST_MAPS: Final = 40
_SIDE: Final = 3.0  # inches


class Map(NamedTuple):
    """The map of one kind of network.

    mean: of the seeds', geometric, pixel by pixel.
    seeds: the mean over the pixels of each seed's.
    """

    kind: Kind
    mean: Array
    seeds: tuple[float, ...]


def maps_sheet(run: Run) -> Sheet:
    """The figure of ``run``."""
    found = [found for kind in kinds_of(run) if (found := _map_of(kind))]
    groups = {name: tuple(m for m in found if m.kind.settings == name) for name in by_settings(m.kind for m in found)}
    if not groups:
        return empty_sheet(
            "No map of gradients at conv1: no network was trained to its end", [rests_on(run, kinds_of(run))]
        )
    columns = max(map(len, groups.values()))
    shown = first_groups(groups, _MOST_MAPS)
    together = side_by_side(shown, columns)
    kinds = [each.kind for group in shown.values() for each in group]
    notes = [
        rests_on(run, kinds),
        "Mean over conv1’s channels and the first 256 test images; geometric mean over the seeds.",
        "One scale for all maps. Overall size: it does not say how gradients change from layer to layer.",
        architectures(run, kinds),
        left_out(list(groups), len(shown)),
    ]
    sheet = make_sheet(
        maps_title(groups),
        notes,
        Layout(len(together), max(columns, 2), _SIDE, _SIDE, 0.1, 1.0, room_above(groups, 1), 0.1),
    )
    positive = [x for group in shown.values() for each in group for x in each.mean.flat if x > 0]
    norm = LogNorm(min(positive), max(positive)) if positive else None
    for row, group in zip(sheet.axes, together, strict=True):
        for ax, each in zip(row, group, strict=False):
            _draw_map(ax, each, norm, name_lines(each.kind.settings, groups))
        if norm is not None:
            _color_bar(row[len(group) - 1], norm)
    return sheet


def maps_title(groups: dict[str, tuple[Map, ...]]) -> str:
    """The greatest mean as a multiple of the least, of each group of networks; of several the range of that."""
    start = "|∂L/∂h| at conv1 after training"
    pairs = []
    for group in groups.values():
        least, most = min(group, key=_mean), max(group, key=_mean)
        if len(group) > 1 and _mean(least) > 0:
            pairs.append((most.kind.activation, _mean(most) / _mean(least), least.kind.activation))
    if not pairs:
        every = [each for group in groups.values() for each in group]
        means = (
            f"{number(min(map(_mean, every)))} to {number(max(map(_mean, every)))}"
            if len(every) > 1
            else number(_mean(every[0]))
        )
        return f"{start}: {means} on average"
    who = {(activation_name(most), activation_name(least)) for most, _, least in pairs}
    ratio = range_of(ratio for _, ratio, _ in pairs)
    if len(who) == 1:
        greater, lesser = who.pop()
        return f"{start}: {greater} {ratio} × {lesser}"
    return f"{start}: the greatest is {ratio} × the least activation’s, over {len(pairs)} kinds of network"


def _mean(each: Map) -> float:
    return float(each.mean.mean())


def _map_of(kind: Kind) -> Map | None:
    heatmaps = heatmaps_of(kind)
    if not heatmaps:
        return None
    return Map(kind, mean_over_seeds(heatmaps, "log"), tuple(float(each.mean()) for each in heatmaps))


def _draw_map(ax: Axes, each: Map, norm: LogNorm | None, name: Sequence[str]) -> None:
    epochs = sorted({len(result.epochs) for result in each.kind.results if result.heatmap})
    when = f"epoch {epochs[-1]}" if len(epochs) == 1 else f"epochs {epochs[0]} to {epochs[-1]}"
    seeds = f" (seeds {range_of(each.seeds)})" if len(each.seeds) > 1 else ""
    title = f"{activation_name(each.kind.activation)}, {when}"
    panel(ax, title, color_of(each.kind), *name, f"mean {number(_mean(each))}{seeds}")
    ax.set_xticks([])
    ax.set_yticks([])
    ax.imshow(each.mean, norm=norm, cmap=COLOURS)


def _color_bar(ax: Axes, norm: LogNorm) -> None:
    """Beside the last map of a row, as high as it."""
    box = ax.get_position()
    inch = box.width / _SIDE
    place = ax.figure.add_axes((box.x1 + 0.12 * inch, box.y0, 0.14 * inch, box.height))
    ticks = Axis(float(norm.vmin or 0), float(norm.vmax or 0), logarithmic=True).ticks()
    bar = ax.figure.colorbar(ScalarMappable(norm, COLOURS), cax=place)
    bar.set_ticks(ticks, labels=[tick(value, logarithmic=True) for value in ticks], minor=False)
    bar.set_ticks([], minor=True)
    bar.ax.set_title("|∂L/∂h|", fontsize=9, loc="left")
