"""The images where cells train."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from vgharness.data.augmentation import augment, normalise, pad
from vgharness.data.image_set import ImageSet


class DeviceImages:
    """The images of an :class:`~vgharness.data.image_set.ImageSet` on the device where cells train.

    device: where all tensors lie.
    num_classes: how many classes there are.
    train_count: how many images there are to train on.
    test_count: how many there are to test on.
    """

    def __init__(self, images: ImageSet, device: torch.device) -> None:
        images = images.to(device)
        self.device = device
        self.num_classes = len(images.provenance.classes)
        self.train_count, self.test_count = len(images.train_images), len(images.test_images)
        self._ready = images.ready
        # Padded once for all crops: uint8 [N, 3, 40, 40].
        self._train_images = images.train_images if images.ready else pad(images.train_images)
        self._train_labels = images.train_labels
        self._test_images, self._test_labels = images.test_images, images.test_labels

    def training_batch(self, index: Tensor, offsets: Tensor, flips: Tensor) -> tuple[Tensor, Tensor]:
        """Gives the training images at ``index`` int64 [B] as networks take them, float32 [B, 3, 32, 32], cropped at
        ``offsets`` int64 [B, 2] and mirrored where ``flips`` bool [B] says so, and their labels int64 [B]. Data of a
        user's own is neither cropped nor mirrored."""
        labels = self._train_labels[index]
        if self._ready:
            return self._train_images[index], labels
        return normalise(augment(self._train_images, index, offsets, flips)), labels

    def test_batches(self, count: int, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Gives the first ``count`` test images as networks take them, ``size`` at a time, with their labels."""
        for pixels, labels in zip(
            self._test_images[:count].split(size),  # type: ignore[no-untyped-call]
            self._test_labels[:count].split(size),  # type: ignore[no-untyped-call]
            strict=True,
        ):
            yield pixels if self._ready else normalise(pixels), labels
