"""The baseline script, which the published study is and a user would otherwise run: what our speed is held against.

A ``DataLoader`` with two workers, PIL transforms image by image, one network after the other, and for each layer and
step an ``.item()`` that waits for the device.
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
from vgharness.records import Activation, Architecture, Precision
from vgharness.system.device import synchronize

WORKERS = 2
# Batches. Before the first are through, the workers are not yet as far ahead as they will be; while the last are, they
# have nothing left to do, and the rest goes faster than it ever does in a whole epoch.
WARM_UP = 5
AHEAD = 2 * WORKERS


class _Images(Dataset[tuple[Tensor, int]]):
    """As ``torchvision.datasets.CIFAR10`` gives them."""

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
    """One network of ``architecture`` and ``activation`` on ``images``, which are on the CPU."""

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
        self._autocast = torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")
        self._loader = DataLoader(_Images(images), batch_size=batch_size, shuffle=True, num_workers=WORKERS)
        self._model = DeepCNN(activation, pools=architecture).to(device)
        self._optimizer = torch.optim.Adam(self._model.parameters(), lr=1e-3)
        self._layers = [module for module in self._model.children() if isinstance(module, nn.Conv2d)]

    def seconds_per_image(self) -> float:
        """Trains an epoch; the first ``WARM_UP`` batches are not timed, nor the last ``AHEAD``, nor the start of the
        workers."""
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
