"""What is random in a cell's training, drawn from generators that the cell owns.

They are seeded from the cell's seed: one for the initial weights, one for the order of the images, one for crops and
flips, and one for what a user's own network draws in a step, such as dropout. All run on the CPU, so that a cell draws
the same numbers on every device and in every pack. Two cells that differ only in their activation start from the same
weights and see the same images: their difference is paired by seed.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from vgharness.data.augmentation import PADDING
from vgharness.data.on_device import DeviceImages
from vgharness.records import Cell

Purpose = Literal["weights", "order", "augmentation", "network"]


def generator(cell: Cell, purpose: Purpose) -> torch.Generator:
    """Makes a generator on the CPU, seeded from the cell's seed and ``purpose``: no two purposes share numbers."""
    digest = hashlib.sha256(f"{cell.seed} {purpose}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8]) >> 1)


_drawing = threading.Lock()  # of PyTorch's own generator, which layers initialise and drop out from


@contextmanager
def drawing_from(own: torch.Generator) -> Iterator[None]:
    """Within, what draws from PyTorch's own generator on the CPU draws from ``own``, one thread at a time; the
    process's generator is then as it was."""
    with _drawing, torch.random.fork_rng(devices=()):
        torch.default_generator.set_state(own.get_state())
        yield
        own.set_state(torch.default_generator.get_state())


class Batch(NamedTuple):
    """One batch of B images for each of R networks.

    inputs: R tensors, of images float32 [B, 3, 32, 32], cropped, flipped and normalised.
    targets: R tensors, of images int64 [B], the labels.
    """

    inputs: tuple[Tensor, ...]
    targets: tuple[Tensor, ...]


class Batches:
    """The batches of an epoch, for the networks of several cells side by side.

    An epoch's order, crops and flips are drawn at once and copied to the device into buffers that stay where they are.
    The next batch is found there by a counter that lies on the device too, so that taking a batch is the same work
    every time, which a CUDA graph can repeat.

    sizes: images in each batch of an epoch, in its order; the last one may be smaller.
    drawn: of each network, the generator of what it draws itself.
    """

    def __init__(self, cells: Sequence[Cell], images: DeviceImages) -> None:
        """``cells``: R of them, with one batch size. ``images``: what they train on."""
        device, count, size = images.device, images.train_count, cells[0].batch_size
        self.sizes = [min(size, count - start) for start in range(0, count, size)]
        self._images = images
        self._orders = [generator(cell, "order") for cell in cells]
        self._augmentations = [generator(cell, "augmentation") for cell in cells]
        self.drawn = [generator(cell, "network") for cell in cells]
        # Until the first shuffle every image is the first one: what is tried out before needs some valid index.
        self._index = torch.zeros(len(cells), count, dtype=torch.int64, device=device)
        self._offsets = torch.zeros(len(cells), count, 2, dtype=torch.int64, device=device)
        self._flips = torch.zeros(len(cells), count, dtype=torch.bool, device=device)
        self._taken = torch.zeros(1, dtype=torch.int64, device=device)  # images of the epoch, by each network

    def states(self, number: int) -> tuple[Tensor, ...]:
        """The states of a network's generators: of the order, of crops and flips, and of what it draws itself."""
        return tuple(each.get_state() for each in self._generators(number))

    def restore(self, number: int, states: Sequence[Tensor]) -> None:
        """Puts a network's generators where :meth:`states` found them. Raises ``RuntimeError`` or ``ValueError`` for
        what is none."""
        for each, state in zip(self._generators(number), states, strict=True):
            each.set_state(state)

    def _generators(self, number: int) -> tuple[torch.Generator, ...]:
        return self._orders[number], self._augmentations[number], self.drawn[number]

    def shuffle(self) -> None:
        """Draws the next epoch's order, crops and flips, each network's from its own generators, and rewinds."""
        count = self._images.train_count
        draws = [
            (
                torch.randperm(count, generator=order),
                torch.randint(2 * PADDING + 1, (count, 2), generator=augmentation),
                torch.rand(count, generator=augmentation) < 0.5,
            )
            for order, augmentation in zip(self._orders, self._augmentations, strict=True)
        ]
        for buffer, drawn in zip((self._index, self._offsets, self._flips), zip(*draws, strict=True), strict=True):
            buffer.copy_(torch.stack(drawn))
        self.rewind()

    def rewind(self) -> None:
        """Makes the next batch the epoch's first."""
        self._taken.zero_()

    def take(self, size: int) -> Batch:
        """Takes the epoch's next ``size`` images for each network."""
        chosen = self._taken + torch.arange(size, device=self._images.device)
        picked = self._index[:, chosen]
        inputs, targets = self._images.training_batch(
            picked.flatten(), self._offsets[:, chosen].flatten(0, 1), self._flips[:, chosen].flatten()
        )
        self._taken += size
        return Batch(inputs.split(size), targets.split(size))  # type: ignore[no-untyped-call]
