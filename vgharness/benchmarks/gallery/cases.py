"""What a case of the gallery is, and the batches and losses that cases share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from vgharness.gradflow import measurement
from vgharness.gradflow.sample import FlowSample
from vgharness.gradflow.symptoms import ProblemKind

SEEDS = (42, 43, 44, 45, 46)
Loss = Callable[[nn.Module, Any], Tensor]
Labelled = tuple[Tensor, Tensor]  # inputs and targets


@dataclass(frozen=True)
class Case:
    """A network, its data, and what is to be found in its gradients.

    name: unique in the gallery.
    make: makes the network with weights drawn from torch's global generator.
    batch: makes the batch of a seed.
    loss: of the network on a batch.
    problem: what its gradients have; ``None`` for a healthy network.
    layers: each a right answer to where the problem starts; none for a healthy network.
    """

    name: str
    make: Callable[[], nn.Module]
    batch: Callable[[int], Any]
    loss: Loss
    problem: ProblemKind | None = None
    layers: frozenset[str] = frozenset()


def measure(case: Case, seeds: Sequence[int] = SEEDS) -> FlowSample:
    """Measures a case as a user's model is measured, a model for each of ``seeds``."""
    return measurement.measure(
        case.make,
        lambda seed: (case.batch(seed), None),
        lambda model, inputs: case.loss(model, inputs),
        seeds=seeds,
        saturation=True,
    )


# --- batches -------------------------------------------------------------------------------------------


def images(seed: int, count: int = 8, size: int = 32) -> Labelled:
    """[count, 3, size, size] random numbers, of ten classes."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 3, size, size, generator=generator), torch.randint(10, (count,), generator=generator)


def vectors(seed: int, scale: float = 1.0) -> Labelled:
    """[32, 20] random numbers of standard deviation ``scale``, of ten classes."""
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(32, 20, generator=generator), torch.randint(10, (32,), generator=generator)


def float16_vectors(seed: int) -> Labelled:
    """:func:`vectors` in float16."""
    inputs, targets = vectors(seed)
    return inputs.half(), targets


def vectors_and_zeros(seed: int) -> Labelled:
    """:func:`vectors` of which the second half are zero, as padding is."""
    inputs, targets = vectors(seed)
    return torch.cat([inputs[:16], torch.zeros(16, 20)]), targets


def sequences(seed: int) -> Labelled:
    """[16, 60, 8] random numbers: sequences of 60 steps, of ten classes."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(16, 60, 8, generator=generator), torch.randint(10, (16,), generator=generator)


def words(seed: int) -> Labelled:
    """[8, 12] words of 50, and as many to be said of them."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(50, (8, 12), generator=generator), torch.randint(50, (8, 12), generator=generator)


# --- losses --------------------------------------------------------------------------------------------


def classification(model: nn.Module, batch: Labelled) -> Tensor:
    """Cross-entropy, in float32."""
    inputs, targets = batch
    return functional.cross_entropy(model(inputs).float(), targets)


def weighted(model: nn.Module, batch: Labelled, weight: float) -> Tensor:
    """:func:`classification` times ``weight``."""
    return weight * classification(model, batch)


def unsafe_log_likelihood(model: nn.Module, batch: Labelled) -> Tensor:
    """The logarithm of a softmax that underflows, without an epsilon in it."""
    inputs, targets = batch
    chosen = functional.one_hot(targets, 10)
    logits: Tensor = model(100 * inputs)
    return -(chosen * logits.softmax(1).log()).sum(1).mean()


def each_word(model: nn.Module, batch: Labelled) -> Tensor:
    """Cross-entropy at every word."""
    inputs, targets = batch
    return functional.cross_entropy(model(inputs).flatten(0, 1), targets.flatten())


def first_word(model: nn.Module, batch: Labelled) -> Tensor:
    """Cross-entropy of one answer per text: the first word of its targets."""
    inputs, targets = batch
    return functional.cross_entropy(model(inputs), targets[:, 0])


def reconstruction(model: nn.Module, batch: Labelled) -> Tensor:
    """Mean squared error of the output against the input."""
    return functional.mse_loss(model(batch[0]), batch[0])


def real_or_fake(model: nn.Module, batch: Labelled) -> Tensor:
    """A discriminator's loss, the second half of the batch being fakes."""
    real = torch.arange(len(batch[0])) < len(batch[0]) // 2
    return functional.binary_cross_entropy_with_logits(model(batch[0])[:, 0], real.float())


def same_class(model: nn.Module, batch: Labelled) -> Tensor:
    """Whether two inputs are of one class, from the product of what the network makes of each."""
    inputs, targets = batch
    one, other = model(inputs), model(inputs.flip(0))
    return functional.binary_cross_entropy_with_logits((one * other).sum(1), (targets == targets.flip(0)).float())
