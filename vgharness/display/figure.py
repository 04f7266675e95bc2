"""Figures for a notebook: matplotlib without its global state, so that no backend is chosen, no figure stays open."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from matplotlib.transforms import blended_transform_factory

from vgharness.formatting import escaped, shorten

_DPI: Final = 110
_MOST_NAMES: Final = 40  # below an axis; of more rows every other, every third and so on is named
_LONGEST_NAME: Final = 28
_FEW_DECADES: Final = 100
_GREY: Final = "#6E7781"
_MARKERS: Final = "os^Dv<>pXh"  # for readers who see no colours


class NotebookFigure(Figure):
    """A figure that a notebook shows as the last value of a cell, with or without ``%matplotlib``."""

    def _repr_png_(self) -> bytes:
        content = io.BytesIO()
        self.savefig(content, format="png", dpi=_DPI)
        return content.getvalue()


class Line(NamedTuple):
    """Values of the rows along an axis, in the order of the rows.

    label: in the legend.
    mean: the thick line; NaN breaks it.
    seeds: thin lines, one for each seed where there are several.
    words: by place, what is said at the foot of the axes where a logarithmic one has no place for the value.
    """

    label: str
    mean: Sequence[float]
    seeds: Sequence[Sequence[float]] = ()
    words: Mapping[int, str] = MappingProxyType({})


def axes_for(ax: Axes | None, width: float = 7.0, height: float = 3.6) -> tuple[Figure, Axes]:
    """The given axes and their figure, or new ones; sizes in inches."""
    if ax is not None:
        return ax.figure.canvas.figure, ax
    figure = NotebookFigure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def draw_line(ax: Axes, line: Line, **style: Any) -> None:
    """Draws the mean thick and the seeds thin, in the next colour of the axes and with the next marker."""
    marker = _MARKERS[len(ax.get_legend_handles_labels()[1]) % len(_MARKERS)]
    drawn = ax.plot(line.mean, label=line.label, linewidth=2, marker=marker, markersize=4, **style)[0]
    color = drawn.get_color()
    for seed in line.seeds if len(line.seeds) > 1 else ():
        ax.plot(seed, color=color, linewidth=0.7, alpha=0.45)
    foot = blended_transform_factory(ax.transData, ax.transAxes)
    for at, word in line.words.items():
        ax.text(at, 0.02, word, color=color, fontsize=8, weight="bold", ha="center", transform=foot)


def name_rows(ax: Axes, names: Sequence[str]) -> None:
    """Names the places 0, 1, 2 … of the level axis; of very many some."""
    step = max(1, math.ceil(len(names) / _MOST_NAMES))
    shown = [shorten(escaped(name), _LONGEST_NAME) for name in names]
    longest = max(map(len, shown), default=0)
    upright = longest * len(shown[::step]) > 70
    ax.set_xticks(
        range(0, len(names), step),
        shown[::step],
        rotation=90 if upright and len(shown) > 20 else 45 if upright else 0,
        ha="right" if upright and len(shown) <= 20 else "center",
        rotation_mode="anchor" if upright and len(shown) <= 20 else "default",
        fontsize=8,
        parse_math=False,
    )
    ax.set_xlim(-0.4, len(names) - 0.6)


def finish(ax: Axes, title: str, y: str, x: str = "", *, logarithmic: bool = True) -> None:
    """Title, names of the axes, grid, and a legend where there is something to tell apart."""
    if logarithmic:
        ax.set_yscale("log", nonpositive="mask")
        low, high = ax.get_ylim()
        if high < _FEW_DECADES * low:  # powers of ten would leave most of such an axis without a number
            ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            ax.yaxis.set_minor_formatter(NullFormatter())
    ax.set_title(escaped(title), fontsize=10, loc="left", parse_math=False)
    ax.set_ylabel(y, fontsize=9)
    ax.set_xlabel(x, fontsize=9)
    ax.grid(axis="y", color="#D8DEE4", linewidth=0.6)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    _, labels = ax.get_legend_handles_labels()
    if len(labels) > 1:
        legend = ax.legend(fontsize=8, frameon=False)
        for text in legend.get_texts():
            text.set_parse_math(False)


def draw_theory(ax: Axes, label: str, values: Mapping[int, float], style: str) -> None:
    """A line of what is predicted, by place along the level axis; broken where there is nothing said."""
    places = range(min(values), max(values) + 1)
    color = "black" if style == "--" else _GREY
    ax.plot(places, [values.get(at, math.nan) for at in places], style, color=color, linewidth=1.5, label=label)


def grid_labels(ax: Axes, names: Sequence[str], *, title: str, x: str) -> None:
    """Names the places 0, 1, 2 … of the upright axis of a map; of very many some."""
    step = max(1, math.ceil(len(names) / _MOST_NAMES))
    shown = [shorten(escaped(name), _LONGEST_NAME) for name in names[::step]]
    ax.set_yticks(range(0, len(names), step), shown, fontsize=8, parse_math=False)
    ax.set_title(escaped(title), fontsize=10, loc="left", pad=12, parse_math=False)
    ax.set_xlabel(x, fontsize=9)
