"""What a network is shown: every image once an epoch, cropped and flipped anew, the same for every cell of a seed."""

import pytest
import torch
from small_cells import TRAIN, Draw, make_cell, pack_cells, small_cell, train

from vgharness.data.on_device import DeviceImages
from vgharness.training.pack import Pack

pytestmark = [pytest.mark.fast, pytest.mark.usefixtures("without_first_batch")]


def test_every_epoch_shows_every_image_once_in_a_new_order(few_images: DeviceImages, draws: list[Draw]) -> None:
    train(small_cell(epochs=3), few_images, "fp32")
    assert [len(draw.index) for draw in draws] == [10, 10, 4] * 3
    orders = [[i for draw in draws[first : first + 3] for i in draw.index] for first in (0, 3, 6)]
    assert [sorted(order) for order in orders] == [list(range(24))] * 3
    assert len({tuple(order) for order in [*orders, range(24)]}) == 4


def test_crops_and_flips_take_every_value_and_change_with_the_epoch(images: DeviceImages, draws: list[Draw]) -> None:
    pack = Pack((make_cell(),), images, "fp32")
    for _ in range(2):
        pack.batches.shuffle()
        for size in pack.batches.sizes:
            pack.batches.take(size)
    offsets, flips = (torch.cat([getattr(d, name) for d in draws]) for name in ("offsets", "flips"))

    assert offsets.shape == (2 * TRAIN, 2)
    for column in offsets.unbind(1):
        assert column.unique().tolist() == list(range(9))
    assert not torch.equal(offsets[:, 0], offsets[:, 1])
    assert 0.4 < flips.float().mean().item() < 0.6
    assert not torch.equal(offsets[:TRAIN], offsets[TRAIN:])
    assert not torch.equal(flips[:TRAIN], flips[TRAIN:])


def test_cells_of_one_seed_see_the_same_batches_and_others_do_not(images: DeviceImages) -> None:
    pack = Pack(pack_cells(), images, "fp32")  # sigmoid, relu, gelu with one seed, sigmoid with another
    pack.batches.shuffle()
    for size in pack.batches.sizes:
        inputs, targets = pack.batches.take(size)
        assert {x.shape for x in inputs} == {(size, 3, 32, 32)}
        assert torch.equal(inputs[0], inputs[2])
        assert torch.equal(targets[0], targets[1])
        assert not torch.equal(inputs[0], inputs[3])
