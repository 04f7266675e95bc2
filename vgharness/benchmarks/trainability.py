"""Is what the diagnosis calls a problem what keeps a network from training?

Random networks are judged at initialisation and then really trained, with Adam and with SGD. How well the judgement,
and each of a few scores, foretells what came of the training says what the diagnosis is worth, and where its limits
belong.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from statistics import geometric_mean
from typing import Final, Literal, get_args

import torch
from torch import nn

from vgharness.benchmarks.grades import Grade, grade_of
from vgharness.benchmarks.isolated import isolated_processes
from vgharness.benchmarks.random_networks import (
    CLASSES,
    Examples,
    RandomNetwork,
    build_network,
    draw_examples,
    draw_networks,
)
from vgharness.benchmarks.ranking import Cut, cut_at, ranking_auc
from vgharness.gradflow.diagnosis import summary
from vgharness.gradflow.measurement import measure
from vgharness.gradflow.randomness import random_state_kept
from vgharness.records import GradientFlow, Machine, Record

Score = Literal["path ratio", "output spread", "worse of both"]
Optimizers = Literal["SGD", "Adam", "either"]  # what a network is trained with
SCORES: Final[tuple[Score, ...]] = get_args(Score)
OPTIMIZERS: Final[tuple[Optimizers, ...]] = get_args(Optimizers)

STEPS: Final = 150
BATCH_SIZE: Final = 64
TRAINED_LOSS: Final = math.log(CLASSES) / 2  # log(CLASSES): of a network that knows nothing
_AVERAGED: Final = 10  # steps over which the loss is averaged
_SEEDS: Final = 3  # initialisations that are judged; the first is trained
_ADAM_RATE: Final = 1e-3
_SGD_RATES: Final = (0.1, 0.01)
_MOMENTUM: Final = 0.9


class Trial(Record):
    """One random network: what was said of it, and what came of training it.

    network: what it is made of.
    grade: of the diagnosis of three of its initialisations.
    diagnosis: in one line.
    path_ratio: ‖∂L/∂h‖₂ at its first layer ÷ at its last, the geometric mean over the initialisations; None where it
        is zero or not finite.
    output_spread: the standard deviation of the logits over the batch ÷ their root mean square, geometric mean over
        the initialisations; None where it is zero or not finite.
    adam_steps: with Adam, steps until it trained; None where it did not.
    sgd_steps: with SGD with momentum, at the better of two learning rates, steps until it trained; None where it did
        with neither.
    """

    network: RandomNetwork
    grade: Grade
    diagnosis: str
    path_ratio: float | None
    output_spread: float | None
    adam_steps: int | None
    sgd_steps: int | None

    def trains(self, optimizers: Optimizers) -> bool:
        """Whether it trained with one of ``optimizers``."""
        adam, sgd = self.adam_steps is not None, self.sgd_steps is not None
        return {"SGD": sgd, "Adam": adam, "either": adam or sgd}[optimizers]

    def score(self, score: Score) -> float:
        """How far it is from what trains well, in decades from 1; infinite for a value that is None."""
        ratio, spread = _decades(self.path_ratio), _decades(self.output_spread)
        return {
            "path ratio": ratio,
            "output spread": spread,
            "worse of both": max(ratio, spread),
        }[score]


class Separation(Record):
    """How well one score tells networks that do not train from those that do.

    score: which; larger is worse.
    optimizers: what the networks were trained with.
    auc: the probability that of a network that trains and one that does not the latter has the larger score, ties
        counted as half: 1 separates, 0.5 knows nothing; None where all train, or none.
    cut: the least cut above which at most 5 % of those that train lie, chosen on these very networks; None as before.
    sensitivity: the share of those that do not train that lies above the cut.
    specificity: the share of those that train that does not.
    """

    score: Score
    optimizers: Optimizers
    auc: float | None
    cut: float | None
    sensitivity: float | None
    specificity: float | None


class Trainability(Record):
    """What ``bench trainability --json`` writes.

    machine: where it was measured.
    seed: from which the networks were drawn.
    steps: for how many each was trained.
    trained_loss: under which the mean loss of ten successive steps has to be for a network to count as trained.
    trials: one for each network.
    separations: one for each score and each choice of optimizers.
    """

    machine: Machine
    seed: int
    steps: int
    trained_loss: float
    trials: tuple[Trial, ...]
    separations: tuple[Separation, ...]


def as_trainability(trials: Sequence[Trial], seed: int, machine: Machine) -> Trainability:
    """Gathers ``trials`` of networks drawn from ``seed``, tried on ``machine``."""
    return Trainability(
        machine=machine,
        seed=seed,
        steps=STEPS,
        trained_loss=TRAINED_LOSS,
        trials=tuple(trials),
        separations=separate(trials),
    )


def try_networks(count: int, seed: int) -> Iterator[Trial]:
    """Judges and trains ``count`` random networks drawn from ``seed``, in a process for each core; gives each network
    in its turn."""
    networks = draw_networks(count, seed)
    with isolated_processes(min(os.cpu_count() or 1, count), configured=True) as processes:
        yield from processes.map(try_network, networks)


def try_network(network: RandomNetwork) -> Trial:
    """Judges one network and trains it three times, on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # such small networks gain nothing from more
    try:
        with random_state_kept():
            return _judged_and_trained(network, draw_examples(network, STEPS * BATCH_SIZE))
    finally:
        torch.set_num_threads(threads)


