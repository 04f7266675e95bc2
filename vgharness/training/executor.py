"""Trains a study's cells, wherever that is; here: on a CPU several beside each other, one to a core, or on GPUs pack
after pack."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import ParamSpec, Protocol

import torch

from vgharness.data.on_device import DeviceImages
from vgharness.precision import float32_precision
from vgharness.records import Cell, CellResult, Epoch, Precision
from vgharness.storage.checkpoints import Checkpoint
from vgharness.training.callback import Callback
from vgharness.training.checkpoint import CheckpointError
from vgharness.training.keeping import Keeper
from vgharness.training.loop import train_pack
from vgharness.training.pack import pack_key

_Arguments = ParamSpec("_Arguments")


class Executor(Protocol):
    """Where packs train."""

    def packs(self, cells: Sequence[Cell]) -> list[tuple[int, ...]]:
        """Divides ``cells`` into packs, each given by its cells' places in ``cells``."""

    def workers(self, packs: int) -> AbstractContextManager[ThreadPoolExecutor]:
        """Opens a pool of threads, as many as of ``packs`` packs train at a time; each calls :meth:`train`."""

    def train(
        self, cells: Sequence[Cell], checkpoints: Sequence[Checkpoint], callback: Callback
    ) -> tuple[CellResult, ...]:
        """Trains a pack, as :func:`~vgharness.training.loop.train_pack` does. Raises
        :class:`WorkerLostError` where what it trained on is gone."""

    def release(self) -> None:
        """Frees what a pack that raised has left."""


class WorkerLostError(Exception):
    """What a pack trained on is gone: the process was killed, or its machine is off."""


class LocalExecutor:
    """Trains in this process: on a CPU several packs side by side, each on one thread; on GPUs one pack on each.

    Two that share two cores finish sooner than one after the other on both, and what a cell computes then depends
    neither on how many cores there are nor on what runs beside it.
    """

    def __init__(self, images: Sequence[DeviceImages], precision: Precision, jobs: int | None = None) -> None:
        """``images``: on the CPU, or on each of the GPUs. ``jobs``: how many packs train at a time on a CPU, by default
        one for each core."""
        self._images, self._precision, self._jobs = images, precision, jobs
        self._own = threading.local()

    def packs(self, cells: Sequence[Cell]) -> list[tuple[int, ...]]:
        return packs_of(cells, self._images[0].device, len(self._images))

    @contextmanager
    def workers(self, packs: int) -> Iterator[ThreadPoolExecutor]:
        # Entered once, around all threads: it is the whole process's setting.
        with float32_precision(self._precision):
            if len(self._images) == 1:
                with workers(self._images[0].device, packs, self._jobs) as pool:
                    yield pool
                return
            free = iter(self._images)
            with ThreadPoolExecutor(len(self._images), initializer=lambda: self._take(next(free))) as pool:
                yield pool

    def train(
        self, cells: Sequence[Cell], checkpoints: Sequence[Checkpoint], callback: Callback
    ) -> tuple[CellResult, ...]:
        images = getattr(self._own, "images", self._images[0])
        return train_pack(cells, images, self._precision, callback, checkpoints)

    def release(self) -> None:
        gc.collect()
        if self._images[0].device.type == "cuda":
            # After an illegal access or a failed assertion on a GPU every further call raises the same error: what is
            # left fails by itself, and what was finished must not be lost.
            with suppress(RuntimeError):
                torch.cuda.empty_cache()

    def _take(self, images: DeviceImages) -> None:
        """Makes one GPU this thread's own."""
        self._own.images = images
        if images.device.type == "cuda":
            torch.cuda.set_device(images.device)


