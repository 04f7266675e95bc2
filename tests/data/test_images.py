"""The images by the name of their source."""

from pathlib import Path

import pytest
from image_files import assert_same_images, files_in

from vgharness.data.images import load_images
from vgharness.data.synthetic import synthetic_images

pytestmark = pytest.mark.fast


def test_synthetic_is_what_load_images_gives(tmp_path: Path) -> None:
    assert_same_images(
        load_images("synthetic", train_images=30, test_images=10, cache=tmp_path), synthetic_images(30, 10)
    )
    assert files_in(tmp_path) == []


def test_a_folder_is_loaded_by_its_path_and_kept_in_the_cache(folder: Path, tmp_path: Path) -> None:
    images = load_images(str(folder), cache=tmp_path / "cache")
    assert images.provenance.kind == "folder"
    assert len(files_in(tmp_path / "cache")) == 1
