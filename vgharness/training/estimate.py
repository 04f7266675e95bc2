"""How long a study will take, from a few steps of its networks."""

from __future__ import annotations

import time
from collections.abc import Hashable, Sequence
from typing import NamedTuple

import torch

from vgharness.data.on_device import DeviceImages
from vgharness.precision import float32_precision
from vgharness.records import Cell, CellResult, Precision, Study
from vgharness.system.device import synchronize
from vgharness.training.evaluation import TEST_BATCH
from vgharness.training.executor import single_threaded, worker_count
from vgharness.training.pack import Pack, pack_key

_STEPS = 3
# As many training steps take as long as a cell's first batch at initialisation, and as its errors at a later moment:
# float64 is what takes the time.
_STEPS_AT_START = 8
_STEPS_LATER = 4


class SecondsPerImage(NamedTuple):
    """How long a network takes for one image.

    training: seconds to train on it once.
    testing: seconds to be tested on it.
    """

    training: float
    testing: float


def expected_seconds(
    study: Study, images: DeviceImages, jobs: int | None = None, resumed: Sequence[CellResult] = ()
) -> float | None:
    """Estimates how long the study takes on this CPU with ``jobs`` cells at a time, by default one for each core.

    ``resumed``: what there is of its cells already: the rest is what takes time.

    One cell of each shape is timed, and stands for all that differ from it in activation, seed and epochs alone. On a
    GPU, where a pack takes less time than its cells one by one, nothing is timed and ``None`` returned.
    """
    if images.device.type != "cpu":
        return None
    total = 0.0
    ended = {result.cell for result in resumed if result.status != "interrupted"}
    done = {result.cell: len(result.epochs) for result in resumed}
    left = [cell for cell in study.cells if cell not in ended]
    speeds: dict[Hashable, SecondsPerImage] = {}
    with single_threaded(images.device), float32_precision(study.precision):
        for cell in left:
            kind = pack_key(cell.model_copy(update={"epochs": 0}))
            if kind not in speeds:
                speeds[kind] = seconds_per_image(cell, images, study.precision)
            speed = speeds[kind]
            epochs = cell.epochs - done.get(cell, 0)
            total += epochs * (images.train_count * speed.training + images.test_count * speed.testing)
            batch = min(cell.batch_size, images.train_count)
            total += (_STEPS_AT_START + _STEPS_LATER * min(epochs, 2)) * batch * speed.training
    return total / worker_count(images.device, len(left), jobs)


def seconds_per_image(cell: Cell, images: DeviceImages, precision: Precision) -> SecondsPerImage:
    """Times a few batches of the cell's network, which is then thrown away."""
    pack, count = Pack((cell,), images, precision), min(TEST_BATCH, images.test_count)
    pack.rehearse(1)
    pack.evaluate(count)
    clock = _Clock(images.device)
    pack.rehearse(_STEPS)
    training = clock.lap()
    pack.evaluate(count)
    return SecondsPerImage(training / (_STEPS * sum(set(pack.batches.sizes))), clock.lap() / count)


class _Clock:
    """Measures the seconds between laps, work queued on a GPU included."""

    def __init__(self, device: torch.device) -> None:
        self._device, self._last = device, time.perf_counter()

    def lap(self) -> float:
        """Returns the seconds since the last lap, or since the clock was made."""
        synchronize(self._device)
        before, self._last = self._last, time.perf_counter()
        return self._last - before
