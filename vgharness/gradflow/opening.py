"""What is closed at initialisation, and what a few training steps make of it.

A head, a gate or a residual branch that starts at zero sends no gradient through, and a plain step opens it. So where a
flow looks dead or vanished, a few steps are taken on copies of the weights, and what is still so after them counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.optim.adam import adam
from torch.optim.sgd import sgd

from vgharness.gradflow.symptoms import closed, find_symptoms
from vgharness.records import GradientFlow, Steps

Batch = tuple[Any, Any]  # inputs and targets

STEPS: Final = 3
_CLOSED: Final = frozenset({"dead", "vanishing"})


def worth_steps(flow: GradientFlow, taken: Sequence[Steps]) -> bool:
    """Whether steps are to be taken with the model of ``flow``, some with another seed's being ``taken``: of the first
    seed in which something is dead or has vanished, else of the first in which something is zero. One is enough, for
    what starts at zero does so whatever the seed, and steps take their time."""
    return _may_open(flow) and (not taken or (_dead(flow) and not _dead(taken[0].flows[0])))


def _may_open(flow: GradientFlow) -> bool:
    return any(layer.state == "zero" for layer in flow.layers) or _dead(flow)


def _dead(flow: GradientFlow) -> bool:
    return bool(_CLOSED & find_symptoms(flow, closed(flow)).keys())


def flows_after_steps(
    model: nn.Module, flow: GradientFlow, measure: Callable[[], GradientFlow], seed: int
) -> tuple[Steps, ...]:
    """Takes steps with ``model`` by plain SGD and by Adam, until nothing is closed any more, at most ``STEPS``, and
    measures its flow after each; then puts the weights, their gradients and the buffers back.

    model: its weights hold the gradients of the pass that ``flow`` is of. ``measure()`` runs another forward and
    backward pass, after which they hold theirs, and gives the flow. ``seed`` is the model's.

    An optimizer whose step raises is left out.
    """
    found = []
    for name, optimizer in _OPTIMIZERS.items():
        with _weights_kept(model):
            try:
                flows = flow, *_after_steps(optimizer([p for p in model.parameters() if p.requires_grad]), measure)
            except Exception:  # whatever a stranger's model raises: the flow at initialisation is judged as it is
                continue
        found.append(Steps(optimizer=name, seed=seed, flows=flows))
    return tuple(found)


def _after_steps(step: Callable[[], None], measure: Callable[[], GradientFlow]) -> Iterator[GradientFlow]:
    for _ in range(STEPS):
        with torch.no_grad():
            step()
        flow = measure()
        yield flow
        if not _may_open(flow):
            return


@contextmanager
def _weights_kept(model: nn.Module) -> Iterator[None]:
    kept = [(x, x.detach().clone()) for x in (*model.parameters(), *model.buffers())]
    gradients = [(x, x.grad) for x in model.parameters()]
    for parameter, gradient in gradients:  # which clearing in place would change
        parameter.grad = None if gradient is None else gradient.clone()
    try:
        yield
    finally:
        with torch.no_grad():
            for tensor, value in kept:
                if not torch.equal(tensor, value):  # one that is expanded cannot be written to
                    tensor.copy_(value)
        for parameter, gradient in gradients:
            parameter.grad = gradient


# PyTorch's steps as functions: to make an optimizer imports its compiler, which takes longer than most models' passes.


def _plain_sgd(parameters: Sequence[nn.Parameter]) -> Callable[[], None]:
    def step() -> None:
        moved, gradients = _with_gradients(parameters)
        nothing: list[Tensor | None] = [None] * len(moved)
        sgd(
            moved,
            gradients,
            nothing,
            lr=0.1,
            momentum=0.0,
            weight_decay=0.0,
            dampening=0.0,
            nesterov=False,
            maximize=False,
        )

    return step


def _adam(parameters: Sequence[nn.Parameter]) -> Callable[[], None]:
    means, squares = (dict[Tensor, Tensor]((p, torch.zeros_like(p)) for p in parameters) for _ in range(2))
    steps: dict[Tensor, Tensor] = {p: torch.zeros(()) for p in parameters}

    def step() -> None:
        moved, gradients = _with_gradients(parameters)
        adam(
            moved,
            gradients,
            [means[p] for p in moved],
            [squares[p] for p in moved],
            [],
            [steps[p] for p in moved],
            has_complex=any(map(torch.is_complex, moved)),
            lr=1e-3,
            beta1=0.9,
            beta2=0.999,
            eps=1e-8,
            weight_decay=0.0,
            amsgrad=False,
            maximize=False,
        )

    return step


def _with_gradients(parameters: Sequence[nn.Parameter]) -> tuple[list[Tensor], list[Tensor]]:
    moved: list[Tensor] = [p for p in parameters if p.grad is not None]
    return moved, [p.grad for p in moved if p.grad is not None]


_OPTIMIZERS: Final = {"SGD": _plain_sgd, "Adam": _adam}
