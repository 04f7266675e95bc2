"""A cell's gradients on its first training batch at its initial weights: their numerical error, and theory's word."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch

from vgharness.data.image_set import ImageSet
from vgharness.data.on_device import DeviceImages
from vgharness.precision import autocast, float32_precision
from vgharness.records import Cell, LayerError, LayerPrediction, Precision, Study
from vgharness.training.numerics import exact_gradients, gradient_errors, layer_gradients
from vgharness.training.pack import Pack
from vgharness.training.prediction import predict


class FirstBatch(NamedTuple):
    """What a cell's first batch says of its gradients.

    numerics: per layer, the error at the precision in use against float64.
    predictions: per layer but the last, the factor toward the input beside theory's; none for a network with a norm.
    """

    numerics: tuple[LayerError, ...] = ()
    predictions: tuple[LayerPrediction, ...] = ()


def measure_first_batch(cell: Cell, images: DeviceImages, precision: Precision) -> FirstBatch:
    """Measures gradients on the cell's first training batch at its initial weights.

    Network and batch are made anew, so that nothing of the cell's training is touched. Float32 on a GPU is computed as
    the caller has set it by :func:`~vgharness.precision.float32_precision`.
    """
    pack = Pack((cell,), images, precision)
    pack.batches.shuffle()
    (inputs,), (targets,) = pack.batches.take(pack.batches.sizes[0])
    (model,) = pack.models
    found = layer_gradients(model, inputs, targets, autocast(precision, images.device))
    exact = exact_gradients(model, inputs, targets)
    # Mean field speaks of layers without a norm between them.
    predictions = () if cell.norm else predict(model, cell.activation, inputs, targets, exact)
    return FirstBatch(gradient_errors(found, exact), predictions)


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
    """Finds the largest error at the study's precision, on the first batch of the first seed's networks."""
    device_images = DeviceImages(images, torch.device(device))
    with float32_precision(study.precision):
        errors = [
            WorstError(math.inf if error.weight_l2 is None else error.weight_l2, cell, error.name)
            for cell in study.cells
            if cell.seed == study.cells[0].seed
            for error in measure_first_batch(cell, device_images, study.precision).numerics
        ]
    return max(errors, key=lambda worst: worst.error)
