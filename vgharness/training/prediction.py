"""What theory predicts of a network at initialisation, beside what is measured there."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from vgharness.records import Activation, LayerPrediction
from vgharness.theory import bound, chi_of_model
from vgharness.training.numerics import LayerGradients, exact_gradients


def predict(
    model: nn.Module, activation: Activation, inputs: Tensor, targets: Tensor, exact: Sequence[LayerGradients]
) -> tuple[LayerPrediction, ...]:
    """For each layer with weights but the last: by what ‖∂L/∂h‖₂ changes on its way down to it, in
    ``exact``, the ``exact_gradients`` of the model on the batch.

    ``model``'s children run one after the other, as ``DeepCNN``'s do without a norm. Mean field speaks of
    typical units, which a max-pool does not pass gradients to: there ``predicted`` is ``None``, and a
    twin with the same weights and average pools shows what theory is about. The variances are the
    actual weights' and biases' own.
    """
    twin = copy.deepcopy(model)
    for name, module in twin.named_children():
        if isinstance(module, nn.MaxPool2d):
            twin.set_submodule(name, nn.AvgPool2d(module.kernel_size))
    pooled = _pooled_above(model)
    predicted = [math.sqrt(x) for x in chi_of_model(model, activation, inputs)]
    measured, of_twin = _factors(exact), _factors(exact_gradients(twin, inputs, targets))
    return tuple(
        LayerPrediction(
            name=limit.layer,
            above=limit.above,
            measured=measured[i],
            predicted=None if pooled[limit.layer] > 1 else predicted[i],
            bound=limit.factor,
            twin_measured=of_twin[i],
            twin_predicted=predicted[i] / pooled[limit.layer],
        )
        for i, limit in enumerate(bound(model))
    )


def _factors(exact: Sequence[LayerGradients]) -> list[float]:
    norms = [float(layer.signal.norm()) for layer in exact]
    return [a / b if b else math.nan for a, b in pairwise(norms)]


def _pooled_above(model: nn.Module) -> dict[str, int]:
    """By layer, the side of the max-pools between it and the next one; 1 where there is none."""
    sides: dict[str, int] = {}
    last = ""
    for name, module in model.named_children():
        if isinstance(module, nn.Linear | nn.Conv2d):
            last, sides[name] = name, 1
        elif isinstance(module, nn.MaxPool2d) and last:
            sides[last] *= module.kernel_size if isinstance(module.kernel_size, int) else module.kernel_size[0]
    return sides
