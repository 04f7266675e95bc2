"""Data of a user's own, and the image sets of torchvision: tensors that go into networks as they are.

``MODULE:NAME`` or ``path/file.py:NAME`` names a function that takes nothing and gives ``(inputs, targets)`` twice, to
train on and to test on. ``torchvision:FashionMNIST`` and the like are downloaded once into the user's cache; each
channel is shifted and scaled to mean 0 and standard deviation 1 over the training images.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor
from torchvision import datasets

from vgharness.data.image_set import Arrays, ImageSet, digest_of
from vgharness.errors import UsageError
from vgharness.formatting import in_one_line
from vgharness.records import Provenance
from vgharness.system.user_code import load_callable, suggestion

TORCHVISION: Final = "torchvision"
_FORM: Final = "let it return (train_inputs, train_targets), (test_inputs, test_targets)"
_MOST_CLASSES: Final = 10_000


def is_own(source: str) -> bool:
    """Whether ``source`` names data of this module, ``PLACE:NAME``; an existing folder of that name comes first."""
    place, colon, name = source.rpartition(":")
    drive = len(place) == 1  # of a path on Windows
    return bool(colon and place and not drive and name.replace(".", "_").isidentifier()) and not Path(source).exists()


def load_own(source: str, cache: Path) -> ImageSet:
    """Loads the data that ``source`` names.

    source: as in this module's docstring.
    cache: the folder for what torchvision downloads.

    Raises :class:`~vgharness.errors.UsageError` where there is no such data, where loading it fails, or where it is
    of another form.
    """
    place, _, name = source.rpartition(":")
    pairs = _of_torchvision(source, name, cache) if place == TORCHVISION else _of_function(source)
    train, test = (pair_of(source, which, pair) for which, pair in zip(("train", "test"), pairs, strict=True))
    arrays = Arrays(*train, *test)
    _check_alike(source, arrays)
    return ready_set(arrays, "torchvision" if place == TORCHVISION else "own", source)


def ready_set(arrays: Arrays, kind: str, description: str) -> ImageSet:
    """Makes a set of tensors that go into networks as they are; classes are named by their numbers."""
    classes = 0
    if arrays.train_labels.dtype is torch.int64 and arrays.train_labels.dim() == 1:
        classes = int(max(arrays.train_labels.max(), arrays.test_labels.max())) + 1
    provenance = Provenance(
        kind=kind,  # type: ignore[arg-type]
        description=description,
        cifar10="no",
        sha256=digest_of(arrays),
        classes=tuple(map(str, range(classes))),
        train_images=len(arrays.train_images),
        test_images=len(arrays.test_images),
    )
    return ImageSet(provenance, *arrays, ready=True)


def pair_of(source: str, which: str, pair: Any) -> tuple[Tensor, Tensor]:
    """Inputs and targets as tensors; raises :class:`~vgharness.errors.UsageError` for what is none."""
    if not isinstance(pair, Sequence) or len(pair) != 2:
        raise UsageError(f"{source}: its {which} part is no pair: {_FORM}")
    tensors = []
    for what, values in zip(("inputs", "targets"), pair, strict=True):
        if not isinstance(values, Tensor | np.ndarray):
            raise UsageError(f"{source}: {which} {what} are {type(values).__name__}, not a tensor: {_FORM}")
        tensors.append(torch.as_tensor(values).detach().cpu().contiguous())
    inputs, targets = tensors
    if inputs.is_floating_point():
        inputs = inputs.float()
    targets = targets.float() if targets.is_floating_point() else targets.long()
    if not inputs.dim() or not len(inputs) or targets.dim() == 0 or len(inputs) != len(targets):
        sizes = " and ".join(str(len(x) if x.dim() else "a number") for x in (inputs, targets))
        raise UsageError(f"{source}: {which} inputs and targets are {sizes}: give as many of both, at least one")
    if inputs.is_floating_point() and not bool(inputs.isfinite().all()):
        raise UsageError(f"{source}: {which} inputs hold NaN or infinity: leave those out")
    if targets.dtype is torch.int64 and targets.dim() == 1:
        least, greatest = int(targets.min()), int(targets.max())
        if not 0 <= least <= greatest < _MOST_CLASSES:
            raise UsageError(f"{source}: {which} targets are {least} to {greatest}: number the classes from 0")
    return inputs, targets


def _check_alike(source: str, arrays: Arrays) -> None:
    for what, train, test in (
        ("inputs", arrays.train_images, arrays.test_images),
        ("targets", arrays.train_labels, arrays.test_labels),
    ):
        if (train.shape[1:], train.dtype) != (test.shape[1:], test.dtype):
            raise UsageError(
                f"{source}: {what} to train on are {train.dtype} of shape {list(train.shape[1:])}, to test on "
                f"{test.dtype} of {list(test.shape[1:])}: make them alike"
            )


def _of_function(source: str) -> Sequence[Any]:
    function = load_callable(source)
    try:
        made = function()
    except (Exception, SystemExit) as error:
        raise UsageError(f"{source} raised {in_one_line(error)}: {_FORM}") from error
    if not isinstance(made, Sequence) or len(made) != 2:
        raise UsageError(f"{source} gives {type(made).__name__}, not two pairs: {_FORM}")
    return made


def _of_torchvision(source: str, name: str, cache: Path) -> Sequence[Any]:
    found = getattr(datasets, name, None)
    if not (inspect.isclass(found) and issubclass(found, datasets.VisionDataset)):
        known = [each for each in datasets.__all__ if inspect.isclass(getattr(datasets, each))]
        raise UsageError(f"{source}: torchvision has no such image set{suggestion(name, known)}")
    make: Any = found
    takes = inspect.signature(make).parameters
    if not {"train", "split"} & set(takes):
        raise UsageError(f"{source}: it has no training and test part: load it in a function, path/file.py:data")
    try:
        parts = [
            make(cache, **({"train": which == "train"} if "train" in takes else {"split": which}), download=True)
            for which in ("train", "test")
        ]
        pairs = [_stacked(source, part) for part in parts]
    except UsageError:
        raise
    except Exception as error:  # torchvision raises many things
        raise UsageError(
            f"{source}: {in_one_line(error)}; put its files into {cache}, or load it in a function"
        ) from error
    inputs = pairs[0][0]
    over = [0, *range(2, inputs.dim())]
    mean, deviation = inputs.mean(over, keepdim=True), inputs.std(over, keepdim=True).clamp_min(1e-6)
    return [((pixels - mean) / deviation, targets) for pixels, targets in pairs]


def _stacked(source: str, part: Any) -> tuple[Tensor, Tensor]:
    """All images of a torchvision set, float32 [N, C, H, W] in 0..1, and their targets."""
    images, targets = [], []
    for image, target in part:
        pixels = np.asarray(image)
        images.append(pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1))
        targets.append(target)
    if len({image.shape for image in images}) != 1:
        raise UsageError(f"{source}: its images differ in size: bring them to one in a function, path/file.py:data")
    return torch.from_numpy(np.stack(images)).float() / 255, torch.as_tensor(targets)
