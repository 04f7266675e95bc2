"""What is stated of a network: shapes, hash, heat map."""

import hashlib
from typing import Any

import pytest
import torch
from factories import make_layers
from plain_loop import initial_model, standardise
from small_cells import TEST, make_cell, small_cell, train
from torch import Tensor
from torch.nn import functional

import vgharness.training.network_facts
from vgharness.data.on_device import DeviceImages
from vgharness.data.synthetic import synthetic_images
from vgharness.records import Architecture
from vgharness.training.evaluation import evaluation_mode
from vgharness.training.network_facts import heatmap_of
from vgharness.training.pack import Pack

pytestmark = [pytest.mark.fast, pytest.mark.usefixtures("without_first_batch")]


@pytest.mark.parametrize("architecture", ["readme", "script"])
def test_a_result_states_the_networks_shapes(few_images: DeviceImages, architecture: Architecture) -> None:
    result = train(make_cell(architecture=architecture, epochs=0), few_images, "fp32")
    stated = [(layer.name, layer.shape) for layer in result.layers]
    assert stated == [(layer.name, layer.shape) for layer in make_layers(architecture, "relu")]
    assert {layer.kind for layer in result.layers} == {"Conv2d", "ReLU", "MaxPool2d", "Flatten", "Linear"}
    assert result.parameters == 261_322


@pytest.mark.parametrize("norm", [None, "batch"])
def test_the_hash_is_of_the_network_as_it_was_made(few_images: DeviceImages, norm: Any) -> None:
    """Looking at its shapes must not have moved BatchNorm's running statistics."""
    cell = small_cell(norm=norm, epochs=0)
    digest = hashlib.sha256()
    for name, tensor in initial_model(cell).state_dict().items():
        digest.update(name.encode() + tensor.numpy().tobytes())
    assert train(cell, few_images, "fp32").initial_weights_sha256 == digest.hexdigest()


@pytest.mark.parametrize("norm", [None, "batch"])
def test_heatmap_is_the_gradient_at_the_first_pre_activation(
    images: DeviceImages, monkeypatch: pytest.MonkeyPatch, norm: Any
) -> None:
    monkeypatch.setattr(vgharness.training.network_facts, "HEATMAP_IMAGES", 40)
    pack = Pack((make_cell(norm=norm),), images, "fp32")
    with evaluation_mode(pack.models):
        heatmap = torch.tensor(heatmap_of(pack.models[0], images))

    model, data = pack.models[0].eval(), synthetic_images(1, TEST)
    seen: list[Tensor] = []
    model.get_submodule("conv1").register_forward_hook(lambda module, inputs, output: seen.append(output))
    outputs = model(standardise(data.test_images[:40]))
    loss = functional.cross_entropy(outputs, data.test_labels[:40])
    (gradient,) = torch.autograd.grad(loss, seen)
    torch.testing.assert_close(heatmap, gradient.abs().mean((0, 1)), rtol=1e-3, atol=0)


def test_heatmap_is_of_the_first_256_test_images() -> None:
    images = DeviceImages(synthetic_images(1, 300), torch.device("cpu"))
    (model,) = Pack((make_cell(depth=2),), images, "fp32").models
    sizes: list[int] = []
    model.get_submodule("conv1").register_forward_hook(lambda m, inputs, output: sizes.append(len(output)))
    heatmap_of(model, images)
    assert sizes == [256]


def test_a_heatmap_that_is_not_finite_is_none(few_images: DeviceImages) -> None:
    (model,) = Pack((small_cell(),), few_images, "fp32").models
    torch.nn.init.constant_(model.get_submodule("fc").get_parameter("weight"), float("inf"))
    assert heatmap_of(model, few_images) is None
