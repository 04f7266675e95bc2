"""Trains one cell by the published recipe and measures its gradients at every step.

Everything random comes from generators that the cell owns, seeded from its seed: initial weights,
order of the images, crops and flips. They run on the CPU, so that a cell draws the same numbers on
every device, whatever was trained before it. Two cells that differ only in their activation start
from the same weights and see the same images: their difference is paired by seed.

What an epoch measures stays on the device until its end and then crosses to the host in one copy.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from vgharness.augmentation import PADDING, augment, normalise, pad
from vgharness.data import SIZE, ImageSet
from vgharness.machine import synchronize
from vgharness.nets import DeepCNN
from vgharness.numerics import exact_gradients, gradient_errors, layer_gradients
from vgharness.prediction import predict
from vgharness.probe import GradientProbe
from vgharness.records import Cell, CellResult, Epoch, GradientFlow, LayerShape, Precision, Study

HEATMAP_IMAGES = 256
_TEST_BATCH = 1000


class Watcher:
    """What a face overrides to show progress. Every method does nothing here."""

    def study_started(self, study: Study, expected_seconds: float) -> None: ...

    def cell_started(self, cell: Cell) -> None: ...

    def step_done(self, cell: Cell, epoch: int, step: int, steps: int) -> None: ...

    def epoch_done(self, cell: Cell, epoch: Epoch) -> None: ...

    def cell_done(self, result: CellResult) -> None: ...


class Resident:
    """An :class:`~vgharness.data.ImageSet` on the device where cells train, padded once for all crops."""

    def __init__(self, images: ImageSet, device: torch.device) -> None:
        images = images.to(device)
        self.device = device
        self.num_classes = len(images.provenance.classes)
        self.padded, self.labels = pad(images.train_images), images.train_labels
        self.test_images, self.test_labels = images.test_images, images.test_labels


def train(cell: Cell, images: Resident, precision: Precision, watcher: Watcher | None = None) -> CellResult:
    """Trains ``cell`` to its end, to its divergence (a loss that is not finite) or to Ctrl-C, which it
    reports as status ``interrupted`` with the epochs finished so far."""
    watcher = watcher or Watcher()
    started = time.perf_counter()
    with _float32_precision(precision):
        training = _Training(cell, images, precision)
        result = CellResult(
            cell=cell,
            status="finished",
            parameters=sum(p.numel() for p in training.model.parameters()),
            layers=_layer_shapes(training.model, images.device),
            initial_weights_sha256=_weights_sha256(training.model),
        )
        epochs: list[Epoch] = []
        changes: dict[str, Any] = {}
        try:
            changes |= first_batch(cell, images, precision)
            if cell.epochs == 0:
                changes["initial"] = training.initial()
            for number in range(1, cell.epochs + 1):
                initial, epoch = training.epoch(number, watcher)
                changes.setdefault("initial", initial)
                epochs.append(epoch)
                watcher.epoch_done(cell, epoch)
                if epoch.train_loss is None or epoch.test_loss is None:
                    changes |= {"status": "diverged", "reason": f"the loss of epoch {number} is not finite"}
                    break
            else:
                if cell.epochs:
                    changes["heatmap"] = training.heatmap()
        except KeyboardInterrupt:
            where = f"in epoch {len(epochs) + 1}" if len(epochs) < cell.epochs else "after the last epoch"
            changes |= {"status": "interrupted", "reason": f"interrupted {where}"}
    return result.model_copy(update={**changes, "epochs": tuple(epochs), "seconds": time.perf_counter() - started})


def first_batch(cell: Cell, images: Resident, precision: Precision) -> dict[str, Any]:
    """The fields ``numerics`` and ``predictions`` of a :class:`~vgharness.records.CellResult`: of the cell's
    gradients on its first training batch at its initial weights, the error at ``precision`` and what
    theory says. Made anew, so that the cell's own generators and weights are not touched."""
    with _float32_precision(precision):
        training = _Training(cell, images, precision)
        batch = next(training.batches())
        found = layer_gradients(training.model, *batch, training.autocast)
    exact = exact_gradients(training.model, *batch)
    # Mean field speaks of layers without a norm between them.
    predictions = () if cell.norm else predict(training.model, cell.activation, *batch, exact)
    return {"numerics": gradient_errors(found, exact), "predictions": predictions}


def seconds_per_image(cell: Cell, images: Resident, precision: Precision) -> tuple[float, float]:
    """How long one image takes to train on and one to test on: measured over a few batches of a
    network that is then thrown away."""
    with _float32_precision(precision):
        training = _Training(cell, images, precision)
        clock, steps = _Clock(images.device), 3
        with training.probe:
            batches = training.batches()
            first = next(batches)
            training.step(*first)
            training.evaluate(_TEST_BATCH)
            clock.lap()
            for _ in range(steps):
                training.step(*first)
            seconds = clock.lap()
            training.evaluate(_TEST_BATCH)
            return seconds / (steps * len(first[0])), clock.lap() / min(_TEST_BATCH, len(images.test_images))


