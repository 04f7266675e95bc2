"""Each trap of hooking: the naive way falls into it, the probe does not.

A trap is a function that takes how to measure, a :class:`Tool`, and asserts the right behaviour. Beside it stand the
naive ways that must fail there: were they to pass, the trap would prove nothing.
"""

import copy
import io
import math
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, Protocol

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint

from vgharness.probe.probe import GradientProbe

pytestmark = pytest.mark.fast


def noise(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


# --- the naive ways ------------------------------------------------------------------------------------


class Tool(Protocol):
    """Measures ``model`` from its making to its ``close``."""

    def __init__(self, model: nn.Module) -> None: ...

    def signals(self, name: str) -> list[float | None]:
        """‖∂L/∂h‖₂ of that layer, one per call, or one None."""

    def weight(self, name: str) -> float | None:
        """‖∂L/∂W‖₂ of that layer."""

    def silent(self, name: str) -> bool:
        """Whether the tool says nothing of its having missed that layer."""

    def close(self) -> None: ...


class Naive:
    """What is often written: a dict by layer name, read at the end, 0 for what is not there."""

    def __init__(self, model: nn.Module) -> None:
        self.model, self.found = model, dict[str, Tensor]()
        self.handles = [
            self.hook(name, module) for name, module in model.named_modules() if list(module.parameters(recurse=False))
        ]

    def hook(self, name: str, module: nn.Module) -> Any:
        raise NotImplementedError

    def signals(self, name: str) -> list[float | None]:
        return [self.found[name].norm().item() if name in self.found else 0.0]

    def weight(self, name: str) -> float | None:
        gradient = self.model.get_submodule(name).weight.grad
        return 0.0 if gradient is None else gradient.norm().item()  # type: ignore[operator, union-attr]

    def silent(self, name: str) -> bool:
        return True

    def close(self) -> None:
        for handle in self.handles:
            handle.remove()


class FullBackwardHook(Naive):
    def hook(self, name: str, module: nn.Module) -> Any:
        return module.register_full_backward_hook(lambda module, into, out: self.found.__setitem__(name, out[0]))


class InputGradient(Naive):
    """The hook's other argument."""

    def hook(self, name: str, module: nn.Module) -> Any:
        return module.register_full_backward_hook(lambda module, into, out: self.found.__setitem__(name, into[0]))


class RetainGrad(Naive):
    def hook(self, name: str, module: nn.Module) -> Any:
        def keep(module: nn.Module, inputs: Any, output: Tensor) -> None:
            output.retain_grad()
            self.outputs = {**getattr(self, "outputs", {}), name: output}

        return module.register_forward_hook(keep)

    def signals(self, name: str) -> list[float | None]:
        gradient = self.outputs[name].grad
        return [0.0 if gradient is None else gradient.norm().item()]


class CountForwards(Naive):
    """Divides what came by how often the layer ran."""

    def hook(self, name: str, module: nn.Module) -> Any:
        self.calls: dict[str, int] = {}
        self.sums: dict[str, float] = {}

        def forward(module: nn.Module, inputs: Any, output: Tensor) -> None:
            self.calls[name] = self.calls.get(name, 0) + 1
            if output.requires_grad:
                output.register_hook(
                    lambda g: self.sums.__setitem__(name, self.sums.get(name, 0.0) + g.norm().item())  # type: ignore[func-returns-value]
                )

        return module.register_forward_hook(forward)

    def signals(self, name: str) -> list[float | None]:
        return [self.sums[name] / self.calls[name]]


class ReturningHook(Naive):
    """A hook whose value is not None by an oversight."""

    def hook(self, name: str, module: nn.Module) -> Any:
        def replace(module: nn.Module, into: Any, out: Any) -> Any:
            self.found[name] = out[0]
            return tuple(gradient if gradient is None else 0 * gradient for gradient in into)

        return module.register_full_backward_hook(replace)


class ActivationHook(Naive):
    """On the activations instead, where it looks for ∂L/∂φ(h)'s way in."""

    def __init__(self, model: nn.Module) -> None:
        self.model, self.found = model, {}
        self.handles = [
            module.register_full_backward_hook(
                lambda module, into, out, name=name: self.found.__setitem__(name, into[0])
            )
            for name, module in model.named_modules()
            if isinstance(module, nn.ReLU)
        ]

    def signals(self, name: str) -> list[float | None]:
        return [next(iter(self.found.values())).norm().item() if self.found else 0.0]


class ClipNorm(FullBackwardHook):
    """The norm as what clipping by infinity returns."""

    def weight(self, name: str) -> float | None:
        nn.utils.clip_grad_norm_(self.model.parameters(), math.inf)
        return super().weight(name)


class Probe:
    live: ClassVar[list[GradientProbe]] = []

    def __init__(self, model: nn.Module) -> None:
        self.probe = GradientProbe(model).__enter__()
        self.live.append(self.probe)
        self.flow: Any = None

    def rows(self, name: str) -> list[Any]:
        self.flow = self.flow or self.probe.flow()
        return [layer for layer in self.flow.layers if layer.name == name]

    def signals(self, name: str) -> list[float | None]:
        return [row.signal_l2 for row in self.rows(name)]

    def weight(self, name: str) -> float | None:
        found: float | None = self.rows(name)[0].weight_l2
        return found

    def silent(self, name: str) -> bool:
        self.rows(name)
        return name not in self.flow.missed

    def close(self) -> None:
        self.live.remove(self.probe)
        self.probe.__exit__(None, None, None)


@pytest.fixture(autouse=True)
def no_live_probe() -> Iterator[None]:
    """A probe's hooks are torch's, and would meet the next test."""
    yield
    while Probe.live:
        Probe.live.pop().__exit__(None, None, None)


Trap = Callable[[Callable[[nn.Module], Tool]], None]
TRAPS: dict[str, tuple[Trap, tuple[type[Any], ...]]] = {}


def trap(*fallen: type[Any]) -> Callable[[Trap], Trap]:
    def register(function: Trap) -> Trap:
        TRAPS[function.__name__] = (function, fallen)
        return function

    return register


def near(value: Any) -> Any:
    return pytest.approx(value, rel=1e-5)


# --- the traps -----------------------------------------------------------------------------------------


@trap(FullBackwardHook, RetainGrad)
def in_place_activation(tool: Callable[[nn.Module], Tool]) -> None:
    model, inputs = nn.Sequential(nn.Linear(6, 8), nn.ReLU(inplace=True), nn.Linear(8, 3)), noise(5, 6)
    h = model[0](inputs)
    (signal,) = torch.autograd.grad(model[2](functional.relu(h)).square().sum(), h)
    measured = tool(model)
    model(inputs).square().sum().backward()
    assert measured.signals("0") == near([signal.norm().item()])


class Recurrent(nn.Module):
    def __init__(self, steps: int = 3) -> None:
        super().__init__()
        self.cell, self.head, self.steps = nn.Linear(4, 4), nn.Linear(4, 2), steps

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(self.steps):
            x = torch.tanh(self.cell(x))
        return self.head(x)  # type: ignore[no-any-return]


@trap(FullBackwardHook, RetainGrad)
def module_called_several_times(tool: Callable[[nn.Module], Tool]) -> None:
    model, x, hidden = Recurrent(), noise(5, 4), []
    for _ in range(3):
        hidden.append(model.cell(x))
        x = torch.tanh(hidden[-1])
    signals = torch.autograd.grad(model.head(x).sum(), hidden)
    measured = tool(model)
    model(noise(5, 4)).sum().backward()
    assert measured.signals("cell") == near([signal.norm().item() for signal in signals])


@trap(FullBackwardHook)
def frozen_unused_and_zero_are_three_things(tool: Callable[[nn.Module], Tool]) -> None:
    model = nn.ModuleDict({name: nn.Linear(3, 3) for name in ("frozen", "unused", "zero")})
    model["frozen"].requires_grad_(False)
    measured = tool(model)
    (model["frozen"](noise(2, 3)) + 0 * model["zero"](noise(2, 3))).sum().backward()
    assert [measured.weight(name) for name in model] == [None, None, 0.0]


@trap(FullBackwardHook)
def accumulated_micro_batches(tool: Callable[[nn.Module], Tool]) -> None:
    model, inputs = nn.Sequential(nn.Linear(3, 3)), noise(6, 3)
    whole = model(inputs)
    (signal,) = torch.autograd.grad(whole.square().sum(), whole)
    measured = tool(model)
    for part in inputs.split([4, 2]):
        model(part).square().sum().backward()
    assert measured.signals("0") == near([signal.norm().item()])


@trap(ClipNorm)
def one_infinite_gradient_does_not_spoil_the_others(tool: Callable[[nn.Module], Tool]) -> None:
    model = nn.ModuleDict({"good": nn.Linear(1, 1), "bad": nn.Linear(1, 1)})
    measured = tool(model)
    (model["good"](torch.ones(1, 1)) + math.inf * model["bad"](torch.ones(1, 1))).sum().backward()
    assert measured.weight("good") == 1.0
    assert measured.weight("bad") in (None, math.inf)


@trap(CountForwards)
def activation_checkpointing(tool: Callable[[nn.Module], Tool]) -> None:
    for reentrant in (True, False):
        model, inputs = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 2)), noise(4, 3).requires_grad_()
        h = model[0](inputs)
        (signal,) = torch.autograd.grad(model[2](model[1](h)).sum(), h)
        measured = tool(model)
        checkpoint(model, inputs, use_reentrant=reentrant).sum().backward()
        assert measured.signals("0") == near([signal.norm().item()])
        measured.close()


