"""The activation functions: their PyTorch modules, slopes, bounds and how they are drawn, in one table.

It holds every elementwise activation of ``torch.nn`` that needs no argument, each with PyTorch's defaults.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np
from scipy import special
from torch import nn

from vgharness.records import Activation
from vgharness.statistics import Array

_SLATE, _SLATE_ON_DARK = "#48486C", "#8484B0"


class ActivationFunction(NamedTuple):
    """One activation φ.

    module: PyTorch's class for it.
    value: φ, elementwise.
    slope: φ', elementwise; where φ has a kink or a jump what autograd gives, which is what gradients are multiplied by.
    steepest: sup|φ'|.
    monotone: whether φ never falls however it is trained, so that the greatest of φ(h) is φ of the greatest h.
    kinks: where φ or φ' jumps.
    color: of its curves and of text, on white; apart for readers who do not see green. What the studied README does not
        speak of is slate and told apart by marker and dash.
    color_on_dark: the same on a dark page.
    marker: the shape of its points, for readers who see no colour.
    dash: lengths of the dashes of its curves and of the gaps between them; none: a whole line.
    """

    module: type[nn.Module]
    value: Callable[[Array], Array]
    slope: Callable[[Array], Array]
    steepest: float = 1.0
    monotone: bool = True
    kinks: tuple[float, ...] = ()
    color: str = _SLATE
    color_on_dark: str = _SLATE_ON_DARK
    marker: str = ""
    dash: tuple[int, ...] = ()


_SELU_SCALE: Final = 1.0507009873554804934193349852946  # Klambauer et al. 2017
_SELU_ALPHA: Final = 1.6732632423543772848170429916717
_SHRINK: Final = 0.5  # the default of both shrinking activations
_PRELU: Final = 0.25  # the slope that is trained, as it begins


def _gelu_slope(x: Array) -> Array:
    return np.asarray(special.ndtr(x) + x * np.exp(-x * x / 2) / np.sqrt(2 * np.pi))


def _silu_slope(x: Array) -> Array:
    return np.asarray(special.expit(x) * (1 + x * special.expit(-x)))


def _softplus(x: Array) -> Array:
    return np.asarray(np.where(x > 20, x, np.logaddexp(0, x)))  # PyTorch's threshold


def _softplus_slope(x: Array) -> Array:
    return np.asarray(np.where(x > 20, 1.0, special.expit(x)))


def _mish_slope(x: Array) -> Array:
    tanh = np.tanh(_softplus(x))
    return np.asarray(tanh + x * (1 - tanh**2) * special.expit(x))


def _leaky(below: float) -> tuple[Callable[[Array], Array], Callable[[Array], Array]]:
    return lambda x: np.where(x > 0, x, below * x), lambda x: np.where(x > 0, 1.0, below)


def _exponential(scale: float, alpha: float) -> tuple[Callable[[Array], Array], Callable[[Array], Array]]:
    """φ and φ' of the family of ELU; the exponent is kept from overflowing where it is not used."""
    return (
        lambda x: scale * np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0))),
        lambda x: scale * np.where(x > 0, 1.0, alpha * np.exp(np.minimum(x, 0))),
    )


def _clipped(low: float, high: float) -> tuple[Callable[[Array], Array], Callable[[Array], Array]]:
    return lambda x: np.clip(x, low, high), lambda x: ((x > low) & (x < high)).astype(np.float64)


def _hardswish_slope(x: Array) -> Array:
    return np.asarray(np.where(x <= -3, 0.0, np.where(x < 3, x / 3 + 0.5, 1.0)))


def _outside_shrink(x: Array) -> Array:
    return np.asarray((np.abs(x) > _SHRINK).astype(np.float64))


class _Unknown(nn.Module):
    """What no module of a network is: stands for the activation of a user's own network that nobody has named."""


def _unknown(x: Array) -> Array:
    raise ValueError("nothing is known of the activation of a user's own network: name it in the study")


