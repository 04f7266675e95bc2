"""How well networks classify the test images."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional

from vgharness.data.on_device import DeviceImages
from vgharness.precision import autocast
from vgharness.records import Precision
from vgharness.training.values import EvaluationValues

TEST_BATCH = 1000


def evaluate(models: nn.ModuleList, images: DeviceImages, precision: Precision, count: int) -> EvaluationValues:
    """Runs ``models`` in evaluation mode on the first ``count`` test images, ``TEST_BATCH`` at a time, and gives their
    losses and right answers, on the device. Puts them back into training mode."""
    totals = EvaluationValues.zeros(len(models), images.device)
    with evaluation_mode(models), torch.no_grad(), autocast(precision, images.device):
        for inputs, targets in images.test_batches(count, TEST_BATCH):
            for number, model in enumerate(models):
                outputs = model(inputs)
                loss = functional.cross_entropy(outputs.float(), targets, reduction="sum")
                totals.add(number, loss, count_correct(outputs, targets))
    return totals


@contextmanager
def evaluation_mode(models: nn.ModuleList) -> Iterator[None]:
    """Within, ``models`` are in evaluation mode; afterwards in training mode."""
    models.eval()
    try:
        yield
    finally:
        models.train()


def count_correct(outputs: Tensor, targets: Tensor) -> Tensor:
    """How many of ``outputs`` [B, classes] are largest at the target, ``targets`` being int64 [B]: a float scalar on
    their device."""
    return (outputs.argmax(1) == targets).sum().float()
