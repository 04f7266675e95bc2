"""The images where cells train."""

from __future__ import annotations

import torch

from vgharness.data.augmentation import pad
from vgharness.data.image_set import ImageSet


class DeviceImages:
    """The images of an :class:`~vgharness.data.image_set.ImageSet` on the device where cells train.

    device: where all tensors lie.
    num_classes: how many classes there are.
    padded: uint8 [N, 3, 40, 40], the training images, padded once for all crops.
    labels: int64 [N], of the training images.
    test_images: uint8 [M, 3, 32, 32].
    test_labels: int64 [M].
    """

    def __init__(self, images: ImageSet, device: torch.device) -> None:
        images = images.to(device)
        self.device = device
        self.num_classes = len(images.provenance.classes)
        self.padded, self.labels = pad(images.train_images), images.train_labels
        self.test_images, self.test_labels = images.test_images, images.test_labels
