"""Depth × activation × other settings: how many decades the error signal loses, and what that does to training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

from markupsafe import Markup

from vgharness.formatting import number
from vgharness.records import Cell, Run
from vgharness.report.kinds import Kind, convolutions, kinds_of
from vgharness.report.study.answer import activation_name
from vgharness.report.svg.axis import Axis, axis_over
from vgharness.report.svg.scatter import Point, Scatter, draw
from vgharness.statistics import mean_of, mean_over_seeds

_COLLAPSED: Final = 1.5  # times chance: at most that is no learning
_FULL_TINT: Final = 6.0  # decades


class GridCell(NamedTuple):
    """One kind of network.

    decades: log10 of the error signal at the first convolution ÷ that at the last, at initialisation, mean over the
        seeds; ``None``: there is no such network, or it was not measured.
    accuracy: mean over the seeds after the last epoch, percent; ``None``: not trained.
    collapsed: whether that is no better than one and a half times chance.
    """

    decades: float | None = None
    accuracy: float | None = None
    collapsed: bool = False

    @property
    def tint(self) -> float:
        """How strongly it is coloured, 0 to 1."""
        return min(abs(self.decades or 0.0) / _FULL_TINT, 1.0)


_Found = tuple[Kind, GridCell]


class Grid(NamedTuple):
    """Networks of one architecture: a row for each activation with all else that sets it apart, a column per depth.

    depths: the columns', in order; ``None``: a network of the user's own, whose depth is not known.
    """

    architecture: str
    depths: tuple[int | None, ...]
    rows: tuple[tuple[str, tuple[GridCell, ...]], ...]


class Depths(NamedTuple):
    """What the section shows: a table for each architecture, and accuracy against decades lost, with what is drawn in
    words."""

    grids: tuple[Grid, ...]
    drawn: Markup | None
    says: str


def depths_of(run: Run) -> Depths | None:
    """The section of ``run``; ``None`` where its networks differ in architecture and activation only."""
    kinds = kinds_of(run)
    if len({_factors(kind.cell) for kind in kinds}) < 2:
        return None
    chance = 100 / len(run.data.classes)
    found = [(kind, _cell(kind, chance)) for kind in kinds]
    grids = tuple(
        _grid(architecture, [each for each in found if each[0].cell.architecture == architecture])
        for architecture in dict.fromkeys(kind.cell.architecture for kind in kinds)
    )
    first, says = _beside(kinds[0].cell), "a point for each kind of network"
    if any(_beside(kind.cell) != first for kind in kinds):
        says = f"{says}; filled: {first.lstrip(', ') or 'by the published recipe'}; hollow: with other settings"
    return Depths(grids, _scatter(found, first, says), says)


def _factors(cell: Cell) -> str:
    """Its settings but the architecture, of which the presets have two."""
    return cell.settings.removeprefix(cell.architecture)


def _beside(cell: Cell) -> str:
    """Its settings but architecture and depth: ``, norm batch``."""
    return _factors(cell.model_copy(update={"depth": Cell.model_fields["depth"].default}))


def _depth(cell: Cell) -> int | None:
    return cell.depth if cell.own is None else None


def _grid(architecture: str, found: Sequence[_Found]) -> Grid:
    depths = tuple(sorted({_depth(kind.cell) for kind, _ in found}, key=lambda depth: depth or 0))
    rows: dict[str, dict[int | None, GridCell]] = {}
    for kind, cell in found:
        name = f"{activation_name(kind.activation)}{_beside(kind.cell)}"
        rows.setdefault(name, {})[_depth(kind.cell)] = cell
    return Grid(
        architecture,
        depths,
        tuple((name, tuple(row.get(depth, GridCell()) for depth in depths)) for name, row in rows.items()),
    )


def _cell(kind: Kind, chance: float) -> GridCell:
    decades = []
    for result in kind.results:
        signals = [x.signal_l2 for x in convolutions(result.initial).last_passes()] if result.initial else []
        if len(signals) > 1 and signals[0] and signals[-1]:
            decades.append(math.log10(signals[0] / signals[-1]))
    last = [result.epochs[-1].test_accuracy for result in kind.trained]
    known = [value for value in last if value is not None]
    accuracy = float(mean_over_seeds(known, "logit")) if known and len(known) == len(last) else None
    return GridCell(
        mean_of(decades) if decades else None, accuracy, accuracy is not None and accuracy <= _COLLAPSED * chance
    )


def _scatter(found: Sequence[_Found], first: str, says: str) -> Markup | None:
    """``first``: the settings beside architecture and depth of the networks whose points are filled."""
    points = [
        Point(
            cell.decades,
            cell.accuracy,
            f"c-{kind.activation}",
            _beside(kind.cell) != first,
            f"{kind.name}: {number(cell.decades)} decades, {number(cell.accuracy)} %",
        )
        for kind, cell in found
        if cell.decades is not None and cell.accuracy is not None
    ]
    if len(points) < 2:
        return None
    return draw(
        Scatter(
            "Test accuracy against decades lost",
            says,
            points,
            axis_over(point.x for point in points),
            Axis(0, 100),
            "decades from the last convolution to the first, at initialisation",
        )
    )
