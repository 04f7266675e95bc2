"""Designs: what a study is made from, whether it has a name of its own here or comes from a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import ValidationError

from vgharness.errors import UsageError
from vgharness.records import FIRST_SEED, Precision, Rounds, Study, first_of
from vgharness.study.grid import Grid, OwnGrid, cells_of, check_size
from vgharness.study.looks import MOST_BY_DEFAULT, planned_looks

MOST_SEEDS: Final = 100_000
AUTO: Final = "auto"  # as many seeds as decide


@dataclass(frozen=True)
class Design:
    """A study before its cells are made.

    name: of the study.
    grids: whose cells are put together.
    seeds: of every cell.
    source: of the images, as ``--data`` takes it.
    train_images: how many images are trained on; ``None``: all there are.
    test_images: how many are tested on; ``None``: all there are.
    precision: of the arithmetic.
    claims: the file of claims that it is for; ``None``: the studied README's.
    rounds: the looks at which more seeds are added until all is decided; ``None``: the seeds are what they are.
    """

    name: str
    grids: tuple[Grid, ...]
    seeds: Sequence[int]
    source: str
    train_images: int | None = None
    test_images: int | None = None
    precision: Precision = "fp32"
    claims: Path | None = None
    rounds: Rounds | None = None

    @property
    def of_own_networks(self) -> bool:
        """Whether some of its networks are the user's own."""
        return any(isinstance(grid, OwnGrid) for grid in self.grids)

    @property
    def size(self) -> int:
        """How many cells it has at the most; raises :class:`~vgharness.errors.UsageError` for more than can be."""
        return check_size(self.grids, len(self.seeds))

    def changed(
        self,
        *,
        factors: Mapping[str, Sequence[Any]] | None = None,
        epochs: int | None = None,
        seeds: int | Sequence[int] | Literal["auto"] | None = None,
        most_seeds: int = MOST_BY_DEFAULT,
        precision: Precision | None = None,
    ) -> Design:
        """The same with other values in place of its own.

        factors: by name, values that each grid has in place of its own for that factor.
        epochs: of every network that is trained at all.
        seeds: the seeds themselves, or how many there are, counted from ``FIRST_SEED``; ``auto``: as many as decide,
            up to ``most_seeds``, of which it has those of the first round.
        precision: of the arithmetic.

        Raises :class:`~vgharness.errors.UsageError` for seeds that are none.
        """
        grids = tuple(
            replace(
                grid,
                factors={**grid.factors, **(factors or {})},
                epochs=grid.epochs if epochs is None or not grid.epochs else epochs,
            )
            for grid in self.grids
        )
        rounds = Rounds(looks=planned_looks(most_seeds)) if seeds == AUTO else None
        if rounds is not None:
            seeds = rounds.look.seeds
        return replace(
            self,
            grids=grids,
            seeds=self.seeds if seeds is None else counted(seeds),
            rounds=rounds,
            precision=precision or self.precision,
        )

    def study(self) -> Study:
        """Makes its cells; raises :class:`~vgharness.errors.UsageError` for what no cell or study can be."""
        try:
            return Study(
                preset=self.name,
                cells=cells_of(self.grids, self.seeds),
                precision=self.precision,
                rounds=self.rounds,
                train_images=self.train_images,
                test_images=self.test_images,
            )
        except ValidationError as error:
            raise UsageError(first_of(error)) from error


def counted(seeds: int | Sequence[Any]) -> Sequence[int]:
    """The seeds themselves, or as many as ``seeds`` says, counted from ``FIRST_SEED``."""
    if not isinstance(seeds, int):
        return several("seeds", seeds)
    if seeds < 1:
        raise UsageError(f"seeds {seeds}: give how many, 1 or more, or a list of them")
    if seeds > MOST_SEEDS:
        raise UsageError(f"seeds {seeds}: give {MOST_SEEDS:,} at most")
    return range(FIRST_SEED, FIRST_SEED + seeds)


def several(name: str, values: Sequence[Any]) -> Sequence[Any]:
    """A list of at least one value; raises :class:`~vgharness.errors.UsageError` for anything else."""
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise UsageError(f"{name} {values!r}: give a list of them")
    if not values:
        raise UsageError(f"{name}: give at least one")
    return values
