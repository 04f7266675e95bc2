"""What is closed at initialisation, and what a few training steps make of it.

A head, a gate or a residual branch that starts at zero sends no gradient through, and a plain step opens it. So where a
flow looks dead or vanished, a few steps are taken on copies, and what is still so after them counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import torch
from torch import nn

from vgharness.gradflow.symptoms import closed, find_symptoms
from vgharness.records import GradientFlow, Steps

Batch = tuple[Any, Any]  # inputs and targets

STEPS: Final = 3
_OPTIMIZERS: Final[dict[str, Callable[[list[nn.Parameter]], torch.optim.Optimizer]]] = {
    "SGD": lambda parameters: torch.optim.SGD(parameters, lr=0.1),
    "Adam": lambda parameters: torch.optim.Adam(parameters, lr=1e-3),
}
_CLOSED: Final = frozenset({"dead", "vanishing"})


def closed_seed(seeds: Sequence[int], flows: Sequence[GradientFlow]) -> int | None:
    """The seed to take steps with: one in which something is dead or vanished, else one in which something is zero;
    ``None`` where nothing is. One is enough, for what starts at zero does so whatever the seed, and steps take their
    time."""
    dead = [seed for seed, flow in zip(seeds, flows, strict=True) if _CLOSED & find_symptoms(flow, closed(flow)).keys()]
    return next(iter(dead or [seed for seed, flow in zip(seeds, flows, strict=True) if _may_open(flow)]), None)


def flows_after_steps(
    seed: int,
    make: Callable[[int], tuple[nn.Module, Batch]],
    measure: Callable[[nn.Module, Batch], GradientFlow],
) -> tuple[Steps, ...]:
    """Takes steps with a fresh model of ``seed``, by plain SGD and by Adam, until nothing is closed any more, at most
    ``STEPS``, and measures its flow before the first and after each.

    ``make(seed)`` gives a model as it was and its batch; ``measure(model, batch)`` runs a forward and backward pass,
    after which the weights hold their gradients, and gives the flow. An optimizer whose step raises is left out.
    """
    found = []
    for name, optimizer in _OPTIMIZERS.items():
        try:
            flows = tuple(_after_steps(*make(seed), optimizer, measure))
        except Exception:  # whatever a stranger's model raises: the flow at initialisation is judged as it is
            continue
        found.append(Steps(optimizer=name, seed=seed, flows=flows))
    return tuple(found)


def _after_steps(
    model: nn.Module,
    batch: Batch,
    optimizer: Callable[[list[nn.Parameter]], torch.optim.Optimizer],
    measure: Callable[[nn.Module, Batch], GradientFlow],
) -> Iterator[GradientFlow]:
    stepping = optimizer([p for p in model.parameters() if p.requires_grad])
    yield measure(model, batch)
    for _ in range(STEPS):
        stepping.step()
        flow = measure(model, batch)
        yield flow
        if not _may_open(flow):
            return


def _may_open(flow: GradientFlow) -> bool:
    """Whether anything in the flow is closed now that a step may open."""
    return bool(_CLOSED & find_symptoms(flow, closed(flow)).keys()) or any(
        layer.state == "zero" for layer in flow.layers
    )
