"""Trains a study's cells on one device: on a CPU several beside each other, one to a core; on a GPU pack after pack."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import ParamSpec

import torch

from vgharness.data.on_device import DeviceImages
from vgharness.precision import float32_precision
from vgharness.records import Cell, CellResult, Epoch, Precision
from vgharness.training.callback import Callback
from vgharness.training.loop import train_pack
from vgharness.training.pack import pack_key

_Arguments = ParamSpec("_Arguments")


class Execution:
    """The training of some cells, whose results so far can be read however it ends."""

    def __init__(self, cells: Sequence[Cell]) -> None:
        self._cells = cells
        self._results: dict[int, CellResult] = {}  # by the cell's place in `cells`

    @property
    def results(self) -> tuple[CellResult, ...]:
        """Of the cells that have ended, in any status, in the order of ``cells``."""
        return tuple(self._results[index] for index in sorted(self._results))

    @property
    def complete(self) -> bool:
        """Whether every cell has ended by itself, none by Ctrl-C."""
        return len(self._results) == len(self._cells) and all(r.status != "interrupted" for r in self.results)

    def run(
        self, images: DeviceImages, precision: Precision, callback: Callback | None = None, jobs: int | None = None
    ) -> None:
        """Trains the cells: on a CPU ``jobs`` at a time, by default one for each core; on a GPU one pack at a time.

        On a CPU each computes on one thread: two that share two cores finish sooner than one after the other on both,
        and what a cell computes then depends neither on how many cores there are nor on what runs beside it.

        A pack that raises, out of memory for one, is split in half and tried again; a cell that raises alone is
        ``failed`` and the others go on. Ctrl-C, which is not raised, ends those under way as ``interrupted``, and no
        other begins. Raises what ``callback`` raises.
        """
        notifier = _Notifier(callback or Callback())

        def train_one(pack: Sequence[int]) -> None:
            try:
                for index in pack:
                    notifier.cell_started(self._cells[index])
            except KeyboardInterrupt:
                notifier.stop()
                return
            for index, result in zip(pack, self._train(pack, images, precision, notifier), strict=True):
                self._results[index] = result
                if result.status == "interrupted":
                    notifier.stop()
                notifier.cell_done(result)

        packs = packs_of(self._cells, images.device)
        # Entered once, around all threads: it is the whole process's setting.
        with float32_precision(precision), workers(images.device, len(packs), jobs) as pool:
            try:
                for done in [pool.submit(train_one, pack) for pack in packs]:
                    done.result()
            except KeyboardInterrupt:  # Ctrl-C, which Python raises in the main thread alone
                pass
            finally:
                notifier.stop()

    def _train(
        self, pack: Sequence[int], images: DeviceImages, precision: Precision, callback: Callback
    ) -> tuple[CellResult, ...]:
        """Trains the cells at the places ``pack`` together, or in halves where that raises, and gives their results."""
        cells = [self._cells[index] for index in pack]
        try:
            return train_pack(cells, images, precision, callback)
        except Exception as error:  # whatever it was, it is these cells': the others go on
            reason = f"{type(error).__name__}: {error}".partition("\n")[0]
        if len(cells) == 1:
            return (CellResult(cell=cells[0], status="failed", reason=reason),)
        # Outside the handler, for the exception keeps what the pack had allocated.
        gc.collect()
        if images.device.type == "cuda":
            torch.cuda.empty_cache()
        callback.pack_split(cells, reason)
        half = (len(pack) + 1) // 2
        return (
            *self._train(pack[:half], images, precision, callback),
            *self._train(pack[half:], images, precision, callback),
        )


def packs_of(cells: Sequence[Cell], device: torch.device) -> list[tuple[int, ...]]:
    """Divides ``cells`` into packs, each given by its cells' places in ``cells``: on a GPU all of one shape together,
    on a CPU each alone, for there a pack gains nothing."""
    if device.type == "cpu":
        return [(index,) for index in range(len(cells))]
    packs: dict[Hashable, list[int]] = {}
    for index, cell in enumerate(cells):
        packs.setdefault(pack_key(cell), []).append(index)
    return [tuple(pack) for pack in packs.values()]


def worker_count(device: torch.device, packs: int, jobs: int | None = None) -> int:
    """Returns how many of ``packs`` packs train at a time: on a CPU ``jobs``, by default one for each core; on a GPU
    one."""
    return max(1, min(jobs or torch.get_num_threads(), packs)) if device.type == "cpu" else 1


@contextmanager
def workers(device: torch.device, packs: int, jobs: int | None = None) -> Iterator[ThreadPoolExecutor]:
    """Opens a pool of :func:`worker_count` threads; on a CPU each computes on one core. Waits for them at the end."""
    count = worker_count(device, packs, jobs)
    with single_threaded(device):
        threads = (torch.get_num_threads(),)
        with ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=threads) as pool:
            yield pool


@contextmanager
def single_threaded(device: torch.device) -> Iterator[None]:
    """Within, PyTorch computes on one thread if ``device`` is a CPU."""
    threads = torch.get_num_threads()
    if device.type == "cpu":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class _Notifier(Callback):
    """Calls a callback for several threads, one at a time.

    Once it is stopped, a thread that reports progress gets a ``KeyboardInterrupt`` instead, which ends what it trains;
    results are passed on all the same.
    """

    def __init__(self, callback: Callback) -> None:
        self._callback, self._lock, self._stopped = callback, threading.RLock(), threading.Event()

    def stop(self) -> None:
        """Interrupts every thread at its next report."""
        self._stopped.set()

    def cell_started(self, cell: Cell) -> None:
        self._notify(self._callback.cell_started, cell)

    def step_done(self, cell: Cell, epoch: int, step: int, steps: int) -> None:
        self._notify(self._callback.step_done, cell, epoch, step, steps)

    def step_measured(self, cell: Cell, read: Callable[[], tuple[float, float]]) -> None:
        self._notify(self._callback.step_measured, cell, read)

    def epoch_done(self, cell: Cell, epoch: Epoch) -> None:
        self._notify(self._callback.epoch_done, cell, epoch)

    def cell_advanced(self, result: CellResult) -> None:
        self._notify(self._callback.cell_advanced, result)

    def cell_done(self, result: CellResult) -> None:
        with self._lock:
            self._callback.cell_done(result)

    def pack_split(self, cells: Sequence[Cell], reason: str) -> None:
        self._notify(self._callback.pack_split, cells, reason)

    def _notify(
        self, method: Callable[_Arguments, None], *arguments: _Arguments.args, **keywords: _Arguments.kwargs
    ) -> None:
        if self._stopped.is_set():
            raise KeyboardInterrupt
        with self._lock:
            method(*arguments, **keywords)