@trap(InputGradient)
def first_layer_whose_input_needs_no_gradient(tool: Callable[[nn.Module], Tool]) -> None:
    model = nn.Sequential(nn.Linear(3, 2))
    measured = tool(model)
    (3 * model(noise(4, 3))).sum().backward()
    assert measured.signals("0") == near([3 * math.sqrt(8)])


class Tagger(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.recurrent = nn.LSTM(3, 4, batch_first=True)
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.recurrent(x)[0])  # type: ignore[no-any-return]


@trap(RetainGrad)
def tuple_outputs(tool: Callable[[nn.Module], Tool]) -> None:
    model, inputs = Tagger(), noise(2, 5, 3)
    out, _ = model.recurrent(inputs)
    (signal,) = torch.autograd.grad(model.head(out).square().sum(), out)
    measured = tool(model)
    model(inputs).square().sum().backward()
    assert measured.signals("recurrent") == near([signal.norm().item()])


@trap(FullBackwardHook)
def float16_squares_underflow(tool: Callable[[nn.Module], Tool]) -> None:
    model = nn.Sequential(nn.Linear(1, 2000)).half()
    measured = tool(model)
    outgoing = torch.full((40, 2000), 1e-7, dtype=torch.float16)
    model(torch.ones(40, 1).half()).backward(outgoing * 100)
    exact = (outgoing * 100).double().norm().item()
    assert measured.signals("0") == pytest.approx([exact], rel=1e-6)


