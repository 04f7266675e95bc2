"""Tries remedies on fresh models: what becomes of the problem, and of the loss in the first training steps.

A model is made anew, with its seed, for each trial and never handed out, so that one copy is in memory at a time.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple

import torch
from torch import Tensor, nn

from vgharness.check.remedies import (
    CLIPPED_TO,
    UNCHANGED,
    Remedy,
    find_structure,
    scaled_inputs,
    suitable_remedies,
)
from vgharness.formatting import in_one_line
from vgharness.gradflow.arguments import loss_value
from vgharness.gradflow.diagnosis import Diagnosis
from vgharness.gradflow.measurement import InputsAndTargets, Loss, measure
from vgharness.gradflow.randomness import random_state_kept, seed_everything
from vgharness.records import FIRST_SEED, GradientFlow
from vgharness.statistics import summarise

OptimizerName = Literal["Adam 1e-3", "SGD 0.01"]
OPTIMIZERS: Final[tuple[OptimizerName, ...]] = ("Adam 1e-3", "SGD 0.01")
STEPS: Final = 20
MOST_SEEDS: Final = 3
MOST_COMBINATIONS: Final = 2
_WORTH_NAMING: Final = 0.01

Factory = Callable[[], nn.Module]
DrawBatch = Callable[[int], InputsAndTargets]


class Descent(NamedTuple):
    """The loss of each seed's model before and after training steps on its batch, with one optimizer.

    before, after: one value per seed; NaN or infinity as it came.
    failure: what a step raised; empty: nothing, and else there are no values.
    """

    before: tuple[float, ...] = ()
    after: tuple[float, ...] = ()
    failure: str = ""

    @property
    def start(self) -> float:
        """The mean loss before the steps, geometric where it is positive; NaN where it is not finite."""
        return summarise(self.before, "log").value if self.before else math.nan

    @property
    def end(self) -> float:
        """The mean loss after the steps, as :attr:`start`."""
        return summarise(self.after, "log").value if self.after else math.nan

    @property
    def change(self) -> float:
        """The relative change of the loss, -0.3 for 30 % less: of the geometric mean of the seeds' ratios. NaN where
        a loss is not finite, or not positive and so without a ratio."""
        if not self.before or min(self.before) <= 0:
            return math.nan
        ratios = [last / first for first, last in zip(self.before, self.after, strict=True)]
        return summarise(ratios, "log").value - 1


class Trial(NamedTuple):
    """What became of a model with one remedy.

    remedy: which.
    diagnosis: of its gradients at initialisation; None: the trial failed.
    spread: decades between the greatest and the least error signal, in the mean over seeds; infinite with a zero.
    descents: by optimizer.
    failure: what it raised; empty: nothing.
    """

    remedy: Remedy
    diagnosis: Diagnosis | None = None
    spread: float = math.inf
    descents: Mapping[OptimizerName, Descent] = MappingProxyType({})
    failure: str = ""

    @property
    def healthy(self) -> bool:
        """Whether neither a problem nor a warning is left."""
        return self.diagnosis is not None and not self.diagnosis.problems

    @property
    def end(self) -> float:
        """The least of the optimizers' mean losses after the steps; infinite where none is finite."""
        return min((x.end for x in self.descents.values() if math.isfinite(x.end)), default=math.inf)

    @property
    def rank(self) -> tuple[bool, bool, int, float]:
        """Smaller is better: the problem gone, then the fewest problems, then the loss after the steps."""
        problems = len(self.diagnosis.problems) if self.diagnosis else 0
        return bool(self.failure), not self.healthy, problems, self.end

    @property
    def start(self) -> float:
        """The mean loss before the steps; NaN where it is not finite."""
        return next((x.start for x in self.descents.values() if x.before), math.nan)

    def better_than(self, other: Trial) -> bool:
        """Whether its problem is gone where ``other`` has one; of two with one or without, whether its loss after the
        steps is less, by 1 % of the other's loss before them at least."""
        if self.failure or self.healthy != other.healthy:
            return self.healthy and not self.failure
        if not math.isfinite(other.end):
            return math.isfinite(self.end)
        return other.end - self.end > _WORTH_NAMING * abs(other.start)


def try_remedies(
    factory: Factory,
    batch: DrawBatch,
    loss: Loss,
    *,
    seeds: int = MOST_SEEDS,
    notify: Callable[[str], None] = lambda name: None,
) -> tuple[Trial, ...]:
    """Tries what may help a model: each remedy that suits it alone, and where none of them ends the problem also the
    best two pairs.

    factory: makes a new model on each call; torch is seeded before.
    batch: a callable from a seed to inputs and targets.
    loss: called with the model's output and the targets; gives one number.
    seeds: how many models each is tried on, at most ``MOST_SEEDS``.
    notify: called with the name of each remedy before it is tried.

    Returns a trial of the unchanged model, then those of the remedies, the best first; none where missing gradients are
    all there is. All layers are judged. The random state is put back afterwards, and no model of the user's is changed.
    Raises :class:`~vgharness.errors.UsageError` as :func:`~vgharness.gradflow.measurement.measure`.
    """
    numbers = range(FIRST_SEED, FIRST_SEED + min(seeds, MOST_SEEDS))
    with random_state_kept():
        make = _own_copies(factory)
        bench = _Bench(make, batch, loss, numbers, notify)
        unchanged, flows = bench.unchanged()
        if mended_in_forward(unchanged):
            return (unchanged,)
        seed_everything(numbers[0])
        model = make()
        remedies = suitable_remedies(model, find_structure(model, batch(numbers[0])[0]), flows)
        del model
        found = [bench.trial(remedy, unchanged) for remedy in remedies]
        if not any(trial.healthy for trial in (unchanged, *found)):
            found += bench.best_pairs([trial.remedy for trial in found if not trial.failure], unchanged)
    return unchanged, *sorted(found, key=lambda trial: trial.rank)


