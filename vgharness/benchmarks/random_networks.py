"""Draws random networks without faults, good and bad ones: what the diagnosis is calibrated on.

Each is a classifier of :data:`CLASSES` classes: ``depth`` hidden layers, or steps through time, and a linear head.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final, Literal, NamedTuple

import torch
from torch import Tensor, nn

from vgharness.records import Record

Family = Literal["mlp", "cnn", "rnn", "residual", "layernorm", "batchnorm"]
RandomInit = Literal["default", "he", "glorot", "orthogonal", "he/10", "he*3", "normal 0.01"]
RandomActivation = Literal["relu", "leaky relu", "gelu", "silu", "tanh", "sigmoid"]
RecurrentCell = Literal["rnn", "gru", "lstm"]

CLASSES: Final = 4
IMAGE_CHANNELS: Final = 3
IMAGE_SIDE: Final = 8  # pixels
FEATURES: Final = 16  # of a vector, and of each step of a sequence
_POOLED_SIDE: Final = 4

_FAMILIES: Final[dict[Family, int]] = {
    "mlp": 30,
    "cnn": 20,
    "rnn": 14,
    "residual": 12,
    "layernorm": 12,
    "batchnorm": 12,
}
_INITS: Final[dict[RandomInit, int]] = {
    "default": 25, "he": 20, "glorot": 15, "orthogonal": 10, "he/10": 10, "he*3": 10, "normal 0.01": 10
}  # fmt: skip
_DEPTHS: Final = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 30, 40)
_WIDTHS: Final = (16, 32, 64)
_CHANNELS: Final = (8, 16)
_ACTIVATIONS: Final[dict[RandomActivation, Callable[[], nn.Module]]] = {
    "relu": nn.ReLU,
    "leaky relu": nn.LeakyReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}
_CELLS: Final[dict[RecurrentCell, Callable[..., nn.Module]]] = {
    "rnn": nn.RNNCell,
    "gru": nn.GRUCell,
    "lstm": nn.LSTMCell,
}


class RandomNetwork(Record):
    """What one random network is made of.

    family: ``mlp`` and ``cnn`` are plain chains; ``rnn`` runs a cell once per step; ``residual`` adds each hidden
        layer's output to its input; ``layernorm`` and ``batchnorm`` normalise each hidden layer before its activation.
    convolutional: whether the hidden layers are 3 × 3 convolutions of images, rather than linear.
    depth: hidden layers; of ``rnn`` the steps.
    width: units, or channels, of each hidden layer.
    activation: after each hidden layer; of ``rnn`` of the cell ``rnn``, and None for the other cells.
    cell: of ``rnn``; None for the other families.
    init: of every weight matrix, the head's too; biases are zero except with ``default``.
    seed: of its weights and its examples.
    """

    family: Family
    convolutional: bool
    depth: int
    width: int
    activation: RandomActivation | None
    cell: RecurrentCell | None
    init: RandomInit
    seed: int

    def __str__(self) -> str:
        kind = "convolutional " if self.convolutional and self.family != "cnn" else ""
        return f"{kind}{self.cell or self.family} {self.depth} x {self.width} {self.activation or ''} {self.init}"


def draw_networks(count: int, seed: int) -> list[RandomNetwork]:
    """Draws ``count`` networks; of two counts with one seed the shorter list begins the longer."""
    rng = random.Random(seed)
    return [_draw_network(rng) for _ in range(count)]


def _draw_network(rng: random.Random) -> RandomNetwork:
    family = rng.choices(list(_FAMILIES), list(_FAMILIES.values()))[0]
    convolutional = family == "cnn" or (family in ("residual", "batchnorm") and rng.random() < 0.4)
    cell = rng.choice(list(_CELLS)) if family == "rnn" else None
    if cell is None:
        activation: RandomActivation | None = rng.choice(list(_ACTIVATIONS))
    else:
        activation = rng.choice(("tanh", "relu")) if cell == "rnn" else None
    return RandomNetwork(
        family=family,
        convolutional=convolutional,
        depth=rng.choice(_DEPTHS),
        width=rng.choice(_CHANNELS if convolutional else _WIDTHS),
        activation=activation,
        cell=cell,
        init=rng.choices(list(_INITS), list(_INITS.values()))[0],
        seed=rng.randrange(2**31),
    )


class Examples(NamedTuple):
    """Examples of the task.

    inputs: [count, FEATURES], [count, depth, FEATURES] or [count, IMAGE_CHANNELS, IMAGE_SIDE, IMAGE_SIDE].
    classes: [count], integers.
    """

    inputs: Tensor
    classes: Tensor


def draw_examples(network: RandomNetwork, count: int) -> Examples:
    """Draws examples of an easy task: unit noise at half its size around one random point for each class.

    A sequence shows its class at the first step only, and half-size noise after it. They depend on the network's seed.
    """
    generator = torch.Generator().manual_seed(network.seed)
    shape = (IMAGE_CHANNELS, IMAGE_SIDE, IMAGE_SIDE) if network.convolutional else (FEATURES,)
    centres = torch.randn((CLASSES, *shape), generator=generator)
    classes = torch.randint(CLASSES, (count,), generator=generator)
    shown = centres[classes]
    if network.family == "rnn":
        silence = torch.zeros(count, network.depth - 1, FEATURES)
        shown = torch.cat([shown[:, None], silence], dim=1)
    return Examples(shown + torch.randn(shown.shape, generator=generator) / 2, classes)


def build_network(network: RandomNetwork) -> nn.Module:
    """Builds the network with weights drawn from torch's random state, in training mode."""
    model = _Recurrent(network) if network.family == "rnn" else _feedforward(network)
    if network.init != "default":
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1:
                _initialise(parameter, network.init)
            elif "bias" in name:  # a norm's is zero already
                nn.init.zeros_(parameter)
    return model


