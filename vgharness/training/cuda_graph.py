"""Records work on a GPU as CUDA graphs: what is the same every time is queued once and then launched as a whole.

Launching the hundreds of small operations of a training step one by one takes the CPU longer than the GPU needs to do
them; launching their graph takes it microseconds. A graph repeats the very operations on the very addresses that were
recorded, so that what changes from time to time must lie on the device, at the same place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

import torch

from vgharness.training.cuda_streams import new_stream

WARM_UP = 3  # times that work runs before it is recorded, as PyTorch's documentation asks for

_Result = TypeVar("_Result")


class Recorded(Generic[_Result]):
    """Work that was recorded, and the result that it had then, whose tensors every replay fills anew."""

    def __init__(self, graph: torch.cuda.CUDAGraph, result: _Result) -> None:
        self._graph, self._result = graph, result

    def replay(self) -> _Result:
        """Launches the work on the current stream and gives its result, without waiting for either."""
        self._graph.replay()
        return self._result


class Recorder:
    """Records on a stream of its own, the side stream; all its recordings share one pool of memory.

    On a CPU there is no such stream, and nothing to record.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._side = new_stream(device) if device.type == "cuda" else None
        self._pool: Any = None  # the pool's handle, which has no public type; there from the first recording on

    @property
    def can_record(self) -> bool:
        """Whether this is a GPU."""
        return self._side is not None

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Queues the work within on the side stream: after all work queued on the current stream before, and before
        all that is queued there afterwards. On a CPU the work simply runs."""
        if self._side is None:
            yield
            return
        main = torch.cuda.current_stream(self._device)
        self._side.wait_stream(main)
        with torch.cuda.stream(self._side):
            yield
        main.wait_stream(self._side)

    def record(self, work: Callable[[], _Result], join: Callable[[], None]) -> Recorded[_Result]:
        """Records what ``work`` queues, without doing it; only where :attr:`can_record`.

        ``work`` must have run :meth:`aside` before, so that what libraries do the first time is done, and must not wait
        for the device. What it raises is raised here, and the next recording works: ``join`` is then called, to bring
        back what was queued on other streams, without which PyTorch cannot end a recording.
        """
        if self._pool is None:
            self._pool = torch.cuda.graph_pool_handle()
        graph, before = torch.cuda.CUDAGraph(), torch.cuda.current_stream(self._device)
        raised: BaseException | None = None
        try:
            # Other threads, which train on other GPUs, may do meanwhile what a recording must not.
            with torch.cuda.graph(graph, self._pool, self._side, capture_error_mode="thread_local"):
                try:
                    result = work()
                except BaseException as error:
                    raised = error
                    join()
        except Exception:
            if raised is None:
                raise  # else it could not be ended, because of what the work raised
        finally:
            torch.cuda.set_stream(before)  # an ending that raises leaves the side stream the current one
        if raised is not None:
            raise raised
        return Recorded(graph, result)
