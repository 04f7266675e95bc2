"""The table of activation functions against PyTorch's, and against a grid of points."""

from typing import get_args

import numpy as np
import pytest
import torch
from scipy import optimize
from torch import nn

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
}
GRID = np.linspace(-8, 8, 4001)


def test_every_activation_has_its_functions() -> None:
    assert set(FUNCTIONS) == set(get_args(Activation)) == set(MODULES)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_an_activation_is_known_by_its_module_alone(activation: Activation) -> None:
    class Own(MODULES[activation]):  # type: ignore[misc, name-defined]
        """May compute anything."""

    assert FUNCTIONS[activation].module is MODULES[activation]
    assert activation_of(MODULES[activation]()) == activation
    assert activation_of(Own()) is None


def test_other_modules_are_no_activation() -> None:
    assert [activation_of(module) for module in (nn.Linear(2, 2), nn.LeakyReLU(), nn.Flatten())] == [None] * 3


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_values_and_slopes_are_pytorchs(activation: Activation) -> None:
    x = torch.tensor(GRID).requires_grad_()
    y = MODULES[activation]()(x)
    (slope,) = torch.autograd.grad(y.sum(), x)
    phi = FUNCTIONS[activation]
    assert 0 in GRID  # where ReLU has its kink
    np.testing.assert_allclose(phi.value(GRID), y.detach().numpy(), atol=1e-12)
    np.testing.assert_allclose(phi.slope(GRID), slope.numpy(), atol=1e-12)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_slope_is_the_derivative_of_the_value(activation: Activation) -> None:
    phi, step = FUNCTIONS[activation], 1e-4
    points = GRID[np.abs(GRID) > step]
    difference = (phi.value(points + step) - phi.value(points - step)) / (2 * step)
    np.testing.assert_allclose(phi.slope(points), difference, atol=1e-7)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_no_slope_is_steeper_than_the_steepest_and_one_is_as_steep(activation: Activation) -> None:
    phi = FUNCTIONS[activation]
    slopes = np.abs(phi.slope(GRID))
    near = GRID[slopes.argmax()]
    found = optimize.minimize_scalar(lambda x: -abs(phi.slope(np.array(x))), bounds=(near - 0.01, near + 0.01))
    assert slopes.max() <= phi.steepest * (1 + 1e-12)
    assert max(slopes.max(), -found.fun) == pytest.approx(phi.steepest, rel=1e-9)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_monotone_is_what_never_falls(activation: Activation) -> None:
    phi = FUNCTIONS[activation]
    falls = bool((np.diff(phi.value(GRID)) < -1e-12).any())
    assert phi.monotone is not falls
    assert phi.monotone is bool((phi.slope(GRID) >= 0).all())


@pytest.mark.parametrize("mark", ["color", "marker"])
def test_no_two_activations_are_drawn_alike(mark: str) -> None:
    assert len({getattr(function, mark) for function in FUNCTIONS.values()}) == len(FUNCTIONS)
