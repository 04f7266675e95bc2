"""How fast cells train here: beside the baseline script, beside what the hardware allows, and as a study grows.

The floor of a training step is the larger of two times: its arithmetic at the rate of a large matrix product of the
same precision, and its memory traffic at that of a large copy, both measured in the same run. Operations are counted
by PyTorch's ``FlopCounterMode``. Bytes are the fewest that must move where convolution, bias, φ and pool are one
operation: what each layer reads and writes forward, for its input's gradient and for its weight's, and what Adam reads
and writes.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from multiprocessing import get_context, get_start_method, set_start_method

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from vgharness.benchmarks.baseline import AHEAD, WARM_UP, BaselineScript
from vgharness.benchmarks.timing import ratio, take_turns
from vgharness.data.image_set import SIZE
from vgharness.data.on_device import DeviceImages
from vgharness.data.synthetic import synthetic
from vgharness.models import DeepCNN
from vgharness.precision import float32_precision
from vgharness.records import FIRST_SEED, Activation, Architecture, Cell, Machine, Precision, Record
from vgharness.system.device import synchronize
from vgharness.system.process import configure_process, original_environment
from vgharness.training.executor import packs_of, worker_count, workers
from vgharness.training.pack import Pack

BATCH = 128
ACTIVATIONS: tuple[Activation, ...] = ("sigmoid", "relu")
_FLOAT = 4  # bytes


class Ceilings(Record):
    """The best of the rounds: float operations per second of a large matrix product, bytes of a large copy."""

    flop_per_s: float
    bytes_per_s: float


class TrainSpeed(Record):
    """Images per second, medians over the rounds, and quartiles of the ratio; ``cells`` of ours trained at a time."""

    architecture: Architecture
    device: str
    precision: Precision
    baseline_images_per_s: float
    images_per_s: float
    ratio: float
    ratio_low: float
    ratio_high: float
    floor_images_per_s: float
    flop_per_image: float
    bytes_per_image: float
    ceilings: Ceilings
    cells: int
    images: int
    rounds: int


class TrainSpeeds(Record):
    """What ``bench train --json`` writes."""

    machine: Machine
    rows: tuple[TrainSpeed, ...]


class Cost(Record):
    """What ``value`` of an axis takes: seconds of an epoch of all cells, and the most memory that was in use, bytes."""

    value: int
    seconds: float
    memory: int


class Growth(Record):
    """Costs along one axis: ``seeds``, ``depth`` or ``batch``. Seconds grow as a power of it, the exponent fitted to
    their logarithms; memory by ``memory_per_step`` bytes for each one more, by a straight line."""

    axis: str
    costs: tuple[Cost, ...]
    exponent: float
    memory_per_step: float


class Growths(Record):
    """What ``bench scale --json`` writes."""

    machine: Machine
    architecture: Architecture
    images: int
    axes: tuple[Growth, ...]


# --- beside the baseline script ---------------------------------------------------------------------


def train_speed(
    architecture: Architecture,
    device: torch.device,
    *,
    precision: Precision = "fp32",
    rounds: int = 3,
    images: int = 2_560,
    seeds: int = 1,
) -> TrainSpeed:
    """The baseline script and the study's own way in turn: training only, without evaluation, on ``images`` synthetic
    images; ours with a sigmoid and a ReLU network for each of ``seeds``. The baseline script in a process of its own,
    with the settings that PyTorch comes with. Raises ``ValueError`` for too few images."""
    if images <= (WARM_UP + AHEAD) * BATCH:
        raise ValueError(
            f"{images} images: give more than {(WARM_UP + AHEAD) * BATCH}, the first and last are not timed"
        )
    cells = [
        Cell(architecture=architecture, activation=activation, seed=FIRST_SEED + i, batch_size=BATCH)
        for i in range(seeds)
        for activation in ACTIVATIONS
    ]
    resident = DeviceImages(synthetic(images, 1), device)
    packs = [Pack([cells[i] for i in pack], resident, precision) for pack in packs_of(cells, device)]
    product, copy = _product(device, precision), _copy(device)
    with _process(_start_workers_by, get_start_method()) as process, float32_precision(precision):
        times = take_turns(
            {
                "baseline": lambda: process.submit(
                    baseline_seconds, architecture, str(device), precision, images, BATCH
                ).result(),
                "ours": lambda: _epoch(packs, device) / (images * len(cells)),
                "product": product,
                "copy": copy,
            },
            rounds,
            device,
        )
    ceilings = Ceilings(flop_per_s=1 / min(times["product"]), bytes_per_s=1 / min(times["copy"]))
    flop, moved = work_per_image(architecture, BATCH, precision)
    speedup = ratio(times["baseline"], times["ours"])
    return TrainSpeed(
        architecture=architecture,
        device=str(device),
        precision=precision,
        baseline_images_per_s=1 / statistics.median(times["baseline"]),
        images_per_s=1 / statistics.median(times["ours"]),
        ratio=speedup.median,
        ratio_low=speedup.low,
        ratio_high=speedup.high,
        floor_images_per_s=1 / max(flop / ceilings.flop_per_s, moved / ceilings.bytes_per_s),
        flop_per_image=flop,
        bytes_per_image=moved,
        ceilings=ceilings,
        cells=len(cells),
        images=images,
        rounds=rounds,
    )


def baseline_seconds(
    architecture: Architecture, device_name: str, precision: Precision, images: int, batch_size: int
) -> float:
    """Seconds that the baseline script takes for an image, mean over the activations."""
    data, device = synthetic(images, 1), torch.device(device_name)
    with float32_precision(precision):
        return statistics.mean(
            BaselineScript(architecture, activation, data, device, precision, batch_size).seconds_per_image()
            for activation in ACTIVATIONS
        )


def work_per_image(architecture: Architecture, batch_size: int, precision: Precision) -> tuple[float, float]:
    """Float operations, and bytes that must at least move, of training on one image: as in the module's docstring."""
    model = DeepCNN("relu", pools=architecture)
    sizes: list[int] = []  # numbers that a convolution, or the linear layer at the end, reads of an image
    for module in model.children():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_pre_hook(lambda m, inputs: sizes.append(inputs[0].numel()))
    with FlopCounterMode(display=False) as counter:
        outputs = model(torch.zeros(1, 3, SIZE, SIZE))
        functional.cross_entropy(outputs, torch.zeros(1, dtype=torch.int64)).backward()  # type: ignore[no-untyped-call]
    # Forward x in, x out; for the input's gradient δ out and x out in, δ in out; for the weight's x in and δ out.
    moved = sum(3 * above + 4 * below for above, below in pairwise(sizes)) - sizes[0]
    # Adam reads weight, gradient and two moments and writes all but the gradient, which backward writes.
    weights = 8 * sum(parameter.numel() for parameter in model.parameters()) / batch_size
    return float(counter.get_total_flops()), (2 if precision == "bf16" else _FLOAT) * moved + _FLOAT * weights