FUNCTIONS: Final[dict[Activation, ActivationFunction]] = {
    "sigmoid": ActivationFunction(
        nn.Sigmoid,
        special.expit,
        lambda x: special.expit(x) * special.expit(-x),
        steepest=0.25,
        color="#B84A00",
        color_on_dark="#FF9D5C",
        marker="o",
    ),
    "tanh": ActivationFunction(
        nn.Tanh, np.tanh, lambda x: 1 - np.tanh(x) ** 2, color="#00704F", color_on_dark="#4FD1A5", marker="^"
    ),
    "relu": ActivationFunction(
        nn.ReLU,
        lambda x: np.maximum(x, 0.0),
        lambda x: (x > 0).astype(np.float64),
        kinks=(0.0,),
        color="#0063A5",
        color_on_dark="#6CB6FF",
        marker="s",
    ),
    # The greatest slopes lie at √2, at the root of x·tanh(x/2) = 2 and, of Mish, where its second derivative is 0.
    "gelu": ActivationFunction(
        nn.GELU,
        lambda x: x * special.ndtr(x),
        _gelu_slope,
        steepest=float(_gelu_slope(np.array(2**0.5))),
        monotone=False,
        color="#A3457F",
        color_on_dark="#FCAAD2",
        marker="D",
    ),
    "silu": ActivationFunction(
        nn.SiLU,
        lambda x: x * special.expit(x),
        _silu_slope,
        steepest=float(_silu_slope(np.array(2.399357280520))),
        monotone=False,
        color="#5A4E00",
        color_on_dark="#F3D702",
        marker="v",
    ),
    # No activation: the control that shows what the weights alone do.
    "identity": ActivationFunction(
        nn.Identity,
        lambda x: np.asarray(x),
        lambda x: np.ones_like(x),
        color="#24292F",
        color_on_dark="#9BA3AD",
        marker="X",
    ),
    "leaky_relu": ActivationFunction(nn.LeakyReLU, *_leaky(0.01), kinks=(0.0,), marker="<", dash=(8, 2)),
    "elu": ActivationFunction(nn.ELU, *_exponential(1.0, 1.0), kinks=(0.0,), marker=">", dash=(6, 2)),
    "selu": ActivationFunction(
        nn.SELU,
        *_exponential(_SELU_SCALE, _SELU_ALPHA),
        steepest=_SELU_SCALE * _SELU_ALPHA,
        kinks=(0.0,),
        marker="p",
        dash=(4, 2),
    ),
    "celu": ActivationFunction(nn.CELU, *_exponential(1.0, 1.0), kinks=(0.0,), marker="h", dash=(2, 2)),
    "mish": ActivationFunction(
        nn.Mish,
        lambda x: x * np.tanh(_softplus(x)),
        _mish_slope,
        steepest=float(_mish_slope(np.array(1.4905711609655545))),
        monotone=False,
        marker="P",
        dash=(1, 2),
    ),
    # As it begins: its slope below zero is trained, and may come to be negative.
    "prelu": ActivationFunction(nn.PReLU, *_leaky(_PRELU), monotone=False, kinks=(0.0,), marker="*", dash=(8, 2, 2, 2)),
    "softplus": ActivationFunction(nn.Softplus, _softplus, _softplus_slope, marker="d", dash=(6, 2, 1, 2)),
    "softsign": ActivationFunction(
        nn.Softsign,
        lambda x: x / (1 + np.abs(x)),
        lambda x: 1 / (1 + np.abs(x)) ** 2,
        kinks=(0.0,),
        marker="8",
        dash=(4, 2, 1, 2),
    ),
    "hardtanh": ActivationFunction(
        nn.Hardtanh, *_clipped(-1.0, 1.0), kinks=(-1.0, 1.0), marker="H", dash=(8, 2, 2, 2, 2, 2)
    ),
    "hardsigmoid": ActivationFunction(
        nn.Hardsigmoid,
        lambda x: np.clip(x / 6 + 0.5, 0.0, 1.0),
        lambda x: ((x > -3) & (x < 3)) / 6,
        steepest=1 / 6,
        kinks=(-3.0, 3.0),
        marker="1",
        dash=(6, 2, 1, 2, 1, 2),
    ),
    "hardswish": ActivationFunction(
        nn.Hardswish,
        lambda x: x * np.clip(x / 6 + 0.5, 0.0, 1.0),
        _hardswish_slope,
        steepest=1.5,
        monotone=False,
        kinks=(-3.0, 3.0),
        marker="2",
        dash=(10, 3),
    ),
    "relu6": ActivationFunction(nn.ReLU6, *_clipped(0.0, 6.0), kinks=(0.0, 6.0), marker="3", dash=(3, 1)),
    "logsigmoid": ActivationFunction(
        nn.LogSigmoid, lambda x: -np.logaddexp(0, -x), lambda x: special.expit(-x), marker="4", dash=(1, 4)
    ),
    "tanhshrink": ActivationFunction(
        nn.Tanhshrink, lambda x: x - np.tanh(x), lambda x: np.tanh(x) ** 2, marker="+", dash=(10, 2, 4, 2)
    ),
    "softshrink": ActivationFunction(
        nn.Softshrink,
        lambda x: np.sign(x) * np.maximum(np.abs(x) - _SHRINK, 0.0),
        _outside_shrink,
        kinks=(-_SHRINK, _SHRINK),
        marker="x",
        dash=(3, 3, 1, 3),
    ),
    # It jumps, so that its values can grow by more than sup|φ'| says; gradients are multiplied by φ' alone.
    "hardshrink": ActivationFunction(
        nn.Hardshrink,
        lambda x: x * _outside_shrink(x),
        _outside_shrink,
        kinks=(-_SHRINK, _SHRINK),
        marker="|",
        dash=(5, 5),
    ),
    "own": ActivationFunction(
        _Unknown, _unknown, _unknown, steepest=math.inf, monotone=False, marker=".", dash=(12, 2)
    ),
}
_BY_MODULE: Final[dict[type[nn.Module], Activation]] = {function.module: name for name, function in FUNCTIONS.items()}
_OWN: Final = ("training", "inplace", "num_parameters")  # what changes nothing of what a module computes


def _arguments(module: nn.Module) -> dict[str, Any]:
    return {name: value for name, value in vars(module).items() if name[0] != "_" and name not in _OWN}


_DEFAULTS: Final = {module: _arguments(module()) for module in _BY_MODULE}


def activation_of(module: nn.Module) -> Activation | None:
    """Names the activation that ``module`` is; None for any other module, subclasses of one included, and for one with
    other arguments than PyTorch's defaults or a trained slope, for which the table does not hold."""
    name = _BY_MODULE.get(type(module))
    if name is None:
        return None
    own = _arguments(module)
    if any(own.get(key) != value for key, value in _DEFAULTS[type(module)].items()):
        return None
    if isinstance(module, nn.PReLU) and not bool((module.weight == _PRELU).all()):
        return None
    return name
