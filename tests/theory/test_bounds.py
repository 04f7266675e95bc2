"""Bounds of the error signal against plain autograd, for the document's networks and for any others."""

import copy
import math
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from vgharness.models import DeepCNN
from vgharness.probe.probe import GradientProbe
from vgharness.records import ACTIVATIONS, Activation
from vgharness.theory import FUNCTIONS, bound, operator_norm_bound

pytestmark = pytest.mark.fast


def per_sample_signals(model: nn.Module, inputs: Tensor, outgoing: Tensor) -> dict[str, Tensor]:
    """‖δ‖₂ of each sample at each linear or convolution layer: by plain autograd, not by the probe."""
    hidden, outputs = inputs, {}
    for name, module in model.named_children():
        hidden = module(hidden)
        if isinstance(module, nn.Linear | nn.Conv2d):
            outputs[name] = hidden
    signals = torch.autograd.grad(hidden, list(outputs.values()), outgoing)
    return {name: signal.flatten(1).norm(dim=1) for name, signal in zip(outputs, signals, strict=True)}


@st.composite
def networks(draw: st.DrawFn, activations: Sequence[Activation] = ACTIVATIONS) -> nn.Sequential:
    """Convolutions with pools between them and linear layers behind, of any weights, small or huge."""
    activation = draw(st.sampled_from(activations))
    torch.manual_seed(draw(st.integers(0, 2**31)))
    channels, size = draw(st.integers(1, 4)), 8
    layers: list[nn.Module] = []
    for _ in range(draw(st.integers(0, 3))):
        width, groups = draw(st.integers(1, 4)), 1
        if channels == width and draw(st.booleans()):
            groups = channels
        layers += [nn.Conv2d(channels, width, 3, padding=1, groups=groups), FUNCTIONS[activation].module()]
        channels = width
        if size > 2 and draw(st.booleans()):
            layers.append(draw(st.sampled_from([nn.MaxPool2d, nn.AvgPool2d]))(2))
            size //= 2
    layers.append(nn.Flatten())
    width = channels * size * size
    for _ in range(draw(st.integers(0, 3))):
        following = draw(st.integers(1, 16))
        layers += [nn.Linear(width, following), FUNCTIONS[activation].module()]
        width = following
    model = nn.Sequential(*layers, nn.Linear(width, 3)).double()
    scale = draw(st.sampled_from([0.1, 1.0, 5.0]))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(scale)
    return model


def first_channels(model: nn.Sequential) -> int:
    first = model[0]
    return first.in_channels if isinstance(first, nn.Conv2d) else model[1].in_features // 64


@pytest.mark.deep
@given(networks(), st.integers(1, 4))
def test_no_sample_of_any_network_breaks_the_bound(model: nn.Sequential, batch: int) -> None:
    generator = torch.Generator().manual_seed(batch)
    inputs = torch.randn(batch, first_channels(model), 8, 8, dtype=torch.float64, generator=generator)
    signals = per_sample_signals(model, inputs, torch.randn(batch, 3, dtype=torch.float64, generator=generator))
    for layer, above, factor in bound(model):
        assert (signals[layer] <= factor * signals[above] * (1 + 1e-9)).all()


@pytest.mark.parametrize(
    ("activation", "pools"), [*((each, "script") for each in ACTIVATIONS), ("sigmoid", "readme"), ("relu", "readme")]
)
def test_the_documents_networks_keep_to_the_bound_trained_or_not(activation: Activation, pools: str) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = DeepCNN(activation, pools=pools).double()  # type: ignore[arg-type]
        inputs = torch.randn(2, 3, 32, 32, dtype=torch.float64)
        outgoing = torch.randn(2, 10, dtype=torch.float64)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    for _ in range(2):
        signals = per_sample_signals(model, inputs, outgoing)
        bounds = bound(model)
        assert [(b.layer, b.above) for b in bounds] == [
            ("conv1", "conv2"), ("conv2", "conv3"), ("conv3", "conv4"), ("conv4", "fc")
        ]  # fmt: skip
        assert all((signals[b.layer] <= b.factor * signals[b.above]).all() for b in bounds)
        optimizer.zero_grad()
        model(inputs).backward(outgoing)
        optimizer.step()


def test_the_bound_of_a_linear_network_is_reached() -> None:
    """Not merely large: along the leading singular vector nothing is lost."""
    linear = nn.Linear(5, 4, bias=False).double()
    model = nn.Sequential(nn.Linear(3, 5).double(), nn.Identity(), linear)
    left = torch.linalg.svd(linear.weight.detach())[0][:, 0]
    signals = per_sample_signals(model, torch.randn(1, 3, dtype=torch.float64), left[None])
    ((layer, above, factor),) = bound(model)
    assert (signals[layer] / signals[above]).item() == pytest.approx(factor)


