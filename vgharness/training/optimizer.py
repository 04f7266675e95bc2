"""What updates the networks of a pack, and how large its steps are from epoch to epoch."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.optim.optimizer import Optimizer

from vgharness.records import Cell
from vgharness.training.own_network import make_own_optimizer, own_learning_rate


def make_optimizer(cell: Cell, parameters: Iterable[nn.Parameter], device: torch.device) -> Optimizer:
    """Makes the cell's optimizer, with the learning rate of the first epoch.

    On a GPU, where a step is recorded once and repeated, a learning rate that changes lies on the device, so that what
    is repeated reads the one of the moment.
    """
    if cell.own is not None:
        return make_own_optimizer(cell.own, parameters)
    on_gpu = device.type == "cuda"
    changes = cell.schedule != "constant"
    rate: float | Tensor = torch.tensor(cell.learning_rate, device=device) if on_gpu and changes else cell.learning_rate
    if cell.optimizer == "sgd":
        return torch.optim.SGD(parameters, lr=rate, momentum=cell.momentum, fused=True)
    return torch.optim.Adam(parameters, lr=rate, fused=True, capturable=on_gpu)


def learning_rate_at(cell: Cell, epoch: int) -> float:
    """Returns the learning rate of all steps of an epoch, counted from 1.

    ``cosine`` is ``torch.optim.lr_scheduler.CosineAnnealingLR``'s with ``T_max`` the number of epochs, stepped after
    each epoch: the first epoch has the cell's own, and after the last it would be 0.
    """
    if cell.own is not None:
        return own_learning_rate(cell.own, epoch)
    if cell.schedule == "constant":
        return cell.learning_rate
    return cell.learning_rate * (1 + math.cos(math.pi * (epoch - 1) / cell.epochs)) / 2


def set_learning_rate(optimizer: Optimizer, rate: float) -> None:
    """Makes ``rate`` that of the next steps, in place where it lies on a GPU."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate
