"""Trains packs on a Ray cluster: each in a task of its own, on one core or one GPU of any node.

What a pack reports comes back as a stream of events, its checkpoints among them: the process that began the study
keeps all of it, so that no node needs its disk, and one that is lost costs the epochs that were not finished.
"""

from __future__ import annotations

import queue
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Final, Literal, NoReturn

import torch

from vgharness.data.image_set import ImageSet
from vgharness.data.on_device import DeviceImages
from vgharness.errors import UsageError
from vgharness.formatting import in_one_line
from vgharness.precision import float32_precision
from vgharness.records import Cell, CellResult, Epoch, Precision
from vgharness.storage.checkpoints import Checkpoint
from vgharness.training.callback import Callback
from vgharness.training.checkpoint import CheckpointError
from vgharness.training.executor import WorkerLostError, packs_of, single_threaded
from vgharness.training.loop import train_pack

_STEP_SECONDS: Final = 0.5  # between the steps that are reported
_POLL_SECONDS: Final = 0.5
_ANSWER_SECONDS: Final = 10.0
_MOST_PACKS: Final = 1000  # at a time: each has a thread here

_Event = tuple[str, tuple[Any, ...]]


class RayExecutor:
    """Trains on the cluster at ``address``, of which this process is a part; ``auto``: the one that runs here."""

    def __init__(
        self, images: ImageSet, precision: Precision, device: torch.device, address: str, jobs: int | None = None
    ) -> None:
        """``device``: the kind that packs train on. ``jobs``: how many at a time, by default as many as there are cores
        or GPUs in the cluster. Raises :class:`~vgharness.errors.UsageError` where Ray is not installed."""
        try:
            import ray
        except ImportError as error:
            raise UsageError("--executor ray: Ray is not installed; pip install 'vgharness[ray]'") from error
        self._ray: Any = ray
        self._images, self._precision, self._address, self._jobs = images, precision, address, jobs
        self._kind: Literal["cpu", "cuda"] = "cuda" if device.type == "cuda" else "cpu"
        self._put: Any = None  # the images in the cluster

    def packs(self, cells: Sequence[Cell]) -> list[tuple[int, ...]]:
        return packs_of(cells, torch.device(self._kind), self._slots())

    @contextmanager
    def workers(self, packs: int) -> Iterator[ThreadPoolExecutor]:
        """Threads that each wait for a pack."""
        self._connect()
        if self._put is None:
            self._put = self._ray.put(self._images)
        with ThreadPoolExecutor(max(1, min(packs, self._jobs or self._slots(), _MOST_PACKS))) as pool:
            yield pool

    def train(
        self, cells: Sequence[Cell], checkpoints: Sequence[Checkpoint], callback: Callback
    ) -> tuple[CellResult, ...]:
        resources = {"num_cpus": 0, "num_gpus": 1} if self._kind == "cuda" else {"num_cpus": 1}
        task = self._ray.remote(num_returns="streaming", max_retries=0, **resources)(_events_of_pack)
        # In a list, the images' reference is sent, not the images.
        events = task.remote([self._put], list(cells), list(checkpoints), self._precision, self._kind)
        so_far = {cell: CellResult(cell=cell, status="interrupted", reason="interrupted in epoch 1") for cell in cells}
        so_far.update({checkpoint.result.cell: checkpoint.result for checkpoint in checkpoints})
        try:
            for name, arguments in self._received(events, callback):
                if name == "results":
                    return tuple(arguments)
                if name == "cell_advanced":
                    so_far[arguments[0].cell] = _interrupted(arguments[0])
                elif name == "epoch_done":
                    cell, epoch = arguments
                    so_far[cell] = _interrupted(so_far[cell], epoch)
                _pass_on(name, arguments, callback)
        except KeyboardInterrupt:
            self._ray.cancel(events)
            return tuple(so_far[cell] for cell in cells)
        raise WorkerLostError("the worker ended without a result")

    def release(self) -> None:
        """The task is gone, and all that it had."""

    def _received(self, events: Any, callback: Callback) -> Iterator[_Event]:
        """What the task yields; ``callback`` can interrupt the waiting."""
        errors = self._ray.exceptions.RayError
        while True:
            try:
                ready, _ = self._ray.wait([events], timeout=_POLL_SECONDS)
                if ready:
                    yield self._ray.get(next(events))
                else:
                    callback.waiting()
            except StopIteration:
                return
            except errors as error:
                raise WorkerLostError(in_one_line(error)) from error

    def _slots(self) -> int:
        """How many packs the cluster can train at a time."""
        self._connect()
        return max(1, int(self._ray.cluster_resources().get("GPU" if self._kind == "cuda" else "CPU", 0)))

    def _connect(self) -> None:
        if self._ray.is_initialized():
            return
        before = signal.getsignal(signal.SIGTERM)
        try:
            _check_answers(self._address)
            self._ray.init(address=self._address, log_to_driver=False, logging_level="ERROR")
        except (OSError, RuntimeError, ValueError) as error:
            raise UsageError(
                f"--address {self._address}: no Ray cluster answers there ({in_one_line(error)}); start one with "
                "'ray start --head', and on each other machine 'ray start --address=HOST:6379'"
            ) from error
        finally:
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, before)  # Ray ends the process at once


