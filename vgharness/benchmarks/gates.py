"""How often comparing with a baseline turns a build red: by chance where nothing has changed, and where something has.

Real models are measured once for a pool of seeds; each build draws its seeds from the pool, and compares as the pytest
plugin and ``vgharness compare`` do.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn

from vgharness.benchmarks.isolated import isolated_processes
from vgharness.gradflow.comparison import compare_samples
from vgharness.gradflow.limits import Limit, parse_limit
from vgharness.gradflow.measurement import measure
from vgharness.records import FIRST_SEED, GradientFlow, LayerGradient, Machine, Record, Sample

MOST_FALSE: Final = 0.05  # of builds in which nothing has changed
SEEDS: Final = (3, 5, 6, 10)
WIDTH: Final = 32
CLASSES: Final = 10
BATCH_SIZE: Final = 64
_POOL: Final = 240  # seeds; a build of six tests draws 120 of them
_QUANTITIES: Final = ("signal_l2", "weight_l2", "weight_mean_abs")

Flows = Mapping[int, GradientFlow]  # by seed


class Network(NamedTuple):
    """What a build guards.

    name: as it is shown.
    layers: linear layers of each model; from 20 on with LayerNorm between them, without which no signal comes through.
    tests: models, all of one kind, each with seeds of its own.
    """

    name: str
    layers: int
    tests: int = 1


NETWORKS: Final = (
    Network("50 layers", 50),
    Network("8 layers, six tests", 8, 6),
    Network("8 layers", 8),
)


class Case(NamedTuple):
    """What a build's second side is, beside its first.

    name: as it is shown.
    limits: sets of limits, each of which is tried.
    scale: by what the last layer's weights are multiplied, and with them, or nearly so, the error signals before it.
    redrawn: whether the models and batches are others, as of other seeds.
    relabelled: whether those stand under the same seeds, as where random numbers are drawn in another order.
    threads: whether they are measured with as many threads as there are cores, the first side with one.
    """

    name: str
    limits: tuple[tuple[str, ...], ...]
    scale: float = 1.0
    redrawn: bool = False
    relabelled: bool = False
    threads: bool = False


def _on_all(size: str) -> tuple[str, ...]:
    return tuple(f"{quantity}:{size}" for quantity in (*_QUANTITIES, "factor"))


_LIMITS: Final = (("signal_l2:20%",), _on_all("20%"), _on_all("1%"))
UNCHANGED: Final = (
    Case("other seeds", _LIMITS, redrawn=True),
    Case("random numbers in another order", _LIMITS, redrawn=True, relabelled=True),
    Case("another number of threads", (_on_all("1%"),), threads=True),
)
CHANGED: Final = tuple(
    Case(f"{100 * (scale - 1):.0f} %, {'other' if redrawn else 'the same'} seeds", (limit,), scale, redrawn)
    for scale, limit in ((0.9, ("signal_l2:-5%",)), (0.8, ("signal_l2:-10%",)), (0.5, ("signal_l2:-25%",)))
    for redrawn in (False, True)
)
ALWAYS_RED: Final = CHANGED[0]


class Gate(Record):
    """How many builds of one kind were red.

    network: what the builds guard.
    case: what has changed.
    limits: on what they compare.
    seeds: on each side.
    builds: how many there were.
    red: how many of them were red.
    """

    network: str
    case: str
    limits: tuple[str, ...]
    seeds: int
    builds: int
    red: int


class Gates(Record):
    """What ``bench gates --json`` writes.

    machine: where it was measured.
    gates: one for each network, case, set of limits and number of seeds.
    """

    machine: Machine
    gates: tuple[Gate, ...]


def run_gates(builds: int) -> Iterator[Gate]:
    """Runs ``builds`` builds of each kind, in a process for each core; the gates of each network and case as they are
    done, in order."""
    parts = [(network, case) for case in (*UNCHANGED, *CHANGED) for network in NETWORKS]
    with isolated_processes(os.cpu_count() or 1, configured=True) as processes:
        for gates in processes.map(gates_of, *zip(*parts, strict=True), [builds] * len(parts)):
            yield from gates


def number_of_gates() -> int:
    """How many :func:`run_gates` yields."""
    return len(NETWORKS) * len(SEEDS) * sum(len(case.limits) for case in (*UNCHANGED, *CHANGED))


def gates_of(network: Network, case: Case, builds: int) -> list[Gate]:
    """Measures ``network`` before and after ``case``, and counts its red builds."""
    needed = max(SEEDS) * network.tests * (1 + case.redrawn)
    seeds = range(FIRST_SEED, FIRST_SEED + max(_POOL if case.redrawn else _POOL // 4, needed))
    before = measure_pool(network.layers, seeds)
    same = case.scale == 1 and not case.threads
    threads = (os.cpu_count() or 1) if case.threads else 1
    after = before if same else measure_pool(network.layers, seeds, case.scale, threads)
    found = []
    for texts in case.limits:
        limits = [parse_limit(text) for text in texts]
        for count in SEEDS:
            draw = random.Random(count)
            red = sum(_is_red(before, after, network.tests, case, limits, count, draw) for _ in range(builds))
            found.append(Gate(network=network.name, case=case.name, limits=texts, seeds=count, builds=builds, red=red))
    return found


def measure_pool(layers: int, seeds: Sequence[int], scale: float = 1.0, threads: int = 1) -> Flows:
    """The gradient flows of models of so many ``layers``, the last one's weights multiplied by ``scale``."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        measured = measure(
            lambda: _model(layers, scale), _batch, nn.functional.cross_entropy, seeds=seeds, layers=nn.Linear
        )
    finally:
        torch.set_num_threads(before)
    return {seed: _with_limits(flow) for seed, flow in zip(measured.seeds, measured.flows, strict=True)}


def _model(layers: int, scale: float) -> nn.Module:
    parts: list[nn.Module] = []
    for _ in range(layers - 1):
        parts += [nn.Linear(WIDTH, WIDTH), *([nn.LayerNorm(WIDTH)] if layers >= 20 else []), nn.ReLU()]
    last = nn.Linear(WIDTH, CLASSES)
    last.weight.data *= scale
    return nn.Sequential(*parts, last)


def _batch(seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(BATCH_SIZE, WIDTH, generator=generator)
    return inputs, torch.randint(CLASSES, (BATCH_SIZE,), generator=generator)


def _with_limits(flow: GradientFlow) -> GradientFlow:
    """Only what is compared here, so that thousands of builds take no hours."""
    return GradientFlow(
        layers=tuple(
            LayerGradient(name=x.name, state=x.state, **{name: getattr(x, name) for name in _QUANTITIES})
            for x in flow.layers
        )
    )


def _is_red(
    before: Flows, after: Flows, tests: int, case: Case, limits: Sequence[Limit], count: int, draw: random.Random
) -> bool:
    drawn = draw.sample(sorted(before), count * tests * (1 + case.redrawn))
    groups = [drawn[i : i + count] for i in range(0, len(drawn), count)]
    first, second = groups[:tests], groups[tests:] if case.redrawn else groups
    labels = first if case.relabelled else second
    return bool(
        compare_samples(
            [_sample(i, seeds, seeds, before) for i, seeds in enumerate(first)],
            [_sample(i, seeds, of, after) for i, (seeds, of) in enumerate(zip(labels, second, strict=True))],
            limits,
        ).regressions
    )


def _sample(test: int, seeds: Sequence[int], of: Sequence[int], flows: Flows) -> Sample:
    """``of``: the seeds that its flows are of in truth."""
    return Sample(test=f"test_{test}", seeds=tuple(seeds), flows=tuple(flows[seed] for seed in of))
