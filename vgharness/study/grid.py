"""Grids of cells: every combination of the values that are given for each factor."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError

from vgharness.errors import UsageError
from vgharness.records import Cell, OwnNetwork, first_of

# What a grid can vary, the outermost loop first: cells that train beside each other in time differ in activation.
FACTORS: Final = (
    "architecture",
    "depth",
    "width",
    "norm",
    "init",
    "optimizer",
    "momentum",
    "learning_rate",
    "schedule",
    "batch_size",
    "activation",
)
# What of a network of the user's own is no argument of what makes it.
RECIPE: Final = ("network", "outputs", "loss", "optimizer", "schedule")
NO_NORM: Final = "none"
MOST_CELLS: Final = 1_000_000
# The options of ``vgharness.full`` that give a factor's values.
OPTIONS: Final = {
    "activation": "--activations",
    "depth": "--depths",
    "width": "--width",
    "norm": "--norm",
    "init": "--init",
    "optimizer": "--optimizer",
    "learning_rate": "--learning-rate",
    "schedule": "--schedule",
}


@dataclass(frozen=True)
class Grid:
    """Every combination of some values of factors.

    factors: by name, one of ``FACTORS``, its values; ``architecture`` and ``activation`` among them. A factor that is
        not named has the value of the published recipe.
    epochs: that each of its networks is trained for; 0: measured at initialisation only.
    """

    factors: Mapping[str, Sequence[Any]]
    epochs: int

    @property
    def size(self) -> int:
        """How many cells it has at the most for one seed."""
        return math.prod(len(values) for values in self.factors.values())

    def cells(self, seed: int) -> Iterator[Cell]:
        """Makes its cells for a seed. A momentum is SGD's alone: with Adam those that are given are passed over.

        Raises :class:`~vgharness.errors.UsageError` for what no cell can be.
        """
        names = [name for name in FACTORS if name in self.factors]
        for values in itertools.product(*(self.factors[name] for name in names)):
            fields = dict(zip(names, values, strict=True))
            if fields.get("optimizer", "adam") == "adam":
                fields.pop("momentum", None)
            try:
                yield Cell(seed=seed, epochs=self.epochs, **fields)
            except ValidationError as error:
                raise UsageError(first_of(error)) from error


@dataclass(frozen=True)
class OwnGrid(Grid):
    """Every combination of some values of the factors of networks of the user's own.

    factors: by name, its values. Those of ``RECIPE`` say what makes a network and how it is trained, ``optimizer`` and
        ``schedule`` as a name with arguments; ``architecture``, ``activation`` and ``batch_size`` are a cell's; all
        others are what the network is called with.
    """

    def cells(self, seed: int) -> Iterator[Cell]:
        for values in itertools.product(*self.factors.values()):
            given = dict(zip(self.factors, values, strict=True))
            fields = {name: given.pop(name) for name in ("architecture", "activation", "batch_size") if name in given}
            own: dict[str, Any] = {name: given.pop(name) for name in RECIPE if name in given}
            for name in ("optimizer", "schedule"):
                if name in own:
                    own[name], own[f"{name}_settings"] = own[name]
            fields.setdefault("architecture", own["network"].rpartition(":")[2])
            fields.setdefault("activation", "own")
            try:
                yield Cell(seed=seed, epochs=self.epochs, own=OwnNetwork(**own, factors=tuple(given.items())), **fields)
            except ValidationError as error:
                raise UsageError(first_of(error)) from error


def cells_of(grids: Sequence[Grid], seeds: Sequence[int]) -> tuple[Cell, ...]:
    """Makes the cells of several grids, seed by seed, so that a run that is cut short holds whole comparisons.

    A cell that several of them have is there once; of one network with several numbers of epochs the longest training
    holds what the others would, and is there alone.

    Raises :class:`~vgharness.errors.UsageError` for what no cell can be, and for more than ``MOST_CELLS``.
    """
    check_size(grids, len(seeds))
    found: dict[Cell, Cell] = {}  # by the network, with no epochs
    for seed in seeds:
        for cell in (cell for grid in grids for cell in grid.cells(seed)):
            network = cell.model_copy(update={"epochs": 0})
            if network not in found or found[network].epochs < cell.epochs:
                found[network] = cell
    return tuple(found.values())


def check_size(grids: Iterable[Grid], seeds: int) -> int:
    """Returns how many cells there are at the most; raises :class:`~vgharness.errors.UsageError` where those are more
    than a study can hold."""
    size = seeds * sum(grid.size for grid in grids)
    if size > MOST_CELLS:
        raise UsageError(f"a study of {size:,} cells: {MOST_CELLS:,} are the most that one can hold")
    return size


def as_options(factors: Mapping[str, Sequence[Any]]) -> list[str]:
    """The parts of a command that give ``factors``: ``["--depths", "2,4", "--norm", "none,batch"]``."""
    parts: list[str] = []
    for name, values in factors.items():
        parts += [OPTIONS[name], ",".join(NO_NORM if value is None else str(value) for value in values)]
    return parts
