"""What the three figures share: a white sheet that says what it shows, axes on it, labels at the ends of lines, files.

All is placed in inches, so that letters are as large on a sheet of forty panels as on one of two.
"""

from __future__ import annotations

import io
import math
import textwrap
import warnings
from collections.abc import Collection, Iterable, Sequence
from html import escape
from typing import Any, Final, NamedTuple

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from vgharness.formatting import count, escaped, listing, number, shorten
from vgharness.records import Run, nan_if_none
from vgharness.report.kinds import Kind, Series
from vgharness.report.svg.axis import Axis, apart
from vgharness.report.svg.curves import epoch_ticks
from vgharness.theory import FUNCTIONS

DPI = 120
TITLE, NOTE, TEXT = 13.0, 9.0, 9.5  # sizes of letters, points
GREY: Final = "#57606A"
_TITLE_ROOM, _LINE_ROOM = 0.45, 0.2  # for a panel's title, and for each line below it; inches
_NAME_LINE: Final = 45  # letters
_INCH: Final = 72.0  # points
_WIDTHS: Final = {TITLE: 0.61, NOTE: 0.53}  # of a letter on average, as a share of its size; the title's is bold
_LINE: Final = 1.35  # from one line of text to the next, as a share of its size
_EDGE: Final = 0.2
_BETWEEN: Final = 0.1
_LONGEST_NAME: Final = 60
_MOST_NAMED: Final = 4
_PALEST: Final = 0.62  # of white that the last of several shades has
_STYLE: Final[Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": TEXT,
    "text.parse_math": False,  # names from outside may hold a dollar sign
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "vgharness",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.edgecolor": GREY,
    "xtick.color": GREY,
    "ytick.color": GREY,
}
_SUPERSCRIPTS: Final = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


class Layout(NamedTuple):
    """How panels are laid out, in inches.

    rows, columns: of panels.
    width, height: of one panel's axes.
    left, right: beside each, for its numbers and the labels at its lines' ends.
    above, below: for its title, and for its numbers.
    """

    rows: int
    columns: int
    width: float
    height: float
    left: float = 0.65
    right: float = 1.15
    above: float = 0.6
    below: float = 0.5


class Sheet(NamedTuple):
    """A figure as it is written.

    title: what was found.
    notes: what it was found on and how it is drawn, a sentence a line.
    figure: matplotlib's.
    axes: [rows, columns]; those that nothing is drawn on are hidden.
    """

    title: str
    notes: tuple[str, ...]
    figure: Figure
    axes: npt.NDArray[np.object_]


class EndLabel(NamedTuple):
    """A text beside the right end of a panel, at the height of a value."""

    value: float
    text: str
    color: str


def style() -> Any:
    """A context in which sheets are made and written."""
    return mpl.rc_context(_STYLE)


def make_sheet(title: str, notes: Iterable[str], layout: Layout) -> Sheet:
    """A sheet with title, notes and empty axes."""
    notes = tuple(printable(note) for note in notes if note)
    one = (layout.left + layout.width + layout.right, layout.above + layout.height + layout.below)
    width = layout.columns * one[0] + 2 * _EDGE
    heading = _wrapped(title, width, TITLE)
    small = [line for note in notes for line in _wrapped(note, width, NOTE)]
    top = _EDGE + _height(heading, TITLE) + _BETWEEN + _height(small, NOTE)
    height = top + layout.rows * one[1] + _EDGE
    figure = Figure(figsize=(width, height))
    texts = ((heading, TITLE, _EDGE, "bold", "black"), (small, NOTE, top - _height(small, NOTE), "normal", GREY))
    for lines, size, down, weight, color in texts:
        for place, line in enumerate(lines):
            y = 1 - (down + place * size * _LINE / _INCH) / height
            figure.text(_EDGE / width, y, line, fontsize=size, fontweight=weight, color=color, va="top")
    axes = np.empty((layout.rows, layout.columns), dtype=object)
    for row, column in np.ndindex(axes.shape):
        x = _EDGE + column * one[0] + layout.left
        y = height - top - row * one[1] - layout.above - layout.height
        box = (x / width, y / height, layout.width / width, layout.height / height)
        axes[row, column] = figure.add_axes(box, visible=False)
    return Sheet(title, notes, figure, axes)


def empty_sheet(title: str, notes: Iterable[str]) -> Sheet:
    """A sheet that says there is nothing to draw."""
    return make_sheet(title, notes, Layout(1, 1, 6.0, 0.2))


def written(sheet: Sheet) -> tuple[bytes, bytes]:
    """The sheet as PNG and as SVG; the same bytes whenever it is written."""
    png, svg = io.BytesIO(), io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*[Gg]lyph")  # of names in letters that the font lacks
        sheet.figure.savefig(png, format="png", dpi=DPI, facecolor="white", metadata={"Software": None})
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        sheet.figure.savefig(svg, format="svg", dpi=DPI, facecolor="white", metadata=nothing)
    head, tag, rest = svg.getvalue().decode().partition("<svg ")
    attributes, end, body = rest.partition(">")
    said = f"<title>{escape(sheet.title)}</title>\n <desc>{escape(' '.join(sheet.notes))}</desc>"
    return png.getvalue(), f'{head}{tag}role="img" {attributes}{end}\n {said}{body}'.encode()


