"""What the hardware's floor counts and measures; never a time."""

import pytest
import torch

from vgharness.benchmarks import roofline
from vgharness.benchmarks.roofline import (
    Ceilings,
    ImageWork,
    floor_seconds,
    matrix_product,
    memory_copy,
    work_per_image,
)
from vgharness.records import Architecture

pytestmark = pytest.mark.fast

CPU = torch.device("cpu")


@pytest.mark.parametrize(("architecture", "forward_mac"), [("readme", 48_091_136), ("script", 12_701_696)])
def test_operations_are_those_of_every_product(architecture: Architecture, forward_mac: int) -> None:
    """Forward, and backward twice as much, but for the first layer's input, whose gradient nobody needs."""
    first = 32 * 32 * 27 * 32
    flop, _ = work_per_image(architecture, 128, "fp32")
    assert flop == 2 * (3 * forward_mac - first)


def test_bytes_are_counted_by_hand_for_the_script() -> None:
    numbers = [3 * 32 * 32, 32 * 16 * 16, 64 * 8 * 8, 128 * 4 * 4, 128 * 4 * 4]
    layers = [3 * numbers[i] + 4 * numbers[i + 1] for i in range(4)]
    _, moved = work_per_image("script", 128, "fp32")
    assert moved == 4 * (sum(layers) - numbers[0] + 8 * 261_322 / 128)
    _, rounded = work_per_image("script", 128, "bf16")  # Adam stays in float32
    assert rounded == pytest.approx(2 * (sum(layers) - numbers[0]) + 4 * 8 * 261_322 / 128)


def test_the_product_is_of_the_precision_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[torch.dtype] = []
    monkeypatch.setattr(roofline, "_best", lambda run, times, device: seen.append(run().dtype) or 1.0)
    for precision in ("fp32", "tf32", "bf16"):
        matrix_product(CPU, precision)()  # type: ignore[arg-type]
    assert seen == [torch.float32, torch.float32, torch.bfloat16]


def test_ceilings_are_seconds_per_operation_and_per_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roofline, "_best", lambda run, times, device: float(run().numel()))
    assert matrix_product(CPU, "fp32")() == 1024**2 / (2 * 1024**3)
    assert memory_copy(CPU)() == pytest.approx(1 / 8)  # a number of four bytes is read and written


def test_the_floor_is_the_slower_of_arithmetic_and_memory() -> None:
    ceilings = Ceilings(flop_per_s=100, bytes_per_s=10)
    assert floor_seconds(ImageWork(flop=200, bytes_moved=10), ceilings) == 2
    assert floor_seconds(ImageWork(flop=200, bytes_moved=30), ceilings) == 3
