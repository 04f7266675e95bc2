"""Cells small enough to train in a test, and how they are trained there."""

from typing import Any, NamedTuple

from torch import Tensor

from vgharness.data.on_device import DeviceImages
from vgharness.records import QUANTITIES, Activation, Cell, CellResult, GradientFlow, Precision
from vgharness.training.callback import Callback
from vgharness.training.loop import train_pack

TRAIN, TEST = 208, 100  # images: a batch of 128 and a tail of 80


def make_cell(activation: Activation = "relu", **changes: Any) -> Cell:
    return Cell(**{"architecture": "script", "activation": activation, "seed": 42, "epochs": 1} | changes)


def small_cell(activation: Activation = "relu", **changes: Any) -> Cell:
    """Two convolutions, batches of 10."""
    return make_cell(activation, **{"depth": 2, "batch_size": 10} | changes)


def pack_cells(count: int = 4, **changes: Any) -> list[Cell]:
    """Small cells that can share a pack: sigmoid, relu and gelu with one seed, then with another."""
    kinds = [(activation, seed) for seed in (42, 43) for activation in ("sigmoid", "relu", "gelu")][:count]
    shape = {"architecture": "script", "epochs": 2, "depth": 2, "batch_size": 10} | changes
    return [Cell(activation=activation, seed=seed, **shape) for activation, seed in kinds]


def train(cell: Cell, images: DeviceImages, precision: Precision, callback: Callback | None = None) -> CellResult:
    """Trains one cell."""
    (result,) = train_pack((cell,), images, precision, callback)
    return result


class Draw(NamedTuple):
    """One batch as it was augmented."""

    index: list[int]
    offsets: Tensor
    flips: Tensor
    crops: Tensor


def values_of(flow: GradientFlow | None) -> dict[tuple[str, str], float]:
    """By layer and quantity."""
    assert flow is not None
    return {(layer.name, q): getattr(layer, q) for layer in flow.layers for q in QUANTITIES}
