"""Image files to load, and what is compared of what was loaded."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from vgharness.data.image_set import ImageSet

SPLITS = {"train": 3, "test": 2}
Load = Callable[..., tuple[ImageSet, int]]


def assert_same_images(a: ImageSet, b: ImageSet) -> None:
    assert a.provenance == b.provenance
    assert torch.equal(a.train_images, b.train_images)
    assert torch.equal(a.train_labels, b.train_labels)
    assert torch.equal(a.test_images, b.test_images)
    assert torch.equal(a.test_labels, b.test_labels)


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def random_pixels(seed: int, *shape: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).integers(0, 256, shape or (32, 32, 3), dtype=np.uint8)


def write_image(path: Path, pixels: np.ndarray[Any, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def make_folder(folder: Path, *, seed: int = 0, suffix: str = "png") -> Path:
    """Classes cat and ant, three training and two test images each."""
    for split, count in SPLITS.items():
        for name in ("cat", "ant"):
            for i in range(count):
                seed += 1
                write_image(folder / split / name / f"{name}{i}.{suffix}", random_pixels(seed))
    return folder
