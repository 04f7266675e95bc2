"""How many images per second cells train on here, beside two scripts and the hardware's floor."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence

import torch

from vgharness.benchmarks.baseline import AHEAD, WARM_UP, BaselineScript, CarefulScript
from vgharness.benchmarks.isolated import isolated_process
from vgharness.benchmarks.roofline import Ceilings, floor_seconds, matrix_product, memory_copy, work_per_image
from vgharness.benchmarks.timing import Ratio, ratio, take_turns
from vgharness.data.on_device import DeviceImages
from vgharness.data.synthetic import synthetic_images
from vgharness.precision import float32_precision
from vgharness.records import FIRST_SEED, Activation, Architecture, Cell, Machine, Precision, Record
from vgharness.system.device import synchronize
from vgharness.training.executor import packs_of, workers
from vgharness.training.pack import Pack

BATCH = 128
ACTIVATIONS: tuple[Activation, ...] = ("sigmoid", "relu")


class TrainSpeed(Record):
    """How fast one architecture trains: medians over the rounds.

    architecture: of the networks.
    device: where they were trained.
    precision: of this package's training and of both scripts.
    baseline_images_per_s: of the baseline script.
    careful_images_per_s: of the careful script.
    images_per_s: of this package, all cells together.
    ratio: the baseline script's time over this package's, median of the rounds' ratios.
    ratio_low: its lower quartile.
    ratio_high: its upper quartile.
    careful_ratio: the careful script's time over this package's.
    floor_images_per_s: what the hardware allows at most.
    flop_per_image: float operations that training on an image takes.
    bytes_per_image: bytes that it must move at least.
    ceilings: what this hardware did in the same rounds.
    cells: how many this package trained at a time.
    images: in an epoch of one network.
    rounds: how often each was timed.
    """

    architecture: Architecture
    device: str
    precision: Precision
    baseline_images_per_s: float
    careful_images_per_s: float
    images_per_s: float
    ratio: float
    ratio_low: float
    ratio_high: float
    careful_ratio: Ratio
    floor_images_per_s: float
    flop_per_image: float
    bytes_per_image: float
    ceilings: Ceilings
    cells: int
    images: int
    rounds: int


class TrainSpeeds(Record):
    """What ``bench train --json`` writes.

    machine: where it was measured.
    rows: one per architecture.
    """

    machine: Machine
    rows: tuple[TrainSpeed, ...]


def train_speed(
    architecture: Architecture,
    device: torch.device,
    *,
    precision: Precision = "fp32",
    rounds: int = 3,
    images: int = 2_560,
    seeds: int = 1,
) -> TrainSpeed:
    """Times the baseline script, the careful script and this package in turn: training only, without evaluation, on
    ``images`` synthetic images; this package with a sigmoid and a ReLU network for each of ``seeds``.

    Raises ``ValueError`` where ``images`` are fewer than the baseline script's batches that are not timed.
    """
    if images <= (WARM_UP + AHEAD) * BATCH:
        raise ValueError(
            f"{images} images: give more than {(WARM_UP + AHEAD) * BATCH}, the first and last are not timed"
        )
    cells = [
        Cell(architecture=architecture, activation=activation, seed=FIRST_SEED + i, batch_size=BATCH)
        for i in range(seeds)
        for activation in ACTIVATIONS
    ]
    times = _times(cells, device, precision, rounds, images)
    ceilings = Ceilings(flop_per_s=1 / min(times["product"]), bytes_per_s=1 / min(times["copy"]))
    work = work_per_image(architecture, BATCH, precision)
    speedup = ratio(times["baseline"], times["ours"])
    return TrainSpeed(
        architecture=architecture,
        device=str(device),
        precision=precision,
        baseline_images_per_s=1 / statistics.median(times["baseline"]),
        careful_images_per_s=1 / statistics.median(times["careful"]),
        images_per_s=1 / statistics.median(times["ours"]),
        ratio=speedup.median,
        ratio_low=speedup.low,
        ratio_high=speedup.high,
        careful_ratio=ratio(times["careful"], times["ours"]),
        floor_images_per_s=1 / floor_seconds(work, ceilings),
        flop_per_image=work.flop,
        bytes_per_image=work.bytes_moved,
        ceilings=ceilings,
        cells=len(cells),
        images=images,
        rounds=rounds,
    )


def script_seconds(
    careful: bool, architecture: Architecture, device_name: str, precision: Precision, images: int
) -> float:
    """Seconds that the baseline script, or the ``careful`` one, takes for an image, mean over the activations."""
    data, device = synthetic_images(images, 1), torch.device(device_name)
    with float32_precision(precision):
        if careful:
            resident = DeviceImages(data, device)
            scripts = [CarefulScript(architecture, x, resident, precision, BATCH) for x in ACTIVATIONS]
            return statistics.mean(script.seconds_per_image() for script in scripts)
        return statistics.mean(
            BaselineScript(architecture, x, data, device, precision, BATCH).seconds_per_image() for x in ACTIVATIONS
        )


def _times(
    cells: Sequence[Cell], device: torch.device, precision: Precision, rounds: int, images: int
) -> dict[str, list[float]]:
    """Of each round: seconds for an image of the ``baseline`` script, of the ``careful`` one and of ``ours``, for an
    operation of a ``product`` and for a byte of a ``copy``."""
    device_images = DeviceImages(synthetic_images(images, 1), device)
    packs = [Pack([cells[i] for i in pack], device_images, precision) for pack in packs_of(cells, device)]
    product, copy = matrix_product(device, precision), memory_copy(device)
    asked = cells[0].pools, str(device), precision, images
    with isolated_process(configured=False) as process, float32_precision(precision):
        arms = {
            "baseline": lambda: process.submit(script_seconds, False, *asked).result(),
            "careful": lambda: process.submit(script_seconds, True, *asked).result(),
            "ours": lambda: _epoch(packs, device) / (images * len(cells)),
            "product": product,
            "copy": copy,
        }
        return take_turns(arms, rounds, device)


def _epoch(packs: Sequence[Pack], device: torch.device) -> float:
    """Seconds in which ``packs`` train an epoch, as a study has them train."""
    with workers(device, len(packs)) as pool:
        started = time.perf_counter()
        for _ in pool.map(lambda pack: pack.epoch(lambda step: None), packs):
            pass
        synchronize(device)
        return time.perf_counter() - started
