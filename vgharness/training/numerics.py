"""How far gradients at the precision in use are from float64's.

Sigmoid's vanished gradient is small against what low precision can carry: its activations sit at 0.5, where bf16 steps
by 2e-3, while the signal's spread falls to 2e-4 by the fourth layer. So a run measures its own error rather than
assuming one.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from vgharness.records import LayerError
from vgharness.training.own_network import Loss

_PART = 32  # images; of 128 at once a CPU spends a third of the time on fetching memory


class LayerGradients(NamedTuple):
    """One layer's gradients, h being its output.

    name: the layer's.
    weight: ∂L/∂W, shaped as W.
    signal: ∂L/∂h, shaped as h.
    """

    name: str
    weight: Tensor
    signal: Tensor


def gradient_errors(found: Sequence[LayerGradients], exact: Sequence[LayerGradients]) -> tuple[LayerError, ...]:
    """Computes each layer's relative errors of ``found`` against ``exact``, both of one network on one batch.

    An L2 error bounds that of the L2 norm, and an L1 error that of the mean absolute value, by the triangle inequality:
    a quantity is at least as close as its error says.
    """
    return tuple(_error(a, b) for a, b in zip(found, exact, strict=True))


def exact_gradients(
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    loss: Loss = functional.cross_entropy,
    *,
    whole: bool = False,
) -> list[LayerGradients]:
    """Computes the gradients of :func:`layer_gradients` with the same weights and inputs in float64, a part of the
    batch at a time unless a batch norm mixes its images, or ``whole`` says that something may."""
    exact = copy.deepcopy(model).double()
    mixed = any(isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) for module in model.modules())
    size = len(inputs) if mixed or whole else _PART
    parts = [
        layer_gradients(exact, _wide(part), _wide(labels), nullcontext(), loss=loss, share=len(part) / len(inputs))
        for part, labels in zip(torch.split(inputs, size), torch.split(targets, size), strict=True)
    ]
    return [
        LayerGradients(
            layer[0].name,
            sum(part.weight for part in layer),
            torch.cat([part.signal for part in layer]),
        )
        for layer in zip(*parts, strict=True)
    ]


def layer_gradients(
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    context: AbstractContextManager[object],
    *,
    loss: Loss = functional.cross_entropy,
    share: float = 1.0,
) -> list[LayerGradients]:
    """Computes the gradients of every linear and convolution layer of ``model``, in the order in which they run, each
    once; L is ``loss`` of outputs and ``targets``, a mean over the batch, times ``share``.

    ``context`` is entered around the forward pass. No parameter's ``grad`` is touched.
    """
    names, weights, outputs = [], [], []

    def keep(name: str, weight: Tensor, output: Tensor) -> None:
        names.append(name)
        weights.append(weight)
        outputs.append(output)

    handles = [
        module.register_forward_hook(lambda m, inputs, output, name=name: keep(name, m.weight, output))
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d)
    ]
    try:
        with context:
            value = share * loss(model(inputs), targets)
    finally:
        for handle in handles:
            handle.remove()
    gradients = torch.autograd.grad(value, [*weights, *outputs])
    return [LayerGradients(*each) for each in zip(names, gradients[: len(names)], gradients[len(names) :], strict=True)]


def _error(found: LayerGradients, exact: LayerGradients) -> LayerError:
    weight, signal = found.weight.double() - exact.weight, found.signal.double() - exact.signal
    l2 = float(signal.norm() / exact.signal.norm())
    return LayerError(
        name=found.name,
        weight_mean_abs=float(weight.abs().mean() / exact.weight.abs().mean()),
        weight_l2=float(weight.norm() / exact.weight.norm()),
        signal_l2=l2,
        signal_rms=l2,
    )


def _wide(values: Tensor) -> Tensor:
    """In float64, where they are no whole numbers."""
    return values.double() if values.is_floating_point() else values