# --- words -------------------------------------------------------------------------------------------------


def printable(text: str) -> str:
    """What came from outside, on one line and without what would turn the line's own words around."""
    return escaped(text)


def rests_on(run: Run, kinds: Sequence[Kind]) -> str:
    """The images, the seeds and, where it is the same for all, what networks they are."""
    data = run.data
    names = {
        "canonical": "CIFAR-10",
        "re-encoded": "CIFAR-10, re-encoded (not the canonical files)",
        "part": "part of CIFAR-10",
        "no": shorten(printable(data.description), _LONGEST_NAME),
    }
    seeds = sorted({result.cell.seed for kind in kinds for result in kind.results})
    settings = {kind.settings for kind in kinds}
    depths = sorted({kind.cell.depth for kind in kinds})
    convolutions = f"{depths[0]} to {depths[-1]}" if len(depths) > 1 else listing(depths)
    network = f"; network “{next(iter(settings))}”, {convolutions} convolutions" if len(settings) == 1 else ""
    images = f"{data.train_images:,} training and {data.test_images:,} test images"
    return f"{names[data.cifar10]}: {images}{network}; {count(len(seeds), 'seed')} ({listing(seeds, 6)})."


def seeds_drawn(kinds: Sequence[Kind], mean: str) -> str:
    """How the seeds are drawn, and whether a training stopped; ``mean``: which is taken."""
    stopped = [r for kind in kinds for r in kind.trained if len(r.epochs) < r.cell.epochs]
    drawn = "Each line is one seed’s."
    if any(len(kind.trained) > 1 for kind in kinds):
        drawn = f"Thin: one seed; thick: their {mean}; shaded: its 95 % interval."
    ended = f" ×: where a training stopped ({count(len(stopped), 'network')})." if stopped else ""
    return drawn + ended


def range_of(values: Iterable[float], before: str = "", unit: str = "") -> str:
    """The finite of ``values`` from the least to the greatest, ``before`` each: ``×0.5 to ×2``."""
    known = [value for value in values if math.isfinite(value)]
    if not known:
        return "not finite"
    least, most = f"{before}{number(min(known))}", f"{before}{number(max(known))}"
    return f"{least if least == most else f'{least} to {most}'}{unit}"


def left_out(settings: Sequence[str], drawn: int) -> str:
    """Names the kinds of network for which there is no room."""
    if len(settings) <= drawn:
        return ""
    return f"The first {drawn} of {len(settings)} kinds of network; not drawn: {_named(settings[drawn:])}."


def _named(settings: Sequence[str]) -> str:
    more = f"; and {len(settings) - _MOST_NAMED} more" if len(settings) > _MOST_NAMED else ""
    return "; ".join(settings[:_MOST_NAMED]) + more


# --- panels --------------------------------------------------------------------------------------------------


def shades(color: str, many: int) -> list[tuple[float, ...]]:
    """``many`` shades of a colour, itself first, each paler than the one before."""
    base = np.array(to_rgb(color))
    return [tuple(base + (1 - base) * _PALEST * place / max(many - 1, 1)) for place in range(many)]


def panel(ax: Axes, title: str, color: str = "black", *lines: str) -> None:
    """Shows a panel under its title and, smaller, ``lines``, as far as they are not empty."""
    ax.set_visible(True)
    up = 8.0
    for line in reversed([line for line in lines if line]):
        ax.annotate(line, (0, 1), (0, up), "axes fraction", "offset points", color=GREY, fontsize=NOTE)
        up += NOTE * _LINE
    ax.annotate(title, (0, 1), (0, up + 1), "axes fraction", "offset points", color=color, weight="bold", fontsize=10)


def name_lines(settings: str, groups: Collection[str]) -> list[str]:
    """What a panel says of its networks' settings, in as many lines as it takes; nothing where all are the same."""
    return textwrap.wrap(settings, _NAME_LINE) if len(groups) > 1 else []


def room_above(groups: Collection[str], lines: int) -> float:
    """Inches above a panel for its title, the longest name of its networks and ``lines`` more."""
    return _TITLE_ROOM + _LINE_ROOM * (lines + max(len(name_lines(settings, groups)) for settings in groups))


def value_axis(ax: Axes, axis: Axis) -> None:
    """Makes the panel's upright axis ``axis``, powers of ten written as such."""
    ax.set_yscale("log" if axis.logarithmic else "linear", **({"nonpositive": "mask"} if axis.logarithmic else {}))
    ax.set_ylim(axis.low, axis.high)
    ticks = axis.ticks()
    ax.set_yticks(ticks, [tick(value, axis.logarithmic) for value in ticks])
    ax.set_yticks([], minor=True)
    ax.grid(axis="y", color="#D8DEE4", linewidth=0.6)
    ax.set_axisbelow(True)


