"""An epoch of training written with nothing but PyTorch: what the package's own must equal."""

import hashlib
from typing import NamedTuple

import torch
from small_cells import TEST, TRAIN
from torch import Tensor, nn

from vgharness.data.synthetic import synthetic_images
from vgharness.models import DeepCNN
from vgharness.records import Cell


def generator(seed: int, purpose: str) -> torch.Generator:
    """A stream of the cell: its published results depend on this definition."""
    number = int.from_bytes(hashlib.sha256(f"{seed} {purpose}".encode()).digest()[:8], "big") // 2
    return torch.Generator().manual_seed(number)


def standardise(pixels: Tensor) -> Tensor:
    mean = torch.tensor([0.4914, 0.4822, 0.4465]).view(3, 1, 1)
    std = torch.tensor([0.2470, 0.2435, 0.2616]).view(3, 1, 1)
    return (pixels / 255 - mean) / std


def crop(image: Tensor, top: int, left: int, flip: bool) -> Tensor:
    black = torch.zeros(3, 40, 40, dtype=torch.uint8)
    black[:, 4:36, 4:36] = image.flip(2) if flip else image
    return black[:, top : top + 32, left : left + 32]


class Plain(NamedTuple):
    """One epoch, written without the package's probe, augmentation, normalisation and evaluation."""

    steps: list[dict[tuple[str, str], float]]
    losses: list[float]
    correct: int
    model: nn.Module


def initial_model(cell: Cell) -> DeepCNN:
    with torch.random.fork_rng():
        torch.set_rng_state(generator(cell.seed, "weights").get_state())
        return DeepCNN(cell.activation, cell.depth, cell.architecture, cell.norm)


def plain_epoch(cell: Cell) -> Plain:
    data, model = synthetic_images(TRAIN, TEST), initial_model(cell)
    optimizer = torch.optim.Adam(model.parameters(), lr=cell.learning_rate)
    order = torch.randperm(TRAIN, generator=generator(cell.seed, "order"))
    random = generator(cell.seed, "augmentation")
    offsets = torch.randint(9, (TRAIN, 2), generator=random).tolist()
    flips = (torch.rand(TRAIN, generator=random) < 0.5).tolist()

    steps, losses, correct = [], [], 0
    for batch in (range(128), range(128, TRAIN)):
        pixels = [crop(data.train_images[order[i]], *offsets[i], flips[i]) for i in batch]
        targets = data.train_labels[order[list(batch)]]
        x, signals = standardise(torch.stack(pixels)), {}
        for name, module in model.named_children():
            x = module(x)
            if name.startswith(("conv", "fc")):
                x.retain_grad()
                signals[name] = x
        loss = -x.log_softmax(1)[range(len(targets)), targets].mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        row = {}
        for name, signal in signals.items():
            weight = model.get_submodule(name).get_parameter("weight").grad
            assert weight is not None
            assert signal.grad is not None
            row[name, "weight_mean_abs"] = weight.abs().mean().item()
            row[name, "weight_l2"] = weight.double().norm().item()
            row[name, "signal_l2"] = signal.grad.double().norm().item()
            row[name, "signal_rms"] = signal.grad.double().square().mean().sqrt().item()
        steps.append(row)
        losses.append(loss.item())
        correct += int((x.argmax(1) == targets).sum())
        optimizer.step()
    return Plain(steps, losses, correct, model)
