"""A GPU's streams, events and graphs as far as a recording needs them: they do nothing, keep CUDA's rules and say where
one is broken. PyTorch's own are replaced by them, so that work on the CPU can be recorded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import torch

GPU = torch.device("cuda", 0)


class FakeStream:
    """A stream. ``recorded``: it is a part of the recording under way; ``apart``: it has work there that no other
    stream waits for yet."""

    def __init__(self, cuda: FakeCuda, name: str) -> None:
        self.name, self._cuda = name, cuda
        self.recorded = self.apart = False

    def wait_stream(self, other: FakeStream) -> None:
        self._cuda.log.append(f"{self.name} waits for {other.name}")
        if self.recorded and not other.recorded:
            self._cuda.broken = True
            raise RuntimeError("dependency created on uncaptured work in another stream")
        if other.recorded:
            self.recorded = True
            other.apart = False


class FakeEvent:
    """An event. ``waited``: for it."""

    def __init__(self, cuda: FakeCuda) -> None:
        self._cuda = cuda
        self.number = len(cuda.events)
        cuda.events.append(self)

    def record(self) -> None:
        self._cuda.log.append(f"event {self.number}")

    def synchronize(self) -> None:
        self._cuda.log.append(f"waited for event {self.number}")


class FakeCuda:
    """``log``: what was asked of it, in order. ``graphs``: how many recordings were ended as they should be."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.events: list[FakeEvent] = []
        self.streams: list[FakeStream] = []
        self.main = self.current = FakeStream(self, "main")
        self.graphs = 0
        self.broken = False

    def new_stream(self, device: torch.device) -> FakeStream:
        self.streams.append(FakeStream(self, f"stream {len(self.streams)}"))
        return self.streams[-1]

    @contextmanager
    def stream(self, stream: FakeStream) -> Iterator[None]:
        before, self.current = self.current, stream
        stream.apart = stream.recorded
        try:
            yield
        finally:
            self.current = before

    def set_stream(self, stream: FakeStream) -> None:
        self.current = stream

    @contextmanager
    def graph(self, graph: Any, pool: Any, side: FakeStream, **_: Any) -> Iterator[None]:
        """As PyTorch's: where it cannot be ended that is raised in place of what the work raised, the side stream stays
        the current one, and some versions record nothing after it."""
        if self.broken:
            raise RuntimeError("a capture is under way")
        before, self.current = self.current, side
        side.recorded = True
        try:
            yield
        finally:
            unjoined = [stream.name for stream in self.streams if stream is not side and stream.apart]
            for stream in self.streams:
                stream.recorded = stream.apart = False
            if unjoined:
                self.broken = True
                raise RuntimeError(f"capture ended with unjoined work on {', '.join(unjoined)}")
            self.current = before
            self.graphs += 1

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Puts it in the place of PyTorch's."""
        for name, fake in {
            "Stream": self.new_stream,
            "Event": lambda: FakeEvent(self),
            "CUDAGraph": SimpleNamespace,
            "current_stream": lambda device=None: self.current,
            "set_stream": self.set_stream,
            "stream": self.stream,
            "graph": self.graph,
            "graph_pool_handle": object,
            "is_current_stream_capturing": lambda: self.current.recorded,
        }.items():
            monkeypatch.setattr(torch.cuda, name, fake)