def epoch_axis(ax: Axes, first: int, last: int, room: float = 0.03) -> None:
    """Makes the panel's level axis the epochs, the first and the last among its numbers; 0 is the initialisation.

    room: left of the first, as a share of the axis.
    """
    ticks = epoch_ticks(max(first, 1), max(last, 1))
    ticks = [0, *ticks] if first == 0 else ticks
    ax.set_xticks(ticks, ["init" if tick == 0 else str(tick) for tick in ticks])
    reach = max(last - first, 1)
    ax.set_xlim(first - room * reach, max(last, 1) + 0.03 * reach)
    ax.set_xlabel("epoch", color=GREY, labelpad=1)


def last_epoch(series: Iterable[Series]) -> int:
    """The last that any seed reached."""
    return max(each.first + len(values) - 1 for each in series for values in each.seeds.values())


def draw_series(ax: Axes, series: Series, color: Any, marker: str, shade: float = 0.16) -> None:
    """One value by epoch: seeds thin, mean thick, interval shaded. What is of the initial weights stands apart: it is
    one batch, not the mean of an epoch's."""
    moments: list[float] = []
    thin: list[float] = []
    for values in series.seeds.values() if len(series.seeds) > 1 else ():
        moments += _with_gaps(series.first, range(series.first, series.first + len(values)))
        thin += _with_gaps(series.first, values)
    if thin:
        ax.plot(moments, thin, color=color, linewidth=0.6, alpha=0.6, marker="." if len(thin) < 3 else "", markersize=3)
    _mark_stops(ax, series, color)
    if not series.means:
        return
    moments = _with_gaps(series.first, range(series.first, series.last + 1))
    low = _with_gaps(series.first, [nan_if_none(mean.low) for mean in series.means])
    high = _with_gaps(series.first, [nan_if_none(mean.high) for mean in series.means])
    means = _with_gaps(series.first, [mean.value for mean in series.means])
    if series.first == 0:
        ax.vlines(0, low[0], high[0], color=color, linewidth=4, alpha=0.3)
    ax.fill_between(moments, low, high, color=color, alpha=shade, linewidth=0)
    ends = sorted({len(means) - 2, 0} if series.first == 0 else {len(means) - 2})
    dash = FUNCTIONS[series.kind.activation].dash
    style: Any = (0, [length / 2 for length in dash]) if dash else "-"  # in widths of the line
    ax.plot(moments, means, color=color, linewidth=2, linestyle=style, marker=marker, markersize=5, markevery=ends)


def _with_gaps(first: int, values: Iterable[float]) -> list[float]:
    """With NaN, where a line is broken, after the value at the initial weights and after the last."""
    values = list(values)
    return [*values[:1], math.nan, *values[1:], math.nan] if first == 0 else [*values, math.nan]


def _mark_stops(ax: Axes, series: Series, color: Any) -> None:
    """A cross at the last finite value of each training that did not come to its end."""
    for result in series.kind.trained:
        known = [(series.first + i, x) for i, x in enumerate(series.seeds[result.cell.seed]) if math.isfinite(x)]
        if len(result.epochs) < result.cell.epochs and known:
            ax.plot(*known[-1], color=color, marker="x", markersize=7, markeredgewidth=2, zorder=5)


def label_ends(ax: Axes, axis: Axis, labels: Iterable[EndLabel]) -> None:
    """Writes labels beside the panel's right end, none on another, a hairline from each to its value."""
    known = sorted((label for label in labels if math.isfinite(label.value)), key=lambda label: label.value)
    height = ax.get_window_extent().height / ax.figure.dpi
    least = NOTE * 1.2 / _INCH / height
    true = [axis.at(label.value) / 100 for label in known]
    for label, at, place in zip(known, true, apart(true, least, 1.0), strict=True):
        ax.plot([1, 1.03], [at, place], color=label.color, linewidth=0.6, transform=ax.transAxes, clip_on=False)
        ax.text(1.04, place, label.text, color=label.color, fontsize=NOTE, va="center", transform=ax.transAxes)


def tick(value: float, logarithmic: bool) -> str:
    """A number beside an axis: ``10⁻³``, ``0.5``."""
    power = round(math.log10(value)) if logarithmic else 0
    if logarithmic and math.isclose(value, 10.0**power) and not -2 <= power <= 3:
        return f"10{str(power).translate(_SUPERSCRIPTS)}"
    return f"{value:g}"


def _wrapped(text: str, width: float, size: float) -> list[str]:
    """In as few lines as it takes; those of the title about as long as each other."""
    letters = int((width - 2 * _EDGE) * _INCH / (size * _WIDTHS[size]))
    lines = textwrap.wrap(text, letters)
    while size == TITLE and letters > 1 and len(tighter := textwrap.wrap(text, letters - 1)) == len(lines) > 1:
        lines, letters = tighter, letters - 1
    return lines


def _height(lines: Sequence[str], size: float) -> float:
    return len(lines) * size * _LINE / _INCH


def color_of(kind: Kind) -> str:
    """The colour of its activation, everywhere."""
    return FUNCTIONS[kind.activation].color