class _Training:
    """A cell's network, optimizer, probe and generators, and what can be done with them."""

    def __init__(self, cell: Cell, images: Resident, precision: Precision) -> None:
        self.cell, self.images = cell, images
        with torch.random.fork_rng(devices=()):  # layers initialise from the CPU's global generator
            torch.default_generator.manual_seed(_stream(cell.seed, "weights"))
            model = DeepCNN(cell.activation, cell.depth, cell.architecture, cell.norm, cell.init, images.num_classes)
        self.model: DeepCNN = model.to(images.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=cell.learning_rate, fused=True)
        self.probe = GradientProbe(self.model)
        self.order = torch.Generator().manual_seed(_stream(cell.seed, "order"))
        self.augmentation = torch.Generator().manual_seed(_stream(cell.seed, "augmentation"))
        self.autocast = torch.autocast(images.device.type, torch.bfloat16) if precision == "bf16" else nullcontext()

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """One epoch's: float32 [B, 3, 32, 32] and int64 [B]; the last batch is what is left over."""
        count, device = len(self.images.padded), self.images.device
        index = torch.randperm(count, generator=self.order).to(device)
        offsets = torch.randint(2 * PADDING + 1, (count, 2), generator=self.augmentation).to(device)
        flips = (torch.rand(count, generator=self.augmentation) < 0.5).to(device)
        for chosen in torch.split(torch.arange(count, device=device), self.cell.batch_size):
            picked = index[chosen]
            crops = augment(self.images.padded, picked, offsets[chosen], flips[chosen])
            yield normalise(crops), self.images.labels[picked]

    def step(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """One optimizer step → on the device, the probe's quantities, the mean loss and the number
        of right answers in one flat tensor; gradients, loss and answers of before the update."""
        self.optimizer.zero_grad()
        with self.autocast:
            outputs = self.model(inputs)
            loss = functional.cross_entropy(outputs, targets)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return torch.cat([self.probe.read().flatten(), loss.detach()[None], _correct(outputs, targets)[None]])

    def initial(self) -> GradientFlow:
        """The flow of the first training batch at the initial weights, which the step then leaves."""
        with self.probe:
            return self._flow(self.step(*next(self.batches()))[:-2].double())

    def epoch(self, number: int, watcher: Watcher) -> tuple[GradientFlow, Epoch]:
        """Trains and tests once → the flow of the epoch's first batch, and the epoch."""
        started = time.perf_counter()
        count, size = len(self.images.padded), self.cell.batch_size
        steps = math.ceil(count / size)
        rows: list[Tensor] = []
        with self.probe:
            for inputs, targets in self.batches():
                rows.append(self.step(inputs, targets))
                watcher.step_done(self.cell, number, len(rows), steps)
        tested = self.evaluate(len(self.images.test_images))
        host = torch.cat([*rows, tested]).double().cpu()

        per_step, (test_loss, test_correct) = host[:-2].view(steps, -1), host[-2:].tolist()
        sizes = torch.full((steps,), float(size), dtype=torch.float64)
        sizes[-1] = count - size * (steps - 1)
        epoch = Epoch(
            epoch=number,
            train_loss=float((per_step[:, -2] * sizes).sum() / count),
            train_accuracy=float(100 * per_step[:, -1].sum() / count),
            test_loss=test_loss / len(self.images.test_images),
            test_accuracy=100 * test_correct / len(self.images.test_images),
            seconds=time.perf_counter() - started,
            flow=self._flow(per_step[:, :-2].mean(0)),
        )
        return self._flow(per_step[0, :-2]), epoch

    def evaluate(self, count: int) -> Tensor:
        """On the first ``count`` test images → [2] on the device: summed loss and right answers."""
        total = torch.zeros(2, device=self.images.device)
        self.model.eval()
        chunks = zip(
            torch.split(self.images.test_images[:count], _TEST_BATCH),
            torch.split(self.images.test_labels[:count], _TEST_BATCH),
            strict=True,
        )
        with torch.no_grad(), self.autocast:
            for pixels, targets in chunks:
                outputs = self.model(normalise(pixels))
                loss = functional.cross_entropy(outputs.float(), targets, reduction="sum")
                total += torch.stack([loss, _correct(outputs, targets)])
        self.model.train()
        return total

    def heatmap(self) -> tuple[tuple[float, ...], ...]:
        """|∂L/∂h| [32, 32] at conv1's pre-activation h, mean over channels and over the first 256 test
        images, L their mean loss: what the document calls the activation gradient heatmap."""
        pixels, targets = self.images.test_images[:HEATMAP_IMAGES], self.images.test_labels[:HEATMAP_IMAGES]
        self.model.eval()
        with self.autocast:
            conv1, *rest = self.model.children()
            outputs = pre_activation = conv1(normalise(pixels))
            for module in rest:
                outputs = module(outputs)
            loss = functional.cross_entropy(outputs, targets)
        (gradient,) = torch.autograd.grad(loss, pre_activation)
        self.model.train()
        rows = gradient.float().abs().mean((0, 1)).tolist()
        return tuple(tuple(float(f"{x:.4g}") for x in row) for row in rows)

    def _flow(self, quantities: Tensor) -> GradientFlow:
        return self.probe.record(quantities.view(len(self.probe.layers), -1).tolist())


class _Clock:
    """Seconds between laps, work queued on a GPU included."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.last = device, time.perf_counter()

    def lap(self) -> float:
        synchronize(self.device)
        before, self.last = self.last, time.perf_counter()
        return self.last - before


def _correct(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs.argmax(1) == targets).sum().float()


def _stream(seed: int, purpose: str) -> int:
    """A seed of its own for each purpose, so that streams do not repeat each other's numbers."""
    return int.from_bytes(hashlib.sha256(f"{seed} {purpose}".encode()).digest()[:8]) >> 1


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


@contextmanager
def _float32_precision(precision: Precision) -> Iterator[None]:
    """PyTorch lets convolutions round float32 to TF32 on a GPU unless told otherwise: told here."""
    settings: tuple[Any, ...] = (torch.backends.cudnn.conv, torch.backends.cuda.matmul)  # type: ignore[attr-defined]
    before = [setting.fp32_precision for setting in settings]
    for setting in settings:
        setting.fp32_precision = "tf32" if precision == "tf32" else "ieee"
    try:
        yield
    finally:
        for setting, value in zip(settings, before, strict=True):
            setting.fp32_precision = value
