"""Synthetic images: the same everywhere, and something to learn."""

import pytest
import torch
from image_files import assert_same_images

from vgharness.data.on_device import DeviceImages
from vgharness.data.synthetic import SHAPES, synthetic_images
from vgharness.records import Cell
from vgharness.training.loop import train_pack

pytestmark = pytest.mark.fast


def test_synthetic_images_are_the_same_everywhere() -> None:
    assert (
        synthetic_images(600, 20).provenance.sha256
        == "94eca901c5cdbff69dae569f76346aa9b633cb45a9e4869d379ba71f7ba9f4aa"
    )


def test_synthetic_is_deterministic_and_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    first = synthetic_images(30, 10)
    torch.manual_seed(5)
    assert_same_images(synthetic_images(30, 10), first)
    torch.set_rng_state(before)
    synthetic_images(30, 10)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("count", [1, 499, 500, 501, 1000])
def test_a_shorter_synthetic_set_is_the_beginning_of_a_longer(count: int) -> None:
    long, short = synthetic_images(1203, 1203), synthetic_images(count, count)
    assert torch.equal(short.train_images, long.train_images[:count])
    assert torch.equal(short.train_labels, long.train_labels[:count])
    assert torch.equal(short.test_images, long.test_images[:count])
    assert torch.equal(short.test_labels, long.test_labels[:count])


def test_synthetic_holds_all_ten_classes_in_even_shares() -> None:
    images = synthetic_images(2000, 2000)
    for labels in (images.train_labels, images.test_labels):
        counts = torch.bincount(labels).tolist()
        assert len(counts) == 10
        assert min(counts) > 140
    assert images.provenance.classes == SHAPES
    assert (images.provenance.kind, images.provenance.cifar10) == ("synthetic", "no")


def test_no_synthetic_image_is_drawn_twice() -> None:
    images = synthetic_images(1000, 1000)
    assert len(torch.cat([images.train_images, images.test_images]).flatten(1).unique(dim=0)) == 2000


def test_synthetic_can_be_learned_and_is_not_trivial() -> None:
    images = DeviceImages(synthetic_images(2560, 500), torch.device("cpu"))
    (result,) = train_pack([Cell(architecture="script", activation="relu", seed=42, epochs=1)], images, "fp32")
    accuracy = result.epochs[0].test_accuracy
    assert accuracy is not None
    assert 20 < accuracy < 90
