"""Trains a pack of cells by the published recipe and measures their gradients at every step.

What an epoch measures stays on the device until its end and then crosses to the host in one copy.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from vgharness.data.augmentation import normalise
from vgharness.data.image_set import SIZE
from vgharness.data.on_device import DeviceImages
from vgharness.precision import float32_precision
from vgharness.records import Cell, CellResult, Epoch, GradientFlow, LayerShape, Precision
from vgharness.system.device import synchronize
from vgharness.training.callback import Callback
from vgharness.training.numerics import exact_gradients, gradient_errors, layer_gradients
from vgharness.training.pack import TEST_BATCH, Pack
from vgharness.training.prediction import predict

HEATMAP_IMAGES = 256


def train(cell: Cell, images: DeviceImages, precision: Precision, callback: Callback | None = None) -> CellResult:
    """:func:`train_pack` of one cell."""
    (result,) = train_pack((cell,), images, precision, callback)
    return result


def train_pack(
    cells: Sequence[Cell], images: DeviceImages, precision: Precision, callback: Callback | None = None
) -> tuple[CellResult, ...]:
    """Trains ``cells``, alike but for activation and seed, each to its end, to its divergence (a loss that is not
    finite) or to Ctrl-C, which it reports as status ``interrupted`` with the epochs finished so far."""
    callback = callback or Callback()
    started = time.perf_counter()
    with float32_precision(precision):
        pack = Pack(cells, images, precision)
        begun = [_begun(cell, model, images.device) for cell, model in zip(cells, pack.models, strict=True)]
        epochs: list[list[Epoch]] = [[] for _ in cells]
        changes: list[dict[str, Any]] = [{} for _ in cells]
        training = dict(enumerate(cells))  # those whose losses are finite
        try:
            for cell, change in zip(cells, changes, strict=True):
                change |= first_batch(cell, images, precision)
            if not pack.cell.epochs:
                for flow, change in zip(_initial(pack), changes, strict=True):
                    change["initial"] = flow
            for number in range(1, pack.cell.epochs + 1):
                initial, trained = _epoch(pack, number, training.values(), callback)
                for i, cell in list(training.items()):
                    changes[i].setdefault("initial", initial[i])
                    epochs[i].append(trained[i])
                    callback.epoch_done(cell, trained[i])
                    if trained[i].train_loss is None or trained[i].test_loss is None:
                        changes[i] |= {"status": "diverged", "reason": f"the loss of epoch {number} is not finite"}
                        del training[i]
                if not training:
                    break
            if pack.cell.epochs:
                with pack.evaluating(), pack.autocast():
                    for i in training:
                        changes[i]["heatmap"] = _heatmap(pack.models[i], images)
        except KeyboardInterrupt:
            for i, cell in training.items():
                where = f"in epoch {len(epochs[i]) + 1}" if len(epochs[i]) < cell.epochs else "after the last epoch"
                changes[i] |= {"status": "interrupted", "reason": f"interrupted {where}"}
    seconds = time.perf_counter() - started
    return tuple(
        result.model_copy(update={**changes[i], "epochs": tuple(epochs[i]), "seconds": seconds})
        for i, result in enumerate(begun)
    )


def first_batch(cell: Cell, images: DeviceImages, precision: Precision) -> dict[str, Any]:
    """The fields ``numerics`` and ``predictions`` of a :class:`~vgharness.records.CellResult`: of the cell's
    gradients on its first training batch at its initial weights, the error at ``precision`` and what
    theory says. Made anew, so that the cell's own generators and weights are not touched."""
    with float32_precision(precision):
        pack = Pack((cell,), images, precision)
        pack.shuffle()
        (inputs,), (targets,) = pack.batch(pack.sizes[0])
        (model,) = pack.models
        found = layer_gradients(model, inputs, targets, pack.autocast())
    exact = exact_gradients(model, inputs, targets)
    # Mean field speaks of layers without a norm between them.
    predictions = () if cell.norm else predict(model, cell.activation, inputs, targets, exact)
    return {"numerics": gradient_errors(found, exact), "predictions": predictions}


