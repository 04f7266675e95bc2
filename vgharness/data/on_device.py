"""The images where cells train."""

from __future__ import annotations

import torch

from vgharness.data.augmentation import pad
from vgharness.data.image_set import ImageSet


class DeviceImages:
    """An :class:`~vgharness.data.images.ImageSet` on the device where cells train, padded once for all crops."""

    def __init__(self, images: ImageSet, device: torch.device) -> None:
        images = images.to(device)
        self.device = device
        self.num_classes = len(images.provenance.classes)
        self.padded, self.labels = pad(images.train_images), images.train_labels
        self.test_images, self.test_labels = images.test_images, images.test_labels
