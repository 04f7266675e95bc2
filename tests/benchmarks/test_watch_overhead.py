"""That every way of watching is timed on the same network for the same steps; never a time."""

from contextlib import nullcontext
from typing import Any

import pytest
import torch

import vgharness
from vgharness.benchmarks import watch_overhead
from vgharness.benchmarks.timing import Ratio
from vgharness.benchmarks.watch_overhead import WatchCost, time_steps, watch_cost

pytestmark = pytest.mark.fast


def test_all_ways_train_the_same_network_for_the_same_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    watched: dict[int, Any] = {}
    steps: list[int] = []

    class Watching(nullcontext[Any]):
        def __enter__(self) -> Any:
            return self

        def step(self, loss: Any = None) -> None:
            assert loss.isfinite()
            steps.append(1)

    def watch(model: Any, optimizer: Any, *, every: int, on_problem: Any, log: str, storage: Any) -> Any:
        assert storage.is_dir()
        watched[every] = model
        return Watching()

    monkeypatch.setattr(vgharness, "watch", watch, raising=False)
    monkeypatch.setattr(watch_overhead, "_TURN", 1)
    times = time_steps("script", torch.device("cpu"), 2, 2)
    assert list(watched) == [1, 10, 100]
    assert {every: len(seconds) for every, seconds in times.items()} == {None: 2, 1: 2, 10: 2, 100: 2}
    assert len(steps) == 3 * 21  # the first turn does not count
    for model in watched.values():
        assert all(torch.equal(a, b) for a, b in zip(model.parameters(), watched[1].parameters(), strict=True))


def test_times_and_memory_are_those_of_processes_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def isolated(function: Any, network: str, device: Any, batch_size: int, last: Any) -> Any:
        assert (network, device, batch_size) == ("script", torch.device("cpu"), 2)
        if function is time_steps:
            return {None: [2.0] * last, 1: [3.0] * last, 10: [2.2] * last, 100: [2.0] * last}
        return 10 + (last or 0)

    monkeypatch.setattr(watch_overhead, "_isolated", isolated)
    cost = watch_cost("script", torch.device("cpu"), batch_size=2, rounds=2)
    assert (cost.memory, cost.watched_memory, cost.step_seconds, cost.ratios[1].median) == (10, 11, 0.02, 1.5)


def test_a_goal_is_held_against_the_median() -> None:
    def cost(median: float) -> WatchCost:
        ratio = Ratio(median=median, low=1, high=2)
        ratios = dict.fromkeys((1, 10, 100), ratio)
        return WatchCost(
            network="x", device="cpu", batch_size=1, rounds=2, step_seconds=1, ratios=ratios, memory=1, watched_memory=1
        )

    assert [cost(1.05).within(every) for every in (1, 10)] == [True, False]
    assert not cost(1.101).within(1)
