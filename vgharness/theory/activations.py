"""The activation functions: their PyTorch modules, slopes, bounds and colours, in one table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
from scipy import special
from torch import nn

from vgharness.records import Activation
from vgharness.statistics import Array


class ActivationFunction(NamedTuple):
    """One activation φ.

    module: PyTorch's class for it.
    value: φ, elementwise.
    slope: φ', elementwise; where φ has a kink its left-hand value.
    steepest: sup|φ'|.
    monotone: whether φ never falls, so that the greatest of φ(h) is φ of the greatest h.
    color: of its curves and of text, on white; apart for readers who do not see green.
    color_on_dark: the same on a dark page.
    marker: the shape of its points, for readers who see no colour.
    """

    module: type[nn.Module]
    value: Callable[[Array], Array]
    slope: Callable[[Array], Array]
    steepest: float
    monotone: bool
    color: str
    color_on_dark: str
    marker: str


def _gelu_slope(x: Array) -> Array:
    return np.asarray(special.ndtr(x) + x * np.exp(-x * x / 2) / np.sqrt(2 * np.pi))


def _silu_slope(x: Array) -> Array:
    return np.asarray(special.expit(x) * (1 + x * special.expit(-x)))


FUNCTIONS: Final[dict[Activation, ActivationFunction]] = {
    "sigmoid": ActivationFunction(
        nn.Sigmoid, special.expit, lambda x: special.expit(x) * special.expit(-x), 0.25, True, "#B84A00", "#FF9D5C", "o"
    ),
    "tanh": ActivationFunction(nn.Tanh, np.tanh, lambda x: 1 - np.tanh(x) ** 2, 1.0, True, "#00704F", "#4FD1A5", "^"),
    "relu": ActivationFunction(
        nn.ReLU,
        lambda x: np.maximum(x, 0.0),
        lambda x: (x > 0).astype(np.float64),
        1.0,
        True,
        "#0063A5",
        "#6CB6FF",
        "s",
    ),
    # The greatest slopes lie at √2 and at the root of x·tanh(x/2) = 2.
    "gelu": ActivationFunction(
        nn.GELU,
        lambda x: x * special.ndtr(x),
        _gelu_slope,
        float(_gelu_slope(np.array(2**0.5))),
        False,
        "#A3457F",
        "#FCAAD2",
        "D",
    ),
    "silu": ActivationFunction(
        nn.SiLU,
        lambda x: x * special.expit(x),
        _silu_slope,
        float(_silu_slope(np.array(2.399357280520))),
        False,
        "#5A4E00",
        "#F3D702",
        "v",
    ),
    # No activation: the control that shows what the weights alone do.
    "identity": ActivationFunction(
        nn.Identity, lambda x: np.asarray(x), lambda x: np.ones_like(x), 1.0, True, "#24292F", "#9BA3AD", "X"
    ),
}
_BY_MODULE: Final[dict[type[nn.Module], Activation]] = {function.module: name for name, function in FUNCTIONS.items()}


def activation_of(module: nn.Module) -> Activation | None:
    """Names the activation that ``module`` is; None for any other module, subclasses of one included."""
    return _BY_MODULE.get(type(module))
