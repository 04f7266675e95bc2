"""Bounds of the error signal's change from layer to layer.

Pascanu et al. 2013: for any weights, any width and any training step, per sample, with P the pooling between the two
layers::

    ‖δ_l‖₂ ≤ sup|φ'| · ‖P‖ · ‖W_{l+1}‖₂ · ‖δ_{l+1}‖₂
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from vgharness.theory.activations import FUNCTIONS, activation_of


class Bound(NamedTuple):
    """An upper bound of the factor toward the input of ‖δ‖₂.

    layer: the layer nearer the input.
    above: the next layer with weights, nearer the output.
    factor: ‖δ‖₂ at ``layer`` is at most this times ‖δ‖₂ at ``above``.
    """

    layer: str
    above: str
    factor: float


def bound(model: nn.Module) -> tuple[Bound, ...]:
    """Bounds the factors toward the input that any sample's error signal can have, with the weights as they are now.

    model: its children run one after the other, as in ``DeepCNN`` and ``nn.Sequential``: linear and convolution
        layers, activations, pools that do not overlap, ``Flatten``.

    Returns one bound for each layer with weights but the last, in forward order. Raises ``ValueError`` for any other
    module, of which no bound is known here.
    """
    bounds: list[Bound] = []
    previous: str | None = None
    factor = 1.0
    for name, module in model.named_children():
        if isinstance(module, nn.Linear | nn.Conv2d):
            factor *= operator_norm_bound(module)
            if previous is not None:
                bounds.append(Bound(previous, name, factor))
            previous, factor = name, 1.0
        else:
            factor *= lipschitz_bound(name, module)
    return tuple(bounds)


def operator_norm_bound(module: nn.Linear | nn.Conv2d) -> float:
    """Bounds ‖W‖₂ from above: exactly for a linear layer, for a convolution by Σ_ij ‖W[:, :, i, j]‖₂, the sum over the
    kernel's positions. (Power iteration approaches the norm from below, and would be no bound.)

    Raises ``ValueError`` for padding other than zeros, which repeats inputs and is not covered.
    """
    weight = module.weight.detach().double()
    if isinstance(module, nn.Linear):
        return float(torch.linalg.matrix_norm(weight, 2))
    if module.padding_mode != "zeros":
        raise ValueError(f"no bound is known for padding mode {module.padding_mode!r}: use 'zeros'")
    groups = weight.view(module.groups, -1, *weight.shape[1:])  # [groups, out / groups, in / groups, kh, kw]
    norms: Tensor = torch.linalg.matrix_norm(groups.permute(3, 4, 0, 1, 2), 2)  # [kh, kw, groups]
    return float(norms.amax(dim=2).sum())


def lipschitz_bound(name: str, module: nn.Module) -> float:
    """Gives the greatest ‖Jᵀδ‖₂ / ‖δ‖₂ of a layer without weights, with J its Jacobian at any input."""
    if isinstance(module, nn.MaxPool2d | nn.AvgPool2d):
        kernel, stride = _pair(module.kernel_size), _pair(module.stride)
        if kernel != stride or getattr(module, "dilation", 1) not in (1, (1, 1)) or _pair(module.padding) != (0, 0):
            raise ValueError(f"no bound is known for {name!r}: only for pools that do not overlap and pad nothing")
        return 1.0 if isinstance(module, nn.MaxPool2d) else (kernel[0] * kernel[1]) ** -0.5
    if type(module) is nn.PReLU:  # of its slopes as they are now
        return max(1.0, float(module.weight.detach().abs().max()))
    activation = activation_of(module)
    if activation is not None:
        return FUNCTIONS[activation].steepest
    if type(module) is nn.Flatten:
        return 1.0
    raise ValueError(f"no bound is known for {name!r} ({type(module).__name__})")


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value
