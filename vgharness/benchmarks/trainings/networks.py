"""The networks of the trainings. Layers are called fc0, fc1, … and head, whatever lies between."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from vgharness.benchmarks.trainings.cases import CLASSES, FEATURES

WIDTH = 32


def mlp(
    hidden: int, activation: Callable[[], nn.Module], extra: Mapping[int, nn.Module] | None = None, *, bias: bool = True
) -> nn.Sequential:
    """``hidden`` layers with He's weights, each with an activation, and a head.

    extra: modules that are put after the activation of the layer of that number, called ``extra``.
    """
    modules: OrderedDict[str, nn.Module] = OrderedDict()
    for i in range(hidden):
        modules[f"fc{i}"] = nn.Linear(FEATURES if i == 0 else WIDTH, WIDTH, bias=bias)
        modules[f"act{i}"] = activation()
        if extra and i in extra:
            modules["extra"] = extra[i]
    modules["head"] = nn.Linear(WIDTH, CLASSES)
    for module in modules.values():
        if isinstance(module, nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu" if activation is nn.ReLU else "linear")
    return nn.Sequential(modules)


class LogEnergy(nn.Module):
    """Adds the logarithm of each sample's energy to its values: minus infinity for a sample that is zero."""

    def forward(self, x: Tensor) -> Tensor:
        return x + 0.1 * x.square().mean(1, keepdim=True).log()


class UnitLength(nn.Module):
    """Divides each sample by its length. A sample that is zero stays zero, but its gradient is NaN: the root of zero
    has no slope."""

    def forward(self, x: Tensor) -> Tensor:
        return 4 * x / (x.square().sum(1, keepdim=True).sqrt() + 1e-9)


class LinearCell(nn.Module):
    """A recurrent cell without an activation, whose state grows by ``gain`` at each step of a sequence."""

    def __init__(self, gain: float) -> None:
        super().__init__()
        self.inputs, self.cell, self.head = nn.Linear(4, 16), nn.Linear(16, 16, bias=False), nn.Linear(16, CLASSES)
        nn.init.orthogonal_(self.cell.weight, gain)

    def forward(self, x: Tensor) -> Tensor:
        state = x.new_zeros(len(x), 16)
        for step in self.inputs(x).unbind(1):
            state = self.cell(state) + step
        return self.head(state)  # type: ignore[no-any-return]


class TwoBranches(nn.Module):
    """Two branches that are added; those in ``detached`` get no gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = _branch(), _branch()
        self.head = nn.Linear(WIDTH, CLASSES)
        self.detached: set[str] = set()

    def forward(self, x: Tensor) -> Tensor:
        parts = [self.left(x), self.right(x)]
        parts = [
            part.detach() if name in self.detached else part
            for name, part in zip(("left", "right"), parts, strict=True)
        ]
        return self.head(sum(parts))  # type: ignore[no-any-return]


def _branch() -> nn.Sequential:
    return nn.Sequential(nn.Linear(FEATURES, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU())


class Reader(nn.Module):
    """An embedding, a recurrent module and a head at each word."""

    def __init__(self, vocabulary: int = 40) -> None:
        super().__init__()
        self.embed, self.rnn = nn.Embedding(vocabulary, 16), nn.LSTM(16, WIDTH, batch_first=True)
        self.head = nn.Linear(WIDTH, vocabulary)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rnn(self.embed(x))[0])  # type: ignore[no-any-return]


class LanguageModel(nn.Module):
    """A small pre-norm Transformer, words to words."""

    def __init__(self, vocabulary: int = 40, length: int = 8, layers: int = 2, width: int = WIDTH) -> None:
        super().__init__()
        self.embed, self.position = nn.Embedding(vocabulary, width), nn.Embedding(length, width)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(width, 4, 2 * width, dropout=0.0, batch_first=True, norm_first=True)
            for _ in range(layers)
        )
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, vocabulary)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x) + self.position.weight
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))  # type: ignore[no-any-return]


class ConvNet(nn.Module):
    """Two convolutions with BatchNorm and dropout, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(8, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.AdaptiveAvgPool2d(2),
        )  # fmt: skip
        self.dropout, self.head = nn.Dropout(0.3), nn.Linear(64, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.dropout(self.features(x).flatten(1)))  # type: ignore[no-any-return]


class Mixture(nn.Module):
    """Experts, of which each sample asks the one that its gate prefers: in many a batch some are asked by nobody."""

    def __init__(self, experts: int = 6) -> None:
        super().__init__()
        self.stem, self.gate = nn.Linear(FEATURES, WIDTH), nn.Linear(WIDTH, experts)
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH)) for _ in range(experts)
        )
        self.head = nn.Linear(WIDTH, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        h = self.stem(x).relu()
        weight, choice = self.gate(h).softmax(1).max(1)
        mixed = torch.zeros_like(h)
        for number, expert in enumerate(self.experts):
            asking = choice == number
            if asking.any():
                mixed = mixed.index_add(0, asking.nonzero()[:, 0], weight[asking, None] * expert(h[asking]))
        return self.head(h + mixed)  # type: ignore[no-any-return]


class ClosedResidual(nn.Module):
    """Residual blocks whose branch is multiplied by γ, which starts at zero."""

    def __init__(self, blocks: int = 4) -> None:
        super().__init__()
        self.stem, self.head = nn.Linear(FEATURES, WIDTH), nn.Linear(WIDTH, CLASSES)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH))
            for _ in range(blocks)
        )
        self.gamma = nn.Parameter(torch.zeros(blocks))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for gamma, block in zip(self.gamma, self.blocks, strict=True):
            x = x + gamma * block(x)
        return self.head(x)  # type: ignore[no-any-return]


def generator_network() -> nn.Sequential:
    """Noise to points of the plane."""
    return nn.Sequential(nn.Linear(4, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 2))


def discriminator_network() -> nn.Sequential:
    """Points of the plane to how real they are, as a logit."""
    return nn.Sequential(
        nn.Linear(2, WIDTH), nn.LeakyReLU(0.2), nn.Linear(WIDTH, WIDTH), nn.LeakyReLU(0.2), nn.Linear(WIDTH, 1)
    )
