"""A cell's gradients on its first training batch: their numerical error at some moments, and theory's word."""

from __future__ import annotations

import copy
import math
from typing import NamedTuple

import torch
from torch import nn

from vgharness.data.image_set import ImageSet
from vgharness.data.on_device import DeviceImages
from vgharness.precision import autocast, float32_precision
from vgharness.records import Cell, LayerPrediction, MomentErrors, Precision, Study
from vgharness.training.numerics import LayerGradients, exact_gradients, gradient_errors, layer_gradients
from vgharness.training.pack import initial_network
from vgharness.training.prediction import predict
from vgharness.training.randomness import Batches


class FirstBatch:
    """The batch that a cell trains on first, on which gradients are measured with the weights of any moment.

    The batch is drawn anew and the network copied, so that nothing of the cell's training is touched. Float32 on a GPU
    is computed as the caller has set it by :func:`~vgharness.precision.float32_precision`.
    """

    def __init__(self, cell: Cell, images: DeviceImages, precision: Precision) -> None:
        self._cell, self._precision = cell, precision
        batches = Batches((cell,), images)
        batches.shuffle()
        (self._inputs,), (self._targets,) = batches.take(batches.sizes[0])

    def errors(self, model: nn.Module, epoch: int) -> MomentErrors:
        """Measures how far the gradients at the precision in use are from float64's, ``model`` being the cell's network
        as it is after ``epoch`` epochs."""
        return self._errors(model, epoch, self._exact(model))

    def at_initialisation(self, model: nn.Module) -> tuple[MomentErrors, tuple[LayerPrediction, ...]]:
        """Measures the errors of the initial ``model`` and, per layer but the last, the factor toward the input beside
        theory's; of a network with a norm there are no such predictions."""
        exact = self._exact(model)
        # Mean field speaks of layers without a norm between them.
        predictions = (
            () if self._cell.norm else predict(model, self._cell.activation, self._inputs, self._targets, exact)
        )
        return self._errors(model, 0, exact), predictions

    def _errors(self, model: nn.Module, epoch: int, exact: list[LayerGradients]) -> MomentErrors:
        context = autocast(self._precision, self._inputs.device)
        # On a copy, for a batch norm would learn from this batch once more.
        found = layer_gradients(copy.deepcopy(model), self._inputs, self._targets, context)
        return MomentErrors(epoch=epoch, layers=gradient_errors(found, exact))

    def _exact(self, model: nn.Module) -> list[LayerGradients]:
        return exact_gradients(model, self._inputs, self._targets)


class WorstError(NamedTuple):
    """Where a study's gradients are furthest from float64's.

    error: the relative error of a weight's gradient, in the 2-norm; infinite where it is not finite.
    cell: whose gradient it is.
    layer: whose weight it is.
    """

    error: float
    cell: Cell
    layer: str


def worst_error(study: Study, images: ImageSet, device: torch.device | str) -> WorstError:
    """Finds the largest error at initialisation at the study's precision, on the first batch of the first seed's
    networks."""
    device_images = DeviceImages(images, torch.device(device))
    with float32_precision(study.precision):
        errors = [
            WorstError(math.inf if error.weight_l2 is None else error.weight_l2, cell, error.name)
            for cell in study.cells
            if cell.seed == study.cells[0].seed
            for error in _initial_errors(cell, device_images, study.precision).layers
        ]
    return max(errors, key=lambda worst: worst.error)


def _initial_errors(cell: Cell, images: DeviceImages, precision: Precision) -> MomentErrors:
    return FirstBatch(cell, images, precision).errors(initial_network(cell, images), 0)
