"""Healthy trainings in which the unusual happens: warm-up, spikes, unfreezing, skipped steps, idle experts."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

from vgharness.benchmarks.trainings.cases import Labelled, Variant, Watch, each_word, fit, images, vectors, words
from vgharness.benchmarks.trainings.networks import ClosedResidual, ConvNet, LanguageModel, Mixture, Reader, mlp
from vgharness.benchmarks.trainings.wrong_layers import adversarial

_STEPS = 200


def warm_up_and_cosine(watch: Watch, variant: Variant) -> list[float]:
    """The learning rate rises from zero, and falls to zero at the end."""
    model = mlp(3, nn.ReLU)
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3, weight_decay=0.01)
    warm = max(variant.at // 2, 1)

    def rate(step: int) -> float:
        if step < warm:
            return step / warm
        return 0.5 * (1 + math.cos(math.pi * (step - warm) / (_STEPS - 1 - warm)))

    def before(step: int) -> None:
        optimizer.param_groups[0]["lr"] = 3e-3 * rate(step)

    with watch(model, optimizer) as watching:
        return fit(watching, model, optimizer, vectors(variant.seed), range(_STEPS), before=before)


def heavy_tails(watch: Watch, variant: Variant) -> list[float]:
    """The scale of batches has a heavy tail: ordinary spikes, one in ten batches some times as large as the others."""
    model = mlp(3, nn.ReLU)
    optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)
    random = torch.Generator().manual_seed(variant.seed)
    batches = vectors(variant.seed)

    def batch(step: int) -> Labelled:
        inputs, targets = batches(step)
        scale = (
            1 - torch.rand((), generator=random)
        ) ** -0.5  # Pareto's law: over 3 in one of nine, over 10 in one of 100
        return scale.clamp(max=20) * inputs, targets

    with watch(model, optimizer) as watching:
        return fit(watching, model, optimizer, batch, range(_STEPS), clip=1.0)


def unfreezing(watch: Watch, variant: Variant) -> list[float]:
    """The head of a pretrained network alone is trained at first, then its layers too, with a lower learning rate."""
    model = mlp(3, nn.ReLU)
    batches = vectors(variant.seed)
    pretraining = torch.optim.Adam(model.parameters(), 3e-3)
    for step in range(100):
        inputs, targets = batches(10_000 + step)
        pretraining.zero_grad()
        functional.cross_entropy(model(inputs), targets).backward()  # type: ignore[no-untyped-call]
        pretraining.step()
    model.zero_grad()
    model.get_submodule("head").reset_parameters()  # type: ignore[operator]
    backbone = [p for name, p in model.named_parameters() if not name.startswith("head")]
    for parameter in backbone:
        parameter.requires_grad_(False)
    optimizer = torch.optim.Adam(model.get_submodule("head").parameters(), 3e-3)

    def before(step: int) -> None:
        if step == variant.at:
            for parameter in backbone:
                parameter.requires_grad_(True)
            optimizer.add_param_group({"params": backbone, "lr": 1e-3})

    with watch(model, optimizer) as watching:
        return fit(watching, model, optimizer, batches, range(_STEPS), before=before)


def accumulation(watch: Watch, variant: Variant) -> list[float]:
    """Gradients of four batches are added before each step; one label of five is wrong."""
    model = mlp(3, nn.ReLU)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    batches = vectors(variant.seed, 32)
    random = torch.Generator().manual_seed(variant.seed)
    losses = []
    with watch(model, optimizer) as watching:
        for step in range(_STEPS // 2):
            optimizer.zero_grad()
            total = torch.zeros(())
            for part in range(4):
                inputs, targets = batches(4 * step + part)
                wrong = torch.rand(len(targets), generator=random) < 0.2
                targets = torch.where(wrong, targets.roll(1), targets)
                loss = functional.cross_entropy(model(inputs), targets) / 4
                loss.backward()  # type: ignore[no-untyped-call]
                total += loss.detach()
            optimizer.step()
            watching.step(total)
            losses.append(total.item())
    return losses


def gan(watch: Watch, variant: Variant) -> list[float]:
    """A GAN whose two networks keep up with each other."""
    return adversarial(watch, variant, _STEPS, saturating=False, before=lambda step, optimizer: 0.0)


def convolutions(watch: Watch, variant: Variant) -> list[float]:
    """BatchNorm and dropout, with an evaluation in between."""
    model = ConvNet()
    optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9, weight_decay=5e-4)
    batches = images(variant.seed)

    def before(step: int) -> None:
        if step % 25 == 0:
            model.eval()
            with torch.no_grad():
                model(batches(10_000)[0])
            model.train()

    with watch(model, optimizer) as watching:
        return fit(watching, model, optimizer, batches, range(_STEPS // 2), before=before)


def recurrent(watch: Watch, variant: Variant) -> list[float]:
    """An LSTM whose gradients are clipped, and often."""
    model = Reader()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    with watch(model, optimizer) as watching:
        return fit(watching, model, optimizer, words(variant.seed), range(_STEPS), loss=each_word, clip=0.1)


def language_model(watch: Watch, variant: Variant) -> list[float]:
    """A Transformer in bfloat16, with warm-up."""
    model = LanguageModel()
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    batches = words(variant.seed)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / 20))
    losses = []
    with watch(model, optimizer) as watching:
        for step in range(_STEPS // 2):
            inputs, targets = batches(step)
            with torch.autocast("cpu", torch.bfloat16):
                loss = each_word(model(inputs), targets)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            watching.step(loss)
            losses.append(loss.item())
    return losses


def scaler(watch: Watch, variant: Variant) -> list[float]:
    """A loss scale that begins far too high: the first steps are skipped, as usual, and one now and then when it is
    doubled again."""
    model = mlp(3, nn.ReLU)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    grad_scaler = torch.amp.GradScaler("cpu", init_scale=2.0**26, growth_interval=max(variant.at // 2, 10))
    batches = vectors(variant.seed)
    losses = []
    with watch(model, optimizer, scaler=grad_scaler) as watching:
        for step in range(_STEPS):
            inputs, targets = batches(step)
            with torch.autocast("cpu", torch.float16):
                loss = functional.cross_entropy(model(inputs), targets)
            optimizer.zero_grad()
            grad_scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            grad_scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            grad_scaler.step(optimizer)
            grad_scaler.update()
            watching.step(loss)
            losses.append(loss.item())
    return losses


def idle_experts(watch: Watch, variant: Variant) -> list[float]:
    """A mixture of experts, some of whom get no sample of a batch now and then."""
    model = Mixture()
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    with watch(model, optimizer) as watching:
        return fit(watching, model, optimizer, vectors(variant.seed, 24), range(_STEPS))


def closed_branches(watch: Watch, variant: Variant) -> list[float]:
    """Residual branches that start closed: γ is zero at first."""
    model = ClosedResidual()
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    with watch(model, optimizer) as watching:
        return fit(watching, model, optimizer, vectors(variant.seed), range(_STEPS))


def resumed(watch: Watch, variant: Variant) -> list[float]:
    """A training that is resumed, of an embedding half of whose words hardly occur."""
    batches = words(variant.seed, rare=True)
    model = Reader()
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    first = []
    for step in range(variant.at):
        inputs, targets = batches(step)
        optimizer.zero_grad()
        loss = each_word(model(inputs), targets)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        first.append(loss.item())
    weights, state = model.state_dict(), optimizer.state_dict()
    model = Reader()
    model.load_state_dict(weights)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    optimizer.load_state_dict(state)
    steps = range(variant.at, _STEPS)
    with watch(model, optimizer, start=variant.at) as watching:
        return first + fit(watching, model, optimizer, batches, steps, loss=each_word)
