"""What is stated of a network besides its gradient flow: its size, its modules, its weights' hash, its heat map."""

from __future__ import annotations

import hashlib
import math
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional

from vgharness.data.image_set import SIZE
from vgharness.data.on_device import DeviceImages
from vgharness.records import LayerShape

HEATMAP_IMAGES = 256

Heatmap = tuple[tuple[float, ...], ...]


class NetworkFacts(NamedTuple):
    """What a network is before it trains.

    parameters: number of trained numbers.
    layers: every module, in forward order.
    weights_sha256: over names and values of its weights and buffers.
    """

    parameters: int
    layers: tuple[LayerShape, ...]
    weights_sha256: str


def facts_of(model: nn.Module, device: torch.device) -> NetworkFacts:
    """States what ``model`` is, on ``device`` and in training mode, whose children run one after the other; changes
    nothing in it."""
    return NetworkFacts(
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        layers=_layer_shapes(model, device),
        weights_sha256=_weights_sha256(model),
    )


def heatmap_of(model: nn.Module, images: DeviceImages) -> Heatmap | None:
    """Measures |∂L/∂h| [32, 32] at conv1's pre-activation h, L the mean loss of the first 256 test images, as the mean
    over channels and images: what the studied document calls the activation gradient heatmap.

    ``model`` runs in the mode it is in, its children one after the other. Returns ``None`` where a value is not finite.
    """
    inputs, targets = next(images.test_batches(HEATMAP_IMAGES, HEATMAP_IMAGES))
    conv1, *rest = model.children()
    outputs = pre_activation = conv1(inputs)
    for module in rest:
        outputs = module(outputs)
    (gradient,) = torch.autograd.grad(functional.cross_entropy(outputs, targets), pre_activation)
    rows = gradient.float().abs().mean((0, 1)).tolist()
    if not all(math.isfinite(x) for row in rows for x in row):
        return None
    return tuple(tuple(float(f"{x:.4g}") for x in row) for row in rows)


def _layer_shapes(model: nn.Module, device: torch.device) -> tuple[LayerShape, ...]:
    shapes, hidden = [], torch.zeros(1, 3, SIZE, SIZE, device=device)
    model.eval()  # a BatchNorm must not learn from this
    with torch.no_grad():
        for name, module in model.named_children():
            hidden = module(hidden)
            shapes.append(LayerShape(name=name, kind=type(module).__name__, shape=tuple(hidden.shape[1:])))
    model.train()
    return tuple(shapes)


def _weights_sha256(model: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(name.encode() + tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