class Execution:
    """The training of some cells, whose results so far can be read however it ends."""

    def __init__(self, cells: Sequence[Cell], keeper: Keeper | None = None) -> None:
        """``keeper``: keeps each epoch, and has what earlier processes kept; None: nothing is kept."""
        self._cells, self._keeper = cells, keeper or Keeper()
        found = {index: self._keeper.found(cell) for index, cell in enumerate(cells)}
        self._results = {index: result for index, result in found.items() if result}  # by the cell's place in `cells`
        self.resumed = self.results

    @property
    def results(self) -> tuple[CellResult, ...]:
        """Of the cells of which there is anything, in any status, in the order of ``cells``."""
        return tuple(self._results[index] for index in sorted(self._results))

    @property
    def complete(self) -> bool:
        """Whether every cell has ended by itself, none by Ctrl-C."""
        return len(self._results) == len(self._cells) and all(r.status != "interrupted" for r in self.results)

    def run(self, executor: Executor, callback: Callback | None = None) -> None:
        """Trains the cells that have not ended yet.

        A pack that raises, out of memory for one, is split in half and tried again; a cell that raises alone is tried
        again from its last epoch, at the third time it is ``failed``, and the others go on. Ctrl-C, which is not
        raised, ends those under way as ``interrupted``, and no other begins. Raises what ``callback`` raises.
        """
        notifier = _Notifier(callback or Callback(), self._keeper)

        def train_one(pack: Sequence[int]) -> None:
            try:
                for index in pack:
                    notifier.cell_started(self._cells[index])
            except KeyboardInterrupt:
                notifier.stop()
                return
            for index, result in self._train(pack, executor, notifier).items():
                self._results[index] = result
                if result.status == "interrupted":
                    notifier.stop()
                notifier.cell_done(result)

        left = [i for i in range(len(self._cells)) if i not in self._results or self._goes_on(i)]
        packs = [tuple(left[i] for i in pack) for pack in executor.packs([self._cells[i] for i in left])]
        with executor.workers(len(packs)) as pool:
            try:
                for done in [pool.submit(train_one, pack) for pack in packs]:
                    done.result()
            except KeyboardInterrupt:  # Ctrl-C, which Python raises in the main thread alone
                pass
            finally:
                notifier.stop()

    def _goes_on(self, index: int) -> bool:
        return self._results[index].status == "interrupted"

    def _train(self, pack: Sequence[int], executor: Executor, callback: Callback) -> dict[int, CellResult]:
        """Trains the cells at the places ``pack`` together, or in parts where that raises or they come from different
        epochs, and gives their results."""
        cells = [self._cells[index] for index in pack]
        parts, checkpoints = self._by_epoch(pack)
        if len(parts) > 1:
            return self._train_parts(parts, executor, callback)
        reason = self._attempt(cells, checkpoints, executor, callback)
        if not isinstance(reason, str):
            return dict(zip(pack, reason, strict=True))
        executor.release()  # outside the handler, for the exception keeps what the pack had allocated
        if len(cells) > 1 and reason:
            callback.pack_split(cells, reason)
            half = (len(pack) + 1) // 2
            return self._train_parts([pack[:half], pack[half:]], executor, callback)
        if reason and self._keeper.has_failed(cells[0], reason):
            return {pack[0]: CellResult(cell=cells[0], status="failed", reason=reason)}
        return self._train(pack, executor, callback)

    def _attempt(
        self, cells: Sequence[Cell], checkpoints: Sequence[Checkpoint], executor: Executor, callback: Callback
    ) -> tuple[CellResult, ...] | str:
        """Trains a pack and gives its results, or why it failed; an empty reason: the next attempt is another one."""
        begun = len(checkpoints[0].result.epochs) if checkpoints else 0
        try:
            return executor.train(cells, checkpoints, callback)
        except CheckpointError as error:
            self._keeper.set_aside(cells[error.number], error.reason)
            return ""
        except WorkerLostError as error:
            last = self._keeper.last(cells[0])
            has_advanced = last is not None and len(last.result.epochs) > begun
            return "" if has_advanced else str(error)
        except Exception as error:  # whatever it was, it is these cells': the others go on
            return f"{type(error).__name__}: {error}".partition("\n")[0]

    def _train_parts(
        self, parts: Sequence[Sequence[int]], executor: Executor, callback: Callback
    ) -> dict[int, CellResult]:
        return {index: x for part in parts for index, x in self._train(part, executor, callback).items()}

    def _by_epoch(self, pack: Sequence[int]) -> tuple[list[list[int]], list[Checkpoint]]:
        """Parts of the pack that go on from one epoch each, and what they go on from: nothing, where they begin."""
        last = [(index, self._keeper.last(self._cells[index])) for index in pack]
        parts: dict[int, list[int]] = {}
        for index, checkpoint in last:
            parts.setdefault(len(checkpoint.result.epochs) if checkpoint else 0, []).append(index)
        return list(parts.values()), [checkpoint for _, checkpoint in last if checkpoint]


def packs_of(cells: Sequence[Cell], device: torch.device, devices: int = 1) -> list[tuple[int, ...]]:
    """Divides ``cells`` into packs, each given by its cells' places in ``cells``: on a GPU all of one shape together,
    on several GPUs in a part for each; on a CPU each alone, for there a pack gains nothing."""
    if device.type == "cpu":
        return [(index,) for index in range(len(cells))]
    packs: dict[Hashable, list[int]] = {}
    for index, cell in enumerate(cells):
        packs.setdefault(pack_key(cell), []).append(index)
    return [part for pack in packs.values() for part in _parts(pack, devices)]


def _parts(pack: Sequence[int], count: int) -> list[tuple[int, ...]]:
    """``pack`` in ``count`` parts, or in as many as it has cells, of sizes as equal as can be."""
    count = min(count, len(pack))
    return [tuple(pack[len(pack) * i // count : len(pack) * (i + 1) // count]) for i in range(count)]


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
    """Calls a callback for several threads, one at a time, and keeps what trains.

    Once it is stopped, a thread that reports progress gets a ``KeyboardInterrupt`` instead, which ends what it trains;
    results are passed on all the same.
    """

    def __init__(self, callback: Callback, keeper: Keeper) -> None:
        self._callback, self._keeper = callback, keeper
        self._lock, self._stopped = threading.RLock(), threading.Event()

    def stop(self) -> None:
        """Interrupts every thread at its next report."""
        self._stopped.set()

    def cell_started(self, cell: Cell) -> None:
        self._notify(self._callback.cell_started, cell)
        self._keeper.cell_started(cell)

    def step_done(self, cell: Cell, epoch: int, step: int, steps: int) -> None:
        self._notify(self._callback.step_done, cell, epoch, step, steps)

    def step_measured(self, cell: Cell, read: Callable[[], tuple[float, float]]) -> None:
        self._notify(self._callback.step_measured, cell, read)

    def epoch_done(self, cell: Cell, epoch: Epoch) -> None:
        self._notify(self._callback.epoch_done, cell, epoch)

    def cell_advanced(self, result: CellResult) -> None:
        self._notify(self._callback.cell_advanced, result)

    def waiting(self) -> None:
        self._notify(self._callback.waiting)

    def checkpoint(self, result: CellResult, state: Callable[[], bytes]) -> None:
        self._keeper.checkpoint(result, state)  # from all threads at once: each has files of its own
        self._callback.checkpoint(result, state)

    def warned(self, message: str) -> None:
        with self._lock:
            self._callback.warned(message)

    def cell_done(self, result: CellResult) -> None:
        self._keeper.cell_done(result)
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
