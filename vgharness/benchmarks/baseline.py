"""What this package's speed is held against: the baseline script, and a careful one.

The *baseline script* is what the published study is, and what a user would otherwise run: a ``DataLoader`` with two
workers, PIL transforms image by image, one network after the other, and for each layer and step an ``.item()`` that
waits for the device. The *careful script* is what somebody writes who knows where the time goes: images on the device
and augmented there, one network after the other, no ``.item()``. What is faster than that is not faster because a
loader is slow.
"""

from __future__ import annotations

import time

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from vgharness.data.augmentation import MEAN, PADDING, STD
from vgharness.data.image_set import SIZE, ImageSet
from vgharness.data.on_device import DeviceImages
from vgharness.models import DeepCNN
from vgharness.precision import autocast
from vgharness.records import Activation, Architecture, Precision
from vgharness.system.device import LAYOUT, synchronize

LOADER_WORKERS = 2
# Batches that are not timed. During the first, the loader's workers are not yet as far ahead as they will be; during
# the last they have nothing left to load, and training goes faster than it does in the rest of an epoch.
WARM_UP = 5
AHEAD = 2 * LOADER_WORKERS


class _Images(Dataset[tuple[Tensor, int]]):
    """Training images as ``torchvision.datasets.CIFAR10`` gives them: each through PIL and the transforms, alone."""

    def __init__(self, images: ImageSet) -> None:
        self._pixels = images.train_images.permute(0, 2, 3, 1).contiguous().numpy()
        self._labels = images.train_labels.tolist()
        self._transform = transforms.Compose([
            transforms.RandomHorizontalFlip(),
            transforms.RandomCrop(SIZE, padding=PADDING),
            transforms.ToTensor(),
            transforms.Normalize(MEAN, STD),
        ])  # fmt: skip

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self._transform(Image.fromarray(self._pixels[index])), self._labels[index]


class BaselineScript:
    """Trains one network of ``architecture`` and ``activation`` on ``device``, on ``images`` that are on the CPU."""

    def __init__(
        self,
        architecture: Architecture,
        activation: Activation,
        images: ImageSet,
        device: torch.device,
        precision: Precision,
        batch_size: int,
    ) -> None:
        self._device = device
        self._autocast = autocast(precision, device)
        self._loader = DataLoader(_Images(images), batch_size=batch_size, shuffle=True, num_workers=LOADER_WORKERS)
        self._model = DeepCNN(activation, pools=architecture).to(device)
        self._optimizer = torch.optim.Adam(self._model.parameters(), lr=1e-3)
        self._layers = [module for module in self._model.children() if isinstance(module, nn.Conv2d)]

    def seconds_per_image(self) -> float:
        """Trains an epoch and returns the seconds that an image took.

        Not timed are the start of the loader's workers, the first ``WARM_UP`` batches and the last ``AHEAD``.
        """
        timed, started, seconds = 0, 0.0, 0.0
        last = len(self._loader) - AHEAD - 1
        gradients: list[list[float]] = [[] for _ in self._layers]
        loss_sum, correct = 0.0, 0.0
        for number, (inputs, targets) in enumerate(self._loader):
            if number == WARM_UP:
                synchronize(self._device)
                started = time.perf_counter()
            inputs, targets = inputs.to(self._device), targets.to(self._device)
            self._optimizer.zero_grad()
            with self._autocast:
                outputs = self._model(inputs)
                loss = functional.cross_entropy(outputs, targets)
            loss.backward()  # type: ignore[no-untyped-call]
            for layer, seen in zip(self._layers, gradients, strict=True):
                assert layer.weight.grad is not None
                seen.append(layer.weight.grad.abs().mean().item())
            self._optimizer.step()
            loss_sum += loss.item() * len(targets)
            correct += (outputs.argmax(1) == targets).sum().item()
            timed += len(targets) if WARM_UP <= number <= last else 0
            if number == last:
                synchronize(self._device)
                seconds = time.perf_counter() - started
        return seconds / timed


class CarefulScript:
    """Trains one network of ``architecture`` and ``activation`` where ``images`` are, as its numbers ask for."""

    def __init__(
        self,
        architecture: Architecture,
        activation: Activation,
        images: DeviceImages,
        precision: Precision,
        batch_size: int,
    ) -> None:
        self._images, self._batch_size = images, batch_size
        self._autocast = autocast(precision, images.device)
        self._model: nn.Module = DeepCNN(activation, pools=architecture).to(images.device, memory_format=LAYOUT)  # type: ignore[call-overload]
        self._optimizer = torch.optim.Adam(self._model.parameters(), lr=1e-3, fused=True)
        self._layers = [module for module in self._model.children() if isinstance(module, nn.Conv2d)]

    def seconds_per_image(self) -> float:
        """Trains an epoch and returns the seconds that an image took, without the first ``WARM_UP`` batches."""
        device, count = self._images.device, self._images.train_count
        order = torch.randperm(count, device=device).split(self._batch_size)  # type: ignore[no-untyped-call]
        measured: list[Tensor] = []
        started, timed = 0.0, 0
        for number, index in enumerate(order):
            if number == WARM_UP:
                synchronize(device)
                started = time.perf_counter()
            measured.append(self._step(index))
            timed += len(index) if number >= WARM_UP else 0
        torch.stack(measured).cpu()
        return (time.perf_counter() - started) / timed

    def _step(self, index: Tensor) -> Tensor:
        """Trains on the images at ``index`` and gives what the published study measures, on the device."""
        offsets = torch.randint(2 * PADDING + 1, (len(index), 2), device=index.device)
        flips = torch.rand(len(index), device=index.device) < 0.5
        inputs, targets = self._images.training_batch(index, offsets, flips)
        self._optimizer.zero_grad()
        with self._autocast:
            outputs = self._model(inputs)
            loss = functional.cross_entropy(outputs, targets)
        loss.backward()  # type: ignore[no-untyped-call]
        gradients = [layer.weight.grad.abs().mean() for layer in self._layers if layer.weight.grad is not None]
        self._optimizer.step()
        return torch.stack([*gradients, loss.detach(), (outputs.argmax(1) == targets).sum()])
