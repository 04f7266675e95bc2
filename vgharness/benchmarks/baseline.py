"""The baseline script: what the published study is, and what a user would otherwise run.

A ``DataLoader`` with two workers, PIL transforms image by image, one network after the other, and for each layer and
step an ``.item()`` that waits for the device. This package's speed is held against it.
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
from vgharness.models import DeepCNN
from vgharness.precision import autocast
from vgharness.records import Activation, Architecture, Precision
from vgharness.system.device import synchronize

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
