"""The networks and the data of the ready-made studies of other people's documents."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn

Pair = tuple[Tensor, Tensor]

_WIDTHS = (20, 128, 64, 32, 16, 8, 1)
_TRAIN_ROWS, _TEST_ROWS = 2_000, 1_000


def small_cnn(norm: str, outputs: int = 10) -> nn.Sequential:
    """Three convolutions, each with ReLU and a 2×2 max-pool, and one linear layer; ``norm``: ``none``, ``batch`` or
    ``layer``, which is over channels and places of an image, with a scale and a shift for each channel."""
    norms: dict[str, Callable[[int], nn.Module]] = {
        "none": lambda c: nn.Identity(),
        "batch": nn.BatchNorm2d,
        "layer": lambda c: nn.GroupNorm(1, c),
    }
    if norm not in norms:
        raise ValueError(f"norm {norm!r}: use none, batch or layer")
    modules: OrderedDict[str, nn.Module] = OrderedDict()
    for i, (channels_in, channels) in enumerate(pairwise((3, 16, 32, 64)), 1):
        modules[f"conv{i}"] = nn.Conv2d(channels_in, channels, 3, padding=1)
        modules[f"norm{i}"] = norms[norm](channels)
        modules[f"act{i}"] = nn.ReLU()
        modules[f"pool{i}"] = nn.MaxPool2d(2)
    modules["flatten"] = nn.Flatten()
    modules["fc"] = nn.Linear(64 * 4 * 4, outputs)
    return nn.Sequential(modules)


def plain_cnn(depth: int, init: str, outputs: int = 10) -> nn.Sequential:
    """``depth`` layers with weights: 3×3 convolutions of 16 channels with ReLU on images brought to 8×8 by averaging,
    and one linear layer, without shortcuts and norms; ``init``: ``xavier`` or ``kaiming``, biases zero."""
    if init not in ("xavier", "kaiming"):
        raise ValueError(f"init {init!r}: use xavier or kaiming")
    modules: OrderedDict[str, nn.Module] = OrderedDict(average=nn.AvgPool2d(4))
    for i in range(1, depth):
        modules[f"conv{i}"] = nn.Conv2d(3 if i == 1 else 16, 16, 3, padding=1)
        modules[f"act{i}"] = nn.ReLU()
    modules["flatten"] = nn.Flatten()
    modules["fc"] = nn.Linear(16 * 8 * 8, outputs)
    model = nn.Sequential(modules)
    for module in model:
        if isinstance(module, nn.Conv2d | nn.Linear):
            if init == "kaiming":  # by fan_in, as in the paper's equation 10
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            else:
                nn.init.xavier_normal_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return model


def pipeline(pipeline: str) -> nn.Sequential:
    """An MLP of 128, 64, 32, 16 and 8 units with one output. ``sigmoid``: sigmoid after every layer, the output's too,
    PyTorch's initialisation, inputs as they are; ``relu``: ReLU, logits, He's initialisation, standardised inputs."""
    if pipeline not in ("sigmoid", "relu"):
        raise ValueError(f"pipeline {pipeline!r}: use sigmoid or relu")
    modules: OrderedDict[str, nn.Module] = OrderedDict()
    if pipeline == "relu":
        (inputs, _), _ = rows()
        modules["standardise"] = _Standardise(inputs)
    for i, (wide_in, wide_out) in enumerate(pairwise(_WIDTHS), 1):
        layer = nn.Linear(wide_in, wide_out)
        if pipeline == "relu":
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
        modules[f"fc{i}"] = layer
        if i < len(_WIDTHS) - 1 or pipeline == "sigmoid":
            modules[f"act{i}"] = nn.Sigmoid() if pipeline == "sigmoid" else nn.ReLU()
    return nn.Sequential(modules)


def rows() -> tuple[Pair, Pair]:
    """Makes rows of 20 numbers, each column normal with a mean and a scale of its own, and the class of each, 0 or 1:
    whether x₀ + x₁x₂ of the standardised numbers, with a little noise, is above 0. The same at every call."""
    generator = torch.Generator().manual_seed(0)
    count = _TRAIN_ROWS + _TEST_ROWS
    plain = torch.randn(count, _WIDTHS[0], generator=generator)
    means, scales = 10 * torch.rand(2, _WIDTHS[0], generator=generator)
    noise = 0.1 * torch.randn(count, generator=generator)
    targets = (plain[:, 0] + plain[:, 1] * plain[:, 2] + noise > 0).float()[:, None]
    inputs = plain * (scales + 0.1) + means
    return (inputs[:_TRAIN_ROWS], targets[:_TRAIN_ROWS]), (inputs[_TRAIN_ROWS:], targets[_TRAIN_ROWS:])


class _Standardise(nn.Module):
    """Shifts and scales inputs to mean 0 and standard deviation 1 over the training rows."""

    def __init__(self, inputs: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", inputs.mean(0))
        self.register_buffer("deviation", inputs.std(0))

    def forward(self, x: Tensor) -> Tensor:
        mean, deviation = self.get_buffer("mean"), self.get_buffer("deviation")
        return (x - mean) / deviation
