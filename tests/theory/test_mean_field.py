"""Mean field against its own table, against quadrature by others, and against measured gradients."""

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats
from torch import Tensor, nn

from vgharness.models import MLP, DeepCNN
from vgharness.probe.probe import GradientProbe
from vgharness.records import ACTIVATIONS, Activation
from vgharness.statistics import Array
from vgharness.theory import FUNCTIONS, chi, chi_batchnorm, chi_of_model, mean_field_factors

pytestmark = pytest.mark.fast

# --- the table ---------------------------------------------------------------------------

# χ by activation at σ_w² = 1/3, 1 and 2, from the first layers to where it settles, for inputs of mean square 1
# and no bias, and with BatchNorm. Without an activation χ is σ_w² itself.
TABLE: dict[Activation, tuple[float | tuple[float, float], ...]] = {
    "identity": (1 / 3, 1.0, 2.0, 1.0),
    "sigmoid": ((0.0181, 0.0200), (0.0448, 0.0557), (0.0741, 0.101), 1.034),
    "relu": (1 / 6, 0.5, 1.0, math.pi / (math.pi - 1)),
    "tanh": ((0.2224, 0.333), (0.46, 0.88), (0.699, 1.105), 1.178),
    "gelu": ((0.1255, 0.0833), (0.456, 0.25), (0.979, 0.90), 1.319),
    "silu": ((0.1044, 0.0833), (0.380, 0.25), (0.854, 0.57), 1.212),
}


@pytest.mark.parametrize("activation", TABLE)
@pytest.mark.parametrize(("column", "weight_variance"), list(enumerate((1 / 3, 1.0, 2.0))))
def test_chi_is_the_tables(activation: Activation, column: int, weight_variance: float) -> None:
    factors = chi(activation, weight_variance=weight_variance, bias_variance=0, depth=8, q0=1)
    entry = TABLE[activation][column]
    if isinstance(entry, float):
        assert factors == pytest.approx([entry] * 8, rel=1e-9)
    else:
        assert (factors[0], factors[-1]) == pytest.approx(entry, rel=0.01)


@pytest.mark.parametrize("activation", TABLE)
def test_chi_with_batchnorm_is_the_tables(activation: Activation) -> None:
    entry = TABLE[activation][3]
    assert isinstance(entry, float)
    assert chi_batchnorm(activation) == pytest.approx(entry, rel=1e-9 if activation == "relu" else 1e-3)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_chi_is_the_integral_wherever_the_kinks_are(activation: Activation) -> None:
    """χ_2 rests on E[φ'²] and, by q_2, on E[φ²], both against scipy's adaptive quadrature."""
    phi = FUNCTIONS[activation]
    for q in (0.01, 1.0, 9.0):

        def moment(function: Callable[[Array], Array], q: float) -> float:
            kinks = sorted({-12.0, -1.0, 0.0, 1.0, 12.0} | {k / math.sqrt(q) for k in phi.kinks})
            return sum(
                integrate.quad(lambda z: float(function(np.array(math.sqrt(q) * z)) ** 2 * stats.norm.pdf(z)), *piece)[
                    0
                ]
                for piece in pairwise(each for each in kinks if abs(each) <= 12)
            )

        found = chi(activation, weight_variance=1, bias_variance=0, depth=2, q0=q)
        assert found == pytest.approx([moment(phi.slope, q), moment(phi.slope, moment(phi.value, q))], rel=1e-7)


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


# --- against measurement -----------------------------------------------------------------


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
                layers += [linear, *([nn.BatchNorm1d(width)] if norm else []), FUNCTIONS[activation].module()]
            model = nn.Sequential(*layers, nn.Linear(width, 10, bias=False))
            inputs, outgoing = torch.randn(64, width), torch.randn(64, 10)
        names = [name for name, m in model.named_modules() if isinstance(m, nn.Linear)]
        with GradientProbe(model, names) as probe:
            model(inputs).backward(outgoing)
        signals = torch.tensor([x.signal_l2 for x in probe.flow().layers[:-1]])
        ratios.append((signals[:-1] / signals[1:]) ** 2)
    return torch.stack(ratios).mean(0)


