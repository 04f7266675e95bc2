"""Probe ≡ ``torch.autograd.grad`` on the same weights ≡ finite differences, for random small networks.

Under ``-m fast`` a few examples of each, under ``-m deep`` thousands.
"""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from vgharness.probe.probe import GradientProbe

pytestmark = [pytest.mark.fast, pytest.mark.deep]

ACTIVATIONS: tuple[Callable[[], nn.Module], ...] = (
    nn.Sigmoid,
    nn.Tanh,
    nn.GELU,
    nn.SiLU,
    nn.ReLU,
    lambda: nn.ReLU(inplace=True),
    lambda: nn.SiLU(inplace=True),
)
SMOOTH = 4  # the first of them have a derivative everywhere


@dataclass
class Case:
    """A sequence of stages, its input, and weights of the loss over the outputs, all of one dtype."""

    stages: list[nn.Module]
    inputs: Tensor
    weights: Tensor

    @property
    def model(self) -> nn.Sequential:
        return nn.Sequential(*self.stages)

    def loss(self, outputs: Tensor) -> Tensor:
        return (outputs * self.weights).sum() + outputs.square().sum() / 2

    def layers(self) -> list[int]:
        return [i for i, x in enumerate(self.stages) if next(x.parameters(recurse=False), None) is not None]


@st.composite
def cases(
    draw: st.DrawFn, *, smooth: bool = False, most: int = 8, dtypes: tuple[torch.dtype, ...] = (torch.float64,)
) -> Case:
    torch.manual_seed(draw(st.integers(0, 2**31)))
    activations = ACTIVATIONS[: SMOOTH if smooth else None]
    batch, width = draw(st.integers(1, 4)), draw(st.integers(1, 16 if not smooth else 4))
    stages: list[nn.Module] = []
    size = draw(st.sampled_from([0, 0, 3, 4]))  # 0: no convolutions
    shape: tuple[int, ...] = (batch, width, size, size) if size else (batch, width)
    shared: dict[tuple[str, int], nn.Module] = {}
    for _ in range(draw(st.integers(1, most))):
        following = draw(st.integers(1, 16 if not smooth else 4))
        again = ("conv" if size else "linear", width)
        if again in shared and draw(st.booleans()):
            stages.append(shared[again])  # the same module, and so the same weights, once more
            following = width
        elif size:
            stages.append(nn.Conv2d(width, following, draw(st.sampled_from([1, 3])), padding="same"))
        else:
            stages.append(nn.Linear(width, following, bias=draw(st.booleans())))
        if following == width:
            shared[again] = stages[-1]
        width = following
        if (width > 1 or size > 1) and draw(st.integers(0, 3)) == 0:
            norms: list[nn.Module] = [nn.GroupNorm(1, width)]
            if batch > 1 or size:
                norms.append(nn.BatchNorm2d(width) if size else nn.BatchNorm1d(width))
            stages.append(draw(st.sampled_from(norms)))
        stages.append(draw(st.sampled_from(activations))())
        if size and draw(st.integers(0, 2)) == 0:
            stages.append(nn.Flatten())
            width, size = width * size * size, 0
    stages.append(nn.Flatten())
    stages.append(nn.Linear(width * max(size * size, 1), 2))
    dtype = draw(st.sampled_from(dtypes))
    case = Case(stages, torch.randn(shape).to(dtype), torch.randn(batch, 2).to(dtype))
    for stage in {id(s): s for s in stages}.values():
        stage.to(dtype)
    frozen = draw(st.sets(st.sampled_from(case.layers()), max_size=2))
    for index in frozen:
        case.stages[index].requires_grad_(False)
    return case


def by_autograd(case: Case) -> tuple[dict[nn.Module, list[Tensor]], dict[nn.Module, Tensor]]:
    """∂L/∂h of each pass of each layer, and ∂L/∂W: with no hook in the graph. Where an activation works
    in place it is given a copy, so that h stays what it was."""
    hidden, outputs = case.inputs, []
    for index, stage in enumerate(case.stages):
        hidden = stage(hidden.clone() if hidden.requires_grad else hidden)
        if index in case.layers() and hidden.requires_grad:
            outputs.append((stage, hidden))
    loss = case.loss(hidden)
    signals: dict[nn.Module, list[Tensor]] = {}
    for stage, output in outputs:
        (gradient,) = torch.autograd.grad(loss, output, retain_graph=True)
        signals.setdefault(stage, []).append(gradient)
    trained = [s for s in dict.fromkeys(case.stages[i] for i in case.layers()) if s.weight.requires_grad]  # type: ignore[union-attr]
    gradients = torch.autograd.grad(loss, [s.weight for s in trained], retain_graph=True) if trained else ()  # type: ignore[misc]
    return signals, dict(zip(trained, gradients, strict=True))


