"""What a study's page says of its networks and of its numerics: tables that most readers leave folded."""

from __future__ import annotations

import math
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import NamedTuple

from vgharness.claims.loading import load_claims
from vgharness.formatting import duration, listing, number, percent
from vgharness.records import TRAINED_ACTIVATIONS, CellResult, LayerShape, Run, nan_if_none
from vgharness.report.kinds import Kind, kinds_of, numerical_errors
from vgharness.report.readme import is_studied_readme
from vgharness.report.study.charts import Table
from vgharness.statistics import mean_of, mean_over_seeds


class Shapes(NamedTuple):
    """What the layers of one kind of network put out, and how many numbers are trained."""

    settings: str
    parameters: int
    layers: tuple[LayerShape, ...]


class ShapeRow(NamedTuple):
    """A row of the document's table of shapes beside what the network has."""

    layers: str
    said: str
    found: str
    agrees: bool


def shapes_of(run: Run) -> tuple[Shapes, ...]:
    """One of each kind, activations apart but for those that have parameters of their own."""
    found: dict[str, CellResult] = {}
    for result in run.results:
        if result.layers:
            cell = result.cell
            own = f", {cell.activation}" if cell.activation in TRAINED_ACTIVATIONS else ""
            found.setdefault(f"{cell.settings}{own}", result)
    return tuple(Shapes(settings, x.parameters or 0, x.layers) for settings, x in found.items())


def shape_rows(run: Run, shapes: tuple[Shapes, ...]) -> dict[str, tuple[ShapeRow, ...]]:
    """By kind of network the studied README's table of shapes beside it; empty for any other document."""
    if not is_studied_readme(run):
        return {}
    rows = [row for claim in load_claims() for reading in claim.readings for row in reading.rows or ()]
    compared = {}
    for kind in shapes:
        lines = []
        for row in rows:
            found = [layer.shape for layer in kind.layers if fnmatchcase(layer.name, row.layers)]
            agrees = all(shape in found for shape in row.shapes)
            lines.append(ShapeRow(row.layers, _shown(row.shapes), _shown(dict.fromkeys(found)), agrees))
        compared[kind.settings] = tuple(lines)
    return compared


def networks_table(run: Run) -> Table:
    """A row for each kind of network."""
    return Table(
        "Networks, means over the seeds",
        ("network", "seeds", "epochs", "train loss at the end", "test accuracy at the end", "time of a network"),
        tuple(_network_row(kind) for kind in kinds_of(run)),
    )


def numerics_table(run: Run) -> Table | None:
    """The worst error over layers and seeds of each kind of network at each moment, of both gradients; ``None``: it
    was not measured."""
    epochs = sorted({moment.epoch for result in run.results for moment in result.numerics})
    if not epochs:
        return None
    headings = [f"{what} {_moment(epoch)}" for what in ("∂L/∂W", "∂L/∂h") for epoch in epochs]
    rows = []
    for kind in kinds_of(run):
        if any(result.numerics for result in kind.results):
            cells = [_worst(kind, of, epoch) for of in ("weight_l2", "signal_l2") for epoch in epochs]
            rows.append((kind.name, *cells))
    return Table("Relative error, the worst of all layers and seeds", ("network", *headings), tuple(rows))


def numerics_finding(run: Run) -> str:
    """The worst of all errors, and how many there are of which none is known."""
    errors = numerical_errors(run, "weight_l2", "signal_l2")
    known = [error for error in errors if math.isfinite(error)]
    lost = len(errors) - len(known)
    text = f"gradients are at most {percent(max(known))} from float64’s" if known else "no error is known"
    return f"{text}{f', and {lost:,} were not finite' if lost else ''}"


def _network_row(kind: Kind) -> tuple[str, ...]:
    ended = dict.fromkeys(result.status for result in kind.results)
    seeds = listing(result.cell.seed for result in kind.results)
    states = "" if tuple(ended) == ("finished",) else f" ({listing(_of_status(kind, status) for status in ended)})"
    last = [result.epochs[-1] for result in kind.trained]
    epochs = dict.fromkeys(len(result.epochs) for result in kind.results)
    return (
        kind.name,
        seeds + states,
        listing(epochs) if last else "at initialisation only",
        number(mean_of([nan_if_none(epoch.train_loss) for epoch in last])) if last else "–",
        _percent(epoch.test_accuracy for epoch in last) if last else "–",
        duration(mean_of([result.seconds for result in kind.results])),
    )


def _of_status(kind: Kind, status: str) -> str:
    return f"{sum(result.status == status for result in kind.results)} {status}"


def _percent(values: Iterable[float | None]) -> str:
    known = [nan_if_none(value) for value in values]
    return f"{number(float(mean_over_seeds(known, 'logit')))} %" if all(map(math.isfinite, known)) else "not finite"


def _worst(kind: Kind, of: str, epoch: int) -> str:
    errors = [
        (nan_if_none(getattr(layer, of)), layer.name)
        for result in kind.results
        for moment in result.numerics
        if moment.epoch == epoch
        for layer in moment.layers
    ]
    if not errors:
        return "–"
    worst, name = max(errors, key=lambda each: math.inf if math.isnan(each[0]) else each[0])
    return f"{percent(worst)} ({name})"


def _moment(epoch: int) -> str:
    return f"after epoch {epoch}" if epoch else "at initialisation"


def _shown(shapes: Iterable[tuple[int, ...]]) -> str:
    return " or ".join("×".join(map(str, shape)) for shape in shapes)