def separate(trials: Sequence[Trial]) -> tuple[Separation, ...]:
    """Measures how well each score separates ``trials``, for each choice of optimizers."""
    return tuple(_separation(trials, score, optimizers) for score in SCORES for optimizers in OPTIMIZERS)


def confusion(trials: Sequence[Trial], optimizers: Optimizers) -> dict[Grade, tuple[int, int]]:
    """Counts by grade the networks that train with one of ``optimizers``, and those that do not."""
    counts: dict[Grade, tuple[int, int]] = {}
    for trial in trials:
        trained, failed = counts.get(trial.grade, (0, 0))
        does = trial.trains(optimizers)
        counts[trial.grade] = (trained + does, failed + (not does))
    return counts


def _separation(trials: Sequence[Trial], score: Score, optimizers: Optimizers) -> Separation:
    good = [trial.score(score) for trial in trials if trial.trains(optimizers)]
    bad = [trial.score(score) for trial in trials if not trial.trains(optimizers)]
    known = bool(good and bad)
    cut: Cut | None = cut_at(good, bad, specificity=0.95) if known else None
    return Separation(
        score=score,
        optimizers=optimizers,
        auc=ranking_auc(good, bad) if known else None,
        cut=cut.value if cut else None,
        sensitivity=cut.sensitivity if cut else None,
        specificity=cut.specificity if cut else None,
    )


def _decades(value: float | None) -> float:
    return math.inf if value is None else abs(math.log10(value))


def _judged_and_trained(network: RandomNetwork, examples: Examples) -> Trial:
    batch = Examples(examples.inputs[:BATCH_SIZE], examples.classes[:BATCH_SIZE])
    seeds = range(network.seed, network.seed + _SEEDS)
    sample = measure(
        partial(build_network, network),
        (batch.inputs, batch.classes),
        nn.functional.cross_entropy,
        seeds=seeds,
        saturation=True,
    )
    flows, found = sample.flows, sample.diagnosis
    with_sgd = [
        steps
        for rate in _SGD_RATES
        if (steps := train(network, examples, partial(torch.optim.SGD, lr=rate, momentum=_MOMENTUM))) is not None
    ]
    return Trial(
        network=network,
        grade=grade_of(found),
        diagnosis=summary(found),
        path_ratio=_mean([_path_ratio(flow) for flow in flows]),
        output_spread=_mean([math.nan if x.output_spread is None else x.output_spread for x in flows]),
        adam_steps=train(network, examples, partial(torch.optim.Adam, lr=_ADAM_RATE)),
        sgd_steps=min(with_sgd, default=None),
    )


def _path_ratio(flow: GradientFlow) -> float:
    """Of the first layer to the last that ran; NaN where one of them has no finite signal."""
    rows = flow.last_passes()
    first, last = rows[0].signal_l2, rows[-1].signal_l2
    return math.nan if first is None or not last else first / last


def _mean(values: Sequence[float]) -> float | None:
    return geometric_mean(values) if all(0 < value < math.inf for value in values) else None


def train(
    network: RandomNetwork, examples: Examples, make_optimizer: Callable[..., torch.optim.Optimizer]
) -> int | None:
    """Trains a new model of ``network`` for at most :data:`STEPS` steps.

    examples: in the order in which they are seen, :data:`BATCH_SIZE` a step and each once: what is seen again can be
        learned by heart, as a recurrent network does with the noise of its last steps.
    make_optimizer: called with the model's parameters.

    Returns the number of steps after which the mean loss of ten successive ones was under :data:`TRAINED_LOSS`; None
    where it never was, or the loss was not finite.
    """
    torch.manual_seed(network.seed)
    model = build_network(network)
    optimizer = make_optimizer(model.parameters())
    losses: list[float] = []
    batches = zip(*(torch.split(column, BATCH_SIZE) for column in examples), strict=True)
    for step, (inputs, classes) in enumerate(batches, start=1):
        loss = nn.functional.cross_entropy(model(inputs), classes)
        losses.append(loss.item())
        if not math.isfinite(losses[-1]):
            return None
        if step >= _AVERAGED and math.fsum(losses[-_AVERAGED:]) / _AVERAGED < TRAINED_LOSS:
            return step
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return None
