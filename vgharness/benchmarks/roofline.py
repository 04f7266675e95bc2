"""What the hardware allows: the least time in which it could train on one image.

That floor is the larger of two times: the arithmetic at the rate of a large matrix product of the same precision, and
the memory traffic at that of a large copy, both measured in the run that is held against them (the roofline model,
Williams et al. 2009). Operations are counted by PyTorch's ``FlopCounterMode``. Bytes are the fewest that must move
where convolution, bias, φ and pool are one operation: what each layer reads and writes forward, for its input's
gradient and for its weight's, and what Adam reads and writes.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from vgharness.benchmarks.timing import take_turns
from vgharness.data.image_set import SIZE
from vgharness.models import DeepCNN
from vgharness.records import Architecture, Precision, Record

_FLOAT = 4  # bytes


class Ceilings(Record):
    """What this hardware can do, the best of the rounds.

    flop_per_s: float operations per second of a large matrix product.
    bytes_per_s: bytes per second, read or written, of a large copy.
    """

    flop_per_s: float
    bytes_per_s: float


class ImageWork(NamedTuple):
    """What training on one image takes.

    flop: float operations.
    bytes_moved: bytes that must at least be read or written.
    """

    flop: float
    bytes_moved: float


def work_per_image(architecture: Architecture, batch_size: int, precision: Precision) -> ImageWork:
    """Counts the work of a training step for each of its images, as in the module's docstring."""
    model = DeepCNN("relu", pools=architecture)
    sizes: list[int] = []  # numbers that a convolution, or the linear layer at the end, reads of an image
    for module in model.children():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_pre_hook(lambda m, inputs: sizes.append(inputs[0].numel()))
    with FlopCounterMode(display=False) as counter:
        outputs = model(torch.zeros(1, 3, SIZE, SIZE))
        functional.cross_entropy(outputs, torch.zeros(1, dtype=torch.int64)).backward()  # type: ignore[no-untyped-call]
    # Forward x in, x out; for the input's gradient δ out and x out in, δ in out; for the weight's x in and δ out.
    # The first layer's input needs no gradient.
    moved = sum(3 * read + 4 * written for read, written in pairwise(sizes)) - sizes[0]
    # Adam reads weight, gradient and two moments and writes all but the gradient, which backward writes.
    weights = 8 * sum(parameter.numel() for parameter in model.parameters()) / batch_size
    size = 2 if precision == "bf16" else _FLOAT  # bytes of a number; Adam stays in float32
    return ImageWork(float(counter.get_total_flops()), size * moved + _FLOAT * weights)


def floor_seconds(work: ImageWork, ceilings: Ceilings) -> float:
    """The seconds that ``work`` takes at least on hardware of these ``ceilings``."""
    return max(work.flop / ceilings.flop_per_s, work.bytes_moved / ceilings.bytes_per_s)


def matrix_product(device: torch.device, precision: Precision) -> Callable[[], float]:
    """Prepares a large matrix product. Returns what measures its seconds per float operation, the best of some.

    Whether float32 is rounded to TF32 is set by :func:`~vgharness.precision.float32_precision`.
    """
    size, times = (1024, 20) if device.type == "cpu" else (8192, 10)
    a, b = torch.randn(2, size, size, device=device, dtype=torch.bfloat16 if precision == "bf16" else torch.float32)
    return lambda: _best(lambda: torch.mm(a, b), times, device) / (2 * size**3)


def memory_copy(device: torch.device) -> Callable[[], float]:
    """Prepares a large copy. Returns what measures its seconds per byte, read or written, the best of some."""
    source = torch.randn(2**26 if device.type == "cpu" else 2**28, device=device)
    target = torch.empty_like(source)
    return lambda: _best(lambda: target.copy_(source), 5, device) / (2 * _FLOAT * source.numel())


def _best(run: Callable[[], Tensor], times: int, device: torch.device) -> float:
    def once() -> None:
        run()

    return min(take_turns({"it": once}, times, device)["it"])
