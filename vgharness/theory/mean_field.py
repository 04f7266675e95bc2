"""Mean-field theory: the error signal's change from layer to layer in a wide network at initialisation.

Poole et al. 2016; Schoenholz et al. 2017; for convolutions Xiao et al. 2018. With Var W = σ_w²/fan_in, Var b = σ_b²,
z ~ N(0, 1) and an input x_0 of n_0 elements::

    q_1 = σ_w² ‖x_0‖²/n_0 + σ_b²      q_l = σ_w² E[φ(√q_{l-1} z)²] + σ_b²
    χ_l = σ_w² E[φ'(√q_l z)²]         E‖δ_l‖₂² = χ_l · E‖δ_{l+1}‖₂²

for wide layers with independent zero-mean weights, at initialisation, without residuals, whatever the widths. It does
not hold across a max-pool (φ' is taken at the arg-max, not at a typical unit); a k×k average pool multiplies χ by
1/k².
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
from torch import Tensor, nn

from vgharness.records import Activation
from vgharness.statistics import Array
from vgharness.theory.activations import FUNCTIONS, ActivationFunction, activation_of

_NODES = 200  # of the quadrature, in each piece
_REACH = 12.0  # standard deviations that it covers


def chi(activation: Activation, *, weight_variance: float, bias_variance: float, depth: int, q0: float) -> Array:
    """Computes χ_1 … χ_depth, layer by layer: the first ones may be far from the fixed point that they settle at.

    activation: φ.
    weight_variance: σ_w², the weights' variance times fan_in (PyTorch's default initialisation: 1/3).
    bias_variance: σ_b² (PyTorch's default: 1/(3·fan_in)).
    depth: how many layers.
    q0: the mean square of the input.

    Returns [depth]. Raises ``ValueError`` for a variance or a ``q0`` below zero and for a depth below one.
    """
    if depth < 1:
        raise ValueError("chi needs a depth of 1 or more")
    return chi_of_layers(activation, [weight_variance] * depth, [bias_variance] * depth, q0)


def chi_of_layers(
    activation: Activation, weight_variances: Sequence[float], bias_variances: Sequence[float], q0: float
) -> Array:
    """Computes χ as :func:`chi` does, for layers that each have their own variances: χ_l = σ_w² of layer l ·
    E[φ'(√q_l z)²]."""
    if min(q0, *weight_variances, *bias_variances) < 0:
        raise ValueError("chi needs variances and q0 of 0 or more")
    mean_square, factors = q0, []  # of what comes into the layer
    for weight_variance, bias_variance in zip(weight_variances, bias_variances, strict=True):
        slope, mean_square = mean_squares(activation, weight_variance * mean_square + bias_variance)
        factors.append(weight_variance * slope)
    return np.array(factors)


def chi_batchnorm(activation: Activation) -> float:
    """Computes χ of every layer but the first where a batch norm precedes each activation: E[φ'(z)²] / Var φ(z).

    The weights' variance does not matter, as the normalisation divides by it. ReLU's χ is π/(π−1).
    """
    phi = FUNCTIONS[activation]
    mean = _expectation(phi, phi.value, 1.0)
    return _mean_square(phi, phi.slope, 1.0) / (_mean_square(phi, phi.value, 1.0) - mean**2)


def mean_field_factors(model: nn.Module, inputs: Tensor) -> dict[str, float]:
    """Predicts the factors toward the input of ‖∂L/∂h‖₂ for a model as it is now.

    model: its children run one after the other: linear and convolution layers, ``Flatten`` and one kind of activation;
        an ``Identity`` beside another activation changes nothing.
    inputs: a batch.

    Returns √χ by name of the layer nearer the input, for every layer with weights but the last. Raises ``ValueError``
    for any other module, of which mean field says nothing here.
    """
    layers: list[str] = []
    activations: set[Activation] = set()
    for name, module in model.named_children():
        activation = activation_of(module)
        if isinstance(module, nn.Linear | nn.Conv2d):
            layers.append(name)
        elif activation is not None:
            activations.add(activation)
        elif not isinstance(module, nn.Flatten):
            raise ValueError(f"mean field says nothing of {name!r} ({type(module).__name__})")
    if len(activations) > 1:
        activations.discard("identity")
    if len(activations) != 1:
        raise ValueError(f"mean field is known here for one kind of activation, this model has {len(activations)}")
    factors = chi_of_model(model, activations.pop(), inputs)
    return {name: math.sqrt(factor) for name, factor in zip(layers[:-1], factors, strict=True)}


def chi_of_model(model: nn.Module, activation: Activation, inputs: Tensor) -> list[float]:
    """Computes χ between each two successive layers with weights, in forward order.

    The variances are those of the model's actual weights and biases.

    model: its children run one after the other.
    activation: of all its layers.
    inputs: a batch, for its mean square.
    """
    layers = [m for m in model.children() if isinstance(m, nn.Linear | nn.Conv2d)]
    weights = [float(m.weight.detach().double().square().mean()) * m.weight[0].numel() for m in layers]
    biases = [float(m.bias.detach().double().square().mean()) if m.bias is not None else 0.0 for m in layers]
    q0 = float(inputs.double().square().mean())
    # The signal comes to layer l through the weights of the next layer, so χ_l takes those weights' variance.
    slopes = chi_of_layers(activation, weights, biases, q0)
    return [float(slopes[i] / weights[i] * weights[i + 1]) for i in range(len(layers) - 1)]


def mean_squares(activation: Activation, q: float) -> tuple[float, float]:
    """Computes E[φ'(√q z)²] and E[φ(√q z)²], z ~ N(0, 1)."""
    phi = FUNCTIONS[activation]
    return _mean_square(phi, phi.slope, q), _mean_square(phi, phi.value, q)


def _mean_square(phi: ActivationFunction, function: Callable[[Array], Array], q: float) -> float:
    return _expectation(phi, lambda x: function(x) ** 2, q)


def _expectation(phi: ActivationFunction, function: Callable[[Array], Array], q: float) -> float:
    """Computes E[function(√q z)], z ~ N(0, 1), of a function that is smooth between the kinks of ``phi``.

    Gauss–Legendre between those, zero and ``_REACH`` on either side, where the normal density is 1e-32. Gauss–Hermite
    would do for smooth functions, but ReLU's kink costs it three digits at 200 nodes.
    """
    spread = math.sqrt(q)
    kinks = {kink / spread for kink in phi.kinks if abs(kink) < _REACH * spread}
    ends = sorted({-_REACH, 0.0, _REACH} | kinks)
    nodes, weights = _quadrature()
    z = np.concatenate([low + (nodes + 1) / 2 * (high - low) for low, high in pairwise(ends)])
    shares = np.concatenate([weights / 2 * (high - low) for low, high in pairwise(ends)])
    return float((shares * np.exp(-z * z / 2) / np.sqrt(2 * np.pi)) @ function(spread * z))


@functools.cache
def _quadrature() -> tuple[Array, Array]:
    """Gives nodes within −1 and 1, and their weights."""
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    return nodes, weights
