"""Images that stand in for those of a planned study."""

from pathlib import Path

import platformdirs
import pytest
from image_files import assert_same_images, files_in

from vgharness.data import folder as folders
from vgharness.data.images import load_images
from vgharness.data.planned import planned_images
from vgharness.errors import UsageError

pytestmark = pytest.mark.fast


@pytest.fixture(autouse=True)
def _no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_of_it(*_: object, **__: object) -> Path:
        raise AssertionError("it looked for the user's cache")

    monkeypatch.setattr(platformdirs, "user_cache_path", none_of_it)


def test_a_folder_is_counted_and_not_decoded(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = load_images(str(folder), cache=tmp_path / "cache").provenance
    before = files_in(tmp_path)
    monkeypatch.setattr(folders, "_decode", None)
    planned = planned_images(str(folder))
    assert planned.provenance.model_copy(update={"sha256": real.sha256}) == real
    assert planned.train_images.shape == (6, 3, 32, 32)
    assert planned.train_labels.max() < 2
    assert files_in(tmp_path) == before


def test_cifar10_is_not_downloaded() -> None:
    found = planned_images("cifar10").provenance
    assert (found.cifar10, found.train_images, found.test_images, len(found.classes)) == (
        "canonical",
        50_000,
        10_000,
        10,
    )
    part = planned_images("cifar10", train_images=100, test_images=50).provenance
    assert (part.cifar10, part.train_images, part.test_images) == ("part", 100, 50)


def test_synthetic_images_are_the_real_ones() -> None:
    asked = {"train_images": 20, "test_images": 10}
    assert_same_images(planned_images("synthetic", **asked), load_images("synthetic", cache=Path("unused"), **asked))


def test_a_folder_that_is_not_there() -> None:
    with pytest.raises(UsageError, match="no such folder"):
        planned_images("nowhere")