@trap(FullBackwardHook)
def float16_norm_overflows(tool: Callable[[nn.Module], Tool]) -> None:
    model = nn.Sequential(nn.Linear(1, 32)).half()
    measured = tool(model)
    model(torch.ones(1, 1).half()).backward(torch.full((1, 32), 3e4, dtype=torch.float16))
    assert measured.signals("0") == pytest.approx([math.sqrt(32) * 3e4], rel=1e-3)


@trap(RetainGrad)
def a_forward_pass_without_gradients(tool: Callable[[nn.Module], Tool]) -> None:
    model = nn.Sequential(nn.Linear(3, 2))
    measured = tool(model)
    with torch.no_grad():
        model(noise(4, 3))
    model(noise(4, 3)).sum().backward()
    assert measured.signals("0") == near([math.sqrt(8)])


@trap(FullBackwardHook, RetainGrad)
def a_copy_carries_no_hook(tool: Callable[[nn.Module], Tool]) -> None:
    model = nn.Sequential(nn.Linear(3, 2))
    measured = tool(model)
    copied = copy.deepcopy(model)
    torch.save(model.state_dict(), io.BytesIO())
    assert not copied[0]._forward_hooks
    assert not copied[0]._backward_hooks
    measured.close()


@trap(ReturningHook)
def a_hooks_value_does_not_replace_the_gradient(tool: Callable[[nn.Module], Tool]) -> None:
    model, inputs = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 2)), noise(4, 3)
    (gradient,) = torch.autograd.grad(model(inputs).sum(), model[0].weight)
    measured = tool(model)
    model(inputs).sum().backward()
    assert measured.weight("0") == near(gradient.norm().item())


@trap(FullBackwardHook, RetainGrad)
def two_passes_through_one_graph(tool: Callable[[nn.Module], Tool]) -> None:
    model = nn.Sequential(nn.Linear(3, 2))
    measured = tool(model)
    loss = model(noise(4, 3)).sum()
    loss.backward(retain_graph=True)
    (3 * loss).backward()
    assert measured.signals("0") == near([math.sqrt(8), 3 * math.sqrt(8)])


class Functional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.layer(x))


@trap(ActivationHook)
def functional_activation(tool: Callable[[nn.Module], Tool]) -> None:
    model, inputs = Functional(), noise(4, 3)
    open_units = (model.layer(inputs) > 0).sum().item()
    measured = tool(model)
    model(inputs).sum().backward()
    assert open_units
    assert measured.signals("layer") == near([math.sqrt(open_units)])


class Bypassing(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer.forward(x)


@trap(FullBackwardHook, CountForwards)
def forward_called_past_the_hooks(tool: Callable[[nn.Module], Tool]) -> None:
    model = Bypassing()
    measured = tool(model)
    model(noise(4, 3)).sum().backward()
    assert not measured.silent("layer")


class Transfers(TorchDispatchMode):
    """Counts the waits of the host for a value."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


@trap(FullBackwardHook, RetainGrad)
def one_transfer_for_all_layers(tool: Callable[[nn.Module], Tool]) -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 2))
    measured = tool(model)
    with Transfers() as transfers:
        model(noise(4, 3)).sum().backward()
        for name in "012":
            measured.signals(name)
            measured.weight(name)
    assert transfers.count <= 1


@pytest.mark.parametrize("name", TRAPS)
def test_the_probe_does_not_fall_into_the_trap(name: str) -> None:
    torch.manual_seed(0)
    TRAPS[name][0](Probe)


@pytest.mark.filterwarnings("ignore:Full backward hook is firing when gradients are computed")
@pytest.mark.parametrize(("name", "naive"), [(name, naive) for name, (_, fallen) in TRAPS.items() for naive in fallen])
def test_the_naive_way_falls_into_it(name: str, naive: type[Any]) -> None:
    torch.manual_seed(0)
    with pytest.raises((AssertionError, RuntimeError, AttributeError)):
        TRAPS[name][0](naive)
