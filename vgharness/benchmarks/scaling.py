"""How the time and memory of an epoch grow along the number of seeds, the depth and the batch size."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

import numpy as np
import torch

from vgharness.benchmarks.isolated import isolated_process
from vgharness.data.on_device import DeviceImages
from vgharness.data.synthetic import synthetic_images
from vgharness.precision import float32_precision
from vgharness.records import FIRST_SEED, Architecture, Cell, Machine, Record
from vgharness.system.device import synchronize
from vgharness.training.executor import packs_of, worker_count, workers
from vgharness.training.pack import Pack

Axis = Literal["seeds", "depth", "batch"]

AXES: Final[dict[Axis, tuple[int, ...]]] = {
    "seeds": (1, 2, 4, 8, 16),
    "depth": (2, 4, 6, 8, 10),
    "batch": (32, 64, 128, 256, 512),
}


class Setting(NamedTuple):
    """What trains: everything but what changes along an axis stays at its default.

    seeds: how many ReLU networks.
    depth: their number of convolutions.
    batch: images per step.
    """

    seeds: int = 1
    depth: int = 4
    batch: int = 128


class Cost(Record):
    """What one value of an axis takes.

    value: on the axis.
    seconds: of an epoch of all cells.
    memory: the most that was in use, bytes.
    """

    value: int
    seconds: float
    memory: int


class Growth(Record):
    """Costs along one axis.

    axis: what changes.
    costs: one per value.
    exponent: of the power of the axis as which seconds grow, fitted to the logarithms.
    memory_per_step: bytes for each one more, the slope of a straight line.
    """

    axis: Axis
    costs: tuple[Cost, ...]
    exponent: float
    memory_per_step: float


class Growths(Record):
    """What ``bench scale --json`` writes.

    machine: where it was measured.
    architecture: of the networks.
    images: in an epoch.
    axes: the growth along each.
    """

    machine: Machine
    architecture: Architecture
    images: int
    axes: tuple[Growth, ...]


def growth(axis: Axis, architecture: Architecture, device: torch.device, images: int) -> Growth:
    """Measures what an epoch of ``images`` costs at each value of ``axis``, and fits how that grows.

    Each in a process of its own, so that none finds memory that another has left.
    """
    costs, values = [], AXES[axis]
    for value in values:
        setting = Setting()._replace(**{axis: value})
        with isolated_process(configured=True) as process:
            seconds, memory = process.submit(measure_cost, architecture, str(device), setting, images).result()
        costs.append(Cost(value=value, seconds=seconds, memory=memory))
    seconds_fit = np.polyfit(np.log(values), np.log([cost.seconds for cost in costs]), 1)
    memory_fit = np.polyfit(values, [cost.memory for cost in costs], 1)
    return Growth(axis=axis, costs=tuple(costs), exponent=float(seconds_fit[0]), memory_per_step=float(memory_fit[0]))


def measure_cost(architecture: Architecture, device_name: str, setting: Setting, images: int) -> tuple[float, int]:
    """Trains the networks of ``setting`` for two epochs of ``images``.

    Returns the seconds of the second epoch, and the most memory that this process had, or its GPU, in bytes.
    """
    device = torch.device(device_name)
    cells = [
        Cell(
            architecture=architecture,
            activation="relu",
            seed=FIRST_SEED + i,
            depth=setting.depth,
            batch_size=setting.batch,
        )
        for i in range(setting.seeds)
    ]
    device_images = DeviceImages(synthetic_images(images, 1), device)

    def train(pack: Sequence[int]) -> float:
        trained = Pack([cells[i] for i in pack], device_images, "fp32")
        trained.epoch(lambda step: None)
        synchronize(device)
        started = time.perf_counter()
        trained.epoch(lambda step: None)
        synchronize(device)
        return time.perf_counter() - started

    packs = packs_of(cells, device)
    side_by_side = worker_count(device, len(packs))
    with float32_precision("fp32"), workers(device, len(packs)) as pool:
        seconds = sum(pool.map(train, packs)) / side_by_side
    return seconds, peak_memory(device)


def peak_memory(device: torch.device) -> int:
    """The most bytes that were in use: on a GPU by its allocator, else by this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device)
    import resource  # no such thing on Windows

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most  # kibibytes on Linux
