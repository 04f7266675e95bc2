"""The networks of the gallery, and the parts they are built from."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional


class Apply(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


class Residual(nn.Module):
    """Adds what ``branch`` makes of the input to the input."""

    def __init__(self, *branch: nn.Module) -> None:
        super().__init__()
        self.branch = nn.Sequential(*branch)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.branch(x)  # type: ignore[no-any-return]


def chain(widths: Iterable[int], *between: Callable[[], nn.Module]) -> nn.Sequential:
    """Linear layers of ``widths``, with the modules that ``between`` make after each but the last."""
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(widths):
        layers += [nn.Linear(fan_in, fan_out), *(make() for make in between)]
    return nn.Sequential(*layers[: -len(between) or None])


def scaled(model: nn.Module, gain: float) -> nn.Module:
    """Draws ``model``'s weights anew, with standard deviation gain / √fan_in, and sets its biases to zero."""
    for name, weight in model.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(weight)
        elif weight.dim() > 1:
            nn.init.normal_(weight, std=gain / weight[0].numel() ** 0.5)
    return model


def kaiming(*parts: nn.Module) -> nn.Module:
    """``parts`` one after the other, with He's weights for ReLU."""
    return scaled(nn.Sequential(*parts), 2**0.5)


def biased(layer: nn.Linear, bias: float) -> nn.Linear:
    """Sets every bias of ``layer``."""
    nn.init.constant_(layer.bias, bias)
    return layer


class UnrolledCell(nn.Module):
    """A recurrent cell that runs at every step of a sequence; its last state is classified.

    ``linear`` is a linear layer of the step and the state together, without a nonlinearity; ``gain`` as in
    :func:`scaled`, for the cell.
    """

    def __init__(self, kind: Literal["rnn", "lstm", "linear"], gain: float | None = None) -> None:
        super().__init__()
        self.cell: nn.Module
        if kind == "lstm":
            self.cell = nn.LSTMCell(8, 16)
        elif kind == "rnn":
            self.cell = nn.RNNCell(8, 16)
        else:
            self.cell = nn.Linear(8 + 16, 16)
        if gain is not None:
            scaled(self.cell, gain)
        self.kind, self.head = kind, nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        state: Any = None if self.kind != "linear" else x.new_zeros(len(x), 16)
        for step in x.unbind(1):
            state = self.cell(torch.cat([step, state], 1)) if self.kind == "linear" else self.cell(step, state)
        return self.head(state[0] if self.kind == "lstm" else state)  # type: ignore[no-any-return]


class WordReader(nn.Module):
    """A recurrent cell that runs for each embedded word.

    The last word's gradient reaches the embedding directly, past all earlier steps: the layer at the input is well
    though the recurrent path is cut.
    """

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.cell, self.head = nn.Embedding(50, 16), nn.RNNCell(16, 16), nn.Linear(16, 50)

    def forward(self, x: Tensor) -> Tensor:
        state = None
        for word in self.embed(x.repeat(1, 5)).unbind(1):
            state = self.cell(word, state)
        return self.head(state)  # type: ignore[no-any-return]


class TrunkAndHead(nn.Module):
    """A trunk and a head with ``between`` between them; with ``unused`` also a layer that never runs."""

    def __init__(self, between: Callable[[Tensor], Tensor] = lambda x: x, *, unused: bool = False) -> None:
        super().__init__()
        self.trunk = chain((20, 32, 32), nn.ReLU)
        self.between = between
        self.head = chain((32, 32, 10), nn.ReLU)
        if unused:
            self.extra = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.between(self.trunk(x)))  # type: ignore[no-any-return]


