"""The plot of a comparison: by what each layer's value is multiplied from before to after."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vgharness.display.figure import axes_for, finish, name_rows

if TYPE_CHECKING:
    from vgharness.gradflow.comparison import Change, Comparison


def plot_comparison(comparison: Comparison, ax: Axes | None, quantity: str, sample: str) -> Figure:
    """A point for each layer of one sample, with its interval; regressions are red squares."""
    known = [x for x in comparison.changes if x.layer is not None and x.quantity == quantity]
    chosen = sample or next((x.sample for x in known), "")
    rows = [x for x in known if x.sample == chosen]
    figure, ax = axes_for(ax, width=min(5 + 0.2 * len(rows), 14.0))
    for worst in (False, True):
        color, marker = ("#CF222E", "s") if worst else ("#0063A5", "o")
        places = [at for at, x in enumerate(rows) if (x.outcome == "regression") == worst and x.change is not None]
        if places:
            middle = [_times(rows[at].change) for at in places]
            ends = [_ends(rows[at]) for at in places]
            ax.vlines(places, [low for low, _ in ends], [high for _, high in ends], color=color, linewidth=3,
                      alpha=0.4)  # fmt: skip
            ax.plot(places, middle, marker, color=color, label="regression" if worst else "no regression")
    ax.axhline(1, color="black", linewidth=0.8)
    name_rows(ax, [str(x.layer) for x in rows])
    finish(ax, f"{chosen or 'comparison'}: {quantity}", "after ÷ before", "layer, from the input to the output")
    return figure


def _times(change: float | None) -> float:
    return math.nan if change is None else change + 1


def _ends(change: Change) -> tuple[float, float]:
    middle = _times(change.change)
    low, high = (middle if end is None else end + 1 for end in (change.low, change.high))
    return max(low, middle / 1e6), high
