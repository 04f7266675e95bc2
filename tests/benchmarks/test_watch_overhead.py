"""That every way of watching is timed on the same network for the same steps; never a time."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch

import vgharness
from vgharness.benchmarks import watch_overhead
from vgharness.benchmarks.timing import Ratio
from vgharness.benchmarks.watch_overhead import WatchCost, step_times, watch_cost

pytestmark = pytest.mark.fast


@pytest.fixture
def in_turn(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[int | None, int]]]:
    """Each process is a thread of this one, with a training of its own; fills with (every, steps) as they train."""
    turns: list[tuple[int | None, int]] = []
    trainings: list[Any] = []

    class Process(ThreadPoolExecutor):
        def submit(self, function: Any, *arguments: Any) -> Any:
            if function is watch_overhead.begin:
                self.own, self.every = watch_overhead._Training(*arguments), arguments[3]
                trainings.append(self.own)
                return super().submit(lambda: None)
            watch_overhead._begun[:] = [self.own]
            if function is watch_overhead.train:
                turns.append((self.every, arguments[0]))
            return super().submit(function, *arguments)

    monkeypatch.setattr(watch_overhead, "isolated_process", lambda configured: Process(1))
    monkeypatch.setattr(watch_overhead, "_TURN", 1)
    yield turns
    watch_overhead._begun.clear()
    for training in trainings:
        if training._watch is not None:
            training._watch.close()


def test_all_ways_train_the_same_network_for_the_same_steps(
    monkeypatch: pytest.MonkeyPatch, in_turn: list[tuple[int | None, int]]
) -> None:
    watched: dict[int, Any] = {}
    steps: list[int] = []

    class Watching:
        def step(self, loss: Any = None) -> None:
            assert loss.isfinite()
            steps.append(1)

        def close(self) -> None: ...

    def watch(model: Any, optimizer: Any, *, every: int, on_problem: Any, log: str, storage: Any) -> Any:
        assert storage.is_dir()
        watched[every] = model
        return Watching()

    monkeypatch.setattr(vgharness, "watch", watch, raising=False)
    times = step_times("script", torch.device("cpu"), 2, 2)
    assert list(watched) == [1, 10, 100]
    assert {every: len(seconds) for every, seconds in times.items()} == {None: 2, 1: 2, 10: 2, 100: 2}
    assert in_turn == [(None, 1), (1, 1), (10, 1), (100, 1)] * 21  # the first turn does not count
    assert len(steps) == 3 * 21
    for model in watched.values():
        assert all(torch.equal(a, b) for a, b in zip(model.parameters(), watched[1].parameters(), strict=True))


def test_memory_is_that_of_a_training(monkeypatch: pytest.MonkeyPatch, in_turn: list[tuple[int | None, int]]) -> None:
    monkeypatch.setattr(watch_overhead, "peak_memory", lambda device: len(in_turn))
    times = {None: [2.0] * 2, 1: [3.0] * 2, 10: [2.2] * 2, 100: [2.0] * 2}
    monkeypatch.setattr(watch_overhead, "step_times", lambda *_: times)
    cost = watch_cost("script", torch.device("cpu"), batch_size=2, rounds=2)
    assert in_turn == [(None, 12), (1, 12)]
    assert (cost.memory, cost.watched_memory, cost.ratios[1].median) == (1, 2, 1.5)
    assert cost.step_seconds == 2.0 / 10  # ten turns of one step


def test_a_goal_is_held_against_the_median() -> None:
    def cost(median: float) -> WatchCost:
        ratio = Ratio(median=median, low=1, high=2)
        ratios = dict.fromkeys((1, 10, 100), ratio)
        return WatchCost(
            network="x", device="cpu", batch_size=1, rounds=2, step_seconds=1, ratios=ratios, memory=1, watched_memory=1
        )

    assert [cost(1.05).within(every) for every in (1, 10)] == [True, False]
    assert not cost(1.101).within(1)
