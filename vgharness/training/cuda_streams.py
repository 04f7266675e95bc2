"""The CUDA streams on which a GPU computes several networks at a time. On a CPU there are none."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_MOST_STREAMS = 8
_MOST_AHEAD = 32


class NetworkStreams:
    """A stream for each network of a pack; with more than ``_MOST_STREAMS`` networks several share one."""

    def __init__(self, device: torch.device, networks: int) -> None:
        self._device = device
        count = min(networks, _MOST_STREAMS) if device.type == "cuda" else 0
        self._streams = [new_stream(device) for _ in range(count)]

    @contextmanager
    def of_network(self, number: int) -> Iterator[None]:
        """Queues the work within on the network's stream, after all work queued on the current stream before."""
        if not self._streams:
            yield
            return
        stream = self._streams[number % len(self._streams)]
        stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(stream):
            yield

    def join(self) -> None:
        """Makes what is queued on the current stream from here on wait for the work on every network's stream."""
        for stream in self._streams:
            torch.cuda.current_stream(self._device).wait_stream(stream)

    def join_recorded(self) -> None:
        """Does so for those streams alone on which the recording under way has queued work: it cannot wait for work
        that is not its own."""
        for stream in self._streams:
            with torch.cuda.stream(stream):
                recorded = torch.cuda.is_current_stream_capturing()
            if recorded:
                torch.cuda.current_stream(self._device).wait_stream(stream)


class Launches:
    """Keeps the host from launching more than ``_MOST_AHEAD`` steps that the GPU has not done: what is reported is then
    true within so many, and Ctrl-C is heard in time. The GPU never waits for that. On a CPU there are none."""

    def __init__(self, device: torch.device) -> None:
        self._on_gpu = device.type == "cuda"
        self._ahead: deque[torch.cuda.Event] = deque()

    def launched(self) -> None:
        """To be called after each step, on the stream that it was launched on; waits for the one so many before."""
        if not self._on_gpu:
            return
        event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        event.record()
        self._ahead.append(event)
        if len(self._ahead) > _MOST_AHEAD:
            self._ahead.popleft().synchronize()


def new_stream(device: torch.device) -> torch.cuda.Stream:
    """Makes a stream on a GPU."""
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
