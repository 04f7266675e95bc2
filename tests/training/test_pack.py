"""A pack: side by side is what alone is, bit for bit; what is rehearsed leaves no trace."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from factories import without_seconds
from small_cells import pack_cells, small_cell, train
from torch import Tensor
from torch.nn.modules import module as nn_module

from vgharness.data.on_device import DeviceImages
from vgharness.training.loop import train_pack
from vgharness.training.pack import Pack

pytestmark = [pytest.mark.fast, pytest.mark.usefixtures("without_first_batch")]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """As where a study trains: on several, sums depend on how they are shared out."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("changes", [{}, {"norm": "batch"}, {"architecture": "readme", "depth": 3}, {"epochs": 0}])
def test_packed_is_alone_bit_for_bit(few_images: DeviceImages, changes: dict[str, Any]) -> None:
    together = train_pack(pack_cells(**changes), few_images, "fp32")
    assert [result.cell for result in together] == pack_cells(**changes)
    assert [without_seconds(result) for result in together] == [
        without_seconds(train(cell, few_images, "fp32")) for cell in pack_cells(**changes)
    ]


def test_every_network_has_its_own_flow(few_images: DeviceImages) -> None:
    flows = [result.epochs[-1].flow for result in train_pack(pack_cells(), few_images, "fp32")]
    assert [[layer.name for layer in flow.layers] for flow in flows] == [["conv1", "conv2", "fc"]] * 4
    assert len({flow.layers[0].weight_l2 for flow in flows}) == 4


def test_cells_of_different_shapes_are_refused(few_images: DeviceImages) -> None:
    with pytest.raises(ValueError, match="activation and seed alone"):
        Pack([*pack_cells(1), *pack_cells(1, depth=3)], few_images, "fp32")


@pytest.mark.parametrize("norm", [None, "batch"])
def test_a_rehearsal_leaves_no_trace(few_images: DeviceImages, norm: Any) -> None:
    """What a GPU does before it captures a graph."""

    def measured(*, rehearsed: bool) -> tuple[list[Tensor], dict[str, Tensor]]:
        pack = Pack(pack_cells(2, norm=norm), few_images, "fp32")
        if rehearsed:
            pack.rehearse(2)
        return [pack.epoch(lambda step: None).flat.clone() for _ in range(2)], pack.models.state_dict()

    (plain, weights), (found, found_weights) = measured(rehearsed=False), measured(rehearsed=True)
    for a, b in zip(plain, found, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)
    for name, weight in weights.items():
        assert torch.equal(weight, found_weights[name]), name
    assert not nn_module._global_forward_hooks


def test_an_epoch_writes_to_the_addresses_of_the_one_before(few_images: DeviceImages) -> None:
    """A captured graph writes to the addresses that it was captured with."""
    pack = Pack(pack_cells(2), few_images, "fp32")
    places = set()
    for _ in range(2):
        measured, batches = pack.epoch(lambda step: None).flat, pack.batches
        assert measured.shape[:2] == (3, 2)
        buffers = (measured, batches._index, batches._offsets, batches._flips, batches._taken)
        places.add(tuple(buffer.data_ptr() for buffer in buffers))
        assert batches._taken.item() == 24
    assert len(places) == 1


def test_the_optimizer_is_adam_by_pytorchs_defaults(few_images: DeviceImages) -> None:
    pack = Pack((small_cell(learning_rate=0.25),), few_images, "fp32")
    expected = torch.optim.Adam(pack.models.parameters(), lr=0.25).defaults
    assert type(pack.optimizer) is torch.optim.Adam
    assert pack.optimizer.defaults | {"fused": None} == expected
    (group,) = pack.optimizer.param_groups
    assert set(group["params"]) == set(pack.models.parameters())