@pytest.mark.deep
@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.integers(0, 2**31))
def test_no_convolution_stretches_more_than_its_norm_bound(into: int, out: int, kernel: int, seed: int) -> None:
    torch.manual_seed(seed)
    layer = nn.Conv2d(into, out, kernel, padding=kernel // 2, bias=False).double()
    shape = (into, 6, 6)
    columns = torch.eye(into * 36, dtype=torch.float64).view(-1, *shape)
    matrix = layer(columns).detach().flatten(1)
    exact = torch.linalg.matrix_norm(matrix, 2).item()
    found = operator_norm_bound(layer)
    assert exact <= found * (1 + 1e-9)
    if kernel == 1:
        assert found == pytest.approx(exact)


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        (nn.BatchNorm1d(4), "BatchNorm1d"),
        (nn.MaxPool2d(3, stride=2), "overlap"),
        (nn.AvgPool2d(2, padding=1), "pad nothing"),
        (nn.Conv2d(1, 1, 3, padding=1, padding_mode="circular"), "circular"),
        (nn.Softmax(1), "Softmax"),
    ],
)
def test_what_has_no_known_bound_is_refused(module: nn.Module, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        bound(nn.Sequential(nn.Linear(4, 4), module, nn.Linear(4, 4)))


# --- sigmoid shrinks, in the forms in which it is true -------------------------------------------------


@pytest.mark.deep
@given(st.integers(1, 8), st.integers(1, 16), st.floats(0.1, 3.99), st.integers(0, 2**31))
def test_sigmoid_is_sure_to_shrink_while_the_norm_is_below_4(depth: int, width: int, norm: float, seed: int) -> None:
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for _ in range(depth + 1):
        linear = nn.Linear(width, width).double()
        with torch.no_grad():
            linear.weight.mul_(norm / torch.linalg.matrix_norm(linear.weight, 2))
        layers += [linear, nn.Sigmoid()]
    model = nn.Sequential(*layers[:-1])
    signals = per_sample_signals(model, torch.randn(4, width, dtype=torch.float64), torch.ones(4, width).double())
    for layer, above, factor in bound(model):
        assert factor < 1
        assert (signals[layer] < signals[above]).all()


def test_sigmoid_need_not_shrink_beyond() -> None:
    """Not a universal truth: weights of norm 8 at the steepest point double the signal."""
    first, second = nn.Linear(1, 1, bias=False).double(), nn.Linear(1, 1, bias=False).double()
    with torch.no_grad():
        second.weight.fill_(8)
    model = nn.Sequential(first, nn.Sigmoid(), second)
    signals = per_sample_signals(model, torch.zeros(1, 1).double(), torch.ones(1, 1).double())
    assert (signals["0"] / signals["2"]).item() == pytest.approx(2)


def probed(model: nn.Module, inputs: Tensor, outgoing: Tensor) -> dict[str, float]:
    """‖δ‖₂ of the batch at each layer, as the probe measures it."""
    with GradientProbe(model) as probe:
        model(inputs).backward(outgoing)
    signals = {layer.name: layer.signal_l2 for layer in probe.flow().layers}
    assert None not in signals.values()
    return signals  # type: ignore[return-value]  # none is None


@pytest.mark.deep
@given(networks(["sigmoid"]), st.integers(1, 4))
def test_the_probe_sees_no_sigmoid_network_beyond_its_bound(model: nn.Sequential, batch: int) -> None:
    """What no sample exceeds the batch does not: convolutions or not, whatever depth, width and weights."""
    generator = torch.Generator().manual_seed(batch)
    inputs = torch.randn(batch, first_channels(model), 8, 8, dtype=torch.float64, generator=generator)
    signals = probed(model, inputs, torch.randn(batch, 3, dtype=torch.float64, generator=generator))
    for layer, above, factor in bound(model):
        weights = operator_norm_bound(model.get_submodule(above))  # type: ignore[arg-type]
        assert 0 < signals[layer] <= factor * signals[above] * (1 + 1e-6)
        # sup φ' is 1/4, and no pool here adds to it.
        assert factor <= weights / 4 * (1 + 1e-9)


@st.composite
def fresh_networks(draw: st.DrawFn) -> nn.Sequential:
    """Sigmoid networks as they are initialised, of random depth, width and variance, with convolutions or without."""
    torch.manual_seed(draw(st.integers(0, 2**31)))
    depth, width = draw(st.integers(1, 6)), draw(st.integers(16, 32))
    deviation = math.sqrt(draw(st.sampled_from([1 / 3, 1.0, 2.0])))
    is_conv = draw(st.booleans())
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [nn.Conv2d(width, width, 3, padding=1) if is_conv else nn.Linear(width, width), nn.Sigmoid()]
    model = nn.Sequential(*layers, *([nn.Flatten()] if is_conv else []), nn.Linear(16 * width if is_conv else width, 8))
    for layer in model:
        if isinstance(layer, nn.Linear | nn.Conv2d):
            nn.init.normal_(layer.weight, std=deviation / math.sqrt(layer.weight[0].numel()))
    return model


@pytest.mark.deep
@given(fresh_networks())
def test_a_sigmoid_network_shrinks_more_than_its_twins_with_the_same_weights(model: nn.Sequential) -> None:
    """Not one by one, for a single vector may be turned to where weights shrink it; over a batch, at initialisation,
    each layer does. The twins have ReLU, and no activation at all."""
    first = model[0]
    is_conv = isinstance(first, nn.Conv2d)
    width = first.weight.shape[1]  # type: ignore[index, union-attr]
    inputs = torch.randn(16, width, 4, 4) if is_conv else torch.randn(16, width)
    outgoing = torch.randn(16, 8)
    signals = probed(model, inputs, outgoing)
    for activation in (nn.ReLU, nn.Identity):
        twin = copy.deepcopy(model)
        for name, module in twin.named_children():
            if isinstance(module, nn.Sigmoid):
                twin.set_submodule(name, activation())
        other = probed(twin, inputs, outgoing)
        for layer, above, _ in bound(model):
            assert signals[layer] / signals[above] < other[layer] / other[above]
