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
from vgharness.records import Activation, Cell, LayerError, LayerPrediction, MomentErrors, Precision, Study
from vgharness.training.numerics import LayerGradients, exact_gradients, gradient_errors, layer_gradients
from vgharness.training.own_network import mean_loss
from vgharness.training.pack import initial_network
from vgharness.training.prediction import activation_in, predict
from vgharness.training.randomness import Batches, drawing_from, generator


class FirstBatch:
    """The batch that a cell trains on first, on which gradients are measured with the weights of any moment.

    The batch is drawn anew and the network copied, so that nothing of the cell's training is touched. Float32 on a GPU
    is computed as the caller has set it by :func:`~vgharness.precision.float32_precision`.
    """

    def __init__(self, cell: Cell, images: DeviceImages, precision: Precision) -> None:
        self._cell, self._precision, self._loss = cell, precision, mean_loss(cell)
        batches = Batches((cell,), images)
        batches.shuffle()
        (self._inputs,), (self._targets,) = batches.take(batches.sizes[0])

    def errors(self, model: nn.Module, epoch: int) -> MomentErrors | None:
        """Measures how far the gradients at the precision in use are from float64's, ``model`` being the cell's network
        as it is after ``epoch`` epochs. ``None`` for a user's own network of which that cannot be said: its gradients
        are not the same twice, as with dropout, or it does not compute in float64."""
        exact = self._exact(model)
        return None if exact is None else self._errors(model, epoch, exact)

    def at_initialisation(self, model: nn.Module) -> tuple[MomentErrors | None, tuple[LayerPrediction, ...]]:
        """Measures the errors of the initial ``model``, as :meth:`errors` does, and, per layer but the last, the factor
        toward the input beside theory's; of a network that theory does not speak of there are no such predictions."""
        exact = self._exact(model)
        if exact is None:
            return None, ()
        activation = self._activation(model)
        predictions = (
            () if activation is None else predict(model, activation, self._inputs, self._targets, exact, self._loss)
        )
        return self._errors(model, 0, exact), predictions

    def _activation(self, model: nn.Module) -> Activation | None:
        """The one that theory is to be asked about; mean field speaks of layers without a norm between them."""
        if self._cell.own is not None:
            return activation_in(model)
        return None if self._cell.norm else self._cell.activation

    def _errors(self, model: nn.Module, epoch: int, exact: list[LayerGradients]) -> MomentErrors:
        return MomentErrors(epoch=epoch, layers=gradient_errors(self._found(model), exact))

    def _found(self, model: nn.Module) -> list[LayerGradients]:
        context = autocast(self._precision, self._inputs.device)
        # On a copy, for a batch norm would learn from this batch once more.
        return layer_gradients(copy.deepcopy(model), self._inputs, self._targets, context, loss=self._loss)

    def _exact(self, model: nn.Module) -> list[LayerGradients] | None:
        if self._cell.own is None:
            return exact_gradients(model, self._inputs, self._targets)
        try:
            with drawing_from(generator(self._cell, "network")):
                first, second = self._found(model), self._found(model)
            if not first or not all(torch.equal(a.weight, b.weight) for a, b in zip(first, second, strict=True)):
                return None
            return exact_gradients(model, self._inputs, self._targets, self._loss, whole=True)
        except Exception:  # nobody knows what it does in float64; that it trains is seen elsewhere
            return None


class WorstError(NamedTuple):
    """Where a study's gradients are furthest from float64's.

    error: the relative error of a weight's gradient, in the 2-norm; infinite where it is not finite.
    cell: whose gradient it is.
    layer: whose weight it is.
    """

    error: float
    cell: Cell
    layer: str


def worst_error(study: Study, images: ImageSet, device: torch.device | str) -> WorstError | None:
    """Finds the largest error at initialisation at the study's precision, on the first batch of the first seed's
    networks; ``None`` where there is none to be measured."""
    device_images = DeviceImages(images, torch.device(device))
    with float32_precision(study.precision):
        errors = [
            WorstError(math.inf if error.weight_l2 is None else error.weight_l2, cell, error.name)
            for cell in study.cells
            if cell.seed == study.cells[0].seed
            for error in _initial_errors(cell, device_images, study.precision)
        ]
    return max(errors, key=lambda worst: worst.error, default=None)


def _initial_errors(cell: Cell, images: DeviceImages, precision: Precision) -> tuple[LayerError, ...]:
    found = FirstBatch(cell, images, precision).errors(initial_network(cell, images), 0)
    return found.layers if found else ()
