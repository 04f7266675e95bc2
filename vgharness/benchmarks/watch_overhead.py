"""What watching costs a training step: with a snapshot at every step, at each tenth, and at each hundredth."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional

import vgharness
from vgharness.benchmarks.isolated import isolated_process
from vgharness.benchmarks.scaling import peak_memory
from vgharness.benchmarks.timing import Arm, Ratio, ratio, take_turns
from vgharness.benchmarks.trainings.cases import each_word
from vgharness.benchmarks.trainings.networks import LanguageModel
from vgharness.models import DeepCNN
from vgharness.records import Count, Machine, Name, Record
from vgharness.system.device import LAYOUT, synchronize

EVERY: Final = (1, 10, 100)
MOST: Final[Mapping[int, float]] = {1: 1.10, 10: 1.03}  # a step's time over one that is not watched, by ``every``
_TURN: Final = 10  # steps
_TURNS: Final = 10  # of a round: in each 100 steps there is one snapshot, also where one comes at each hundredth
_MEMORY_STEPS: Final = 12


class WatchCost(Record):
    """What watching costs a training step of one network.

    network: its name.
    device: where it was trained.
    batch_size: samples per step.
    rounds: how often 100 steps of each way were timed.
    step_seconds: of a step that is not watched, median over the rounds.
    ratios: the time of a watched step over that, by the number of steps from one snapshot to the next.
    memory: the most that a process had in use, of a GPU what PyTorch had there, that trained without a watch; bytes.
    watched_memory: the same with a snapshot at every step.
    """

    network: Name
    device: str
    batch_size: Count
    rounds: Count
    step_seconds: float
    ratios: dict[int, Ratio]
    memory: Count
    watched_memory: Count

    def within(self, every: int) -> bool:
        """Whether watching kept to :data:`MOST`."""
        return self.ratios[every].median <= MOST[every]


class WatchCosts(Record):
    """What ``bench watch --json`` writes.

    machine: where it was measured.
    costs: one per network.
    """

    machine: Machine
    costs: tuple[WatchCost, ...]


class _Network(NamedTuple):
    make: Callable[[], nn.Module]
    batch: Callable[[int, torch.device], tuple[Tensor, Tensor]]
    loss: Callable[[Tensor, Tensor], Tensor]


def _images(count: int, device: torch.device) -> tuple[Tensor, Tensor]:
    inputs = torch.randn(count, 3, 32, 32, device=device).contiguous(memory_format=LAYOUT)
    return inputs, torch.randint(10, (count,), device=device)


def _texts(count: int, device: torch.device) -> tuple[Tensor, Tensor]:
    words = torch.randint(500, (max(count // 4, 1), 64), device=device)
    return words, words.roll(1, 1)


NETWORKS: Final[Mapping[str, _Network]] = {
    "readme": _Network(partial(DeepCNN, "relu", pools="readme"), _images, functional.cross_entropy),
    "script": _Network(partial(DeepCNN, "relu", pools="script"), _images, functional.cross_entropy),
    "resnet18": _Network(partial(torchvision.models.resnet18, num_classes=10), _images, functional.cross_entropy),
    "Transformer": _Network(partial(LanguageModel, 500, 64, 4, 128), _texts, each_word),
}


def watch_cost(network: str, device: torch.device, *, batch_size: int = 128, rounds: int = 5) -> WatchCost:
    """Measures training steps (forward, backward, Adam) of one of :data:`NETWORKS` on random numbers: 100 in each of
    ``rounds`` for each way, in turns of ten."""
    times = step_times(network, device, batch_size, rounds)
    return WatchCost(
        network=network,
        device=str(device),
        batch_size=batch_size,
        rounds=rounds,
        step_seconds=statistics.median(times[None]) / (_TURN * _TURNS),
        ratios={every: ratio(times[every], times[None]) for every in EVERY},
        memory=memory_of_training(network, device, batch_size, None),
        watched_memory=memory_of_training(network, device, batch_size, 1),
    )


def step_times(network: str, device: torch.device, batch_size: int, rounds: int) -> dict[int | None, list[float]]:
    """Times each way in a process of its own, in turns: what a watch hooks into is the whole process's, so that a
    network that is not watched would pay for others that are. Gives the seconds of each round by ``every``, and without
    a watch (``None``)."""
    ways = (None, *EVERY)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        arms: dict[str, Arm] = {}
        for every in ways:
            process = stack.enter_context(isolated_process(configured=False))
            process.submit(begin, network, device, batch_size, every, Path(folder)).result()
            arms[str(every)] = partial(_turn_in, process)
        times = take_turns(arms, rounds * _TURNS, torch.device("cpu"))  # each turn waits for its own device
    return {every: _by_round(times[str(every)]) for every in ways}


def memory_of_training(network: str, device: torch.device, batch_size: int, every: int | None) -> int:
    """Trains some steps in a process of its own, and returns the most bytes that were in use there. This process stays
    small all the while: one that it starts counts its memory as its own at first."""
    with tempfile.TemporaryDirectory() as folder, isolated_process(configured=False) as process:
        process.submit(begin, network, device, batch_size, every, Path(folder)).result()
        process.submit(train, _MEMORY_STEPS).result()
        return process.submit(peak_memory, device).result()


def _turn_in(process: Executor) -> float:
    return process.submit(train, _TURN).result()


def _by_round(turns: Sequence[float]) -> list[float]:
    return [sum(turns[i : i + _TURNS]) for i in range(0, len(turns), _TURNS)]


# --- in the process that trains ----------------------------------------------------------------------------

_begun: list[_Training] = []  # the one of this process


def begin(network: str, device: torch.device, batch_size: int, every: int | None, folder: Path) -> None:
    """Makes the network that this process trains; ``every``: with which it is watched, saved to ``folder``."""
    _begun[:] = [_Training(network, device, batch_size, every, folder)]


def train(steps: int) -> float:
    """Trains so many steps, and returns the seconds that they took."""
    (training,) = _begun
    synchronize(training.device)
    started = time.perf_counter()
    training.steps(steps)
    synchronize(training.device)
    return time.perf_counter() - started


class _Training:
    """One network's training, watched until its process ends."""

    def __init__(self, network: str, device: torch.device, batch_size: int, every: int | None, folder: Path) -> None:
        torch.manual_seed(0)
        make, batch, self._loss = NETWORKS[network]
        self.device = device
        self._batch = batch(batch_size, device)
        self._model: nn.Module = make().to(device, memory_format=LAYOUT)  # type: ignore[call-overload]
        self._optimizer = torch.optim.Adam(self._model.parameters(), fused=True)
        self._watch: Any = None
        if every is not None:
            self._watch = vgharness.watch(
                self._model, self._optimizer, every=every, on_problem=_ignore, log="bench", storage=folder
            )

    def steps(self, count: int) -> None:
        inputs, targets = self._batch
        for _ in range(count):
            self._optimizer.zero_grad()
            loss = self._loss(self._model(inputs), targets)
            loss.backward()  # type: ignore[no-untyped-call]
            self._optimizer.step()
            if self._watch is not None:
                self._watch.step(loss)


def _ignore(problem: object) -> None: ...
