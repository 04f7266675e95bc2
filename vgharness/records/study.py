"""What is trained: cells, and studies of them."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any, Final

from pydantic import Field, model_validator

from vgharness.records.base import (
    ARCHITECTURES,
    ONE_LOOK_CONFIDENCE,
    Activation,
    Architecture,
    Init,
    Name,
    Norm,
    OptimizerName,
    Precision,
    Record,
    Schedule,
    Size,
)
from vgharness.records.own_network import OwnNetwork

MOST_WIDTH: Final = 64
# What a user's own network has of a cell's fields too.
OF_EVERY_NETWORK: Final = ("architecture", "activation", "seed", "epochs", "batch_size")


def _usual_momentum(fields: dict[str, Any]) -> float:
    return 0.9 if fields.get("optimizer") == "sgd" else 0.0


class Cell(Record):
    """One network trained once. The defaults are the published recipe.

    architecture: ``readme``, as the document describes it, or ``script``, as its author ran it.
    activation: the function after every convolution.
    seed: what initial weights, order of the images, crops and flips are drawn from.
    epochs: how many it is trained for; 0: measured at initialisation only.
    depth: number of convolutions.
    width: what every convolution's number of channels is multiplied by.
    norm: what follows each convolution: ``batch``, or nothing.
    init: PyTorch's ``default``, Glorot's (``xavier``) or He's (``kaiming``).
    optimizer: Adam or SGD, at PyTorch's defaults but for the learning rate and the momentum.
    momentum: of SGD, by default 0.9; Adam has none of that name: 0.
    schedule: of the learning rate over the epochs: ``constant``, or ``cosine``, which falls from epoch to epoch along
        half a cosine, to reach 0 after the last.
    learning_rate: of the optimizer, in the first epoch.
    batch_size: images per step.
    own: the user's own network in place of one of the two, and its recipe: of all that is said here before, only the
        seed, the epochs and the batch size are then its own; its architecture is a name for it, and its activation
        is ``own`` where the study does not say. ``None``: it is one of the two.
    """

    architecture: Name = Field(min_length=1)
    activation: Activation
    seed: int = Field(ge=0, lt=2**63)
    epochs: int = Field(default=20, ge=0, le=1_000_000)
    depth: int = Field(default=4, ge=2, le=10)
    width: float = Field(default=1.0, gt=0, le=MOST_WIDTH)
    norm: Norm | None = None
    init: Init = "default"
    optimizer: OptimizerName = "adam"
    momentum: float = Field(default_factory=_usual_momentum, ge=0, lt=1)
    schedule: Schedule = "constant"
    learning_rate: float = Field(default=1e-3, gt=0)
    batch_size: Size = 128
    own: OwnNetwork | None = None

    @model_validator(mode="after")
    def _one_of_the_two_or_ones_own(self) -> Cell:
        if self.own is None and self.architecture not in ARCHITECTURES:
            raise ValueError(f"architecture: {self.architecture!r}: use {' or '.join(ARCHITECTURES)}")
        if self.own is None and self.activation == "own":
            raise ValueError("activation: only a network of one's own has its own: name one")
        return self

    @model_validator(mode="after")
    def _only_sgd_has_a_momentum(self) -> Cell:
        if self.optimizer == "adam" and self.momentum:
            raise ValueError("momentum: Adam has none to set; it is SGD's")
        return self

    @property
    def pools(self) -> Architecture:
        """Which of the two architectures it has, for it is theirs where the max-pools are; not of a user's own."""
        return next(name for name in ARCHITECTURES if name == self.architecture)

    @property
    def name(self) -> str:
        """Short and unique within a study: ``script sigmoid seed 42``, ``script relu depth 6 norm batch seed 42``."""
        activation = [] if self.activation == "own" else [self.activation]
        return " ".join([self.architecture, *activation, *self._changed(), f"seed {self.seed}"])

    @property
    def settings(self) -> str:
        """All that sets it apart but activation, seed and epochs, as far as that is not the default:
        ``script, norm batch``."""
        return ", ".join([self.architecture, *self._changed()])

    def _changed(self) -> list[str]:
        """In words, what it has beside architecture, activation, seed and epochs that is not the default."""
        apart = ("architecture", "activation", "seed", "epochs", "own")
        changed = [
            f"{name.replace('_', ' ')} {getattr(self, name)}"
            for name, field in type(self).model_fields.items()
            if name not in apart
            and getattr(self, name) != field.get_default(call_default_factory=True, validated_data=self.fields())
        ]
        return changed if self.own is None else [*self.own.words, *changed]

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
