"""What is stated of a network besides its gradient flow: its size, its modules, its weights' hash, its heat map."""

from __future__ import annotations

import hashlib
import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
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


def facts_of(model: nn.Module, images: DeviceImages, *, own: bool = False) -> NetworkFacts:
    """States what ``model`` is, in training mode on the device of ``images``; changes nothing in it. Its children run
    one after the other, unless it is a user's ``own``."""
    return NetworkFacts(
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        layers=_own_layer_shapes(model, images) if own else _layer_shapes(model, images.device),
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


def _own_layer_shapes(model: nn.Module, images: DeviceImages) -> tuple[LayerShape, ...]:
    """Of every innermost module that puts out one tensor for one input, in the order in which they first run."""
    shapes: dict[str, LayerShape] = {}

    def note(name: str, module: nn.Module, output: object) -> None:
        if isinstance(output, Tensor) and output.dim() and all(output.shape):
            shapes.setdefault(name, LayerShape(name=name, kind=type(module).__name__, shape=tuple(output.shape[1:])))

    innermost = [(name, module) for name, module in model.named_modules() if name and not any(module.children())]
    handles = [
        module.register_forward_hook(lambda m, inputs, output, name=name: note(name, m, output))
        for name, module in innermost
    ]
    inputs, _ = next(images.test_batches(1, 1))
    model.eval()
    try:
        with torch.no_grad():
            model(inputs)
    finally:
        model.train()
        for handle in handles:
            handle.remove()
    return tuple(shapes.values())


def _weights_sha256(model: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(name.encode() + tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
