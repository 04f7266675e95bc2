"""What theory predicts of a network at initialisation, beside what is measured there."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from vgharness.records import Activation, LayerKey, LayerPrediction, factors_toward_input
from vgharness.theory import activation_of, bound, chi_of_model
from vgharness.training.numerics import LayerGradients, exact_gradients
from vgharness.training.own_network import Loss


def activation_in(model: nn.Module) -> Activation | None:
    """Names the activation between the layers of a user's own network, where theory speaks of it: an
    ``nn.Sequential`` of layers with one and the same activation after each but the last, pools, and nothing else.
    ``None``: theory does not."""
    if type(model) is not nn.Sequential:
        return None
    try:
        bound(model)
    except ValueError:
        return None
    found: list[Activation | None] = []
    for module in model:
        if isinstance(module, nn.Linear | nn.Conv2d):
            found.append(None)
        elif (activation := activation_of(module)) is not None:
            if not found or found[-1] is not None:  # before the first layer, or after another one
                return None
            found[-1] = activation
    hidden = set(found[:-1])
    return hidden.pop() if len(hidden) == 1 and found[-1] is None else None


def predict(
    model: nn.Module,
    activation: Activation,
    inputs: Tensor,
    targets: Tensor,
    exact: Sequence[LayerGradients],
    loss: Loss = functional.cross_entropy,
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
    measured, twin_measured = _factors(exact), _factors(exact_gradients(twin, inputs, targets, loss))
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
