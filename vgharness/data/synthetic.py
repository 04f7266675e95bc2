"""Synthetic images: shapes drawn on the fly with integer arithmetic, so that they are the same on every machine."""

from __future__ import annotations

import torch
from torch import Tensor

from vgharness.data.image_set import SIZE, Arrays, ImageSet, with_provenance

SHAPES = ("disc", "ring", "square", "frame", "diamond", "plus", "cross", "rows", "columns", "checks")
# Each class leans toward a colour, as ships lean to blue and frogs to green: something to learn
# within a few dozen steps. Two pairs of classes share theirs, and all of them overlap.
_TINTS = torch.tensor([[96 + 64 * (i >> bit & 1) for bit in range(3)] for i in range(10)])


def synthetic_images(train_images: int = 50_000, test_images: int = 10_000) -> ImageSet:
    """Draws images of ten classes of shapes, at random places, in random sizes and colours and under noise.

    They are the same on every call; a shorter set is the beginning of a longer one.
    """
    arrays = Arrays(*_draw(train_images, seed=0), *_draw(test_images, seed=1))
    return with_provenance(arrays, SHAPES, "synthetic", "no", "synthetic shapes drawn by vgharness")


def _draw(count: int, seed: int, chunk: int = 500) -> tuple[Tensor, Tensor]:
    """Draws images, uint8 [count, 3, 32, 32], and labels, int64 [count]; whole chunks, of which the last is cut."""
    generator = torch.Generator().manual_seed(seed)

    def integers(low: int, high: int, *shape: int) -> Tensor:
        return torch.randint(low, high + 1, shape, generator=generator)

    images, labels = [], []
    for _ in range(0, count, chunk):
        label = integers(0, 9, chunk)
        y, x = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
        dy = y - integers(10, 21, chunk, 1, 1)
        dx = x - integers(10, 21, chunk, 1, 1)
        r = integers(6, 10, chunk, 1, 1)
        shapes = _masks(dx, dy, r)
        mask = shapes[label, torch.arange(chunk)].unsqueeze(1)
        background = _TINTS[label].view(chunk, 3, 1, 1) + integers(-64, 64, chunk, 3, 1, 1)
        contrast = integers(32, 96, chunk, 3, 1, 1) * (2 * integers(0, 1, chunk, 3, 1, 1) - 1)
        noise = integers(-32, 32, chunk, 3, SIZE, SIZE)
        images.append((background + contrast * mask + noise).clamp(0, 255).to(torch.uint8))
        labels.append(label)
    return torch.cat(images)[:count], torch.cat(labels)[:count]


def _masks(dx: Tensor, dy: Tensor, r: Tensor) -> Tensor:
    """Draws each of ``SHAPES`` with its centre where dx = dy = 0 and radius r: bool [10, B, 32, 32]."""
    ax, ay = dx.abs(), dy.abs()
    square, distance = torch.maximum(ax, ay), dx * dx + dy * dy
    box = square <= r
    return torch.stack(
        [
            distance <= r * r,
            (distance <= r * r) & (distance >= (r - 3) * (r - 3)),
            box,
            box & (square >= r - 2),
            ax + ay <= r,
            box & ((ax <= 1) | (ay <= 1)),
            box & ((ax - ay).abs() <= 1),
            box & (dy % 4 < 2),
            box & (dx % 4 < 2),
            box & ((dx % 6 < 3) ^ (dy % 6 < 3)),
        ]
    )
