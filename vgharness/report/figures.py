"""The three figures of a study, under the names that the studied README gives them, drawn from a run.

Seeds are thin lines, their mean a thick one, the plots that the studied README published dashed. Activations and layers
differ in marker or line as well as in colour (Okabe–Ito). Gradient axes are logarithmic, and so means of gradients are
geometric.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from vgharness.claims.loading import load_claims
from vgharness.claims.published import published_curves
from vgharness.formatting import number
from vgharness.records import Activation, Cell, CellResult, Epoch, GradientFlow, Quantity, Run, nan_if_none
from vgharness.statistics import Scale, mean_over_seeds
from vgharness.theory import FUNCTIONS

_LAYER_STYLES = (
    ("#000000", "o"), ("#D55E00", "s"), ("#0072B2", "^"), ("#009E73", "D"), ("#CC79A7", "v"),
    ("#56B4E9", "P"), ("#E69F00", "X"), ("#000000", "<"), ("#D55E00", ">"), ("#0072B2", "p"),
)  # fmt: skip
_README_DEPTH: Final = 4
# What sets networks apart beside activation and depth, where it is not the default.
_SETTINGS: Final = ("norm", "init", "optimizer", "schedule", "learning_rate", "batch_size")
_QUANTITIES: tuple[tuple[Quantity, str], ...] = (
    ("weight_mean_abs", "mean |∂L/∂W|"),
    ("signal_l2", "error signal ‖∂L/∂h‖₂"),
)
CURVES, GRADIENTS, HEATMAPS = FIGURES = (
    "loss_acc_comparison.png",
    "grad_norms_per_layer.png",
    "activation_gradmaps_conv1.png",
)
_PANEL = (5.4, 3.5)  # inches
_NARROW = 0.75  # smaller panels, and so larger letters, where the page will shrink them
_DPI = 110


class Picture(NamedTuple):
    """A figure.

    name: its file.
    title: what it shows.
    caption: the same at length.
    png: with its panels side by side.
    narrow_png: with its panels one below the other, for narrow screens.
    """

    name: str
    title: str
    caption: str
    png: bytes
    narrow_png: bytes


def draw(run: Run) -> tuple[Picture, ...]:
    """The figures of ``run``; panels for which it holds nothing say so."""
    depth = _depth(run)
    groups = _groups(run, depth)
    published = run.data.is_cifar10 and is_studied_readme(run)
    overlay = " Dashed: the published plots, read off their pixels." if published else ""
    overlay += f" Networks of depth {depth}." if len({r.cell.depth for r in run.results if r.epochs}) > 1 else ""
    return (
        Picture(
            CURVES,
            "Test loss and accuracy",
            "After each epoch, on all test images. Thin: one seed; thick: their mean." + overlay,
            *(_png(_loss_and_accuracy(groups, published, narrow)) for narrow in (False, True)),
        ),
        Picture(
            GRADIENTS,
            "Gradients per layer",
            "Averaged over each epoch's batches; epoch 0: the first batch at the initial weights. Thin: one seed; "
            "thick: their geometric mean. Above, the weights' gradient, mean |∂L/∂W|; below, the error signal that "
            "theory speaks of. Logarithmic; one scale across a row." + overlay,
            *(_png(_gradients(groups, published, narrow)) for narrow in (False, True)),
        ),
        Picture(
            HEATMAPS,
            "Activation gradients at conv1",
            "|∂L/∂h| at conv1's pre-activation after training, mean over channels and the first 256 test images, "
            "geometric mean over the seeds. One logarithmic scale for all maps.",
            *(_png(_heatmaps(groups, narrow)) for narrow in (False, True)),
        ),
    )


def is_studied_readme(run: Run) -> bool:
    """Whether the run was held against the README that this project studies, whose plots are known."""
    return run.document is not None and run.document == load_claims()[0].document


_Groups = dict[str, dict[Activation, list[CellResult]]]


def _depth(run: Run) -> int:
    """Of the networks that are drawn: the studied README's, or where none has that, the first's."""
    depths = [result.cell.depth for result in run.results if result.epochs]
    return _README_DEPTH if _README_DEPTH in depths or not depths else depths[0]


def _groups(run: Run, depth: int) -> _Groups:
    """The trained networks of that depth, by activation and by all else that sets them apart."""
    groups: _Groups = {}
    for result in run.results:
        if result.cell.depth == depth and result.cell.epochs and result.epochs:
            groups.setdefault(_settings(result.cell), {}).setdefault(result.cell.activation, []).append(result)
    return groups


def _settings(cell: Cell) -> str:
    """``script``; ``script, init kaiming`` where that is not the default."""
    others = {name: getattr(cell, name) for name in _SETTINGS}
    defaults = Cell.model_fields
    changed = (f"{name.replace('_', ' ')} {x}" for name, x in others.items() if x != defaults[name].default)
    return ", ".join([cell.architecture, *changed])


def _loss_and_accuracy(groups: _Groups, published: bool, narrow: bool) -> Figure:
    columns: tuple[tuple[str, str, Callable[[Epoch], float | None]], ...] = (
        ("test_loss", "test loss (nats)", lambda epoch: epoch.test_loss),
        ("test_accuracy_percent", "test accuracy (%)", lambda epoch: epoch.test_accuracy),
    )
    figure, axes = _grid(len(groups), len(columns), narrow)
    for (network, activations), row in zip(groups.items(), axes, strict=False):
        for (key, label, value), ax in zip(columns, row, strict=True):
            for activation, results in activations.items():
                style = FUNCTIONS[activation]
                curves = [[nan_if_none(value(epoch)) for epoch in r.epochs] for r in results]
                _lines(ax, curves, _Line(1, style.color, style.marker, activation, "linear"))
                if published and activation in published_curves():
                    shown = [epoch[key] for epoch in published_curves()[activation]]
                    _dashed(ax, shown, style.color, f"{activation}, published")
            _epochs_axis(ax, f"{network}: {label}")
            ax.legend(fontsize=8, frameon=False)
    return figure


def _gradients(groups: _Groups, published: bool, narrow: bool) -> Figure:
    rows = [(a, q, label) for a in groups for q, label in _QUANTITIES]
    figure, axes = _grid(len(rows), max((len(x) for x in groups.values()), default=0), narrow)
    for (network, quantity, label), row in zip(rows, axes, strict=False):
        for ax in row[1:]:
            ax.sharey(row[0])
        for (activation, results), ax in zip(groups[network].items(), row, strict=False):
            names = [x.name for x in results[0].epochs[0].flow.select("conv*").layers]
            for index, (name, (color, marker)) in enumerate(zip(names, _LAYER_STYLES, strict=False)):
                curves = [[_quantity(flow, index, quantity) for flow in _flows(r)] for r in results]
                _lines(ax, curves, _Line(0, color, marker, name, "log"))
                key = f"mean_abs_grad_{name}_weight"
                if published and quantity == "weight_mean_abs" and activation in published_curves():
                    _dashed(ax, [epoch[key] for epoch in published_curves()[activation]], color, None)
            ax.set_yscale("log", nonpositive="mask")
            _epochs_axis(ax, f"{network}, {activation}: {label}")
            ax.legend(fontsize=8, frameon=False, ncols=2)
        for ax in row[len(groups[network]) :]:
            ax.set_visible(False)
    return figure


def _heatmaps(groups: _Groups, narrow: bool) -> Figure:
    maps = {
        (network, activation): mean_over_seeds([r.heatmap for r in results if r.heatmap], "log")
        for network, activations in groups.items()
        for activation, results in activations.items()
        if any(r.heatmap for r in results)
    }
    figure, axes = _grid(len(groups), max((len(x) for x in groups.values()), default=0), narrow, panel=(4.0, 3.6))
    positive = [x[x > 0] for x in maps.values() if (x > 0).any()]
    norm = LogNorm(min(x.min() for x in positive), max(x.max() for x in positive)) if positive else None
    image = None
    for (network, activations), row in zip(groups.items(), axes, strict=False):
        for activation, ax in zip(activations, row, strict=False):
            ax.set_xticks([])
            ax.set_yticks([])
            shown = maps.get((network, activation))
            if shown is None:
                ax.text(0.5, 0.5, "not measured", ha="center", va="center", transform=ax.transAxes)
                continue
            image = ax.imshow(shown, norm=norm, cmap="viridis")
            ax.set_title(f"{network}, {activation}: mean {number(float(shown.mean()))}", fontsize=10)
        for ax in row[len(activations) :]:
            ax.set_visible(False)
    if image is not None:
        figure.colorbar(image, ax=axes.ravel().tolist(), shrink=0.85, label="|∂L/∂h|")
    return figure


# --- what the figures share ---------------------------------------------------------------------


def _grid(
    rows: int, columns: int, narrow: bool, *, panel: tuple[float, float] = _PANEL
) -> tuple[Figure, npt.NDArray[np.object_]]:
    """A figure and its axes [rows, columns]; ``narrow`` stacks them all in one column."""
    shape = (max(rows, 1), max(columns, 1))
    laid_out = (shape[0] * shape[1], 1) if narrow else shape
    scale = _NARROW if narrow else 1.0
    figure = Figure(figsize=(scale * panel[0] * laid_out[1], scale * panel[1] * laid_out[0]), layout="constrained")
    axes = figure.subplots(*laid_out, squeeze=False).reshape(shape)
    if not rows:
        for ax in axes.flat:
            ax.set_axis_off()
            ax.text(0.5, 0.5, "no network was trained", ha="center", va="center")
    return figure, axes


class _Line(NamedTuple):
    """How a value's curve over the epochs is drawn: from which epoch on, and its mean over the seeds on which scale."""

    first: int
    color: str
    marker: str
    label: str
    scale: Scale


