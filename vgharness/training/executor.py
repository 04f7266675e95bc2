"""Where cells train: on a CPU's cores one beside the other, on a GPU in packs."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import torch

from vgharness.data.on_device import DeviceImages
from vgharness.precision import float32_precision
from vgharness.records import Cell, CellResult, Epoch, Precision
from vgharness.training.callback import Callback
from vgharness.training.loop import train_pack
from vgharness.training.pack import shape


class Execution:
    """The training of ``cells``: what has come of it is there however it ends."""

    def __init__(self, cells: Sequence[Cell]) -> None:
        self._cells = cells
        self._results: dict[int, CellResult] = {}

    @property
    def results(self) -> tuple[CellResult, ...]:
        """Of the cells begun, in the order of ``cells``."""
        return tuple(self._results[index] for index in sorted(self._results))

    @property
    def complete(self) -> bool:
        return len(self._results) == len(self._cells) and all(r.status != "interrupted" for r in self.results)

    def run(
        self, images: DeviceImages, precision: Precision, callback: Callback | None = None, jobs: int | None = None
    ) -> None:
        """On a CPU ``jobs`` cells at a time, by default one for each core; on a GPU one pack after the other.

        On a CPU each computes on one thread: two that share two cores finish sooner than one after the other on both,
        and what a cell computes then depends neither on how many cores there are nor on what runs beside it.

        A pack that raises, out of memory for one, is split in half and tried again; a cell that raises alone is
        ``failed`` and the others go on. Ctrl-C ends those under way as ``interrupted``.
        """
        told = _Told(callback or Callback())

        def train_one(pack: Sequence[int]) -> None:
            try:
                for index in pack:
                    told.cell_started(self._cells[index])
            except KeyboardInterrupt:
                told.stop()
                return
            for index, result in zip(pack, self._train(pack, images, precision, told), strict=True):
                self._results[index] = result
                if result.status == "interrupted":
                    told.stop()
                told.cell_done(result)

        packs = packs_of(self._cells, images.device)
        with float32_precision(precision), workers(images.device, len(packs), jobs) as pool:
            try:
                for done in [pool.submit(train_one, pack) for pack in packs]:
                    done.result()
            except KeyboardInterrupt:  # which only the main thread is told of
                pass
            finally:
                told.stop()

    def _train(
        self, pack: Sequence[int], images: DeviceImages, precision: Precision, told: Callback
    ) -> tuple[CellResult, ...]:
        cells = [self._cells[index] for index in pack]
        try:
            return train_pack(cells, images, precision, told)
        except Exception as error:  # whatever it was, it is these cells': the others go on
            reason = f"{type(error).__name__}: {error}".partition("\n")[0]
        if len(cells) == 1:
            return (CellResult(cell=cells[0], status="failed", reason=reason),)
        # Outside the handler, for the exception keeps what the pack had allocated.
        gc.collect()
        if images.device.type == "cuda":
            torch.cuda.empty_cache()
        told.pack_split(cells, reason)
        half = (len(pack) + 1) // 2
        return (
            *self._train(pack[:half], images, precision, told),
            *self._train(pack[half:], images, precision, told),
        )


def packs_of(cells: Sequence[Cell], device: torch.device) -> list[tuple[int, ...]]:
    """Indices of cells that train as one: on a GPU all of one shape, on a CPU each alone, for there a pack gains
    nothing."""
    if device.type == "cpu":
        return [(index,) for index in range(len(cells))]
    packs: dict[Cell, list[int]] = {}
    for index, cell in enumerate(cells):
        packs.setdefault(shape(cell), []).append(index)
    return [tuple(pack) for pack in packs.values()]


def worker_count(device: torch.device, packs: int, jobs: int | None = None) -> int:
    """How many packs train at a time."""
    return max(1, min(jobs or torch.get_num_threads(), packs)) if device.type == "cpu" else 1


@contextmanager
def workers(device: torch.device, packs: int, jobs: int | None = None) -> Iterator[ThreadPoolExecutor]:
    """A thread for each of :func:`worker_count`; on a CPU each computes on one core."""
    count = worker_count(device, packs, jobs)
    with single_threaded(device):
        threads = (torch.get_num_threads(),)
        with ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=threads) as pool:
            yield pool


@contextmanager
def single_threaded(device: torch.device) -> Iterator[None]:
    """PyTorch computes on one thread within, if ``device`` is a CPU."""
    threads = torch.get_num_threads()
    if device.type == "cpu":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class _Told(Callback):
    """Passes on what several threads tell, one at a time; once stopped, interrupts whoever tells of progress."""

    def __init__(self, callback: Callback) -> None:
        self._watcher, self._lock, self._stopped = callback, threading.RLock(), threading.Event()

    def stop(self) -> None:
        self._stopped.set()

    def cell_started(self, cell: Cell) -> None:
        self._pass_on(self._watcher.cell_started, cell)

    def step_done(self, cell: Cell, epoch: int, step: int, steps: int) -> None:
        self._pass_on(self._watcher.step_done, cell, epoch, step, steps)

    def epoch_done(self, cell: Cell, epoch: Epoch) -> None:
        self._pass_on(self._watcher.epoch_done, cell, epoch)

    def cell_done(self, result: CellResult) -> None:
        with self._lock:
            self._watcher.cell_done(result)

    def pack_split(self, cells: Sequence[Cell], reason: str) -> None:
        self._pass_on(self._watcher.pack_split, cells, reason)

    def _pass_on(self, tell: Any, *what: Any) -> None:
        if self._stopped.is_set():
            raise KeyboardInterrupt
        with self._lock:
            tell(*what)
