"""A cell's first batch: the one that it trains on, measured at its moments without a trace."""

import copy
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from factories import without_seconds
from small_cells import pack_cells, small_cell, train
from torch import nn

from vgharness.data.on_device import DeviceImages
from vgharness.data.synthetic import synthetic_images
from vgharness.records import Cell, CellResult, Epoch, LayerError
from vgharness.study.presets import plan
from vgharness.training import pack as packs
from vgharness.training.callback import Callback
from vgharness.training.first_batch import worst_error
from vgharness.training.loop import NetworkTraining, train_pack
from vgharness.training.numerics import exact_gradients, gradient_errors, layer_gradients
from vgharness.training.pack import Pack, initial_network

pytestmark = pytest.mark.fast


@pytest.fixture(scope="module")
def images() -> DeviceImages:
    return DeviceImages(synthetic_images(40, 16), torch.device("cpu"))


def moments(result: CellResult) -> list[int]:
    return [moment.epoch for moment in result.numerics]


def errors_by_hand(cell: Cell, images: DeviceImages, epochs: int) -> tuple[LayerError, ...]:
    """Of the weights after ``epochs`` epochs, on the first batch of the first epoch."""
    pack = Pack((cell,), images, "fp32")
    for _ in range(epochs):
        pack.epoch(lambda step: None)
    first = Pack((cell,), images, "fp32")
    first.batches.shuffle()
    (inputs,), (targets,) = first.batches.take(first.batches.sizes[0])
    (model,) = pack.models
    exact = exact_gradients(model, inputs, targets)
    return gradient_errors(layer_gradients(copy.deepcopy(model), inputs, targets, nullcontext()), exact)


@pytest.mark.parametrize("norm", [None, "batch"])
def test_errors_are_those_of_each_moments_weights_on_the_first_batch(images: DeviceImages, norm: Any) -> None:
    cell = small_cell("sigmoid", seed=7, epochs=3, norm=norm)
    result = train(cell, images, "fp32")
    assert [(moment.epoch, moment.layers) for moment in result.numerics] == [
        (epoch, errors_by_hand(cell, images, epoch)) for epoch in (0, 1, 3)
    ]
    assert len({moment.layers for moment in result.numerics}) == 3
    assert [layer.name for layer in result.numerics[0].layers] == ["conv1", "conv2", "fc"]


@pytest.mark.parametrize(("epochs", "found"), [(0, [0]), (1, [0, 1]), (2, [0, 1, 2]), (4, [0, 1, 4])])
def test_the_moments_are_the_start_the_first_epoch_and_the_last(
    images: DeviceImages, epochs: int, found: list[int]
) -> None:
    assert moments(train(small_cell(epochs=epochs), images, "fp32")) == found


@pytest.mark.parametrize("norm", [None, "batch"])
def test_a_pack_is_trained_the_same_with_and_without_it(
    images: DeviceImages, norm: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The heat map is of the last weights, and with batch norm of its running means."""
    torch.manual_seed(0)
    state = torch.get_rng_state()
    measured = train_pack(pack_cells(norm=norm), images, "fp32")
    assert torch.equal(torch.get_rng_state(), state)
    monkeypatch.setattr(NetworkTraining, "measure_first_batch", lambda network: None)
    plain = train_pack(pack_cells(norm=norm), images, "fp32")

    def trained(result: CellResult) -> dict[str, Any]:
        return {k: v for k, v in without_seconds(result).items() if k not in ("numerics", "predictions")}

    assert [trained(result) for result in measured] == [trained(result) for result in plain]
    assert [moments(result) for result in measured] == [[0, 1, 2]] * 4
    assert [moments(result) for result in plain] == [[]] * 4


def test_in_a_pack_each_network_has_its_own_errors(images: DeviceImages) -> None:
    together = train_pack(pack_cells(), images, "fp32")
    alone = [train(cell, images, "fp32") for cell in pack_cells()]
    assert [result.numerics for result in together] == [result.numerics for result in alone]
    assert len({result.numerics for result in together}) == 4


def test_a_network_that_diverges_has_no_errors_from_then_on(
    images: DeviceImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = packs.initial_network

    def broken(cell: Cell, images: DeviceImages) -> nn.Module:
        model = make(cell, images)
        if cell == pack_cells()[1]:
            nn.init.constant_(model.get_submodule("fc").get_parameter("bias"), float("nan"))
        return model

    monkeypatch.setattr(packs, "initial_network", broken)
    results = train_pack(pack_cells(), images, "fp32")
    assert [moments(result) for result in results] == [[0, 1, 2], [0], [0, 1, 2], [0, 1, 2]]
    for result in results:
        assert CellResult.model_validate_json(result.model_dump_json()) == result
    assert results[1].numerics[0].layers[0].nonfinite == ("weight_mean_abs", "weight_l2", "signal_l2", "signal_rms")


def test_ctrl_c_keeps_the_moments_that_were_measured(images: DeviceImages) -> None:
    class Interrupt(Callback):
        def __init__(self, after: int) -> None:
            self.after = after

        def epoch_done(self, cell: Cell, epoch: Epoch) -> None:
            if epoch.epoch == self.after:
                raise KeyboardInterrupt

    whole = train(small_cell(epochs=3), images, "fp32")
    for after, found in ((1, [0]), (2, [0, 1]), (3, [0, 1])):
        result = train(small_cell(epochs=3), images, "fp32", Interrupt(after))
        assert (result.status, len(result.epochs), moments(result)) == ("interrupted", after, found)
        assert result.numerics == whole.numerics[: len(found)]


def test_ctrl_c_while_it_is_measured_ends_the_training(images: DeviceImages, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(network: NetworkTraining) -> None:
        if network.epochs:
            raise KeyboardInterrupt

    monkeypatch.setattr(NetworkTraining, "measure_first_batch", interrupted)
    result = train(small_cell(epochs=2), images, "fp32")
    assert (result.status, result.reason, len(result.epochs)) == ("interrupted", "interrupted in epoch 2", 1)


def test_a_network_is_as_it_was(images: DeviceImages) -> None:
    cell = small_cell(norm="batch", epochs=0)
    model = initial_network(cell, images)
    before, names = copy.deepcopy(model.state_dict()), list(model.state_dict())
    network = NetworkTraining(cell, model, images, "bf16")
    network.measure_first_batch()
    assert list(model.state_dict()) == names
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model.training
    assert all(p.grad is None for p in model.parameters())


def test_cells_hold_predictions_but_for_networks_with_a_norm() -> None:
    images = DeviceImages(synthetic_images(32, 8), torch.device("cpu"))
    cell = Cell(architecture="script", activation="relu", seed=1, epochs=0)
    assert len(train(cell, images, "fp32").predictions) == 4
    assert train(cell.model_copy(update={"norm": "batch"}), images, "fp32").predictions == ()


def test_the_worst_error_is_named() -> None:
    study = plan("quick", seeds=(1,), precision="bf16")
    worst = worst_error(study, synthetic_images(32, 8), "cpu")
    assert (worst.cell.activation, worst.layer) == ("sigmoid", "conv1")
    assert worst.error > 0.1
