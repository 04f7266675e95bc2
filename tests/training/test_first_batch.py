"""A cell's first batch: the one that it trains on, measured without a trace."""

from contextlib import nullcontext

import pytest
import torch
from small_cells import train

import vgharness.training.loop
from vgharness.data.on_device import DeviceImages
from vgharness.data.synthetic import synthetic_images
from vgharness.records import Cell
from vgharness.study.presets import plan
from vgharness.training.first_batch import FirstBatch, measure_first_batch, worst_error
from vgharness.training.numerics import exact_gradients, gradient_errors, layer_gradients
from vgharness.training.pack import Pack

pytestmark = pytest.mark.fast


@pytest.fixture(scope="module")
def images() -> DeviceImages:
    return DeviceImages(synthetic_images(40, 16), torch.device("cpu"))


def test_the_batch_is_the_first_that_the_cell_trains_on(images: DeviceImages) -> None:
    cell = Cell(architecture="script", activation="relu", seed=7, epochs=0)
    pack = Pack((cell,), images, "fp32")
    pack.batches.shuffle()
    (inputs,), (targets,) = pack.batches.take(pack.batches.sizes[0])
    expected = gradient_errors(
        layer_gradients(pack.models[0], inputs, targets, nullcontext()),
        exact_gradients(pack.models[0], inputs, targets),
    )
    assert measure_first_batch(cell, images, "fp32").numerics == expected
    assert train(cell, images, "fp32").numerics == expected


def test_a_cell_is_trained_the_same_with_and_without_it(images: DeviceImages, monkeypatch: pytest.MonkeyPatch) -> None:
    cell = Cell(architecture="script", activation="sigmoid", seed=1, epochs=1)
    measured = train(cell, images, "fp32")
    monkeypatch.setattr(vgharness.training.loop, "measure_first_batch", lambda *_: FirstBatch())
    plain = train(cell, images, "fp32")
    assert measured.epochs[0].flow == plain.epochs[0].flow
    assert (len(measured.numerics), len(plain.numerics)) == (5, 0)


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
