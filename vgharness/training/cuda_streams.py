"""The CUDA streams on which a GPU computes several networks at a time. On a CPU there are none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

_MOST_STREAMS = 8


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


def new_stream(device: torch.device) -> torch.cuda.Stream:
    """Makes a stream on a GPU."""
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
