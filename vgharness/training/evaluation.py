"""How well networks classify the test images."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from vgharness.data.on_device import DeviceImages
from vgharness.precision import autocast
from vgharness.records import Cell, Precision
from vgharness.training.own_network import Loss, count_correct
from vgharness.training.values import EvaluationValues

TEST_BATCH = 1000


def evaluate(
    models: nn.ModuleList, cell: Cell, loss: Loss, images: DeviceImages, precision: Precision, count: int
) -> EvaluationValues:
    """Runs ``models`` in evaluation mode on the first ``count`` test images, ``TEST_BATCH`` at a time, and gives their
    losses and right answers, on the device. ``cell``: one of theirs, ``loss``: its mean loss. Puts them back into
    training mode."""
    totals = EvaluationValues.zeros(len(models), images.device)
    with evaluation_mode(models), torch.no_grad(), autocast(precision, images.device):
        for inputs, targets in images.test_batches(count, TEST_BATCH):
            for number, model in enumerate(models):
                outputs = model(inputs)
                totals.add(number, _total_loss(cell, loss, outputs, targets), count_correct(cell, outputs, targets))
    return totals


@contextmanager
def evaluation_mode(models: nn.ModuleList) -> Iterator[None]:
    """Within, ``models`` are in evaluation mode; afterwards in training mode."""
    models.eval()
    try:
        yield
    finally:
        models.train()


def _total_loss(cell: Cell, loss: Loss, outputs: Any, targets: Tensor) -> Tensor:
    if cell.own is None:
        return functional.cross_entropy(outputs.float(), targets, reduction="sum")
    widened = outputs.float() if isinstance(outputs, Tensor) and outputs.is_floating_point() else outputs
    return loss(widened, targets) * len(targets)
