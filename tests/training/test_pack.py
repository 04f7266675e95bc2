"""A pack: side by side is what alone is, bit for bit; what is rehearsed leaves no trace."""

from typing import Any

import pytest
import torch
from factories import without_seconds
from torch import Tensor, nn
from torch.nn.modules import module as nn_module

from vgharness.data.on_device import DeviceImages
from vgharness.data.synthetic import synthetic
from vgharness.models import DeepCNN
from vgharness.records import Cell, Epoch
from vgharness.training import pack as packs
from vgharness.training.callback import Callback
from vgharness.training.loop import train, train_pack
from vgharness.training.pack import Pack

pytestmark = pytest.mark.fast


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> Any:
    """As where a study trains: on several, sums depend on how they are shared out."""
    monkeypatch.setattr("vgharness.training.loop.first_batch", lambda *_: {})
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def images() -> DeviceImages:
    return DeviceImages(synthetic(24, 10), torch.device("cpu"))


def cells(count: int = 4, **changes: Any) -> list[Cell]:
    kinds = [(activation, seed) for seed in (42, 43) for activation in ("sigmoid", "relu", "gelu")][:count]
    shape = {"architecture": "script", "epochs": 2, "depth": 2, "batch_size": 10} | changes
    return [Cell(activation=activation, seed=seed, **shape) for activation, seed in kinds]


@pytest.mark.parametrize("changes", [{}, {"norm": "batch"}, {"architecture": "readme", "depth": 3}, {"epochs": 0}])
def test_packed_is_alone_bit_for_bit(images: DeviceImages, changes: dict[str, Any]) -> None:
    packed = train_pack(cells(**changes), images, "fp32")
    assert [result.cell for result in packed] == cells(**changes)
    assert [without_seconds(result) for result in packed] == [
        without_seconds(train(cell, images, "fp32")) for cell in cells(**changes)
    ]


def test_every_network_has_its_own_flow(images: DeviceImages) -> None:
    flows = [result.epochs[-1].flow for result in train_pack(cells(), images, "fp32")]
    assert [[layer.name for layer in flow.layers] for flow in flows] == [["conv1", "conv2", "fc"]] * 4
    assert len({flow.layers[0].weight_l2 for flow in flows}) == 4


def test_cells_of_one_seed_see_the_same_batches_and_others_do_not(images: DeviceImages) -> None:
    pack = Pack(cells(), images, "fp32")  # sigmoid, relu, gelu with one seed, sigmoid with another
    pack.shuffle()
    for size in pack.sizes:
        inputs, targets = pack.batch(size)
        assert {x.shape for x in inputs} == {(size, 3, 32, 32)}
        assert torch.equal(inputs[0], inputs[2])
        assert torch.equal(targets[0], targets[1])
        assert not torch.equal(inputs[0], inputs[3])


def test_cells_of_different_shapes_are_refused(images: DeviceImages) -> None:
    with pytest.raises(ValueError, match="activation and seed alone"):
        Pack([*cells(1), *cells(1, depth=3)], images, "fp32")


@pytest.mark.parametrize("norm", [None, "batch"])
def test_a_rehearsal_leaves_no_trace(images: DeviceImages, norm: Any) -> None:
    """What a GPU does before it captures a graph."""

    def measured(*, rehearsed: bool) -> tuple[list[Tensor], dict[str, Tensor]]:
        pack = Pack(cells(2, norm=norm), images, "fp32")
        if rehearsed:
            pack.rehearse(2)
        return [pack.epoch(lambda step: None).clone() for _ in range(2)], pack.models.state_dict()

    (plain, weights), (found, found_weights) = measured(rehearsed=False), measured(rehearsed=True)
    for a, b in zip(plain, found, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)
    for name, weight in weights.items():
        assert torch.equal(weight, found_weights[name]), name
    assert not nn_module._global_forward_hooks


def test_an_epochs_figures_lie_where_they_lay_before(images: DeviceImages) -> None:
    """A captured graph writes to the addresses that it was captured with."""
    pack = Pack(cells(2), images, "fp32")
    places = set()
    for _ in range(2):
        measured = pack.epoch(lambda step: None)
        assert measured.shape[:2] == (3, 2)
        places.add((measured.data_ptr(), pack._index.data_ptr(), pack._offsets.data_ptr(), pack._flips.data_ptr()))
        assert (pack._seen.item(), pack._steps.item()) == (24, 3)
    assert len(places) == 1


def test_one_that_diverges_does_not_stop_the_others(images: DeviceImages, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = train_pack(cells(), images, "fp32")
    make = packs._network

    def broken(cell: Cell, num_classes: int) -> DeepCNN:
        model = make(cell, num_classes)
        if cell == cells()[1]:
            nn.init.constant_(model.get_submodule("fc").get_parameter("bias"), float("nan"))
        return model

    monkeypatch.setattr(packs, "_network", broken)
    told: list[tuple[Cell, int]] = []

    class Log(Callback):
        def epoch_done(self, cell: Cell, epoch: Epoch) -> None:
            told.append((cell, epoch.epoch))

    results = train_pack(cells(), images, "fp32", Log())
    assert [result.status for result in results] == ["finished", "diverged", "finished", "finished"]
    assert (len(results[1].epochs), results[1].heatmap) == (1, None)
    assert (cells()[1], 2) not in told
    assert len(told) == 7
    for i in (0, 2, 3):
        assert without_seconds(results[i]) == without_seconds(whole[i])


def test_ctrl_c_keeps_what_every_network_has_done(images: DeviceImages) -> None:
    class Interrupt(Callback):
        def step_done(self, cell: Cell, epoch: int, step: int, steps: int) -> None:
            if (cell, epoch, step) == (cells()[2], 2, 2):
                raise KeyboardInterrupt

    results = train_pack(cells(), images, "fp32", Interrupt())
    assert [(r.status, r.reason, len(r.epochs)) for r in results] == [("interrupted", "interrupted in epoch 2", 1)] * 4
    assert not nn_module._global_forward_hooks
