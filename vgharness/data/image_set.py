"""The images as every source gives them: tensors with their provenance."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from vgharness.records import Provenance

SIZE = 32  # pixels, height and width


@dataclass(frozen=True)
class ImageSet:
    """Images with their labels and where they come from, on one device.

    provenance: where they come from; its ``classes`` name the labels.
    train_images: uint8 [N, 3, 32, 32], to train on.
    train_labels: int64 [N], in 0..len(provenance.classes)-1.
    test_images: uint8 [M, 3, 32, 32], to test on.
    test_labels: int64 [M].
    ready: whether they are a user's own data, which goes into networks as it is: inputs and targets of any shape.
    """

    provenance: Provenance
    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    ready: bool = False

    def to(self, device: torch.device | str) -> ImageSet:
        """Returns the same images on ``device``."""
        moved = {
            name: getattr(self, name).to(device)
            for name in ("train_images", "train_labels", "test_images", "test_labels")
        }
        return replace(self, **moved)


SourceKind = Literal["cifar10", "folder", "synthetic", "torchvision", "own"]
HowFarCifar10 = Literal["canonical", "re-encoded", "part", "no"]


class Arrays(NamedTuple):
    """The tensors of an :class:`ImageSet`, before their provenance is known; its fields explain them.

    train_images: as there.
    train_labels: as there.
    test_images: as there.
    test_labels: as there.
    """

    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor


def with_provenance(
    arrays: Arrays,
    classes: tuple[str, ...],
    kind: SourceKind,
    cifar10: HowFarCifar10,
    description: str,
    sha256: str | None = None,
) -> ImageSet:
    """Makes an image set of ``arrays`` and their provenance, whose fields :class:`~vgharness.records.Provenance`
    explains. ``sha256``: their :func:`digest_of`, where the caller has it already."""
    provenance = Provenance(
        kind=kind,
        description=description,
        cifar10=cifar10,
        sha256=sha256 or digest_of(arrays),
        classes=classes,
        train_images=len(arrays.train_images),
        test_images=len(arrays.test_images),
    )
    return ImageSet(provenance, *arrays)


def limit(images: ImageSet, train: int | None, test: int | None) -> ImageSet:
    """Chooses a part of ``images``: that many to train on and to test on, all of them for None.

    The choice is random, with a fixed seed: an image folder is sorted by class, so its first images are of one class.
    """
    kept = Arrays(
        *_choice(images.train_images, images.train_labels, train),
        *_choice(images.test_images, images.test_labels, test),
    )
    if len(kept.train_images) == len(images.train_images) and len(kept.test_images) == len(images.test_images):
        return images
    old = images.provenance
    cifar10: HowFarCifar10 = "no" if old.cifar10 == "no" else "part"
    part = with_provenance(kept, old.classes, old.kind, cifar10, f"{old.description}, a part of it")
    return replace(part, ready=images.ready)


def _choice(images: Tensor, labels: Tensor, count: int | None) -> tuple[Tensor, Tensor]:
    if not count:
        return images, labels
    kept = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))[:count]
    return images[kept], labels[kept]


def digest_of(arrays: Arrays) -> str:
    """Hashes types, shapes and content; returns the SHA-256 as hexadecimal digits."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype}{tuple(array.shape)}".encode())
        digest.update(array.contiguous().numpy().data)
    return digest.hexdigest()