def seconds_per_image(cell: Cell, images: DeviceImages, precision: Precision) -> tuple[float, float]:
    """How long one image takes to train on and one to test on: measured over a few batches of a
    network that is then thrown away."""
    with float32_precision(precision):
        pack, steps, count = Pack((cell,), images, precision), 3, min(TEST_BATCH, len(images.test_images))
        pack.rehearse(1)
        pack.evaluate(count)
        clock = _Clock(images.device)
        pack.rehearse(steps)
        seconds = clock.lap()
        pack.evaluate(count)
        return seconds / (steps * sum(set(pack.sizes))), clock.lap() / count


def _begun(cell: Cell, model: nn.Module, device: torch.device) -> CellResult:
    return CellResult(
        cell=cell,
        status="finished",
        parameters=sum(p.numel() for p in model.parameters()),
        layers=_layer_shapes(model, device),
        initial_weights_sha256=_weights_sha256(model),
    )


def _initial(pack: Pack) -> list[GradientFlow]:
    """Of each network, the flow of its first training batch at the initial weights, which the step then leaves."""
    pack.shuffle()
    with pack.probe:
        return pack.flows(pack.step(pack.sizes[0])[:, :-2].double())


def _epoch(pack: Pack, number: int, told: Iterable[Cell], callback: Callback) -> tuple[list[GradientFlow], list[Epoch]]:
    """Trains and tests once → of each network, the flow of the epoch's first batch, and the epoch."""
    started = time.perf_counter()

    def step_done(step: int) -> None:
        for cell in told:
            callback.step_done(cell, number, step, len(pack.sizes))

    measured, test_count = pack.epoch(step_done), len(pack.images.test_images)
    tested = pack.evaluate(test_count)
    host = torch.cat([measured.flatten(), tested.flatten()]).double().cpu()
    seconds = time.perf_counter() - started

    per_step = host[: measured.numel()].view(measured.shape)
    sizes = torch.tensor(pack.sizes, dtype=torch.float64)
    flows = pack.flows(torch.stack([x.contiguous()[:, :-2].mean(0) for x in per_step.unbind(1)]))
    epochs = []
    for replica, (test_loss, test_correct) in enumerate(host[measured.numel() :].view(-1, 2).tolist()):
        losses, correct = per_step[:, replica, -2:].t().contiguous()
        epochs.append(
            Epoch(
                epoch=number,
                train_loss=float((losses * sizes).sum() / sizes.sum()),
                train_accuracy=float(100 * correct.sum() / sizes.sum()),
                test_loss=test_loss / test_count,
                test_accuracy=100 * test_correct / test_count,
                seconds=seconds,
                flow=flows[replica],
            )
        )
    return pack.flows(per_step[0, :, :-2]), epochs


def _heatmap(model: nn.Module, images: DeviceImages) -> tuple[tuple[float, ...], ...]:
    """|∂L/∂h| [32, 32] at conv1's pre-activation h, mean over channels and over the first 256 test
    images, L their mean loss: what the document calls the activation gradient heatmap."""
    pixels, targets = images.test_images[:HEATMAP_IMAGES], images.test_labels[:HEATMAP_IMAGES]
    conv1, *rest = model.children()
    outputs = pre_activation = conv1(normalise(pixels))
    for module in rest:
        outputs = module(outputs)
    (gradient,) = torch.autograd.grad(functional.cross_entropy(outputs, targets), pre_activation)
    rows = gradient.float().abs().mean((0, 1)).tolist()
    return tuple(tuple(float(f"{x:.4g}") for x in row) for row in rows)


class _Clock:
    """Seconds between laps, work queued on a GPU included."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.last = device, time.perf_counter()

    def lap(self) -> float:
        synchronize(self.device)
        before, self.last = self.last, time.perf_counter()
        return self.last - before


def _layer_shapes(model: nn.Module, device: torch.device) -> tuple[LayerShape, ...]:
    shapes, hidden = [], torch.zeros(1, 3, SIZE, SIZE, device=device)
    model.eval()  # a BatchNorm must not learn from this
    with torch.no_grad():
        for name, module in model.named_children():
            hidden = module(hidden)
            shapes.append(LayerShape(name=name, kind=type(module).__name__, shape=tuple(hidden.shape[1:])))
    model.train()
    return tuple(shapes)


def _weights_sha256(model: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(name.encode() + tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
