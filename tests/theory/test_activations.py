"""The table of activation functions against PyTorch's, and against a grid of points."""

from typing import get_args

import numpy as np
import pytest
import torch
from scipy import optimize
from torch import nn
from torch.nn.modules.activation import __all__ as torch_activations

from vgharness.records import ACTIVATIONS, Activation
from vgharness.theory import FUNCTIONS, activation_of

pytestmark = pytest.mark.fast

MODULES: dict[Activation, type[nn.Module]] = {
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "identity": nn.Identity,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "selu": nn.SELU,
    "celu": nn.CELU,
    "mish": nn.Mish,
    "prelu": nn.PReLU,
    "softplus": nn.Softplus,
    "softsign": nn.Softsign,
    "hardtanh": nn.Hardtanh,
    "hardsigmoid": nn.Hardsigmoid,
    "hardswish": nn.Hardswish,
    "relu6": nn.ReLU6,
    "logsigmoid": nn.LogSigmoid,
    "tanhshrink": nn.Tanhshrink,
    "softshrink": nn.Softshrink,
    "hardshrink": nn.Hardshrink,
}
GRID = np.linspace(-24, 24, 12001)  # every kink is in it


def test_every_activation_has_its_functions() -> None:
    assert set(FUNCTIONS) == set(get_args(Activation)) == {*MODULES, "own"}


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_an_activation_is_known_by_its_module_alone(activation: Activation) -> None:
    class Own(MODULES[activation]):  # type: ignore[misc, name-defined]
        """May compute anything."""

    assert FUNCTIONS[activation].module is MODULES[activation]
    assert activation_of(MODULES[activation]()) == activation
    assert activation_of(Own()) is None


def test_other_modules_are_no_activation() -> None:
    assert [activation_of(module) for module in (nn.Linear(2, 2), nn.RReLU(), nn.Flatten())] == [None] * 3


def test_every_elementwise_activation_of_pytorch_that_needs_no_argument_is_in_the_table() -> None:
    left_out = {"GLU", "MultiheadAttention", "RReLU", "Softmax", "Softmax2d", "Softmin", "LogSoftmax", "Threshold"}
    assert {module.__name__ for module in MODULES.values()} == {*torch_activations, "Identity"} - left_out


def test_an_activation_with_other_arguments_or_a_trained_slope_is_another() -> None:
    trained = nn.PReLU()
    nn.init.constant_(trained.weight, 0.1)
    others = (nn.LeakyReLU(0.3), nn.ELU(2.0), nn.Hardtanh(-2, 2), nn.Softplus(2.0), nn.GELU("tanh"), trained)
    assert [activation_of(module) for module in others] == [None] * len(others)
    same = (nn.ReLU(inplace=True), nn.LeakyReLU(inplace=True), nn.PReLU(5))
    assert [activation_of(module) for module in same] == ["relu", "leaky_relu", "prelu"]


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_values_and_slopes_are_pytorchs(activation: Activation) -> None:
    x = torch.tensor(GRID).requires_grad_()
    y = MODULES[activation]().double()(x)
    (slope,) = torch.autograd.grad(y.sum(), x)
    phi = FUNCTIONS[activation]
    assert set(phi.kinks) <= {-3, -1, -0.5, 0, 0.5, 1, 3, 6}
    assert np.isin(phi.kinks, GRID).all()
    np.testing.assert_allclose(phi.value(GRID), y.detach().numpy(), atol=1e-12)
    np.testing.assert_allclose(phi.slope(GRID), slope.numpy(), atol=1e-12)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_slope_is_the_derivative_of_the_value(activation: Activation) -> None:
    phi, step = FUNCTIONS[activation], 1e-4
    points = GRID[np.abs(GRID[:, None] - np.array([*phi.kinks, 20.0])).min(axis=1) > 2 * step]
    difference = (phi.value(points + step) - phi.value(points - step)) / (2 * step)
    np.testing.assert_allclose(phi.slope(points), difference, atol=1e-7)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_no_slope_is_steeper_than_the_steepest_and_one_is_as_steep(activation: Activation) -> None:
    phi = FUNCTIONS[activation]
    slopes = np.abs(phi.slope(GRID))
    near = GRID[slopes.argmax()]
    found = optimize.minimize_scalar(lambda x: -abs(phi.slope(np.array(x))), bounds=(near - 0.01, near + 0.01))
    # The greatest may be the limit at a kink.
    beside = np.abs(phi.slope(np.array([kink + side for kink in phi.kinks for side in (-1e-10, 1e-10)])))
    assert slopes.max() <= phi.steepest * (1 + 1e-12)
    assert max(slopes.max(), -found.fun, *beside) == pytest.approx(phi.steepest, rel=1e-9)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_monotone_is_what_never_falls(activation: Activation) -> None:
    phi = FUNCTIONS[activation]
    falls = bool((np.diff(phi.value(GRID)) < -1e-12).any())
    if activation == "prelu":  # its slope may be trained to be negative
        assert not phi.monotone
        return
    assert phi.monotone is not falls
    assert phi.monotone is bool((phi.slope(GRID) >= 0).all())


def test_no_two_activations_are_drawn_alike() -> None:
    assert len({function.marker for function in FUNCTIONS.values()}) == len(FUNCTIONS)
    assert len({(function.color, function.dash) for function in FUNCTIONS.values()}) == len(FUNCTIONS)
    assert len({function.color for function in FUNCTIONS.values()}) == 7
