"""How long steps take, as ratios within one run: what machines do to the times of two runs says nothing of the code.

Arms are timed in turn, A B C A B C …, and compared round by round, so that a machine that is slow for a
while is slow for all of them.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional

from vgharness.models import DeepCNN
from vgharness.probe.probe import GradientProbe
from vgharness.records import Activation, Architecture, Machine, Record
from vgharness.system.device import synchronize

Arm = Callable[[], float | None]


class Ratio(Record):
    """One arm's time over another's: median over the rounds, and quartiles."""

    median: float
    low: float
    high: float


class ProbeCost(Record):
    """Seconds of a training step without the probe, and what the other ways of taking it cost over that."""

    architecture: Architecture
    activation: Activation
    device: str
    batch_size: int
    rounds: int
    step_seconds: float
    probe: Ratio
    saturation: Ratio
    baseline: Ratio


class ProbeCosts(Record):
    """What ``bench probe --json`` writes."""

    machine: Machine
    costs: tuple[ProbeCost, ...]


def take_turns(arms: Mapping[str, Arm], rounds: int, device: torch.device) -> dict[str, list[float]]:
    """Seconds of each arm in each round, after one round that does not count; an arm that returns seconds has timed
    itself."""
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    for _ in range(rounds + 1):
        for name, arm in arms.items():
            synchronize(device)
            started = time.perf_counter()
            own = arm()
            synchronize(device)
            seconds[name].append(time.perf_counter() - started if own is None else own)
    return {name: times[1:] for name, times in seconds.items()}


def ratio(times: Sequence[float], base: Sequence[float]) -> Ratio:
    """Of ``times`` over ``base``, round by round: median and quartiles. Needs two rounds or more."""
    low, middle, high = statistics.quantiles([a / b for a, b in zip(times, base, strict=True)], method="inclusive")
    return Ratio(median=middle, low=low, high=high)


def probe_cost(
    architecture: Architecture,
    activation: Activation,
    device: torch.device,
    *,
    batch_size: int = 128,
    rounds: int = 11,
    steps: int = 5,
) -> ProbeCost:
    """What measuring costs a training step: forward, backward, Adam, on random numbers for images.

    The baseline way is a hook's norm and the weight gradient's mean, one ``.item()`` for each per layer and step.
    """
    inputs = torch.randn(batch_size, 3, 32, 32, device=device).contiguous(memory_format=torch.channels_last)
    targets = torch.randint(10, (batch_size,), device=device)

    def arm(measure: Callable[[nn.Module], tuple[AbstractContextManager[object], Callable[[], object]]]) -> Arm:
        torch.manual_seed(0)
        model: nn.Module = DeepCNN(activation, pools=architecture).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimizer = torch.optim.Adam(model.parameters(), fused=True)
        context, read = measure(model)
        readings: list[object] = []

        def run() -> None:
            with context:
                for _ in range(steps):
                    optimizer.zero_grad()
                    functional.cross_entropy(model(inputs), targets).backward()  # type: ignore[no-untyped-call]
                    optimizer.step()
                    readings.append(read())
            # Once per logging step, as the probe is meant to be used; the baseline way's are on the host already.
            torch.stack([r for r in readings if isinstance(r, Tensor)] or [torch.zeros(())]).tolist()
            readings.clear()

        return run

    arms = {
        "without": arm(lambda model: (nullcontext(), lambda: None)),
        "probe": arm(lambda model: _probed(model, saturation=False)),
        "saturation": arm(lambda model: _probed(model, saturation=True)),
        "baseline": arm(_baseline),
    }
    times = take_turns(arms, rounds, device)
    return ProbeCost(
        architecture=architecture,
        activation=activation,
        device=str(device),
        batch_size=batch_size,
        rounds=rounds,
        step_seconds=statistics.median(times["without"]) / steps,
        probe=ratio(times["probe"], times["without"]),
        saturation=ratio(times["saturation"], times["without"]),
        baseline=ratio(times["baseline"], times["without"]),
    )


def _probed(model: nn.Module, *, saturation: bool) -> tuple[GradientProbe, Callable[[], Tensor]]:
    probe = GradientProbe(model, saturation=saturation)
    return probe, probe.read


def _baseline(model: nn.Module) -> tuple[AbstractContextManager[object], Callable[[], object]]:
    layers = [module for module in model.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    signals: list[float] = []

    def hook(module: nn.Module, inputs: object, output: Tensor) -> None:
        output.register_hook(lambda signal: signals.append(signal.norm().item()))  # type: ignore[no-untyped-call]

    for layer in layers:
        layer.register_forward_hook(hook)

    def read() -> object:
        found = [
            *signals,
            *(layer.weight.grad.abs().mean().item() for layer in layers if layer.weight.grad is not None),
        ]
        signals.clear()
        return found

    return nullcontext(), read
