"""The plot of a training log: layers by steps as a map of shades, with the problems marked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure

from vgharness.display.figure import axes_for, grid_labels
from vgharness.records.base import nan_if_none
from vgharness.records.log_shown import key_of
from vgharness.records.plots import QUANTITY_WORDS
from vgharness.statistics import Array, scale_of

if TYPE_CHECKING:
    from vgharness.records.flow import LayerKey
    from vgharness.records.training_log import Snapshot, TrainingLog


def plot_log(log: TrainingLog, ax: Axes | None, quantity: Any, model: str) -> Figure:
    """The map of ``quantity``, layers from the input at the top; problems are marked at the step where they began."""
    snapshots = log.of_model(model)
    keys = list(dict.fromkeys(key_of(row) for each in snapshots for row in log.rows[each.rows]))
    words = QUANTITY_WORDS.get(quantity, str(quantity))
    step = "step"
    figure, ax = axes_for(ax, width=8.0, height=min(1.6 + 0.22 * len(keys), 14.0))
    if snapshots:
        values = _values(log, snapshots, keys, quantity)
        edges = _edges([each.step for each in snapshots])
        norm = _norm(values, logarithmic=scale_of(quantity) == "log")
        shades = colormaps["viridis"].with_extremes(under="white")
        shown = np.where(values == 0, norm.vmin / 2 if norm.vmin else 0, values)  # a logarithmic scale has no zero
        mesh = ax.pcolormesh(edges, np.arange(len(keys) + 1) - 0.5, shown, norm=norm, cmap=shades)
        ax.set_facecolor("#B8BDC4")
        figure.colorbar(mesh, ax=ax, label=words)
        zeros, lacking = bool(norm.vmin) and (values == 0).any(), np.isnan(values).any()
        said = {"white: exactly 0": zeros, "grey: nothing finite": lacking}
        step = "; ".join(["step", *(word for word, there in said.items() if there)])
        _mark_problems(ax, log, model, keys, edges)
    ax.invert_yaxis()
    grid_labels(ax, [str(key) for key in keys], title=f"{model or log.models[0].architecture}: {words}", x=step)
    return figure


def _values(log: TrainingLog, snapshots: Sequence[Snapshot], keys: Sequence[LayerKey], quantity: Any) -> Array:
    found = np.full((len(keys), len(snapshots)), math.nan)
    place = {key: at for at, key in enumerate(keys)}
    for column, snapshot in enumerate(snapshots):
        for row, value in zip(log.rows[snapshot.rows], snapshot.values.get(quantity, ()), strict=False):
            found[place[key_of(row)], column] = nan_if_none(value)
    return found


def _norm(values: Array, *, logarithmic: bool) -> Normalize:
    known = values[np.isfinite(values) & ((values > 0) | (not logarithmic))]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.1, 1.0)
    if not logarithmic:
        return Normalize(low, high if high > low else low + 1)
    return LogNorm(low, high if high > low else 10 * low)


def _edges(steps: Sequence[int]) -> Array:
    """Where each snapshot's column begins and ends: half way to its neighbours."""
    places = np.asarray(steps, dtype=float)
    if len(places) == 1:
        return np.array([places[0] - 0.5, places[0] + 0.5])
    between = (places[1:] + places[:-1]) / 2
    return np.concatenate([[places[0]], between, [places[-1] + (places[-1] - between[-1])]])


def _mark_problems(ax: Axes, log: TrainingLog, model: str, keys: Sequence[LayerKey], edges: Array) -> None:
    """A line over the steps of each problem, at its layer or along the top, with its name where there is room."""
    place = {str(key): at for at, key in enumerate(keys)}
    for problem in log.problems:
        if problem.model == model:
            row = place.get(problem.layer, -0.5)
            until = edges[-1] if problem.ended is None else problem.ended
            ax.plot([problem.began, until], [row, row], color="white", linewidth=3.5, clip_on=False)
            ax.plot([problem.began, until], [row, row], color="#D1242F", linewidth=2, clip_on=False)
            ax.plot([problem.began], [row], color="#D1242F", marker="v", markersize=8, markeredgecolor="white",
                    clip_on=False)  # fmt: skip
            if problem.kind != "nonfinite" or not log.births:  # which has a mark of its own
                _name(ax, problem.kind, problem.began, row)
    for birth in log.births:
        if birth.model == model:
            ax.axvline(birth.step, color="#D1242F", linewidth=2, linestyle=":")
            _name(ax, "NaN", birth.step, len(keys) - 1)


def _name(ax: Axes, text: str, step: int, row: float) -> None:
    box = {"facecolor": "white", "edgecolor": "none", "pad": 0.8, "alpha": 0.8}
    ax.annotate(text, (step, row), (6, 4), textcoords="offset points", fontsize=8, color="black", bbox=box)
