"""Models that nobody made for the check, and a training step of one of them."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from vgharness.check.batch import Batch
from vgharness.gradflow.arguments import call_model


def backward(factory: Callable[[], nn.Module], batch: Batch, seed: int = 42) -> float:
    """The loss of one training step, which sends a gradient to some weight."""
    model = factory()
    inputs, targets = batch(seed)
    loss = batch.loss.function(call_model(model, inputs), targets)
    loss.backward()  # type: ignore[no-untyped-call]
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())
    return loss.item()


class Lambda(nn.Module):
    """Modules under names, and what is done with them."""

    def __init__(self, forward: Callable[..., Any], **modules: nn.Module) -> None:
        super().__init__()
        self.does = forward
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, x: Any) -> Any:
        return self.does(self, x)


def convolutions(channels: int, flat: int, **options: Any) -> nn.Module:
    """A convolution and a linear layer that fits one size of image only."""
    return nn.Sequential(nn.Conv2d(channels, 2, 3, 2, **options), nn.Flatten(), nn.Linear(flat, 10))


class Gpt(nn.Module):
    """Learned positions are registered before the words, of which there are fewer; they fit one length only."""

    def __init__(self) -> None:
        super().__init__()
        self.positions = nn.Parameter(torch.zeros(1, 64, 8))
        self.words = nn.Embedding(11, 8)
        self.block = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.head = nn.Linear(8, 11)

    def forward(self, tokens: Tensor, targets: Tensor | None = None) -> tuple[Tensor, None]:
        return self.head(self.block(self.words(tokens) + self.positions)), None


class HeadFirst(nn.Module):
    """Registers its layers in the reverse of the order in which they run."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 3)
        self.stem = nn.Conv2d(1, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.stem(x).mean((2, 3)))


class Recommender(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.users, self.items = nn.Embedding(50, 4), nn.Embedding(20, 4)
        self.head = nn.Linear(8, 1)

    def forward(self, user: Tensor, item: Tensor, scale: float = 1.0) -> Tensor:
        return self.head(torch.cat([self.users(user), self.items(item)], -1)).sum()


class Raw(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(7, 5))

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.weight)


class Patches(nn.Module):
    """Cuts images into patches for its first layer, which is linear."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(3 * 8 * 8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.embed(functional.unfold(x, 8, stride=8).transpose(1, 2)).mean(1)


def shaped(module: nn.Module) -> None:
    """Gives a lazy layer behind a convolution its shape, as its owner should."""
    if isinstance(module, nn.Sequential):
        module(torch.zeros(1, 1, 8, 32, 32))
