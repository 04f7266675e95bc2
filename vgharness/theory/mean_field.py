"""Mean field: by what the error signal of a wide network at initialisation changes from layer to layer.

Poole et al. 2016; Schoenholz et al. 2017; for convolutions Xiao et al. 2018. With Var W = σ_w²/fan_in, Var b = σ_b²,
z ~ N(0, 1) and an input x_0 of n_0 elements::

    q_1 = σ_w² ‖x_0‖²/n_0 + σ_b²      q_l = σ_w² E[φ(√q_{l-1} z)²] + σ_b²
    χ_l = σ_w² E[φ'(√q_l z)²]         E‖δ_l‖₂² = χ_l · E‖δ_{l+1}‖₂²

for wide layers with independent zero-mean weights, at initialisation, without residuals, whatever the widths. A
max-pool breaks it (φ' is taken at the arg-max, not at a typical unit); a k×k average pool multiplies χ by 1/k².
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence

import numpy as np
from torch import Tensor, nn

from vgharness.records import Activation
from vgharness.statistics import Array
from vgharness.theory.activations import FUNCTIONS, activation_of

_NODES, _REACH = 200, 12.0


def chi(activation: Activation, *, weight_variance: float, bias_variance: float, depth: int, q0: float) -> Array:
    """χ_1 … χ_depth [depth], iterated layer by layer: the fixed point alone would miss the transient.

    ``weight_variance`` is σ_w², already times fan_in (PyTorch's default initialisation: 1/3);
    ``bias_variance`` is σ_b² (PyTorch's default: 1/(3·fan_in)); ``q0`` the mean square of the input.
    Raises ``ValueError`` for a variance or a ``q0`` below zero and for a depth below one.
    """
    if depth < 1:
        raise ValueError("chi needs a depth of 1 or more")
    return chi_of_layers(activation, [weight_variance] * depth, [bias_variance] * depth, q0)


def chi_of_layers(
    activation: Activation, weight_variances: Sequence[float], bias_variances: Sequence[float], q0: float
) -> Array:
    """As :func:`chi`, for layers that each have their own variances: χ_l = σ_w² of layer l · E[φ'(√q_l z)²]."""
    if min(q0, *weight_variances, *bias_variances) < 0:
        raise ValueError("chi needs variances and q0 of 0 or more")
    phi = FUNCTIONS[activation]
    below, factors = q0, []
    for weight_variance, bias_variance in zip(weight_variances, bias_variances, strict=True):
        q = weight_variance * below + bias_variance
        factors.append(weight_variance * _mean_square(phi.slope, q))
        below = _mean_square(phi.value, q)
    return np.array(factors)


def chi_batchnorm(activation: Activation) -> float:
    """χ of every layer but the first whose pre-activation is batch-normalised: E[φ'(z)²] / Var φ(z),
    whatever the weights' variance, as the normalisation undoes it. ReLU's is π/(π−1)."""
    phi = FUNCTIONS[activation]
    mean = _expectation(phi.value, 1.0)
    return _mean_square(phi.slope, 1.0) / (_mean_square(phi.value, 1.0) - mean**2)


def mean_field(model: nn.Module, inputs: Tensor) -> dict[str, float]:
    """Mean field's factors toward the input of ‖∂L/∂h‖₂ for a model as it is now.

    Returns √χ by name of the layer nearer the input, so of every layer with weights but the last. ``inputs``: a batch.
    Raises ``ValueError`` where mean field says nothing: for modules other than linear and convolution layers,
    ``Flatten`` and one kind of activation in between, run one after the other.
    """
    layers, activations = [], set()
    for name, module in model.named_children():
        activation = activation_of(module)
        if isinstance(module, nn.Linear | nn.Conv2d):
            layers.append(name)
        elif activation is not None:
            activations.add(activation)
        elif not isinstance(module, nn.Flatten | nn.Identity):
            raise ValueError(f"mean field says nothing of {name!r} ({type(module).__name__})")
    if len(activations) != 1:
        raise ValueError(f"mean field is known here for one kind of activation, this model has {len(activations)}")
    chi = chi_of_model(model, activations.pop(), inputs)
    return {name: math.sqrt(x) for name, x in zip(layers, chi, strict=False)}


def chi_of_model(model: nn.Module, activation: Activation, inputs: Tensor) -> list[float]:
    """χ from each layer with weights to the one that feeds it, in forward order: with the actual weights' and biases'
    own variances, and ``inputs``' mean square. ``model``'s children run one after the other."""
    layers = [m for m in model.children() if isinstance(m, nn.Linear | nn.Conv2d)]
    weights = [float(m.weight.detach().double().square().mean()) * m.weight[0].numel() for m in layers]
    biases = [float(m.bias.detach().double().square().mean()) if m.bias is not None else 0.0 for m in layers]
    q0 = float(inputs.double().square().mean())
    # χ_l carries the weights of the next layer, through which the signal comes to layer l.
    slopes = chi_of_layers(activation, weights, biases, q0)
    return [float(slopes[i] / weights[i] * weights[i + 1]) for i in range(len(layers) - 1)]


def _mean_square(function: Callable[[Array], Array], q: float) -> float:
    return _expectation(lambda x: function(x) ** 2, q)


def _expectation(function: Callable[[Array], Array], q: float) -> float:
    """E[function(√q z)], z ~ N(0, 1)."""
    nodes, weights = _quadrature()
    return float(weights @ function(np.sqrt(q) * nodes))


@functools.cache
def _quadrature() -> tuple[Array, Array]:
    """Gauss–Legendre on either side of zero, out to where the normal density is 1e-32. Gauss–Hermite
    would do for smooth functions, but ReLU's kink costs it three digits at 200 nodes."""
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    half = (nodes + 1) / 2 * _REACH
    density = weights / 2 * _REACH * np.exp(-half * half / 2) / np.sqrt(2 * np.pi)
    return np.concatenate([-half, half]), np.concatenate([density, density])
