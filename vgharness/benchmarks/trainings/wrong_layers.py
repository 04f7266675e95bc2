"""Trainings in which a layer goes wrong: it dies, vanishes, stops, is cut off, or is forgotten by the optimizer."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from vgharness.benchmarks.trainings.cases import (
    ANYWHERE,
    BOTH,
    EVERY,
    Label,
    Variant,
    Watch,
    each_word,
    fit,
    snapshot_after,
    vectors,
    words,
)
from vgharness.benchmarks.trainings.networks import (
    WIDTH,
    Reader,
    TwoBranches,
    discriminator_network,
    generator_network,
    mlp,
)

_AFTER = 50  # steps that a training goes on for
_CENTRE = (1.5, -1.0)


def _own_group(model: nn.Module, layer: str, **options: float) -> list[dict[str, object]]:
    """Groups of parameters: those of ``layer`` are the first, with ``options``."""
    chosen = list(model.get_submodule(layer).parameters())
    others = [p for p in model.parameters() if not any(p is c for c in chosen)]
    return [{"params": chosen, **options}, {"params": others}]


def dies(watch: Watch, variant: Variant) -> list[float]:
    """A far too strong penalty on one layer's activations is switched on: a huge step, and its units are dead."""
    model = mlp(4, nn.ReLU)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    hidden: list[Tensor] = [torch.zeros(1)]
    weight = [0.0]

    def keep(module: nn.Module, inputs: object, output: Tensor) -> None:
        hidden[0] = output

    def before(step: int) -> None:
        weight[0] = 0.0 if step < variant.at else 300.0

    def loss(output: Tensor, targets: Tensor) -> Tensor:
        return functional.cross_entropy(output, targets) + weight[0] * hidden[0].mean(0).sum()

    model.get_submodule(f"act{variant.place}").register_forward_hook(keep)
    with watch(model, optimizer) as watching:
        steps = range(variant.at + _AFTER)
        return fit(watching, model, optimizer, vectors(variant.seed), steps, loss=loss, before=before)


def dies_label(variant: Variant) -> Label:
    layer = frozenset({f"fc{variant.place}"})
    moved = frozenset(f"fc{i}" for i in range(variant.place + 1))  # by the one huge step
    return Label(
        {"dead": layer, "stopped": layer, "update too large": moved, "spike": ANYWHERE},
        variant.at,
        snapshot_after(variant.at) + 30,
    )


def forgotten(watch: Watch, variant: Variant) -> list[float]:
    """A layer takes another's place after the optimizer was made."""
    model = mlp(3, nn.ReLU)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    model.set_submodule(f"fc{variant.place}", nn.Linear(WIDTH, WIDTH))
    with watch(model, optimizer) as watching:
        return fit(watching, model, optimizer, vectors(variant.seed), range(_AFTER))


def forgotten_label(variant: Variant) -> Label:
    name = f"fc{variant.place}"
    return Label({"not optimized": frozenset({name, f"{name}.weight", f"{name}.bias"})}, 0, EVERY)


def detached(watch: Watch, variant: Variant) -> list[float]:
    """From a step on one of two branches gets no gradient."""
    model = TwoBranches()
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    branch = "left" if variant.place == 0 else "right"

    def before(step: int) -> None:
        if step == variant.at:
            model.detached.add(branch)

    with watch(model, optimizer) as watching:
        return fit(watching, model, optimizer, vectors(variant.seed), range(variant.at + _AFTER), before=before)


def detached_label(variant: Variant) -> Label:
    branch = "left" if variant.place == 0 else "right"
    layers = frozenset({branch, *(f"{branch}.{i}{end}" for i in (0, 2) for end in ("", ".weight", ".bias"))})
    return Label({"missing": layers, "stopped": layers}, variant.at, snapshot_after(variant.at) + 2 * EVERY)


