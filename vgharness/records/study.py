"""What is trained: cells, and studies of them."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Literal

from pydantic import Field, model_validator

from vgharness.records.base import ONE_LOOK_CONFIDENCE, Activation, Architecture, Init, Norm, Precision, Record, Size


class Cell(Record):
    """One network trained once. The defaults are the published recipe.

    architecture: ``readme``, as the document describes it, or ``script``, as its author ran it.
    activation: the function after every convolution.
    seed: what initial weights, order of the images, crops and flips are drawn from.
    epochs: how many it is trained for; 0: measured at initialisation only.
    depth: number of convolutions.
    norm: what follows each convolution: ``batch``, or nothing.
    init: PyTorch's ``default``, Glorot's (``xavier``) or He's (``kaiming``).
    optimizer: Adam, at PyTorch's defaults but for the learning rate.
    schedule: how the learning rate changes over the epochs.
    learning_rate: of the optimizer.
    batch_size: images per step.
    """

    architecture: Architecture
    activation: Activation
    seed: int = Field(ge=0, lt=2**63)
    epochs: int = Field(default=20, ge=0, le=1_000_000)
    depth: int = Field(default=4, ge=2, le=10)
    norm: Norm | None = None
    init: Init = "default"
    optimizer: Literal["adam"] = "adam"
    schedule: Literal["constant"] = "constant"
    learning_rate: float = Field(default=1e-3, gt=0)
    batch_size: Size = 128

    @property
    def name(self) -> str:
        """Short and unique within a study: ``script sigmoid seed 42``."""
        depth = "" if self.depth == 4 else f" depth {self.depth}"
        return f"{self.architecture} {self.activation}{depth} seed {self.seed}"

    @property
    def settings(self) -> str:
        """All that sets it apart but activation, seed and epochs, as far as that is not the default:
        ``script, norm batch``."""
        own = ("architecture", "activation", "seed", "epochs")
        changed = (
            f"{name.replace('_', ' ')} {getattr(self, name)}"
            for name, field in type(self).model_fields.items()
            if name not in own and getattr(self, name) != field.default
        )
        return ", ".join([self.architecture, *changed])

    def same_network(self, other: Cell) -> bool:
        """Equal in everything but how long it was trained and from which seed."""
        return self.model_copy(update={"seed": other.seed, "epochs": other.epochs}) == other


class Look(Record):
    """One of the times at which a study in rounds of seeds is judged.

    seeds: how many there are then.
    error: the share of the chance of a false verdict that is spent on it: its intervals are at 1 less this.
    """

    seeds: Size
    error: float = Field(gt=0, lt=1)


class Rounds(Record):
    """How a study goes on in rounds of seeds until its claims are decided.

    looks: at which it is judged unless it ended before, all fixed before the first network is trained.
    at: the number, from 1, of the look that its cells are for.
    """

    looks: tuple[Look, ...] = Field(min_length=1)
    at: Size = 1

    @property
    def look(self) -> Look:
        """The one that the cells are for."""
        return self.looks[self.at - 1]

    @model_validator(mode="after")
    def _in_order(self) -> Rounds:
        if any(before.seeds >= after.seeds for before, after in pairwise(self.looks)):
            raise ValueError("each look is at more seeds than the one before, these are not")
        if math.fsum(look.error for look in self.looks) > (1 - ONE_LOOK_CONFIDENCE) * (1 + 1e-9):
            raise ValueError(f"the looks spend more than {1 - ONE_LOOK_CONFIDENCE:.0%} of error between them")
        if self.at > len(self.looks):
            raise ValueError(f"look {self.at} of {len(self.looks)}")
        return self


class Study(Record):
    """A grid of cells, and how they are to be run.

    preset: the name that it was planned from.
    cells: in the order in which they are trained.
    rounds: of seeds, where there are more until its claims are decided; ``None``: the seeds are what they are.
    precision: of the arithmetic while training.
    train_images: how many images are trained on; ``None``: all there are.
    test_images: how many are tested on; ``None``: all there are.
    """

    preset: str
    cells: tuple[Cell, ...] = Field(min_length=1)
    rounds: Rounds | None = None
    precision: Precision = "fp32"
    train_images: Size | None = None
    test_images: Size | None = None

    @property
    def confidence(self) -> float:
        """Of the intervals that its claims are judged by."""
        return ONE_LOOK_CONFIDENCE if self.rounds is None else 1 - self.rounds.look.error

    @model_validator(mode="after")
    def _every_cell_once(self) -> Study:
        seen: set[Cell] = set()
        for cell in self.cells:
            if cell in seen:
                raise ValueError(f"two cells are {cell.name}")
            seen.add(cell)
        return self