# What shrinks to nothing near zero passes a signal by few units only: a network of finite width is far from the mean.
TYPICAL = [each for each in ACTIVATIONS if not each.endswith("shrink")]


@pytest.mark.parametrize("activation", TYPICAL)
@pytest.mark.parametrize("weight_variance", [1 / 3, 1.0, 2.0])
def test_wide_networks_do_as_mean_field_says(activation: Activation, weight_variance: float) -> None:
    # The factor from layer l+1 to layer l is χ_l: φ' is taken at layer l's own pre-activation.
    predicted = chi(activation, weight_variance=weight_variance, bias_variance=0, depth=6, q0=1)[:5]
    assert measured_chi(activation, weight_variance).numpy() == pytest.approx(predicted, rel=0.15)


@pytest.mark.parametrize("activation", TYPICAL)
def test_wide_networks_with_batchnorm_do_as_mean_field_says(activation: Activation) -> None:
    found = measured_chi(activation, 1 / 3, norm=True)[1:]  # the first layer's input was not normalised
    assert found.numpy() == pytest.approx([chi_batchnorm(activation)] * 4, rel=0.05)


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


# --- of a model as it is ------------------------------------------------------------------------------


def test_a_models_factors_are_the_roots_of_its_chi() -> None:
    torch.manual_seed(0)
    model, inputs = MLP([30, 20, 10, 5], "tanh"), torch.randn(4, 30)
    factors = mean_field_factors(model, inputs)
    assert list(factors) == ["fc1", "fc2"]
    assert list(factors.values()) == pytest.approx([math.sqrt(x) for x in chi_of_model(model, "tanh", inputs)])


def test_an_identity_is_an_activation_alone_and_nothing_beside_another() -> None:
    torch.manual_seed(0)
    first, last, inputs = nn.Linear(4, 4), nn.Linear(4, 4), torch.ones(2, 4)

    def factors(*between: nn.Module) -> list[float]:
        return list(mean_field_factors(nn.Sequential(first, *between, last), inputs).values())

    alone = math.sqrt(float(last.weight.detach().double().square().mean()) * 4)
    assert factors(nn.Identity()) == pytest.approx([alone], rel=1e-12)
    assert factors(nn.Identity(), nn.Tanh()) == factors(nn.Tanh()) != factors(nn.Identity())


@pytest.mark.parametrize(
    ("modules", "reason"),
    [
        ([nn.BatchNorm1d(4), nn.Tanh()], "BatchNorm1d"),
        ([nn.Tanh(), nn.MaxPool1d(2)], "MaxPool1d"),
        ([nn.Tanh(), nn.ReLU()], "has 2"),
        ([], "has 0"),
    ],
)
def test_a_model_of_which_mean_field_says_nothing_is_refused(modules: list[nn.Module], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        mean_field_factors(nn.Sequential(nn.Linear(4, 4), *modules, nn.Linear(4, 4)), torch.ones(2, 4))


def test_what_comes_in_counts_by_its_mean_square_not_by_its_variance() -> None:
    """Images have a mean: at 3 sigmoid passes far less of the signal than at 0 with the same spread."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(400, 400), nn.Sigmoid(), nn.Linear(400, 400), nn.Sigmoid(), nn.Linear(400, 10))
    inputs = 3 + 0.1 * torch.randn(64, 400)
    expected = chi_of_model(model, "sigmoid", torch.full((64, 400), math.sqrt(9.01)))
    assert chi_of_model(model, "sigmoid", inputs) == pytest.approx(expected, rel=1e-3)
    around_zero = chi_of_model(model, "sigmoid", inputs - 3)
    assert expected[0] < 0.8 * around_zero[0]
    with GradientProbe(model) as probe:
        model(inputs).backward(torch.randn(64, 10))
    measured = probe.flow().factors()[0]
    assert measured == pytest.approx(math.sqrt(expected[0]), rel=0.1)
