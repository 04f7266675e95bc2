"""Pads, crops, flips and normalises images as the published recipe does, batch by batch on their device."""

from __future__ import annotations

import functools

import torch
from torch import Tensor
from torch.nn import functional

from vgharness.system.device import LAYOUT

PADDING = 4
# Per-channel statistics of CIFAR-10 that the studied script normalises with.
MEAN = (0.4914, 0.4822, 0.4465)
STD = (0.2470, 0.2435, 0.2616)


def pad(images: Tensor) -> Tensor:
    """Adds a black border, before normalisation as published: uint8 [N, 3, 32, 32] → uint8 [N, 3, 40, 40]."""
    return functional.pad(images, (PADDING,) * 4)


def augment(padded: Tensor, index: Tensor, offsets: Tensor, flips: Tensor) -> Tensor:
    """Flips, then crops each image of a batch in its own way: returns uint8 [B, 3, 32, 32].

    padded: all images, as :func:`pad` gives them.
    index: int64 [B], which of them make up the batch.
    offsets: int64 [B, 2] in 0..8, the crop's top and left in the flipped image.
    flips: bool [B], which are mirrored left to right.
    """
    size = padded.shape[-1] - 2 * PADDING
    windows = padded.unfold(2, size, 1).unfold(3, size, 1)  # a view: [N, 3, 9, 9, 32, 32]
    top, left = offsets.unbind(1)
    # The mirrored image cropped at `left` is the mirror of the image cropped at 8 - left.
    crops = windows[index, :, top, torch.where(flips, 2 * PADDING - left, left)]
    return torch.where(flips[:, None, None, None], crops.flip(-1), crops)


def normalise(images: Tensor) -> Tensor:
    """Scales images, uint8 [B, 3, H, W], to float32: (x / 255 − mean) / std per channel.

    The result lies in memory as :data:`~vgharness.system.device.LAYOUT` has it.
    """
    mean, std = _channel_statistics(images.device)
    scaled = images.to(torch.float32, memory_format=LAYOUT).div(255)
    return scaled.sub_(mean).div_(std)


@functools.cache
def _channel_statistics(device: torch.device) -> tuple[Tensor, Tensor]:
    """Copies ``MEAN`` and ``STD``, each [3, 1, 1], to a device once: a copy per batch would wait for the device."""
    mean, std = (torch.tensor(values, device=device).view(3, 1, 1) for values in (MEAN, STD))
    return mean, std
