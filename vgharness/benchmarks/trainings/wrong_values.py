"""Trainings whose numbers go wrong: NaN, explosions, spikes, steps that are too large, a loss scale that collapses."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from vgharness.benchmarks.trainings.cases import (
    ANYWHERE,
    BOTH,
    EVERY,
    Label,
    Labelled,
    Variant,
    Watch,
    fit,
    snapshot_after,
    vectors,
)
from vgharness.benchmarks.trainings.networks import LinearCell, LogEnergy, UnitLength, mlp

_AFTER = 40  # steps that a training goes on for


def _with_an_empty_sample(batch: Labelled) -> Labelled:
    inputs, targets = batch
    return torch.cat([torch.zeros_like(inputs[:1]), inputs[1:]]), targets


def _fit_with_an_empty_sample(
    watch: Watch, variant: Variant, model: nn.Module, optimizer: torch.optim.Optimizer
) -> list[float]:
    """Trains on vectors, one of which is zero in the batch of the step where it goes wrong."""
    batches = vectors(variant.seed)
    with watch(model, optimizer) as watching:
        return fit(
            watching,
            model,
            optimizer,
            lambda step: _with_an_empty_sample(batches(step)) if step == variant.at else batches(step),
            range(variant.at + _AFTER),
        )


def nan_forward(watch: Watch, variant: Variant) -> list[float]:
    """A sample that is zero reaches a logarithm."""
    model = mlp(3, nn.Tanh, {variant.place: LogEnergy()}, bias=False)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    return _fit_with_an_empty_sample(watch, variant, model, optimizer)


def nan_forward_label(variant: Variant) -> Label:
    return Label({"nonfinite": frozenset({"extra"})}, variant.at, variant.at + EVERY, stage="forward")


def nan_backward(watch: Watch, variant: Variant) -> list[float]:
    """A sample that is zero is divided by its length: finite forward, NaN backward."""
    model = mlp(3, nn.Tanh, {variant.place: UnitLength()}, bias=False)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    return _fit_with_an_empty_sample(watch, variant, model, optimizer)


def nan_backward_label(variant: Variant) -> Label:
    places = frozenset({"extra", f"fc{variant.place}"})  # the module, or the layer whose signal is the first to be NaN
    return Label({"nonfinite": places}, variant.at, variant.at + EVERY, stage="backward")


def exploding(watch: Watch, variant: Variant) -> list[float]:
    """Sequences of 5 steps, and of 60 later on: a state that grows at each step explodes. Gradients are clipped."""
    model = LinearCell(1.25)
    optimizer = torch.optim.SGD(model.parameters(), 0.02)

    def batch(step: int) -> Labelled:
        generator = torch.Generator().manual_seed(1_000_003 * variant.seed + step)
        inputs = torch.randn(32, 5 if step < variant.at else 60, 4, generator=generator)
        return inputs, inputs[:, 0].argmax(1)

    with watch(model, optimizer) as watching:
        return fit(watching, model, optimizer, batch, range(variant.at + _AFTER), clip=1.0)


def exploding_label(variant: Variant) -> Label:
    # That the total norm jumps is true too; where it does, only the layers' own values say.
    return Label({"exploding": frozenset({"cell"}), "spike": ANYWHERE}, variant.at, snapshot_after(variant.at) + EVERY)


def unlucky_batch(watch: Watch, variant: Variant) -> list[float]:
    """One batch is 10,000 times as large: Adam remembers its squared gradient, and hardly moves for long."""
    batches = vectors(variant.seed)
    model = mlp(3, nn.ReLU)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)

    def batch(step: int) -> Labelled:
        inputs, targets = batches(step)
        return (1e4 * inputs if step == variant.at else inputs), targets

    with watch(model, optimizer) as watching:
        return fit(watching, model, optimizer, batch, range(variant.at + _AFTER))


def unlucky_batch_label(variant: Variant) -> Label:
    return Label({"spike": ANYWHERE}, variant.at, variant.at + EVERY, BOTH)


def rate_too_high(watch: Watch, variant: Variant) -> list[float]:
    """A schedule that is stepped per batch, and not per epoch, multiplies the learning rate by a thousand."""
    model = mlp(3, nn.Tanh)
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)

    def before(step: int) -> None:
        optimizer.param_groups[0]["lr"] = 2e-3 if step < variant.at else 2.0

    with watch(model, optimizer) as watching:
        return fit(watching, model, optimizer, vectors(variant.seed), range(variant.at + _AFTER), before=before)


def rate_too_high_label(variant: Variant) -> Label:
    return Label({"update too large": ANYWHERE, "spike": ANYWHERE}, variant.at, snapshot_after(variant.at) + 2 * EVERY)


def loss_scale(watch: Watch, variant: Variant) -> list[float]:
    """In mixed precision each batch from a step on makes gradients that are not finite, at whatever scale: each step is
    skipped, and the scale is halved each time."""
    batches = vectors(variant.seed)
    model = mlp(3, nn.Tanh, {variant.place: UnitLength()}, bias=False)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    scaler = torch.amp.GradScaler("cpu")
    losses = []
    with watch(model, optimizer, scaler=scaler) as watching:
        for step in range(variant.at + _AFTER):
            inputs, targets = batches(step) if step < variant.at else _with_an_empty_sample(batches(step))
            with torch.autocast("cpu", torch.float16):
                loss = functional.cross_entropy(model(inputs), targets)
            optimizer.zero_grad()
            scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            scaler.step(optimizer)
            scaler.update()
            watching.step(loss)
            losses.append(loss.item())
    return losses


def loss_scale_label(variant: Variant) -> Label:
    return Label({"loss scale": ANYWHERE, "nonfinite": ANYWHERE}, variant.at, variant.at + 25)