def _lines(ax: Axes, curves: Sequence[Sequence[float]], line: _Line) -> None:
    """Each curve thin and, where there are several, their mean thick as far as all of them go."""
    if len(curves) > 1:
        for curve in curves:
            epochs = range(line.first, line.first + len(curve))
            ax.plot(epochs, curve, color=line.color, linewidth=0.7, alpha=0.55)
    shortest = min(map(len, curves))
    mean = mean_over_seeds([curve[:shortest] for curve in curves], line.scale)
    epochs = range(line.first, line.first + shortest)
    ax.plot(epochs, mean, color=line.color, linewidth=2, marker=line.marker, markersize=3.5, label=line.label)


def _dashed(ax: Axes, values: Sequence[float], color: str, label: str | None) -> None:
    ax.plot(range(1, len(values) + 1), values, color=color, linestyle="--", linewidth=1.3, label=label)


def _epochs_axis(ax: Axes, title: str) -> None:
    ax.set_title(title, fontsize=10)
    ax.set_xlabel("epoch")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.grid(alpha=0.25)


def _flows(result: CellResult) -> Iterable[GradientFlow]:
    initial = [result.initial] if result.initial else []
    return [flow.select("conv*") for flow in (*initial, *(epoch.flow for epoch in result.epochs))]


def _quantity(flow: GradientFlow, index: int, quantity: Quantity) -> float:
    return nan_if_none(getattr(flow.layers[index], quantity))


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI, facecolor="white")
    return buffer.getvalue()