def saturates(watch: Watch, variant: Variant) -> list[float]:
    """The learning rate of one sigmoid layer's bias is far too high from a step on: its units saturate, and what lies
    before it gets no signal."""
    model = mlp(3, nn.Sigmoid)
    for i in range(3):
        nn.init.xavier_normal_(model.get_submodule(f"fc{i}").weight, 4.0)  # type: ignore[arg-type]
    bias = model.get_parameter(f"fc{variant.place}.bias")
    others = [p for p in model.parameters() if p is not bias]
    optimizer = torch.optim.Adam([{"params": [bias]}, {"params": others}], 3e-3)

    def before(step: int) -> None:
        optimizer.param_groups[0]["lr"] = 3e-3 if step < variant.at else 30.0

    with watch(model, optimizer) as watching:
        return fit(watching, model, optimizer, vectors(variant.seed), range(variant.at + _AFTER), before=before)


def saturates_label(variant: Variant) -> Label:
    layer = f"fc{variant.place}"
    cut_off = frozenset(f"fc{i}" for i in range(variant.place + 1))
    return Label(
        {"vanishing": cut_off, "dead": cut_off, "stopped": cut_off, "update too large": frozenset({layer})},
        variant.at,
        snapshot_after(variant.at) + 30,
    )


def stops(watch: Watch, variant: Variant) -> list[float]:
    """The learning rate of the embedding alone is halved at each step, and not at each epoch."""
    model = Reader()
    optimizer = torch.optim.Adam(_own_group(model, "embed"), 1e-2)

    def before(step: int) -> None:
        optimizer.param_groups[0]["lr"] = 1e-2 * 0.5 ** max(step - variant.at, 0)

    with watch(model, optimizer) as watching:
        steps = range(variant.at + _AFTER)
        return fit(watching, model, optimizer, words(variant.seed), steps, loss=each_word, before=before)


def stops_label(variant: Variant) -> Label:
    layers = frozenset({"embed", "embed.weight"})
    return Label({"stopped": layers, "update too small": layers}, variant.at + 5, snapshot_after(variant.at) + 40, BOTH)


def _real_points(generator: torch.Generator, count: int = 64) -> Tensor:
    """[count, 2] points around one."""
    return torch.tensor(_CENTRE) + 0.3 * torch.randn(count, 2, generator=generator)


def adversarial(
    watch: Watch,
    variant: Variant,
    steps: int,
    *,
    saturating: bool,
    before: Callable[[int, torch.optim.Optimizer], float],
) -> list[float]:
    """Trains a GAN on points around one, shifted at each step by what ``before(step, its second optimizer)`` returns.

    saturating: the generator minimises log(1 − D), as in the first paper.

    Returns how far from that one the generator's points lie, at each step.
    """
    generator, discriminator = generator_network(), discriminator_network()
    first = torch.optim.Adam(generator.parameters(), 1e-3, betas=(0.5, 0.9))
    second = torch.optim.Adam(discriminator.parameters(), 2e-3, betas=(0.5, 0.9))
    random = torch.Generator().manual_seed(variant.seed)
    losses = []
    with watch({"generator": generator, "discriminator": discriminator}, [first, second]):
        for step in range(steps):
            shift = before(step, second)
            fake = generator(torch.randn(64, 4, generator=random))
            on_real, on_fake = discriminator(_real_points(random) + shift), discriminator(fake.detach())
            second.zero_grad()
            (functional.softplus(-on_real) + functional.softplus(on_fake)).mean().backward()  # type: ignore[no-untyped-call]
            second.step()
            judged = discriminator(fake)
            loss = -functional.softplus(judged).mean() if saturating else functional.softplus(-judged).mean()
            first.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            first.step()
            losses.append((fake.detach() - shift - torch.tensor(_CENTRE)).norm(dim=1).mean().item())
    return losses


def overpowered(watch: Watch, variant: Variant) -> list[float]:
    """From a step on the real points are not normalised any more, and the discriminator learns faster: it is certain,
    and the generator, which minimises log(1 − D), gets no gradient."""

    def before(step: int, optimizer: torch.optim.Optimizer) -> float:
        optimizer.param_groups[0]["lr"] = 2e-3 if step < variant.at else 2e-2
        return 0.0 if step < variant.at else 30.0

    return adversarial(watch, variant, variant.at + 60, saturating=True, before=before)


def overpowered_label(variant: Variant) -> Label:
    return Label(
        dict.fromkeys(("vanishing", "dead", "update too small", "stopped"), ANYWHERE),
        variant.at,
        snapshot_after(variant.at) + 50,
        model="generator",
    )
