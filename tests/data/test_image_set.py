"""Sets of images: a part of one, and one on another device."""

from pathlib import Path

import pytest
import torch
from image_files import Load, assert_same_images

from vgharness.data.synthetic import synthetic_images

pytestmark = pytest.mark.fast


def test_a_limit_takes_the_same_random_part_every_time(folder: Path, load: Load) -> None:
    whole, _ = load(folder)
    part, _ = load(folder, train_images=3, test_images=3)

    assert_same_images(part, load(folder, train_images=3, test_images=3)[0])
    for x, y, of_x, of_y, count in (
        (part.train_images, part.train_labels, whole.train_images, whole.train_labels, 3),
        (part.test_images, part.test_labels, whole.test_images, whole.test_labels, 3),
    ):
        place = [next(i for i in range(len(of_x)) if torch.equal(of_x[i], image)) for image in x]
        assert len(set(place)) == len(x) == count
        assert y.tolist() == of_y[place].tolist()
    assert set(part.train_labels.tolist()) == {0, 1}  # the head of a sorted folder would be one class
    assert (part.provenance.train_images, part.provenance.test_images) == (3, 3)
    assert "a part of it" in part.provenance.description
    assert part.provenance.sha256 != whole.provenance.sha256


def test_a_limit_beyond_the_end_takes_everything(folder: Path, load: Load) -> None:
    assert_same_images(load(folder, train_images=6, test_images=100)[0], load(folder)[0])


def test_images_move_between_devices_as_one() -> None:
    moved = synthetic_images(5, 5).to("meta")
    tensors = (moved.train_images, moved.train_labels, moved.test_images, moved.test_labels)
    assert {x.device.type for x in tensors} == {"meta"}
    assert moved.provenance == synthetic_images(5, 5).provenance
