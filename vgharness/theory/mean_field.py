"""What theory says about gradients, to hold measurements against.

**Mean field** (Poole et al. 2016; Schoenholz et al. 2017; for convolutions Xiao et al. 2018). With
Var W = σ_w²/fan_in, Var b = σ_b², z ~ N(0, 1) and an input x_0 of n_0 elements::

    q_1 = σ_w² ‖x_0‖²/n_0 + σ_b²      q_l = σ_w² E[φ(√q_{l-1} z)²] + σ_b²
    χ_l = σ_w² E[φ'(√q_l z)²]         E‖δ_l‖₂² = χ_l · E‖δ_{l+1}‖₂²

for wide layers with independent zero-mean weights, at initialisation, without residuals, whatever the
widths. A max-pool breaks it (φ' is taken at the arg-max, not at a typical unit); a k×k average pool
multiplies χ by 1/k².

**Bound** (Pascanu et al. 2013), for any weights, any width and any step, per sample, P the pooling
between the two layers::

    ‖δ_l‖₂ ≤ sup|φ'| · ‖P‖ · ‖W_{l+1}‖₂ · ‖δ_{l+1}‖₂
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from scipy import special
from torch import Tensor, nn

from vgharness.records import Activation

Array = npt.NDArray[np.float64]

_NODES, _REACH = 200, 12.0


class Nonlinearity(NamedTuple):
    """φ, φ' and sup|φ'|."""

    value: Callable[[Array], Array]
    slope: Callable[[Array], Array]
    steepest: float


def _gelu_slope(x: Array) -> Array:
    return np.asarray(special.ndtr(x) + x * np.exp(-x * x / 2) / np.sqrt(2 * np.pi))


def _silu_slope(x: Array) -> Array:
    return np.asarray(special.expit(x) * (1 + x * special.expit(-x)))


NONLINEARITIES: dict[Activation, Nonlinearity] = {
    "sigmoid": Nonlinearity(special.expit, lambda x: special.expit(x) * special.expit(-x), 0.25),
    "tanh": Nonlinearity(np.tanh, lambda x: 1 - np.tanh(x) ** 2, 1.0),
    "relu": Nonlinearity(lambda x: np.maximum(x, 0.0), lambda x: (x > 0).astype(np.float64), 1.0),
    # The greatest slopes lie at √2 and at the root of x·tanh(x/2) = 2.
    "gelu": Nonlinearity(lambda x: x * special.ndtr(x), _gelu_slope, float(_gelu_slope(np.array(2**0.5)))),
    "silu": Nonlinearity(lambda x: x * special.expit(x), _silu_slope, float(_silu_slope(np.array(2.399357280520)))),
}


# --- mean field ----------------------------------------------------------------------------------


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
    phi = NONLINEARITIES[activation]
    below, factors = q0, []
    for weight_variance, bias_variance in zip(weight_variances, bias_variances, strict=True):
        q = weight_variance * below + bias_variance
        factors.append(weight_variance * _mean_square(phi.slope, q))
        below = _mean_square(phi.value, q)
    return np.array(factors)


def chi_batchnorm(activation: Activation) -> float:
    """χ of every layer but the first whose pre-activation is batch-normalised: E[φ'(z)²] / Var φ(z),
    whatever the weights' variance, as the normalisation undoes it. ReLU's is π/(π−1)."""
    phi = NONLINEARITIES[activation]
    mean = _expectation(phi.value, 1.0)
    return _mean_square(phi.slope, 1.0) / (_mean_square(phi.value, 1.0) - mean**2)


_ACTIVATIONS: dict[type[nn.Module], Activation] = {
    nn.Sigmoid: "sigmoid",
    nn.Tanh: "tanh",
    nn.ReLU: "relu",
    nn.GELU: "gelu",
    nn.SiLU: "silu",
}


def mean_field(model: nn.Module, inputs: Tensor) -> dict[str, float]:
    """By layer with weights but the last, √χ: by what ‖∂L/∂h‖₂ changes on its way down to it from the next.

    Raises ``ValueError`` where mean field says nothing: for modules other than linear and convolution layers,
    ``Flatten`` and one kind of activation in between, run one after the other.
    """
    layers, activations = [], set()
    for name, module in model.named_children():
        if isinstance(module, nn.Linear | nn.Conv2d):
            layers.append(name)
        elif type(module) in _ACTIVATIONS:
            activations.add(_ACTIVATIONS[type(module)])
        elif not isinstance(module, nn.Flatten | nn.Identity):
            raise ValueError(f"mean field says nothing of {name!r} ({type(module).__name__})")
    if len(activations) != 1:
        raise ValueError(f"mean field is known here for one kind of activation, this model has {len(activations)}")
    chi = chi_of_model(model, activations.pop(), inputs)
    return {name: math.sqrt(x) for name, x in zip(layers, chi, strict=False)}


def chi_of_model(model: nn.Module, activation: Activation, inputs: Tensor) -> list[float]:
    layers = [m for m in model.children() if isinstance(m, nn.Linear | nn.Conv2d)]
    weights = [float(m.weight.detach().double().square().mean()) * m.weight[0].numel() for m in layers]
    biases = [float(m.bias.detach().double().square().mean()) if m.bias is not None else 0.0 for m in layers]
    q0 = float(inputs.double().square().mean())
    # χ_l carries the weights of the layer above, through which the signal comes down.
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


# --- bound ---------------------------------------------------------------------------------------

_STEEPEST: dict[type[nn.Module], float] = {
    nn.Sigmoid: NONLINEARITIES["sigmoid"].steepest,
    nn.Tanh: NONLINEARITIES["tanh"].steepest,
    nn.ReLU: NONLINEARITIES["relu"].steepest,
    nn.GELU: NONLINEARITIES["gelu"].steepest,
    nn.SiLU: NONLINEARITIES["silu"].steepest,
    nn.Identity: 1.0,
    nn.Flatten: 1.0,
}


class Bound(NamedTuple):
    """‖δ‖₂ at ``layer`` is at most ``factor`` times ‖δ‖₂ at ``above``, the next layer toward the output."""

    layer: str
    above: str
    factor: float


def bound(model: nn.Module) -> tuple[Bound, ...]:
    """The greatest factors by which the error signal of any sample can change from each layer of
    ``model`` to the one before it, with the weights as they are now.

    ``model``'s children run one after the other, as in ``DeepCNN`` and ``nn.Sequential``: linear and
    convolution layers, activations, non-overlapping pools, ``Flatten``, ``Identity``. Raises
    ``ValueError`` for any other module, of which no bound is known here.
    """
    bounds: list[Bound] = []
    below: str | None = None
    factor = 1.0
    for name, module in model.named_children():
        if isinstance(module, nn.Linear | nn.Conv2d):
            factor *= operator_norm_bound(module)
            if below is not None:
                bounds.append(Bound(below, name, factor))
            below, factor = name, 1.0
        else:
            factor *= _lipschitz(name, module)
    return tuple(bounds)


def operator_norm_bound(module: nn.Linear | nn.Conv2d) -> float:
    """An upper bound of ‖W‖₂: exact for a linear layer; for a convolution Σ_ij ‖W[:, :, i, j]‖₂, the sum
    over the kernel's taps (power iteration approaches from below and would not be safe).

    Raises ``ValueError`` for padding other than zeros, which repeats inputs and is not covered.
    """
    weight = module.weight.detach().double()
    if isinstance(module, nn.Linear):
        return float(torch.linalg.matrix_norm(weight, 2))
    if module.padding_mode != "zeros":
        raise ValueError(f"no bound is known for padding mode {module.padding_mode!r}: use 'zeros'")
    groups = weight.view(module.groups, -1, *weight.shape[1:])  # [groups, out / groups, in / groups, kh, kw]
    taps = groups.permute(3, 4, 0, 1, 2)
    return float(_spectral_norms(taps).amax(dim=2).sum())


def _spectral_norms(matrices: Tensor) -> Tensor:
    norms: Tensor = torch.linalg.matrix_norm(matrices, 2)
    return norms


def _lipschitz(name: str, module: nn.Module) -> float:
    """The greatest ‖Jᵀδ‖₂ / ‖δ‖₂ of a layer without weights, J its Jacobian at any input."""
    if isinstance(module, nn.MaxPool2d | nn.AvgPool2d):
        kernel, stride = _pair(module.kernel_size), _pair(module.stride)
        if kernel != stride or getattr(module, "dilation", 1) not in (1, (1, 1)) or _pair(module.padding) != (0, 0):
            raise ValueError(f"no bound is known for {name!r}: only for pools that do not overlap and pad nothing")
        return 1.0 if isinstance(module, nn.MaxPool2d) else (kernel[0] * kernel[1]) ** -0.5
    for kind, steepest in _STEEPEST.items():
        if type(module) is kind:
            return steepest
    raise ValueError(f"no bound is known for {name!r} ({type(module).__name__})")


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value
