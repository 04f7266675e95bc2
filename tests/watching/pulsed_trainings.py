"""Small trainings that are looked at by a pulse, and models in which one batch gives birth to NaN."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from vgharness.watching.first_nan.pulse import Pulse

WIDTH = 4


def batches(bad: int | None, change: Callable[[Tensor], Tensor], steps: int = 8) -> list[Tensor]:
    """Batches of which one is changed."""
    made = torch.Generator().manual_seed(1)
    drawn = [torch.randn(5, WIDTH, generator=made) for _ in range(steps)]
    return [change(x) if number == bad else x for number, x in enumerate(drawn)]


def zero_row(x: Tensor) -> Tensor:
    return x * torch.tensor([1.0, 0, 1, 1, 1])[:, None]


def large(x: Tensor) -> Tensor:
    return 100 * x.abs()


def same(x: Tensor) -> Tensor:
    return x


class Does(nn.Module):
    """A module that applies a function."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def length(x: Tensor) -> Tensor:
    return x / 9 + x.square().sum(1, keepdim=True).sqrt()


def logarithm(x: Tensor) -> Tensor:
    return x.abs().log()


def exponential(x: Tensor) -> Tensor:
    return x.exp()


class Upside(torch.autograd.Function):
    """Goes back by 1 ÷ the largest of each row."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return gradient / x.abs().amax(1, keepdim=True).clamp(max=1)


def around(**layers: nn.Module) -> nn.Sequential:
    """Two layers without bias, so that a zero row stays one, and what is between them."""
    model = nn.Sequential()
    for name, layer in {"fc1": nn.Linear(WIDTH, WIDTH, bias=False), **layers, "fc2": nn.Linear(WIDTH, 2)}.items():
        model.add_module(name, layer)
    return model


class Checkpointed(nn.Module):
    def __init__(self, inner: nn.Module, *, reentrant: bool) -> None:
        super().__init__()
        self.inner, self.reentrant = inner, reentrant

    def forward(self, x: Tensor) -> Tensor:
        return checkpoint(self.inner, x, use_reentrant=self.reentrant)


class Twice(nn.Module):
    """Runs one module twice; only the second time is it given what it cannot take."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.fc1, self.inner, self.fc2 = nn.Linear(WIDTH, WIDTH, bias=False), inner, nn.Linear(WIDTH, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = self.fc1(x)
        return self.fc2(self.inner(h + 1) + self.inner(h))


class Attending(nn.Module):
    """Attention over the rows; those that are all zero are masked, with ``closed`` all others too."""

    def __init__(self, *, closed: bool) -> None:
        super().__init__()
        self.emb = nn.Linear(WIDTH, 8)
        self.attn = nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(8, 2)
        self.closed = closed

    def forward(self, x: Tensor) -> Tensor:
        empty = (x == 0).all(1)
        mask = (empty.any() & torch.ones(5, dtype=torch.bool)) if self.closed else empty
        h = self.emb(x)[None]
        return self.head(self.attn(h, h, h, key_padding_mask=mask[None])[0])


class OwnLoss(nn.Module):
    """Computes its loss itself, and puts out what it is computed of, too."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(WIDTH, 2, bias=False)
        self.criterion = Does(lambda logits: logits.square().sum(1).sqrt().mean())

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        logits = self.fc(x)
        return {"loss": self.criterion(logits), "logits": logits}


class Sentinel(nn.Module):
    """Puts out minus infinity where it does not want to choose, made by a mask's logarithm."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(WIDTH, 3)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        logits = self.fc(x) + torch.tensor([1.0, 1.0, 0.0]).log()
        return {"logits": logits, "distance": x.new_tensor(math.inf)}


def squares(output: Tensor) -> Tensor:
    return output.square().mean()


def class_zero(output: dict[str, Tensor]) -> Tensor:
    return nn.functional.cross_entropy(output["logits"], torch.zeros(5, dtype=torch.long))


def log_of_lengths(output: Tensor) -> Tensor:
    """Of a zero row without bias, minus infinity."""
    return (output.abs().sum(1) - 0.0).log().mean()


def train(
    model: nn.Module,
    given: Iterable[Tensor],
    loss: Callable[[Any], Tensor] = squares,
    *,
    delay: int = 0,
    folder: Callable[[], Path | None] = lambda: None,
    rate: Callable[[int], float] = lambda step: 0.01,
    note: Callable[[str], None] = print,
    around_forward: Callable[[], Any] = nullcontext,
    call: Callable[[Tensor], Any] | None = None,
    close: bool = True,
) -> Pulse:
    """Trains by SGD, a step for each batch; the pulse that looked on."""
    pulse = Pulse(model, "", folder=folder, delay=delay, note=note)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    pulse.open()
    for step, x in enumerate(given):
        optimizer.zero_grad()
        with around_forward():
            value = loss((call or model)(x))
        value.backward()
        pulse.before_step(step)
        for group in optimizer.param_groups:
            group["lr"] = rate(step)
        optimizer.step()
    if close:
        pulse.seen(wait=True)
        pulse.close()
    return pulse
