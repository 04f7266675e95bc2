"""What theory predicts of a network at initialisation, beside what is measured there."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

from torch import Tensor, nn

from vgharness.records import Activation, LayerKey, LayerPrediction, factors_toward_input
from vgharness.theory import bound, chi_of_model
from vgharness.training.numerics import LayerGradients, exact_gradients


def predict(
    model: nn.Module, activation: Activation, inputs: Tensor, targets: Tensor, exact: Sequence[LayerGradients]
) -> tuple[LayerPrediction, ...]:
    """Computes, for each layer with weights but the last, the factor toward the input of ‖∂L/∂h‖₂ from the next layer
    to it: as measured in ``exact``, the :func:`~vgharness.training.numerics.exact_gradients` of the model on the batch,
    and as theory has it for the variances that the weights and biases really have.

    ``model``'s children run one after the other, as ``DeepCNN``'s do without a norm. Mean field speaks of typical
    units, which a max-pool does not pass gradients to: there ``predicted`` is ``None``, and a twin with the same
    weights and average pools shows what theory is about.
    """
    twin = copy.deepcopy(model)
    for name, module in twin.named_children():
        if isinstance(module, nn.MaxPool2d):
            twin.set_submodule(name, nn.AvgPool2d(module.kernel_size))
    pooled = _pooled_above(model)
    predicted = [math.sqrt(x) for x in chi_of_model(model, activation, inputs)]
    measured, twin_measured = _factors(exact), _factors(exact_gradients(twin, inputs, targets))
    return tuple(
        LayerPrediction(
            name=limit.layer,
            above=limit.above,
            measured=measured[i],
            predicted=None if pooled[limit.layer] > 1 else predicted[i],
            bound=limit.factor,
            twin_measured=twin_measured[i],
            twin_predicted=predicted[i] / pooled[limit.layer],
        )
        for i, limit in enumerate(bound(model))
    )


def _factors(gradients: Sequence[LayerGradients]) -> list[float]:
    norms = {LayerKey(layer.name): float(layer.signal.norm()) for layer in gradients}
    return list(factors_toward_input(norms).values())


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
