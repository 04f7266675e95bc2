"""Images that stand in for those of a study that is only planned: nothing is downloaded, decoded or kept."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import platformdirs
import torch
from torch import Tensor

from vgharness.data.cifar10 import DESCRIPTION as CIFAR10_DESCRIPTION
from vgharness.data.folder import folder_images
from vgharness.data.image_files import CIFAR10_CLASSES, list_folder
from vgharness.data.image_set import SIZE, Arrays, ImageSet, limit, with_provenance
from vgharness.data.own import is_own, load_own
from vgharness.data.synthetic import synthetic_images

_CIFAR10_COUNTS: Final = (50_000, 10_000)
_NOT_KNOWN: Final = "not known"  # the hash of pixels that nobody has looked at


def planned_images(source: str, *, train_images: int | None = None, test_images: int | None = None) -> ImageSet:
    """Makes random pixels, as many as :func:`~vgharness.data.images.load_images` would load with the same arguments,
    of as many classes: they train as long, and their provenance says what can be judged on the real ones.

    Only synthetic images, and data of a user's own, are the real ones. Raises
    :class:`~vgharness.errors.UsageError` where a folder is of another form; its images are not looked into.
    """
    if source == "synthetic":
        return synthetic_images(train_images or _CIFAR10_COUNTS[0], test_images or _CIFAR10_COUNTS[1])
    if source == "cifar10":
        arrays = _random(*_CIFAR10_COUNTS, len(CIFAR10_CLASSES))
        images = with_provenance(arrays, CIFAR10_CLASSES, "cifar10", "canonical", CIFAR10_DESCRIPTION, _NOT_KNOWN)
    elif is_own(source):  # nobody knows its shape before it is there
        images = load_own(source, platformdirs.user_cache_path("vgharness"))
    else:
        files = list_folder(Path(source))
        arrays = _random(len(files.train), len(files.test), len(files.classes))
        images = folder_images(Path(source), files, arrays, _NOT_KNOWN)
    return limit(images, train_images, test_images)


def _random(train: int, test: int, classes: int) -> Arrays:
    generator = torch.Generator().manual_seed(0)

    def draw(high: int, *shape: int, dtype: torch.dtype) -> Tensor:
        return torch.randint(high, shape, generator=generator, dtype=dtype)

    arrays = []
    for many in (train, test):
        arrays += [draw(256, many, 3, SIZE, SIZE, dtype=torch.uint8), draw(classes, many, dtype=torch.int64)]
    return Arrays(*arrays)