class TwoBranches(nn.Module):
    """Two branches that are added, one of them detached by mistake."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.head = chain((20, 16, 16), nn.ReLU), chain((20, 16, 16), nn.ReLU), nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.left(x) + self.right(x).detach())  # type: ignore[no-any-return]


class Transformer(nn.Module):
    """Words to words; ``tied``: the head's weights are the embedding's."""

    def __init__(self, layers: int = 2, *, norm_first: bool = False, tied: bool = False) -> None:
        super().__init__()
        self.embed = nn.Embedding(50, 32)
        make = partial(nn.TransformerEncoderLayer, 32, 4, 64, batch_first=True, norm_first=norm_first)
        self.blocks = nn.ModuleList(make() for _ in range(layers))
        self.norm, self.head = nn.LayerNorm(32), nn.Linear(32, 50)
        if tied:
            nn.init.normal_(self.embed.weight, std=0.02)
            self.head.weight = self.embed.weight

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))  # type: ignore[no-any-return]


class Translator(nn.Module):
    """An encoder and a decoder; what the decoder sees of the encoder is multiplied by ``gate``."""

    def __init__(self, gate: float = 1.0) -> None:
        super().__init__()
        self.source, self.target, self.head = nn.Embedding(50, 32), nn.Embedding(50, 32), nn.Linear(32, 50)
        self.body, self.gate = nn.Transformer(32, 4, 2, 2, 64, batch_first=True), gate

    def forward(self, x: Tensor) -> Tensor:
        memory = self.body.encoder(self.source(x))
        return self.head(self.body.decoder(self.target(x.flip(1)), self.gate * memory))  # type: ignore[no-any-return]


class LowRank(nn.Module):
    """A frozen linear layer with LoRA's two beside it, of which the second starts at zero."""

    def __init__(self, fan_in: int, fan_out: int) -> None:
        super().__init__()
        self.frozen, self.a, self.b = nn.Linear(fan_in, fan_out), nn.Linear(fan_in, 4), nn.Linear(4, fan_out)
        self.frozen.requires_grad_(False)
        nn.init.zeros_(self.b.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.frozen(x) + self.b(self.a(x))  # type: ignore[no-any-return]


class Tagger(nn.Module):
    """An embedding, a recurrent module and a head at each word."""

    def __init__(self, kind: Callable[..., nn.Module]) -> None:
        super().__init__()
        self.embed, self.rnn, self.head = nn.Embedding(50, 16), kind(16, 32, batch_first=True), nn.Linear(32, 50)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rnn(self.embed(x))[0])  # type: ignore[no-any-return]


class StackedLSTM(nn.Module):
    """LSTMs one after the other, each a module of its own; the last state is classified."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.LSTM(8, 8, batch_first=True) for _ in range(layers))
        self.head = nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)[0]
        return self.head(x[:, -1])  # type: ignore[no-any-return]


class UNet(nn.Module):
    """Images to images, through two poolings and two skip connections."""

    def __init__(self) -> None:
        super().__init__()
        self.down1, self.down2, self.bottom = (nn.Conv2d(i, o, 3, padding=1) for i, o in ((3, 8), (8, 16), (16, 32)))
        self.up2, self.up1 = nn.ConvTranspose2d(32, 16, 2, stride=2), nn.ConvTranspose2d(16, 8, 2, stride=2)
        self.join2, self.join1, self.out = (
            nn.Conv2d(32, 16, 3, padding=1),
            nn.Conv2d(16, 8, 3, padding=1),
            nn.Conv2d(8, 3, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        one = functional.relu(self.down1(x))
        two = functional.relu(self.down2(functional.max_pool2d(one, 2)))
        x = functional.relu(self.bottom(functional.max_pool2d(two, 2)))
        x = functional.relu(self.join2(torch.cat([self.up2(x), two], 1)))
        return self.out(functional.relu(self.join1(torch.cat([self.up1(x), one], 1))))  # type: ignore[no-any-return]


def root_or_zero(x: Tensor) -> Tensor:
    """The root of what is positive, else 0: finite forward, but its gradient at zero is 0 · ∞ = NaN."""
    return torch.where(x > 0, x.sqrt(), torch.zeros_like(x))


def unit_length(x: Tensor) -> Tensor:
    """Rows divided by their length: of a zero row 0 / 1e-9, but its gradient is NaN: the root of zero has no slope."""
    return x / (x.square().sum(1, keepdim=True).sqrt() + 1e-9)


def plain_batchnorm(depth: int) -> nn.Module:
    """``depth`` linear layers with BatchNorm and ReLU.

    Each multiplies ‖δ‖₂ by √(π/(π−1)) = 1.21 toward the input (Yang et al. 2019).
    """
    return chain((20, *[32] * depth, 10), partial(nn.BatchNorm1d, 32), nn.ReLU)


def frozen_backbone() -> nn.Module:
    """A linear head on layers that are not trained."""
    model = nn.Sequential(chain((20, 32, 32), nn.ReLU), nn.ReLU(), nn.Linear(32, 10))
    model[0].requires_grad_(False)
    return model
