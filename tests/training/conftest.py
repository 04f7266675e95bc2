"""What the tests of training share: images, the batches that are drawn, and networks without their first batch."""

import pytest
import torch
from small_cells import TEST, TRAIN, Draw
from torch import Tensor

import vgharness.data.on_device
from vgharness.data.augmentation import augment
from vgharness.data.on_device import DeviceImages
from vgharness.data.synthetic import synthetic_images
from vgharness.training.loop import NetworkTraining


@pytest.fixture
def without_first_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its numerics and predictions have tests of their own, and take longer than these networks."""
    monkeypatch.setattr(NetworkTraining, "measure_first_batch", lambda network: None)


@pytest.fixture(scope="session")
def images() -> DeviceImages:
    return DeviceImages(synthetic_images(TRAIN, TEST), torch.device("cpu"))


@pytest.fixture(scope="session")
def few_images() -> DeviceImages:
    return DeviceImages(synthetic_images(24, 10), torch.device("cpu"))


@pytest.fixture
def draws(monkeypatch: pytest.MonkeyPatch) -> list[Draw]:
    """Fills with every batch that is augmented from here on."""
    seen: list[Draw] = []

    def record(padded: Tensor, index: Tensor, offsets: Tensor, flips: Tensor) -> Tensor:
        crops = augment(padded, index, offsets, flips)
        seen.append(Draw(index.tolist(), offsets, flips, crops))
        return crops

    monkeypatch.setattr(vgharness.data.on_device, "augment", record)
    return seen
