"""What is closed at initialisation, and what a few training steps make of it.

A head, a gate or a residual branch that starts at zero sends no gradient through, and a plain step opens it. So where a
flow looks dead or vanished, a few steps are taken on copies, and what is still so after them counts.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Final

import torch
from torch import nn

from vgharness.gradflow.symptoms import closed, find_symptoms
from vgharness.records import GradientFlow, Steps

STEPS: Final = 3
_OPTIMIZERS: Final[dict[str, Callable[[list[nn.Parameter]], torch.optim.Optimizer]]] = {
    "SGD": lambda parameters: torch.optim.SGD(parameters, lr=0.1),
    "Adam": lambda parameters: torch.optim.Adam(parameters, lr=1e-3),
}
_CLOSED: Final = frozenset({"dead", "vanishing"})


def may_open(flow: GradientFlow) -> bool:
    """Whether anything in the flow is closed now that a step may open."""
    return bool(_CLOSED & find_symptoms(flow, closed(flow)).keys()) or any(
        layer.state == "zero" for layer in flow.layers
    )


def flows_after_steps(
    models: Sequence[nn.Module], measure_one: Callable[[nn.Module, int], GradientFlow]
) -> tuple[Steps, ...]:
    """Takes steps on copies of ``models``, by plain SGD and by Adam, until nothing is closed any more, at most
    ``STEPS``, and measures their flows then.

    ``measure_one(model, index)`` runs a forward and backward pass of a copy of ``models[index]``, after which its
    weights hold their gradients, and gives the flow. A model that cannot be copied, or whose step raises, leaves its
    optimizer out.
    """
    found = []
    for name, optimizer in _OPTIMIZERS.items():
        try:
            stepped = [_after_steps(copy.deepcopy(x), i, optimizer, measure_one) for i, x in enumerate(models)]
        except Exception:  # whatever a stranger's model raises: the flow at initialisation is judged as it is
            continue
        flows = tuple(flow for flow, _ in stepped)
        found.append(Steps(optimizer=name, steps=max(steps for _, steps in stepped), flows=flows))
    return tuple(found)


def _after_steps(
    model: nn.Module,
    index: int,
    optimizer: Callable[[list[nn.Parameter]], torch.optim.Optimizer],
    measure_one: Callable[[nn.Module, int], GradientFlow],
) -> tuple[GradientFlow, int]:
    stepping = optimizer([p for p in model.parameters() if p.requires_grad])
    measure_one(model, index)
    steps = 0
    while True:
        stepping.step()
        flow, steps = measure_one(model, index), steps + 1
        if steps == STEPS or not may_open(flow):
            return flow, steps