def mended_in_forward(trial: Trial) -> bool:
    """Whether there are problems, all of them missing gradients, which no remedy here can end."""
    kinds = {problem.kind for problem in trial.diagnosis.problems} if trial.diagnosis else set()
    return kinds == {"missing"}


def best(trials: Sequence[Trial], most: int = 2) -> list[Trial]:
    """The first ``most`` remedies that do better than the unchanged model, of what :func:`try_remedies` gives; where
    some end its problem, only those."""
    unchanged, *others = trials
    better = [trial for trial in others if trial.better_than(unchanged)]
    return [trial for trial in better if trial.healthy == better[0].healthy][:most]


def _own_copies(factory: Factory) -> Factory:
    """``factory`` itself, or where its models have a part in common copies of what it makes."""
    models = [factory(), factory()]
    first, second = ({id(x) for x in _parts(model)} for model in models)
    del models
    return (lambda: copy.deepcopy(factory())) if first & second else factory


def _parts(model: nn.Module) -> Iterator[object]:
    yield from model.modules()
    yield from model.parameters()
    yield from model.buffers()


class _Bench:
    """Tries remedies on the models, batches and loss that were given."""

    def __init__(
        self, make: Factory, batch: DrawBatch, loss: Loss, seeds: Sequence[int], notify: Callable[[str], None]
    ) -> None:
        self._make, self._batch, self._loss, self._seeds, self._notify = make, batch, loss, seeds, notify

    def unchanged(self) -> tuple[Trial, tuple[GradientFlow, ...]]:
        self._notify(UNCHANGED.name)
        diagnosis, flows = self._measure(UNCHANGED)
        return Trial(UNCHANGED, diagnosis, _spread(flows), self._descents(UNCHANGED)), flows

    def trial(self, remedy: Remedy, unchanged: Trial) -> Trial:
        self._notify(remedy.name)
        try:
            if remedy.of_the_step:
                return unchanged._replace(remedy=remedy, descents=self._descents(remedy))
            diagnosis, flows = self._measure(remedy)
            return Trial(remedy, diagnosis, _spread(flows), self._descents(remedy))
        except Exception as error:  # whatever a stranger's model raises when it is changed
            return Trial(remedy, failure=in_one_line(error, longest=80))

    def best_pairs(self, remedies: Sequence[Remedy], unchanged: Trial) -> list[Trial]:
        """The pairs of remedies of different kinds whose gradients look best are tried in full."""
        found: list[tuple[bool, int, float, Remedy]] = []
        for one, other in combinations([x for x in remedies if not x.of_the_step], 2):
            if one.kinds == other.kinds:
                continue
            remedy = one.with_other(other)
            self._notify(remedy.name)
            try:
                diagnosis, flows = self._measure(remedy)
            except Exception:  # two changes that do not go together
                continue
            found.append((bool(diagnosis.problems), len(diagnosis.problems), _spread(flows), remedy))
        found.sort(key=lambda pair: pair[:3])
        return [self.trial(remedy, unchanged) for *_, remedy in found[:MOST_COMBINATIONS]]

    def _measure(self, remedy: Remedy) -> tuple[Diagnosis, tuple[GradientFlow, ...]]:
        sample = measure(
            lambda: remedy.apply(self._make()),
            lambda seed: self._draw(remedy, seed),
            self._loss,
            seeds=self._seeds,
            saturation=True,
        )
        return sample.diagnosis, sample.flows

    def _draw(self, remedy: Remedy, seed: int) -> InputsAndTargets:
        inputs, targets = self._batch(seed)
        return scaled_inputs(inputs) if remedy.scales_inputs else inputs, targets

    def _descents(self, remedy: Remedy) -> dict[OptimizerName, Descent]:
        return {name: self._descent(remedy, name) for name in OPTIMIZERS}

    def _descent(self, remedy: Remedy, optimizer: OptimizerName) -> Descent:
        try:
            losses = [self._losses(remedy, optimizer, seed) for seed in self._seeds]
        except Exception as error:  # an optimizer may refuse a gradient, such as a sparse one
            return Descent(failure=in_one_line(error, longest=80))
        return Descent(tuple(before for before, _ in losses), tuple(after for _, after in losses))

    def _losses(self, remedy: Remedy, optimizer: OptimizerName, seed: int) -> tuple[float, float]:
        """Before and after the steps."""
        seed_everything(seed)
        model = remedy.apply(self._make())
        inputs, targets = self._draw(remedy, seed)
        parameters = [p for p in model.parameters() if p.requires_grad]
        stepping: torch.optim.Optimizer
        if optimizer == "SGD 0.01":
            stepping = torch.optim.SGD(parameters, lr=0.01)
        else:
            stepping = torch.optim.Adam(parameters, lr=1e-3, eps=remedy.epsilon)

        def value() -> Tensor:
            return loss_value(self._loss, model, inputs, targets)

        first: Any = None
        for _ in range(STEPS):
            stepping.zero_grad()
            found = value()
            first = found.detach() if first is None else first
            found.backward()  # type: ignore[no-untyped-call]
            if remedy.clips:
                nn.utils.clip_grad_norm_(parameters, CLIPPED_TO)
            stepping.step()
        return float(first), float(value().detach())


def _spread(flows: Sequence[GradientFlow]) -> float:
    spreads = []
    for flow in flows:
        signals = [layer.signal_l2 or 0.0 for layer in flow.layers if layer.state != "frozen"]
        if not signals or min(signals) <= 0:
            return math.inf
        spreads.append(math.log10(max(signals) / min(signals)))
    return sum(spreads) / len(spreads)
