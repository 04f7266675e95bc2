"""What a training of the collection is, what is to be said of it, and the batches and the loop that trainings share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Literal, Protocol, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from vgharness.records import TrainingProblemKind

EVERY: Final = 10  # steps from one snapshot to the next, for which the labels are made
ANYWHERE: Final = frozenset({"*"})  # whatever layer is named, or none
CLASSES: Final = 4
FEATURES: Final = 20

Severity = Literal["problem", "warning"]
Labelled = tuple[Tensor, Tensor]  # inputs and targets
Batches = Callable[[int], Labelled]  # of a step


class Watching(Protocol):
    """What a training needs of a watch."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None: ...

    def step(self, loss: Any = None) -> object: ...


class Watch(Protocol):
    """``vgharness.watch``, some of whose options are fixed, or what takes its place."""

    def __call__(self, model: Any, optimizer: Any = None, **options: Any) -> Watching: ...


@dataclass(frozen=True)
class Variant:
    """What differs between two trainings of one kind.

    seed: of weights and batches.
    at: the step at which it goes wrong, or at which what is unusual but healthy happens.
    place: in which layer, counted from the input.
    """

    seed: int = 1
    at: int = 60
    place: int = 1


@dataclass(frozen=True)
class Label:
    """What is to be said first of a training that goes wrong, with a snapshot at each :data:`EVERY` steps.

    answers: each kind of problem that is right, with the layers that are right for it.
    first: the step at which it goes wrong.
    last: the step by which it is to be said.
    severities: which count as an answer. Before the answer, nothing of severity ``problem`` may be said.
    model: the name of the model, of several.
    stage: where the first non-finite value is born.
    """

    answers: Mapping[TrainingProblemKind, frozenset[str]]
    first: int
    last: int
    severities: frozenset[Severity] = frozenset({"problem"})
    model: str = ""
    stage: Literal["forward", "backward"] | None = None


def snapshot_after(step: int) -> int:
    """The first step from ``step`` on of which a snapshot is taken: from there on counts the time to say what is seen
    in snapshots only."""
    return -(-step // EVERY) * EVERY


Train = Callable[[Watch, Variant], list[float]]


@dataclass(frozen=True)
class Training:
    """A small training.

    name: unique in the collection.
    train: trains it, watched, and returns the loss of each step.
    label: makes the label of a variant; ``None`` for a healthy training.
    variant: the one that the collection holds.
    """

    name: str
    train: Train
    label: Callable[[Variant], Label] | None = None
    variant: Variant = field(default_factory=Variant)

    @property
    def expected(self) -> Label | None:
        """What is to be said of it; ``None`` where it is healthy."""
        return None if self.label is None else self.label(self.variant)

    def run(self, watch: Watch) -> list[float]:
        """Trains, watched, from the same weights and on the same batches each time; returns the loss of each step.

        Torch's global generator is put back afterwards.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.variant.seed)
            return self.train(watch, self.variant)


BOTH: Final[frozenset[Severity]] = frozenset({"problem", "warning"})


# --- batches -------------------------------------------------------------------------------------------


def vectors(seed: int, count: int = 64) -> Batches:
    """A task that can be learned: classes of [count, 20] random vectors that a fixed random network tells apart."""
    teacher = _generator(seed, -1)
    hidden = torch.randn(FEATURES, 16, generator=teacher)
    out = torch.randn(16, CLASSES, generator=teacher)

    def batch(step: int) -> Labelled:
        inputs = torch.randn(count, FEATURES, generator=_generator(seed, step))
        return inputs, ((inputs @ hidden).tanh() @ out).argmax(1)

    return batch


def images(seed: int, count: int = 32) -> Batches:
    """[count, 1, 8, 8] noise with a bright bar, whose direction and half are the class."""

    def batch(step: int) -> Labelled:
        generator = _generator(seed, step)
        targets = torch.randint(CLASSES, (count,), generator=generator)
        inputs = torch.randn(count, 1, 8, 8, generator=generator)
        for image, target in zip(inputs[:, 0], targets.tolist(), strict=True):
            row = 4 * (target % 2) + 2
            (image if target < 2 else image.T)[row] += 1.5
        return inputs, targets

    return batch


def words(seed: int, count: int = 32, length: int = 8, vocabulary: int = 40, *, rare: bool = False) -> Batches:
    """[count, length] words, each to be answered by the word before it; ``rare``: half of the words hardly occur."""

    def batch(step: int) -> Labelled:
        generator = _generator(seed, step)
        weights = torch.ones(vocabulary)
        if rare:
            weights[vocabulary // 2 :] = 1e-3
        inputs = torch.multinomial(weights, count * length, replacement=True, generator=generator)
        inputs = inputs.view(count, length)
        return inputs, inputs.roll(1, 1)

    return batch


def _generator(seed: int, step: int) -> torch.Generator:
    return torch.Generator().manual_seed(1_000_003 * seed + step + 1)


# --- losses and the loop -------------------------------------------------------------------------------

Loss = Callable[[Tensor, Tensor], Tensor]


def each_word(output: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy at every word."""
    return functional.cross_entropy(output.flatten(0, 1).float(), targets.flatten())


def fit(
    watch: Watching,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Batches,
    steps: Iterable[int],
    *,
    loss: Loss = functional.cross_entropy,
    before: Callable[[int], object] = lambda step: None,
    clip: float | None = None,
) -> list[float]:
    """The loop that anybody writes. ``before`` is called at each step, before its forward pass."""
    losses = []
    for step in steps:
        before(step)
        inputs, targets = batches(step)
        value = loss(model(inputs), targets)
        optimizer.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]
        if clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        watch.step(value)
        losses.append(value.item())
    return losses