def _initialise(weight: Tensor, init: RandomInit) -> None:
    match init:
        case "he" | "he/10" | "he*3":
            nn.init.kaiming_normal_(weight)
            with torch.no_grad():
                weight.mul_({"he": 1.0, "he/10": 0.1, "he*3": 3.0}[init])
        case "glorot":
            nn.init.xavier_normal_(weight)
        case "orthogonal":
            nn.init.orthogonal_(weight)
        case "normal 0.01":
            nn.init.normal_(weight, std=0.01)
        case "default":
            raise AssertionError("modules set it themselves")


def _feedforward(network: RandomNetwork) -> nn.Module:
    entering = IMAGE_CHANNELS if network.convolutional else FEATURES
    hidden: list[nn.Module] = []
    for i in range(network.depth):
        block = _block(network, network.width if i else entering)
        hidden.append(_Residual(block) if network.family == "residual" and i else block)
    if not network.convolutional:
        return nn.Sequential(*hidden, nn.Linear(network.width, CLASSES))
    pooled = [nn.AdaptiveAvgPool2d(_POOLED_SIDE), nn.Flatten()]
    return nn.Sequential(*hidden, *pooled, nn.Linear(network.width * _POOLED_SIDE**2, CLASSES))


def _block(network: RandomNetwork, entering: int) -> nn.Module:
    assert network.activation is not None
    width = network.width
    layer = nn.Conv2d(entering, width, 3, padding=1) if network.convolutional else nn.Linear(entering, width)
    norm: list[nn.Module] = []
    if network.family == "batchnorm":
        norm = [nn.BatchNorm2d(width) if network.convolutional else nn.BatchNorm1d(width)]
    elif network.family == "layernorm":
        norm = [nn.LayerNorm(width)]
    return nn.Sequential(layer, *norm, _ACTIVATIONS[network.activation]())


class _Residual(nn.Module):
    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor) -> Tensor:
        changed: Tensor = x + self.block(x)
        return changed


class _Recurrent(nn.Module):
    def __init__(self, network: RandomNetwork) -> None:
        super().__init__()
        assert network.cell is not None
        more = {} if network.activation is None else {"nonlinearity": network.activation}
        self.cell = _CELLS[network.cell](FEATURES, network.width, **more)
        self.head = nn.Linear(network.width, CLASSES)

    def forward(self, sequences: Tensor) -> Tensor:
        state = None
        for step in sequences.unbind(1):
            state = self.cell(step, state)
        logits: Tensor = self.head(state[0] if isinstance(state, tuple) else state)
        return logits
