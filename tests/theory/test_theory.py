"""Theory against its own table, against quadrature by others, and against measured gradients."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats
from torch import Tensor, nn

from vgharness.models import DeepCNN
from vgharness.probe.probe import GradientProbe
from vgharness.records import ACTIVATIONS, Activation
from vgharness.theory import FUNCTIONS, bound, chi, chi_batchnorm, operator_norm_bound

pytestmark = pytest.mark.fast

MODULES: dict[Activation, type[nn.Module]] = {
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
}


# --- the nonlinearities -----------------------------------------------------------------------------


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_values_slopes_and_steepest_are_pytorchs(activation: Activation) -> None:
    x = torch.linspace(-8, 8, 4001, dtype=torch.float64)[torch.arange(4001) != 2000].requires_grad_()
    y = MODULES[activation]()(x)
    (slope,) = torch.autograd.grad(y.sum(), x)
    phi = FUNCTIONS[activation]
    np.testing.assert_allclose(phi.value(x.detach().numpy()), y.detach().numpy(), atol=1e-12)
    np.testing.assert_allclose(phi.slope(x.detach().numpy()), slope.numpy(), atol=1e-12)
    greatest = slope.abs().max().item()
    assert greatest <= phi.steepest + 1e-12
    assert greatest == pytest.approx(phi.steepest, abs=1e-4)


# --- mean field: the table ---------------------------------------------------------------------------

# χ by activation at σ_w² = 1/3, 1 and 2, from the first layers to where it settles, for inputs of mean square 1
# and no bias, and with BatchNorm.
TABLE: dict[Activation, tuple[float | tuple[float, float], ...]] = {
    "sigmoid": ((0.0181, 0.0200), (0.0448, 0.0557), (0.0741, 0.101), 1.034),
    "relu": (1 / 6, 0.5, 1.0, math.pi / (math.pi - 1)),
    "tanh": ((0.2224, 0.333), (0.46, 0.88), (0.699, 1.105), 1.178),
    "gelu": ((0.1255, 0.0833), (0.456, 0.25), (0.979, 0.90), 1.319),
    "silu": ((0.1044, 0.0833), (0.380, 0.25), (0.854, 0.57), 1.212),
}


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(("column", "weight_variance"), list(enumerate((1 / 3, 1.0, 2.0))))
def test_chi_is_the_tables(activation: Activation, column: int, weight_variance: float) -> None:
    factors = chi(activation, weight_variance=weight_variance, bias_variance=0, depth=8, q0=1)
    entry = TABLE[activation][column]
    if isinstance(entry, float):
        assert factors == pytest.approx([entry] * 8, rel=1e-9)
    else:
        assert (factors[0], factors[-1]) == pytest.approx(entry, rel=0.01)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_chi_with_batchnorm_is_the_tables(activation: Activation) -> None:
    entry = TABLE[activation][3]
    assert isinstance(entry, float)
    assert chi_batchnorm(activation) == pytest.approx(entry, rel=1e-9 if activation == "relu" else 1e-3)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("q", [0.01, 1.0, 9.0])
def test_the_first_chi_is_the_integral(activation: Activation, q: float) -> None:
    def integrand(z: float) -> float:
        return float(FUNCTIONS[activation].slope(np.array(math.sqrt(q) * z)) ** 2 * stats.norm.pdf(z))

    expected = sum(integrate.quad(integrand, *half)[0] for half in ((-np.inf, 0), (0, np.inf)))
    (found,) = chi(activation, weight_variance=1, bias_variance=0, depth=1, q0=q)
    assert found == pytest.approx(expected, rel=1e-6)


def test_the_bias_enters_the_first_and_every_later_q() -> None:
    """A bias alone (no weights) leaves q = σ_b² everywhere; weights scale χ."""
    a = chi("tanh", weight_variance=1e-12, bias_variance=2, depth=3, q0=5)
    b = chi("tanh", weight_variance=1e-12, bias_variance=2, depth=3, q0=7)
    assert a == pytest.approx(b)
    assert a / 1e-12 == pytest.approx(chi("tanh", weight_variance=1, bias_variance=0, depth=1, q0=2)[0].repeat(3))


@pytest.mark.parametrize("wrong", [{"weight_variance": -1}, {"bias_variance": -1}, {"q0": -1}, {"depth": 0}])
def test_chi_refuses_what_has_no_meaning(wrong: dict[str, float]) -> None:
    arguments = {"weight_variance": 1, "bias_variance": 0, "depth": 1, "q0": 1} | wrong
    with pytest.raises(ValueError, match="or more"):
        chi("relu", **arguments)  # type: ignore[arg-type]


# --- mean field: against measurement -----------------------------------------------------------------


def measured_chi(activation: Activation, weight_variance: float, *, norm: bool = False, depth: int = 6) -> Tensor:
    """‖δ_l‖² ÷ ‖δ_{l+1}‖² of a random network of width 512, mean over two of them: [depth - 1]."""
    width, ratios = 512, []
    for seed in range(2):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            layers: list[nn.Module] = []
            for _ in range(depth):
                linear = nn.Linear(width, width, bias=False)
                nn.init.normal_(linear.weight, std=math.sqrt(weight_variance / width))
                layers += [linear, *([nn.BatchNorm1d(width)] if norm else []), MODULES[activation]()]
            model = nn.Sequential(*layers, nn.Linear(width, 10, bias=False))
            inputs, outgoing = torch.randn(64, width), torch.randn(64, 10)
        names = [name for name, m in model.named_modules() if isinstance(m, nn.Linear)]
        with GradientProbe(model, names) as probe:
            model(inputs).backward(outgoing)
        signals = torch.tensor([x.signal_l2 for x in probe.flow().layers[:-1]])
        ratios.append((signals[:-1] / signals[1:]) ** 2)
    return torch.stack(ratios).mean(0)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("weight_variance", [1 / 3, 1.0, 2.0])
def test_wide_networks_do_as_mean_field_says(activation: Activation, weight_variance: float) -> None:
    # The factor from layer l+1 to layer l is χ_l: φ' is taken at layer l's own pre-activation.
    predicted = chi(activation, weight_variance=weight_variance, bias_variance=0, depth=6, q0=1)[:5]
    assert measured_chi(activation, weight_variance).numpy() == pytest.approx(predicted, rel=0.15)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_wide_networks_with_batchnorm_do_as_mean_field_says(activation: Activation) -> None:
    found = measured_chi(activation, 1 / 3, norm=True)[1:]  # the first layer's input was not normalised
    assert found.numpy() == pytest.approx([chi_batchnorm(activation)] * 4, rel=0.05)


# --- bound ---------------------------------------------------------------------------------------------


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
def networks(draw: st.DrawFn) -> nn.Sequential:
    """Convolutions with pools between them and linear layers behind, of any weights, small or huge."""
    activation = draw(st.sampled_from(ACTIVATIONS))
    torch.manual_seed(draw(st.integers(0, 2**31)))
    channels, size = draw(st.integers(1, 4)), 8
    layers: list[nn.Module] = []
    for _ in range(draw(st.integers(0, 3))):
        width, groups = draw(st.integers(1, 4)), 1
        if channels == width and draw(st.booleans()):
            groups = channels
        layers += [nn.Conv2d(channels, width, 3, padding=1, groups=groups), MODULES[activation]()]
        channels = width
        if size > 2 and draw(st.booleans()):
            layers.append(draw(st.sampled_from([nn.MaxPool2d, nn.AvgPool2d]))(2))
            size //= 2
    layers.append(nn.Flatten())
    width = channels * size * size
    for _ in range(draw(st.integers(0, 3))):
        following = draw(st.integers(1, 16))
        layers += [nn.Linear(width, following), MODULES[activation]()]
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


@pytest.mark.parametrize("pools", ["readme", "script"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
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


@settings(max_examples=10)
@given(st.integers(0, 2**31), st.sampled_from(["readme", "script"]))
def test_at_default_init_sigmoid_shrinks_more_than_relu_with_the_same_weights(seed: int, pools: str) -> None:
    """In distribution, of the error signal ‖∂L/∂h‖₂."""
    factors = {}
    for activation in ("sigmoid", "relu"):
        torch.manual_seed(seed)
        model = DeepCNN(activation, pools=pools)  # type: ignore[arg-type]
        with GradientProbe(model) as probe:
            images, labels = torch.randn(8, 3, 32, 32), torch.randint(10, (8,))
            nn.functional.cross_entropy(model(images), labels).backward()
        factors[activation] = probe.flow().select("conv*").factor("signal_l2")
    assert factors["sigmoid"] < 0.5
    assert factors["sigmoid"] < factors["relu"]
