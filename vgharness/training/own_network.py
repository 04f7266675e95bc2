"""A user's own network and recipe: makes them by the names that a cell has for them."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.optimizer import Optimizer

from vgharness.errors import UsageError
from vgharness.formatting import in_one_line, listing
from vgharness.records import Cell, OwnNetwork
from vgharness.system.user_code import load_callable, required_arguments, suggestion

Loss = Callable[[Any, Tensor], Tensor]


def mean_loss(cell: Cell) -> Loss:
    """The loss that the cell's network is trained by, as the mean over a batch."""
    return functional.cross_entropy if cell.own is None else loss_of(cell.own)


def count_correct(cell: Cell, outputs: Any, targets: Tensor) -> Tensor:
    """How many of a batch's outputs are right: a float scalar on their device; NaN where nothing is right or wrong."""
    if cell.own is None:
        right: Tensor = outputs.argmax(1) == targets
        return right.sum().float()
    return _count_right(cell.own, outputs, targets)


def check_own(cell: Cell) -> None:
    """Checks that all that the cell names of the user's own is there and takes what it is to be called with.

    Raises :class:`~vgharness.errors.UsageError`, one line that names the study's key.
    """
    own = _own(cell)
    _arguments(cell, load_callable(own.network))
    loss_of(own)
    make_own_optimizer(own, [nn.Parameter(torch.zeros(1))])
    own_learning_rate(own, 1)


def make_network(cell: Cell, outputs: int) -> nn.Module:
    """Calls the user's function with the cell's factors, and with ``activation``, ``outputs``, ``batch_size`` and
    ``seed`` as far as it takes them; ``outputs``: how many classes the data have.

    Raises :class:`~vgharness.errors.UsageError` where it raises or gives no module.
    """
    own = _own(cell)
    function = load_callable(own.network)
    try:
        model = function(**_arguments(cell, function, outputs))
    except UsageError:
        raise
    except (Exception, SystemExit) as error:
        raise UsageError(f"network {own.network} raised {in_one_line(error)}") from error
    if not isinstance(model, nn.Module):
        raise UsageError(f"network {own.network} gives {type(model).__name__}, not a torch.nn.Module: return the model")
    return model


def loss_of(own: OwnNetwork) -> Loss:
    """The mean loss over a batch, of outputs and targets; raises :class:`~vgharness.errors.UsageError` for an unknown
    name."""
    if ":" in own.loss:
        return load_callable(own.loss)
    known = [name for name in dir(functional) if name.endswith(("_loss", "entropy", "_logits", "kl_div"))]
    if own.loss not in known:
        raise UsageError(
            f"loss {own.loss!r}: torch.nn.functional has no such loss{suggestion(own.loss, known)}; one of your own is "
            "path/file.py:name"
        )
    found: Loss = getattr(functional, own.loss)
    return found


def _count_right(own: OwnNetwork, outputs: Any, targets: Tensor) -> Tensor:
    """How many outputs are right, a float scalar: of classes by the largest, of a binary cross-entropy by the side that
    the number is on; NaN for what has no right answer."""
    if isinstance(outputs, Tensor):
        if targets.dtype is torch.int64 and targets.dim() == 1 and outputs.dim() == 2 and outputs.shape[1] > 1:
            return (outputs.argmax(1) == targets).sum().float()
        if own.loss.startswith("binary_cross_entropy") and outputs.shape == targets.shape:
            side = 0.0 if own.loss.endswith("with_logits") else 0.5
            return ((outputs > side) == (targets > 0.5)).sum().float() / max(1, outputs[0].numel())
    return torch.full((), math.nan, device=targets.device)


def make_own_optimizer(own: OwnNetwork, parameters: Iterable[nn.Parameter]) -> Optimizer:
    """Makes the optimizer of ``torch.optim`` with its arguments. Raises :class:`~vgharness.errors.UsageError` for an
    unknown name, for arguments that it does not take, and for one whose step needs a closure."""
    kind = _class_in(torch.optim, own.optimizer, "optimizer", Optimizer)
    if kind is torch.optim.LBFGS:
        raise UsageError("optimizer LBFGS: its step computes the loss several times; use another one")
    try:
        made: Optimizer = kind(parameters, **dict(own.optimizer_settings))
    except (TypeError, ValueError) as error:
        raise UsageError(f"optimizer {own.optimizer}: {in_one_line(error)}") from error
    return made


def own_learning_rate(own: OwnNetwork, epoch: int) -> float:
    """Returns the learning rate of an epoch, counted from 1: what the schedule makes of the optimizer's own when it is
    stepped after each epoch. Raises :class:`~vgharness.errors.UsageError` for a schedule that is unknown or needs more
    than the number of the epoch."""
    optimizer = make_own_optimizer(own, [nn.Parameter(torch.zeros(1))])
    if own.schedule:
        lr_scheduler = torch.optim.lr_scheduler
        kind = _class_in(lr_scheduler, own.schedule, "schedule", lr_scheduler.LRScheduler)
        if kind is lr_scheduler.ReduceLROnPlateau:
            raise UsageError("schedule ReduceLROnPlateau: it needs the loss; use one that needs the epoch alone")
        try:
            schedule = kind(optimizer, **dict(own.schedule_settings))
        except (TypeError, ValueError) as error:
            raise UsageError(f"schedule {own.schedule}: {in_one_line(error)}") from error
        optimizer.step()  # a schedule that is stepped before its optimizer warns
        for _ in range(epoch - 1):
            schedule.step()
    return float(optimizer.param_groups[0]["lr"])


def _own(cell: Cell) -> OwnNetwork:
    if cell.own is None:
        raise ValueError(f"{cell.name} is no network of the user's own")
    return cell.own


def _arguments(cell: Cell, function: Callable[..., Any], outputs: int | None = None) -> dict[str, Any]:
    own = _own(cell)
    factors = dict(own.factors)
    known = {
        "activation": None if cell.activation == "own" else cell.activation,
        "outputs": own.outputs or outputs,
        "batch_size": cell.batch_size,
        "seed": cell.seed,
    }
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):  # some functions written in C have none
        return factors
    taken = factors | {name: value for name, value in known.items() if name in parameters and value is not None}
    if any(each.kind is each.VAR_KEYWORD for each in parameters.values()):
        return taken
    if unknown := [name for name in factors if name not in parameters]:
        raise UsageError(
            f"network {own.network} takes no {listing(unknown)}: it takes {listing(parameters) or 'nothing'}; "
            "name only these in [grid]"
        )
    missing = [name for name in required_arguments(function) if name not in taken and name != "outputs"]
    if missing:
        raise UsageError(f"network {own.network} needs {listing(missing)}: give values in [grid]")
    return taken


def _class_in(module: Any, name: str, what: str, base: type) -> Any:
    found = getattr(module, name, None)
    if not (inspect.isclass(found) and issubclass(found, base)) or found is base:
        held = {each: getattr(module, each) for each in dir(module)}
        classes = [each for each, x in held.items() if inspect.isclass(x) and issubclass(x, base) and x is not base]
        raise UsageError(f"{what} {name!r}: {module.__name__} has no such class{suggestion(name, classes)}")
    return found
