"""The probe: what it measures against autograd, what it leaves alone, what it says is missing."""

import copy
import io
import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from vgharness.models import DeepCNN
from vgharness.probe.outputs import output_sizes
from vgharness.probe.passes import COLUMNS
from vgharness.probe.probe import GradientProbe
from vgharness.records import ACTIVATIONS, QUANTITIES, Activation, GradientFlow, LayerGradient, State

pytestmark = pytest.mark.fast


def noise(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def mlp(widths: Sequence[int], activation: Callable[[], nn.Module] = nn.Tanh) -> nn.Sequential:
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(widths):
        layers += [nn.Linear(n_in, n_out), activation()]
    return nn.Sequential(*layers[:-1])


def measure(model: nn.Module, loss: Callable[[], Tensor], layers: Sequence[str] | None = None) -> GradientFlow:
    with GradientProbe(model, layers) as probe:
        loss().backward()
    return probe.flow()


def by_name(flow: GradientFlow) -> dict[str, LayerGradient]:
    return {layer.name: layer for layer in flow.layers}


def quantities(layer: LayerGradient) -> dict[str, float | None]:
    return {quantity: getattr(layer, quantity) for quantity in QUANTITIES}


def expected(weight: Tensor, *signals: Tensor) -> dict[str, float]:
    """The four quantities of ∂L/∂W and of every ∂L/∂h, in double precision."""
    signal = torch.cat([s.detach().double().flatten() for s in signals])
    weight = weight.detach().double()
    l2 = signal.square().sum().sqrt().item()
    return {
        "weight_mean_abs": weight.abs().mean().item(),
        "weight_l2": weight.square().sum().sqrt().item(),
        "signal_l2": l2,
        "signal_rms": l2 / math.sqrt(signal.numel()),
    }


def autograd_quantities(
    model: nn.Module, inputs: Tensor, loss: Callable[[Tensor], Tensor]
) -> dict[str, dict[str, float]]:
    """By layer of a sequential ``model``, from ``torch.autograd.grad`` on a graph with no hook in it."""
    x, names, pre_activations = inputs, [], []
    for name, module in model.named_children():
        x = module(x)
        if next(module.parameters(recurse=False), None) is not None:
            names.append(name)
            pre_activations.append(x)
    weights = [model.get_submodule(name).get_parameter("weight") for name in names]
    grads = torch.autograd.grad(loss(x), [*weights, *pre_activations])
    pairs = zip(grads[: len(names)], grads[len(names) :], strict=True)
    return {name: expected(*pair) for name, pair in zip(names, pairs, strict=True)}


def cross_entropy(outputs: Tensor) -> Tensor:
    return functional.cross_entropy(outputs, torch.arange(len(outputs)) % outputs.shape[1])


# --- the values --------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", [None, "batch"])
@pytest.mark.parametrize("activation", ["sigmoid", "relu", "gelu"])
def test_a_convolutional_networks_figures_are_autograds(activation: Activation, norm: Any) -> None:
    torch.manual_seed(0)
    model = DeepCNN(activation, pools="script", norm=norm).double()
    inputs = noise(6, 3, 32, 32, dtype=torch.float64)
    oracle = autograd_quantities(model, inputs, cross_entropy)
    flow = measure(model, lambda: cross_entropy(model(inputs)))

    assert [layer.name for layer in flow.layers] == list(oracle)
    assert flow.missed == ()
    for layer in flow.layers:
        assert layer.state == "ok"
        assert quantities(layer) == pytest.approx(oracle[layer.name], rel=1e-9)


@settings(max_examples=25)
@given(
    widths=st.lists(st.integers(1, 9), min_size=2, max_size=6),
    batch=st.integers(1, 5),
    activation=st.sampled_from([nn.Sigmoid, nn.Tanh, nn.ReLU, nn.GELU, nn.SiLU]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    seed=st.integers(0, 1000),
)
def test_any_multilayer_perceptrons_figures_are_autograds(
    widths: list[int], batch: int, activation: type[nn.Module], dtype: torch.dtype, seed: int
) -> None:
    torch.manual_seed(seed)
    model, inputs = mlp(widths, activation).to(dtype), noise(batch, widths[0], seed=seed, dtype=dtype)
    oracle = autograd_quantities(model, inputs, lambda y: y.square().sum())
    flow = measure(model, lambda: model(inputs).square().sum())
    assert [layer.name for layer in flow.layers] == list(oracle)
    for layer in flow.layers:
        assert quantities(layer) == pytest.approx(oracle[layer.name], rel=1e-6, abs=1e-37)


def test_a_linear_layers_weight_gradient_is_signal_times_input() -> None:
    model, inputs, targets = nn.Sequential(nn.Linear(3, 2)), noise(5, 3), noise(5, 2, seed=1)
    signal = 2 * (model(inputs) - targets)
    (layer,) = measure(model, lambda: (model(inputs) - targets).square().sum()).layers
    assert quantities(layer) == pytest.approx(expected(signal.T @ inputs, signal), rel=1e-6)


@settings(max_examples=15)
@given(scale=st.floats(1e-6, 1e6), activation=st.sampled_from(ACTIVATIONS))
def test_scaling_the_loss_scales_every_value(scale: float, activation: Activation) -> None:
    torch.manual_seed(0)
    model, inputs = DeepCNN(activation, depth=2, pools="script").double(), noise(2, 3, 32, 32, dtype=torch.float64)
    plain = measure(model, lambda: cross_entropy(model(inputs)))
    model.zero_grad()
    scaled = measure(model, lambda: scale * cross_entropy(model(inputs)))
    for a, b in zip(plain.layers, scaled.layers, strict=True):
        assert {k: scale * v for k, v in quantities(a).items() if v is not None} == pytest.approx(
            quantities(b), rel=1e-6
        )


def test_read_is_the_flow_as_one_tensor() -> None:
    model, inputs = mlp([4, 3, 2]), noise(5, 4)
    with GradientProbe(model) as probe:
        model(inputs).sum().backward()
        rows = probe.read()
        flow = probe.record(rows.tolist())
    assert rows.shape == (2, len(COLUMNS))
    for row, layer in zip(rows.tolist(), flow.layers, strict=True):
        assert {c: x for c, x in zip(COLUMNS, row, strict=True) if not math.isnan(x)} == quantities(layer)


def test_the_factor_per_layer_comes_from_the_flow() -> None:
    model, inputs = mlp([4, 4, 4, 2]), noise(5, 4)
    flow = measure(model, lambda: model(inputs).sum())
    signals = [layer.signal_l2 or math.nan for layer in flow.layers]
    assert flow.factor() == pytest.approx(math.sqrt(signals[0] / signals[2]))


class Backwards(nn.Module):
    """Registers its layers in the opposite order to the one in which it calls them."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(4, 2)
        self.middle = nn.Linear(4, 4)
        self.first = nn.Linear(3, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.middle(self.first(x)))


def test_layers_come_in_the_order_of_the_computation() -> None:
    """As promised; a flow in the order of registration would turn every factor upside down."""
    model = Backwards()
    flow = measure(model, lambda: model(noise(5, 3)).sum())
    assert [layer.name for layer in flow.layers] == ["first", "middle", "last"]


def test_passes_that_were_cleared_without_being_read_do_not_count() -> None:
    model, inputs = mlp([4, 3, 2]), noise(5, 4)
    once = measure(model, lambda: model(inputs).square().sum())
    with GradientProbe(model) as probe:
        for scale in (100.0, 10.0, 1.0):
            model.zero_grad()
            (scale * model(inputs).square().sum()).backward()
    assert probe.flow() == once


def test_micro_batches_accumulate_to_the_whole_batch() -> None:
    model, inputs = mlp([4, 3, 2]), noise(6, 4)
    whole = measure(model, lambda: model(inputs).square().sum())
    model.zero_grad()
    with GradientProbe(model) as probe:
        for part in inputs.split([4, 2]):
            model(part).square().sum().backward()
    for a, b in zip(whole.layers, probe.flow().layers, strict=True):
        assert quantities(b) == pytest.approx(quantities(a), rel=1e-5)


def test_reading_forgets_the_pass() -> None:
    model, inputs = mlp([4, 3, 2]), noise(5, 4)
    with GradientProbe(model) as probe:
        model(inputs).sum().backward()
        first = probe.flow()
        model.zero_grad()
        model(inputs).sum().backward()
        assert probe.flow() == first
        nothing_since = probe.flow()
    assert {layer.signal_l2 for layer in nothing_since.layers} == {None}
    assert nothing_since.missed == ("0", "2")


# --- numbers that are hard to hold -------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize(
    "gradient",
    [
        pytest.param(6e-8, id="at float16's smallest, squares underflow"),
        pytest.param(1e-4, id="squares underflow"),
        pytest.param(3e4, id="norm overflows"),
    ],
)
def test_narrow_gradients_are_measured_in_float32(dtype: torch.dtype, gradient: float) -> None:
    layer = nn.Linear(1, 32).to(dtype)
    inputs = torch.ones(1, 1, dtype=dtype)
    outgoing = torch.full((1, 32), gradient, dtype=dtype)
    outgoing[:, ::2] = 0  # a mean of half the smallest number there is
    with GradientProbe(layer) as probe:
        layer(inputs).backward(outgoing)

    (row,) = probe.flow().layers
    assert row.state == "ok"
    assert quantities(row) == pytest.approx(expected(outgoing.T, outgoing), rel=1e-5)


def test_the_norm_of_millions_of_numbers_is_accurate() -> None:
    """As many as the error signal of the README's conv2 has for one batch: summed one after the other in
    float32, a third of the digits would be gone."""
    layer = nn.Conv2d(1, 64, 1)
    outgoing = torch.randn(128, 64, 32, 32, generator=torch.Generator().manual_seed(0)) * 1e-4
    with GradientProbe(layer) as probe:
        layer(torch.ones(128, 1, 32, 32)).backward(outgoing)
    (row,) = probe.flow().layers
    norm = outgoing.double().norm().item()
    assert row.signal_l2 == pytest.approx(norm, rel=1e-5)
    assert row.signal_rms == pytest.approx(norm / math.sqrt(outgoing.numel()), rel=1e-5)


@pytest.mark.parametrize("size", [1, 1023, 1024, 5000])
def test_zeros_are_counted_exactly(size: int) -> None:
    numbers = torch.relu(noise(size))
    numbers[0] = -0.0
    for tensor in (numbers, numbers.double(), numbers.to(torch.bfloat16), numbers.expand(3, size).mT):
        (found,) = output_sizes(tensor)
        assert found.zeros == sum(value == 0 for value in tensor.reshape(-1).tolist())
    for full in (torch.full((size,), math.nan), torch.full((size,), 1e-40), torch.full((size,), 1j)):
        (found,) = output_sizes(full)
        assert found.zeros == 0


def test_double_precision_is_kept_beside_a_layer_without_values() -> None:
    model = mlp([4, 3, 2]).double()
    model.get_submodule("0").requires_grad_(False)
    inputs = noise(5, 4, dtype=torch.float64)
    layers = by_name(measure(model, lambda: 1e-60 * model(inputs).sum()))
    assert layers["2"].signal_l2 == pytest.approx(1e-60 * math.sqrt(10), rel=1e-12)


# --- it changes nothing ------------------------------------------------------------------------


def test_training_with_the_probe_is_training_without_it() -> None:
    def run(probed: bool) -> tuple[Any, ...]:
        torch.manual_seed(0)
        model = DeepCNN("relu", depth=2, pools="script", norm="batch")
        model.add_module("dropout", nn.Dropout(0.5))
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
        probe = GradientProbe(model)
        outputs = []
        for step in range(3):
            optimizer.zero_grad()
            with probe if probed else nullcontext():
                outputs.append(model(noise(4, 3, 32, 32, seed=step)))
                cross_entropy(outputs[-1]).backward()
            if probed:
                assert probe.flow().missed == ()
            optimizer.step()
        return torch.stack(outputs), dict(model.state_dict()), optimizer.state_dict(), torch.get_rng_state()

    torch.testing.assert_close(run(probed=True), run(probed=False), rtol=0, atol=0)


def hooks(model: nn.Module) -> int:
    """How many there are, on each of its modules and on all modules there are."""
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    on_all = sum(len(getattr(nn.modules.module, f"_global{kind}")) for kind in kinds)
    return on_all + sum(len(getattr(module, kind)) for module in model.modules() for kind in kinds)


class Trouble(nn.Module):
    """Raises on the way forward, or on the way back."""

    def __init__(self, error: BaseException, *, backward: bool) -> None:
        super().__init__()
        self.error, self.backward = error, backward

    def forward(self, x: Tensor) -> Tensor:
        def fail(*_: object) -> None:
            raise self.error

        if not self.backward:
            fail()
        x = x * 1
        x.register_hook(fail)  # type: ignore[no-untyped-call]
        return x


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("error", [ValueError("broken"), KeyboardInterrupt()], ids=["error", "Ctrl-C"])
def test_an_exception_in_the_model_passes_and_leaves_no_hook(error: BaseException, backward: bool) -> None:
    model = nn.Sequential(nn.Linear(3, 3), Trouble(error, backward=backward), nn.Linear(3, 2))
    with pytest.raises(type(error)):
        measure(model, lambda: model(noise(4, 3)).sum())
    assert hooks(model) == 0


@pytest.mark.parametrize("error", [ValueError(), KeyboardInterrupt(), SystemExit()], ids=repr)
def test_leaving_by_an_exception_leaves_no_hook(error: BaseException) -> None:
    model = mlp([3, 4, 2])

    def leave() -> None:
        with GradientProbe(model):
            assert hooks(model) > 0
            raise error

    with pytest.raises(type(error)):
        leave()
    assert hooks(model) == 0


def test_leaving_leaves_no_hook_on_modules_or_outputs() -> None:
    model = mlp([3, 4, 2])
    with GradientProbe(model):
        assert model(noise(4, 3))._backward_hooks
    assert hooks(model) == 0
    assert model(noise(4, 3))._backward_hooks is None


def test_a_live_probe_hooks_nothing_of_another_model() -> None:
    model, other = mlp([3, 4, 2]), mlp([3, 4, 2])
    with GradientProbe(model) as probe:
        assert other(noise(4, 3))._backward_hooks is None
        other(noise(4, 3)).sum().backward()
    assert probe.flow().missed == ("0", "2")


def test_two_probes_of_one_model_measure_the_same() -> None:
    model = mlp([3, 4, 2])
    with GradientProbe(model) as outer, GradientProbe(model) as inner:
        model(noise(4, 3)).sum().backward()
    flow = outer.flow()
    assert flow.missed == ()
    assert inner.flow() == flow
    assert hooks(model) == 0


def test_a_left_probe_sees_nothing_more() -> None:
    model, inputs = mlp([3, 4, 2]), noise(4, 3)
    with GradientProbe(model) as probe:
        pass
    model(inputs).sum().backward()
    assert {layer.signal_l2 for layer in probe.flow().layers} == {None}


def test_a_copy_made_under_a_live_probe_is_not_probed() -> None:
    model, inputs = mlp([3, 4, 2]), noise(4, 3)
    with GradientProbe(model) as probe:
        copied = copy.deepcopy(model)
        copied(inputs).sum().backward()
        assert probe.flow().missed == ("0", "2")


def test_a_model_can_be_saved_under_a_live_probe() -> None:
    model, file = mlp([3, 4, 2]), io.BytesIO()
    with GradientProbe(model):
        torch.save(model, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=False)
    assert torch.equal(loaded(noise(4, 3)), model(noise(4, 3)))


def test_a_probe_entered_twice_at_once_counts_once_and_leaves_no_hook() -> None:
    model, inputs = mlp([3, 4, 2]), noise(4, 3)
    once = measure(model, lambda: model(inputs).sum())
    model.zero_grad()
    probe = GradientProbe(model)
    with probe, probe:
        model(inputs).sum().backward()
    assert hooks(model) == 0
    assert probe.flow() == once


def test_a_probe_can_be_entered_again() -> None:
    model, inputs = mlp([3, 4, 2]), noise(4, 3)
    probe, flows = GradientProbe(model), []
    for _ in range(2):
        model.zero_grad()
        with probe:
            model(inputs).sum().backward()
        flows.append(probe.flow())
    assert flows[0] == flows[1]
    assert flows[0].missed == ()


# --- hooks: the traps --------------------------------------------------------------------------


def in_place_pair() -> tuple[nn.Sequential, nn.Sequential]:
    """The same network, with ReLU in place and not."""
    models = [nn.Sequential(nn.Linear(6, 8), nn.ReLU(inplace=inplace), nn.Linear(8, 3)) for inplace in (True, False)]
    models[1].load_state_dict(models[0].state_dict())
    return models[0], models[1]


def test_an_in_place_activation_does_not_hide_the_pre_activations_gradient() -> None:
    in_place, plain = in_place_pair()
    inputs = noise(5, 6)
    oracle = autograd_quantities(plain, inputs, lambda y: y.square().sum())
    layers = by_name(measure(in_place, lambda: in_place(inputs).square().sum()))
    assert quantities(layers["0"]) == pytest.approx(oracle["0"], rel=1e-6)


def test_naive_hooks_do_fail_at_an_in_place_activation() -> None:
    """Why the probe hooks the tensor: else the test above would prove little."""
    in_place, plain = in_place_pair()
    inputs = noise(5, 6)
    oracle = autograd_quantities(plain, inputs, lambda y: y.square().sum())

    kept: list[Tensor] = []

    def retain(module: nn.Module, inputs: Any, output: Tensor) -> None:
        output.retain_grad()
        kept.append(output)

    handle = in_place[0].register_forward_hook(retain)
    in_place(inputs).square().sum().backward()
    handle.remove()
    assert kept[0].grad is not None
    assert kept[0].grad.norm().item() > 1.1 * oracle["0"]["signal_l2"]

    in_place[0].register_full_backward_hook(lambda module, inputs, outputs: None)
    with pytest.raises(RuntimeError, match="modified inplace"):
        in_place(inputs)


class Shared(nn.Module):
    """Calls one layer several times."""

    def __init__(self, calls: int) -> None:
        super().__init__()
        self.layer, self.calls = nn.Linear(4, 4), calls

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(self.calls):
            x = torch.tanh(self.layer(x))
        return x


def test_each_call_of_a_layer_has_its_row() -> None:
    model, inputs = Shared(3), noise(5, 4)
    x, signals = inputs, []
    for _ in range(3):
        signals.append(model.layer(x))
        x = torch.tanh(signals[-1])
    weight, *grads = torch.autograd.grad(x.sum(), [model.layer.weight, *signals])

    flow = measure(model, lambda: model(inputs).sum())
    assert [(layer.name, layer.forward_pass, layer.backward_pass) for layer in flow.layers] == [
        ("layer", i, 0) for i in range(3)
    ]
    for layer, signal in zip(flow.layers, grads, strict=True):
        assert quantities(layer) == pytest.approx(expected(weight, signal), rel=1e-6)
    assert flow.factor() == pytest.approx((grads[0].norm() / grads[2].norm()).sqrt().item(), rel=1e-6)


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_activation_checkpointing_counts_each_signal_once(use_reentrant: bool) -> None:
    model = mlp([4, 5, 3])
    inputs = noise(6, 4).requires_grad_()
    plain = measure(model, lambda: model(inputs).square().sum())
    model.zero_grad()
    checkpointed = measure(model, lambda: checkpoint(model, inputs, use_reentrant=use_reentrant).square().sum())
    for a, b in zip(plain.layers, checkpointed.layers, strict=True):
        assert quantities(b) == pytest.approx(quantities(a), rel=1e-6)
    assert checkpointed.missed == ()


# --- states and missed layers -------------------------------------------------------------------


class ThreeHeads(nn.Module):
    """A body and two heads of which only one is used."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head, self.spare = nn.Linear(4, 4), nn.Linear(4, 2), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.body(x)))


def _ok(model: ThreeHeads) -> Tensor:
    return model(noise(5, 4)).sum()


def _zero(model: ThreeHeads) -> Tensor:
    return 0 * model(noise(5, 4)).sum()


def _dead(model: ThreeHeads) -> Tensor:
    return model.head(functional.relu(model.body(noise(5, 4)) - 1000)).sum()


def _frozen(model: ThreeHeads) -> Tensor:
    model.body.requires_grad_(False)
    return model(noise(5, 4)).sum()


def _frozen_between(model: ThreeHeads) -> Tensor:
    model.body.requires_grad_(False)
    return model(noise(5, 4).requires_grad_()).sum()


def _unused(model: ThreeHeads) -> Tensor:
    return model.head(noise(5, 4)).sum()


def _cut_off(model: ThreeHeads) -> Tensor:
    return model.head(model.body(noise(5, 4)).detach()).sum()


def _infinite(model: ThreeHeads) -> Tensor:
    return math.inf * model(noise(5, 4)).sum()


def _nan(model: ThreeHeads) -> Tensor:
    return model(torch.full((5, 4), math.nan)).sum()


@pytest.mark.parametrize(
    ("loss", "state", "weight", "signal", "missed"),
    [
        pytest.param(_ok, "ok", "positive", "positive", False, id="ok"),
        pytest.param(_zero, "zero", "zero", "zero", False, id="zero: loss times 0"),
        pytest.param(_dead, "zero", "zero", "zero", False, id="zero: dead"),
        pytest.param(_frozen, "frozen", "none", "none", False, id="frozen"),
        pytest.param(_frozen_between, "frozen", "none", "positive", False, id="frozen: signal passes"),
        pytest.param(_unused, "unused", "none", "none", True, id="unused: not called"),
        pytest.param(_cut_off, "unused", "none", "none", True, id="unused: cut off"),
        pytest.param(_infinite, "nonfinite", "none", "none", False, id="nonfinite: infinity"),
        pytest.param(_nan, "nonfinite", "none", "none", False, id="nonfinite: NaN"),
    ],
)
def test_five_states_are_told_apart(
    loss: Callable[[ThreeHeads], Tensor], state: State, weight: str, signal: str, missed: bool
) -> None:
    torch.manual_seed(0)
    model = ThreeHeads()
    flow = measure(model, lambda: loss(model), ["body"])
    (layer,) = flow.layers

    def kind(value: float | None) -> str:
        return "none" if value is None else "positive" if value > 0 else "zero"

    assert layer.state == state
    assert [kind(value) for value in quantities(layer).values()] == [weight, weight, signal, signal]
    assert flow.missed == (("body",) if missed else ())
    assert bool(layer.nonfinite) == (state == "nonfinite")


def test_a_layer_that_is_not_used_is_missed_beside_those_that_are() -> None:
    model = ThreeHeads()
    flow = measure(model, lambda: _ok(model))
    assert {layer.name: layer.state for layer in flow.layers} == {"body": "ok", "head": "ok", "spare": "unused"}
    assert flow.missed == ("spare",)


def test_a_call_past_the_hooks_is_missed() -> None:
    model = ThreeHeads()
    flow = measure(model, lambda: model.head(model.body.forward(noise(5, 4))).sum(), ["body", "head"])
    body = by_name(flow)["body"]
    assert flow.missed == ("body",)
    assert (body.state, body.signal_l2) == ("ok", None)
    assert body.weight_l2


class Boxed(nn.Linear):
    """A layer whose output holds its tensor in something that is neither tuple, list nor mapping."""

    def forward(self, x: Tensor) -> set[Tensor]:  # type: ignore[override]
        return {super().forward(x)}


def test_a_layer_whose_output_holds_no_tensor_that_can_be_found_is_missed() -> None:
    model = Boxed(3, 2)
    flow = measure(nn.ModuleDict({"boxed": model}), lambda: model(noise(4, 3)).pop().sum())
    assert flow.missed == ("boxed",)
    assert flow.layers[0].state == "ok"


def test_without_a_backward_pass_everything_is_missed() -> None:
    model = mlp([4, 3, 2])
    with GradientProbe(model) as probe:
        model(noise(5, 4))
        with torch.no_grad():
            model(noise(5, 4))
    flow = probe.flow()
    assert flow.missed == ("0", "2")
    assert {layer.state for layer in flow.layers} == {"unused"}


# --- which layers ------------------------------------------------------------------------------


def test_without_names_every_module_with_parameters_is_a_layer() -> None:
    model = nn.Sequential(
        nn.Embedding(7, 4), nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3)), nn.PReLU(), nn.Linear(3, 2)
    )
    flow = measure(model, lambda: model(torch.arange(5)).sum())
    assert [layer.name for layer in flow.layers] == ["0", "1.0", "1.1", "2", "3"]
    assert {layer.state for layer in flow.layers} == {"ok"}


