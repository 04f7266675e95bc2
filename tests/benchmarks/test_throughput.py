"""What follows from the times of training beside the baseline script; never a time."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from vgharness.benchmarks import baseline, throughput
from vgharness.benchmarks.baseline import BaselineScript, CarefulScript
from vgharness.benchmarks.roofline import work_per_image
from vgharness.benchmarks.throughput import train_speed
from vgharness.records import ARCHITECTURES, Architecture

pytestmark = pytest.mark.fast

CPU = torch.device("cpu")


# Where a process has threads Python 3.12 warns of what a DataLoader does on Linux: it forks.
forks = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of 4, of which one warms up; ceilings of 1 GFLOP/s and 100 MB/s; all in this process."""
    monkeypatch.setattr(throughput, "isolated_process", lambda configured: ThreadPoolExecutor(1))
    monkeypatch.setattr(throughput, "BATCH", 4)
    for module in (throughput, baseline):
        monkeypatch.setattr(module, "WARM_UP", 1)
        monkeypatch.setattr(module, "AHEAD", 0)
    monkeypatch.setattr(throughput, "matrix_product", lambda device, precision: lambda: 1e-9)
    monkeypatch.setattr(throughput, "memory_copy", lambda device: lambda: 1e-8)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_row_follows_from_the_times_of_its_arms(architecture: Architecture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BaselineScript, "seconds_per_image", lambda self: 0.5)
    monkeypatch.setattr(CarefulScript, "seconds_per_image", lambda self: 0.375)
    monkeypatch.setattr(throughput, "_epoch", lambda packs, device: 2.0 * len(packs))
    row = train_speed(architecture, CPU, rounds=2, images=8, seeds=2)
    assert (row.architecture, row.device, row.precision, row.cells, row.images) == (architecture, "cpu", "fp32", 4, 8)
    assert row.baseline_images_per_s == 2
    assert row.images_per_s == pytest.approx(8 * 4 / 8)
    assert (row.ratio, row.ratio_low, row.ratio_high) == pytest.approx((2, 2, 2))
    assert row.careful_images_per_s == pytest.approx(8 / 3)
    assert row.careful_ratio.median == pytest.approx(1.5)
    flop, moved = work_per_image(architecture, 4, "fp32")
    assert row.floor_images_per_s == pytest.approx(min(1e9 / row.flop_per_image, 1e8 / row.bytes_per_image))
    assert (row.flop_per_image, row.bytes_per_image) == (flop, moved)


@forks
@pytest.mark.usefixtures("small")
def test_all_really_train() -> None:
    row = train_speed("script", CPU, rounds=2, images=12)
    assert min(row.baseline_images_per_s, row.careful_images_per_s, row.images_per_s) > 0


@pytest.mark.usefixtures("small")
def test_too_few_images_are_refused() -> None:
    with pytest.raises(ValueError, match="more than 4"):
        train_speed("script", CPU, images=4)
