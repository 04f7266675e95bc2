"""A folder of images, and how the tests load it."""

from pathlib import Path
from typing import Any

import pytest
from image_files import Load, make_folder

from vgharness.data.image_set import ImageSet
from vgharness.data.images import load_images


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "animals")


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Loads a folder with a cache of its own, and says how many files were decoded."""

    def load(folder: Path, **options: Any) -> tuple[ImageSet, int]:
        calls: list[tuple[int, int]] = []
        images = load_images(
            str(folder), cache=tmp_path / "cache", progress=lambda *call: calls.append(call), **options
        )
        assert calls == [(i, len(calls)) for i in range(1, len(calls) + 1)]
        return images, len(calls)

    return load