def test_layers_are_chosen_by_name() -> None:
    model, inputs = DeepCNN("relu", depth=3, pools="script", norm="batch"), noise(2, 3, 32, 32)
    everything = by_name(measure(model, lambda: cross_entropy(model(inputs))))
    model.zero_grad()
    chosen = measure(model, lambda: cross_entropy(model(inputs)), ["conv2", "norm2", "fc"])
    assert [layer.name for layer in chosen.layers] == ["conv2", "norm2", "fc"]
    assert quantities(chosen.layers[0]) == pytest.approx(quantities(everything["conv2"]), rel=1e-6)
    assert chosen.layers[1].state == "ok"


@pytest.mark.parametrize(
    ("model", "layers", "words"),
    [
        (mlp([2, 2, 2]), ["head"], ["no layer named 'head'", "0", "1", "2"]),
        (mlp([2, 2, 2]), ["0", "1"], ["layer '1' has no parameter"]),
        (nn.Sequential(nn.Sequential(nn.Linear(2, 2))), ["0"], ["layer '0' has no parameter", "inside"]),
        (nn.Sequential(nn.ReLU(), nn.Flatten()), None, ["nothing to probe"]),
    ],
    ids=["unknown name", "no weight", "container", "no layer"],
)
def test_a_layer_that_cannot_be_probed_is_refused(model: nn.Module, layers: list[str] | None, words: list[str]) -> None:
    with pytest.raises(ValueError, match=words[0]) as caught:
        GradientProbe(model, layers)
    assert not [word for word in words if word not in str(caught.value)]
