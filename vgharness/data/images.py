"""Loads the images: CIFAR-10, a folder of images, or a synthetic set.

Whatever the source, the result is one ``ImageSet``: uint8 images [N, 3, 32, 32] and int64 labels [N]
for training and for testing, with the provenance that the JSON and the page repeat.

=============  ================================================================================
``cifar10``    ``torchvision.datasets.CIFAR10``, downloaded once into the user's cache, md5-checked
``DIR``        ``DIR/train/<class>/*`` and ``DIR/test/<class>/*``, 32×32 RGB; decoded once and the
               tensors kept in the user's cache until a file's name, size or time changes
``synthetic``  ten shapes in low contrast and noise, drawn on the fly with integer arithmetic, so that
               they are the same on every machine
``PLACE:NAME`` data of a user's own, or an image set of torchvision: see :mod:`vgharness.data.own`
=============  ================================================================================
"""

from __future__ import annotations

from pathlib import Path

import platformdirs

from vgharness.data.cifar10 import load_cifar10
from vgharness.data.folder import Progress, load_folder
from vgharness.data.image_set import ImageSet, limit
from vgharness.data.own import is_own, load_own
from vgharness.data.synthetic import synthetic_images


def load_images(
    source: str,
    *,
    train_images: int | None = None,
    test_images: int | None = None,
    cache: Path | str | None = None,
    progress: Progress = lambda done, total: None,
) -> ImageSet:
    """Loads the images of a source.

    source: ``"cifar10"``, ``"synthetic"``, a folder's path, ``"torchvision:FashionMNIST"``, or a function of the user's
        own, ``"path/file.py:data"``.
    train_images, test_images: take that many, the same on every call: a random choice with a fixed seed. None: all.
    cache: the folder for downloaded and decoded images, by default the user's.
    progress: called with the files decoded so far and all that there are.

    Raises :class:`~vgharness.errors.UsageError` where the images are missing, damaged or of another form.
    """
    cache = Path(cache) if cache else platformdirs.user_cache_path("vgharness")
    if source == "synthetic":
        return synthetic_images(train_images or 50_000, test_images or 10_000)
    if source == "cifar10":
        images = load_cifar10(cache)
    else:
        images = load_own(source, cache) if is_own(source) else load_folder(Path(source), cache, progress)
    return limit(images, train_images, test_images)