@given(cases(dtypes=(torch.float64, torch.float32, torch.bfloat16, torch.float16)))
def test_the_probe_says_what_autograd_says(case: Case) -> None:
    signals, weights = by_autograd(case)
    model = case.model
    with GradientProbe(model) as probe:
        outputs = model(case.inputs)
        if outputs.requires_grad:
            case.loss(outputs).backward()
        flow = probe.flow()
    precision = 1e-12 if case.inputs.dtype == torch.float64 else 1e-6

    def same(measured: float | None, exact: Tensor) -> bool:
        """A value of the record against the sum in float64 of what autograd gave, at whatever precision."""
        return measured == pytest.approx(exact.item(), rel=precision, abs=1e-44, nan_ok=True) or (
            measured is None and not exact.isfinite()
        )

    for layer in flow.layers:
        module = model.get_submodule(layer.name)
        if module in weights:
            assert same(layer.weight_l2, weights[module].double().norm())
            assert same(layer.weight_mean_abs, weights[module].double().abs().mean())
        else:
            assert (layer.state, layer.weight_l2) == ("frozen", None)
        if module in signals:
            signal = signals[module][layer.forward_pass].double()
            assert same(layer.signal_l2, signal.norm())
            assert same(layer.signal_rms, signal.square().mean().sqrt())
        else:
            assert layer.signal_l2 is None
    modules = {case.stages[i] for i in case.layers()}
    assert len(flow.layers) == sum(len(signals.get(module, [None])) for module in modules)


@given(cases(smooth=True, most=4), st.data())
def test_autograd_says_what_finite_differences_say(case: Case, data: st.DataObject) -> None:
    """Of one module's output in one random direction, by central differences of the rest of the network."""
    index = data.draw(st.sampled_from(case.layers()))
    module = case.stages[index]
    if case.stages.count(module) > 1:
        return  # its other call depends on the same weights, but not on this output
    with torch.no_grad():
        hidden = case.inputs
        for stage in case.stages[: index + 1]:
            hidden = stage(hidden)

        def rest(h: Tensor) -> Tensor:
            for stage in case.stages[index + 1 :]:
                h = stage(h)
            return case.loss(h)

        direction, step = torch.randn_like(hidden), 1e-5
        slope = (rest(hidden + step * direction) - rest(hidden - step * direction)) / (2 * step)
    signals, _ = by_autograd(case)
    if module in signals:
        (signal,) = signals[module]
        scale = (signal.norm() * direction.norm()).item()
        assert (signal * direction).sum().item() == pytest.approx(slope.item(), rel=1e-4, abs=1e-5 * scale + 1e-8)


@given(cases(), st.integers(1, 3))
def test_training_with_the_probe_is_training_without_it(case: Case, steps: int) -> None:
    states = []
    for probed in (False, True):
        model = case.model
        start = {name: value.clone() for name, value in model.state_dict().items()}
        parameters = [p for p in model.parameters() if p.requires_grad]
        optimizer = torch.optim.SGD(parameters, lr=0.01) if parameters else None
        probe = GradientProbe(model)
        torch.manual_seed(0)
        for _ in range(steps if optimizer else 0):
            assert optimizer is not None
            optimizer.zero_grad()
            if probed:
                with probe:
                    case.loss(model(case.inputs)).backward()
                    probe.read()
            else:
                case.loss(model(case.inputs)).backward()
            optimizer.step()
        states.append(({name: value.clone() for name, value in model.state_dict().items()}, torch.get_rng_state()))
        model.load_state_dict(start)
    (plain, plain_rng), (watched, watched_rng) = states
    assert torch.equal(plain_rng, watched_rng)
    assert all(torch.equal(plain[name], watched[name]) or plain[name].isnan().any() for name in plain)