# --- in the worker ---------------------------------------------------------------------------------------


def _events_of_pack(
    images: list[Any],
    cells: list[Cell],
    checkpoints: list[Checkpoint],
    precision: Precision,
    kind: Literal["cpu", "cuda"],
) -> Iterator[_Event]:
    """Trains a pack in a thread of its own and yields what it reports, last its results or why there are none."""
    reports = _Reports()
    device = torch.device(kind)

    def work() -> None:
        try:
            with single_threaded(device), float32_precision(precision):
                results = train_pack(cells, _device_images(images[0], kind), precision, reports, checkpoints)
            reports.put("results", *results)
        except CheckpointError as error:
            reports.put("unusable", error.number, error.reason)
        except Exception as error:  # whatever it was, it is to be known where the study is
            reports.put("failed", type(error).__name__, str(error))

    thread = threading.Thread(target=work, name="training", daemon=True)
    thread.start()
    try:
        while True:
            event = reports.next()
            yield event
            if event[0] in ("results", "unusable", "failed"):
                return
    finally:
        reports.stop()
        thread.join()


@lru_cache(maxsize=1)
def _device_images(reference: Any, kind: Literal["cpu", "cuda"]) -> DeviceImages:
    """Once for each process."""
    import ray

    return DeviceImages(ray.get(reference), torch.device(kind))


class _Reports(Callback):
    """What a pack reports, on its way to another process; no more than two steps a second. Once stopped, a report
    raises ``KeyboardInterrupt``."""

    def __init__(self) -> None:
        self._events: queue.SimpleQueue[_Event] = queue.SimpleQueue()
        self._stopped = threading.Event()
        self._step, self._at = (0, 0), 0.0

    def next(self) -> _Event:
        return self._events.get()

    def stop(self) -> None:
        self._stopped.set()

    def put(self, name: str, *arguments: Any) -> None:
        if self._stopped.is_set():
            raise KeyboardInterrupt
        self._events.put((name, arguments))

    def step_done(self, cell: Cell, epoch: int, step: int, steps: int) -> None:
        now = time.monotonic()
        if (epoch, step) == self._step or now - self._at > _STEP_SECONDS:
            self._step, self._at = (epoch, step), now
            self.put("step_done", cell, epoch, step, steps)
        elif self._stopped.is_set():
            raise KeyboardInterrupt

    def epoch_done(self, cell: Cell, epoch: Epoch) -> None:
        self.put("epoch_done", cell, epoch)

    def cell_advanced(self, result: CellResult) -> None:
        self.put("cell_advanced", result)

    def checkpoint(self, result: CellResult, state: Callable[[], bytes]) -> None:
        self.put("checkpoint", result, state())


# --- where the study is ----------------------------------------------------------------------------------


def _pass_on(name: str, arguments: tuple[Any, ...], callback: Callback) -> None:
    if name == "unusable":
        raise CheckpointError(*arguments)
    if name == "failed":
        _raise(*arguments)
    if name == "checkpoint":
        result, state = arguments
        callback.checkpoint(result, lambda: state)
    else:
        getattr(callback, name)(*arguments)


def _raise(kind: str, message: str) -> NoReturn:
    """Raises what was raised elsewhere, as far as its name and message go."""
    raise type(kind, (Exception,), {})(message)


def _check_answers(address: str) -> None:
    """Raises ``OSError`` where nothing answers at ``HOST:PORT``, for which Ray itself waits for minutes."""
    host, _, port = address.rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=_ANSWER_SECONDS).close()


def _interrupted(result: CellResult, *epochs: Epoch) -> CellResult:
    """What there is of a cell, with ``epochs`` more, if nothing more comes."""
    if result.status == "diverged":
        return result
    done = (*result.epochs, *epochs)
    where = f"in epoch {len(done) + 1}" if len(done) < result.cell.epochs else "after the last epoch"
    return result.changed(epochs=done, status="interrupted", reason=f"interrupted {where}")
