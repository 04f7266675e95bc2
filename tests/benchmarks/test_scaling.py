"""What is fitted to the costs of an epoch; never a time."""

import math
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from vgharness.benchmarks import scaling
from vgharness.benchmarks.scaling import AXES, Setting, growth, measure_cost

pytestmark = pytest.mark.fast

CPU = torch.device("cpu")


@pytest.fixture
def costs(monkeypatch: pytest.MonkeyPatch) -> list[Setting]:
    """Instead of training: seconds that grow with the square of what changes, memory by 100 for each one more."""
    asked: list[Setting] = []

    def cost(architecture: str, device: str, setting: Setting, images: int) -> tuple[float, int]:
        asked.append(setting)
        return 3.0 * math.prod(setting) ** 2, 7_000 + 100 * sum(setting)

    monkeypatch.setattr(scaling, "measure_cost", cost)
    return asked


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each process was to be configured; instead of one there is a thread."""
    asked: list[bool] = []
    monkeypatch.setattr(
        scaling, "isolated_process", lambda configured: asked.append(configured) or ThreadPoolExecutor(1)
    )
    return asked


def test_growth_is_fitted_along_each_axis(costs: list[Setting], started: list[bool]) -> None:
    for axis in AXES:
        found = growth(axis, "script", CPU, 1024)
        assert found.exponent == pytest.approx(2)
        assert found.memory_per_step == pytest.approx(100)
        assert [cost.value for cost in found.costs] == list(AXES[axis])
    assert started == [True] * 15
    assert costs[:5] == [(seeds, 4, 128) for seeds in (1, 2, 4, 8, 16)]
    assert costs[5:10] == [(1, depth, 128) for depth in (2, 4, 6, 8, 10)]
    assert costs[10:] == [(1, 4, batch) for batch in (32, 64, 128, 256, 512)]


def test_a_cost_is_of_networks_that_train() -> None:
    seconds, memory = measure_cost("script", "cpu", Setting(seeds=2, depth=2, batch=4), 8)
    assert seconds > 0
    assert 2**26 < memory < 2**36  # bytes, of a process that has imported torch
