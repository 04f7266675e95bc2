"""What measuring gradients costs a training step: with the probe, with saturation too, and the baseline way.

The baseline way is what a user writes by hand: a hook for the norm of each layer's error signal and the mean of each
weight's gradient, with one ``.item()`` for either, per layer and step.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from vgharness.benchmarks.timing import Arm, Ratio, ratio, take_turns
from vgharness.models import DeepCNN
from vgharness.probe.probe import GradientProbe
from vgharness.records import Activation, Architecture, Machine, Record
from vgharness.system.device import LAYOUT


class ProbeCost(Record):
    """What measuring costs a training step of one network.

    architecture: of the network.
    activation: of the network.
    device: where it was trained.
    batch_size: images per step.
    rounds: how often each way was timed.
    step_seconds: of a step without measuring, median over the rounds.
    probe: with the probe, over without.
    saturation: with the probe that measures ``saturated`` too, over without.
    baseline: the baseline way, over without.
    """

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
    """What ``bench probe --json`` writes.

    machine: where it was measured.
    costs: one per architecture.
    """

    machine: Machine
    costs: tuple[ProbeCost, ...]


class _Measuring(NamedTuple):
    """A way to measure a model while it trains.

    context: what the steps run in.
    read: takes the values of one step, after it; a tensor is left on the device until all steps are done.
    """

    context: AbstractContextManager[object]
    read: Callable[[], object]


def probe_cost(
    architecture: Architecture,
    activation: Activation,
    device: torch.device,
    *,
    batch_size: int = 128,
    rounds: int = 11,
    steps: int = 5,
) -> ProbeCost:
    """Times ``steps`` training steps (forward, backward, Adam) on random numbers for images, measured in each way."""
    inputs = torch.randn(batch_size, 3, 32, 32, device=device).contiguous(memory_format=LAYOUT)
    targets = torch.randint(10, (batch_size,), device=device)

    def arm(measure: Callable[[nn.Module], _Measuring]) -> Arm:
        torch.manual_seed(0)
        model: nn.Module = DeepCNN(activation, pools=architecture).to(device, memory_format=LAYOUT)  # type: ignore[call-overload]
        return partial(_train, model, torch.optim.Adam(model.parameters(), fused=True), measure(model), batch, steps)

    batch = inputs, targets
    times = take_turns({name: arm(measure) for name, measure in _WAYS.items()}, rounds, device)
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


def _train(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    measuring: _Measuring,
    batch: tuple[Tensor, Tensor],
    steps: int,
) -> None:
    inputs, targets = batch
    readings = []
    with measuring.context:
        for _ in range(steps):
            optimizer.zero_grad()
            functional.cross_entropy(model(inputs), targets).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            readings.append(measuring.read())
    # Once per logging step, as the probe is meant to be used; what the baseline way reads is on the host already.
    torch.stack([r for r in readings if isinstance(r, Tensor)] or [torch.zeros(())]).tolist()


def _unmeasured(model: nn.Module) -> _Measuring:
    return _Measuring(nullcontext(), lambda: None)


def _probed(model: nn.Module, *, saturation: bool) -> _Measuring:
    probe = GradientProbe(model, saturation=saturation)
    return _Measuring(probe, probe.read)


def _baseline(model: nn.Module) -> _Measuring:
    layers = [module for module in model.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    signals: list[float] = []

    def hook(module: nn.Module, inputs: object, output: Tensor) -> None:
        output.register_hook(lambda signal: signals.append(signal.norm().item()))  # type: ignore[no-untyped-call]

    for layer in layers:
        layer.register_forward_hook(hook)

    def read() -> list[float]:
        weights = [layer.weight.grad.abs().mean().item() for layer in layers if layer.weight.grad is not None]
        values = [*signals, *weights]
        signals.clear()
        return values

    return _Measuring(nullcontext(), read)


_WAYS: Final[dict[str, Callable[[nn.Module], _Measuring]]] = {
    "without": _unmeasured,
    "probe": partial(_probed, saturation=False),
    "saturation": partial(_probed, saturation=True),
    "baseline": _baseline,
}