def _epoch(packs: Sequence[Pack], device: torch.device) -> float:
    """Seconds in which each of ``packs`` trains an epoch, as a study has them train."""
    with workers(device, len(packs)) as pool:
        started = time.perf_counter()
        for _ in pool.map(lambda pack: pack.epoch(lambda step: None), packs):
            pass
        synchronize(device)
        return time.perf_counter() - started


def _product(device: torch.device, precision: Precision) -> Callable[[], float]:
    """→ seconds per float operation of a matrix product, the best of some; TF32 is the caller's to allow."""
    size, times = (1024, 20) if device.type == "cpu" else (8192, 10)
    a, b = torch.randn(2, size, size, device=device, dtype=torch.bfloat16 if precision == "bf16" else torch.float32)
    return lambda: _best(lambda: torch.mm(a, b), times, device) / (2 * size**3)


def _copy(device: torch.device) -> Callable[[], float]:
    """→ seconds per byte, read or written, of a copy, the best of some."""
    source = torch.randn(2**26 if device.type == "cpu" else 2**28, device=device)
    target = torch.empty_like(source)
    return lambda: _best(lambda: target.copy_(source), 5, device) / (2 * _FLOAT * source.numel())


@contextmanager
def _process(begin: Callable[..., object], *arguments: object) -> Iterator[ProcessPoolExecutor]:
    """Another one, which knows nothing of what this one has set and first calls ``begin``."""
    with ProcessPoolExecutor(1, get_context("spawn"), begin, arguments) as process:
        with original_environment():
            process.submit(_nothing).result()  # starts it
        yield process


def _nothing() -> None: ...


def _start_workers_by(method: str) -> None:
    """A process that was spawned would spawn a DataLoader's workers too, which import torch while they are timed."""
    set_start_method(method, force=True)


def _best(run: Callable[[], Tensor], times: int, device: torch.device) -> float:
    def once() -> None:
        run()

    return min(take_turns({"it": once}, times, device)["it"])


# --- as a study grows ----------------------------------------------------------------------------

AXES = {"seeds": (1, 2, 4, 8, 16), "depth": (2, 4, 6, 8, 10), "batch": (32, 64, 128, 256, 512)}


def growth(axis: str, architecture: Architecture, device: torch.device, images: int) -> Growth:
    """What an epoch of ``images`` costs along ``axis``, ReLU networks of depth 4 in batches of 128 otherwise. Each in
    a process of its own, so that none finds memory that another has left."""
    costs, values = [], AXES[axis]
    for value in values:
        setting = {"seeds": 1, "depth": 4, "batch": BATCH} | {axis: value}
        with _process(configure_process) as process:
            seconds, memory = process.submit(
                measure_cost, architecture, str(device), setting["seeds"], setting["depth"], setting["batch"], images
            ).result()
        costs.append(Cost(value=value, seconds=seconds, memory=memory))
    seconds_fit = np.polyfit(np.log(values), np.log([cost.seconds for cost in costs]), 1)
    memory_fit = np.polyfit(values, [cost.memory for cost in costs], 1)
    return Growth(axis=axis, costs=tuple(costs), exponent=float(seconds_fit[0]), memory_per_step=float(memory_fit[0]))


def measure_cost(
    architecture: Architecture, device_name: str, seeds: int, depth: int, batch: int, images: int
) -> tuple[float, int]:
    """Seconds of an epoch of ``seeds`` networks, the second one that each trains; and the most memory of this process
    that was in use, on a GPU of the GPU's."""
    device = torch.device(device_name)
    cells = [
        Cell(architecture=architecture, activation="relu", seed=FIRST_SEED + i, depth=depth, batch_size=batch)
        for i in range(seeds)
    ]
    resident = DeviceImages(synthetic(images, 1), device)

    def train(pack: Sequence[int]) -> float:
        trained = Pack([cells[i] for i in pack], resident, "fp32")
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
    """Bytes: on a GPU the most that its allocator held, else the most that this process had in memory."""
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device)
    import resource  # no such thing on Windows

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most
