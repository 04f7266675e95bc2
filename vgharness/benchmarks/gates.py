"""How often comparing with a baseline turns a build red: by chance where nothing has changed, and where something has.

Real models are measured once for a pool of seeds; each build draws its seeds from the pool, and compares as the pytest
plugin and ``vgharness compare`` do.
"""

from __future__ import annotations

import os
import random
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn

from vgharness.benchmarks.isolated import isolated_processes
from vgharness.gradflow.comparison import compare_samples
from vgharness.gradflow.limits import parse_limit
from vgharness.gradflow.measurement import measure
from vgharness.records import FIRST_SEED, GradientFlow, LayerGradient, Machine, Record, Sample

MOST_FALSE: Final = 0.05  # of builds in which nothing has changed
SEEDS: Final = (3, 5, 6, 10)
WIDTH: Final = 32
CLASSES: Final = 10
BATCH_SIZE: Final = 64
_POOL: Final = 120  # seeds: as many as a build of six tests draws, with ten on each side
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
    Network("6 × 8 layers", 8, 6),
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
    Case("reordered", _LIMITS, redrawn=True, relabelled=True),
    Case("threads", (_on_all("1%"),), threads=True),
)
CHANGED: Final = tuple(
    Case(f"{100 * (scale - 1):.0f} %, {'other' if redrawn else 'same'} seeds", ((limit,),), scale, redrawn)
    for scale, limit in ((0.9, "signal_l2:-5%"), (0.8, "signal_l2:-10%"), (0.5, "signal_l2:-25%"))
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

    @property
    def share(self) -> float:
        return self.red / self.builds


class Gates(Record):
    """What ``bench gates --json`` writes.

    machine: where it was measured.
    gates: one for each network, case, set of limits and number of seeds.
    """

    machine: Machine
    gates: tuple[Gate, ...]

    @property
    def false_alarms(self) -> tuple[Gate, ...]:
        """Where too many builds were red though nothing has changed."""
        unchanged = {case.name for case in UNCHANGED}
        return tuple(gate for gate in self.gates if gate.case in unchanged and gate.share > MOST_FALSE)

    @property
    def missed(self) -> tuple[Gate, ...]:
        """Where a build was not red though it should always be."""
        return tuple(gate for gate in self.gates if gate.case == ALWAYS_RED.name and gate.red < gate.builds)


# By network, the cases whose second sides are of one pool.
_PARTS: Final = (
    *((network, UNCHANGED[:2]) for network in NETWORKS),
    *((network, UNCHANGED[2:]) for network in NETWORKS),
    *((network, CHANGED[i : i + 2]) for network in NETWORKS if network.tests == 1 for i in range(0, len(CHANGED), 2)),
)


def run_gates(builds: int) -> Iterator[Gate]:
    """Runs so many ``builds`` of each kind, in a process for each core; gives the gates of each network and case as
    they are done, in order."""
    with isolated_processes(os.cpu_count() or 1, configured=True) as processes:
        for gates in processes.map(gates_of, *zip(*_PARTS, strict=True), [builds] * len(_PARTS)):
            yield from gates


def number_of_gates() -> int:
    """How many :func:`run_gates` gives."""
    return len(SEEDS) * sum(len(case.limits) for _, cases in _PARTS for case in cases)


def gates_of(network: Network, cases: Sequence[Case], builds: int) -> list[Gate]:
    """Measures ``network`` on both sides of ``cases``, whose second sides are of one pool, and counts the red among so
    many ``builds`` of each."""
    scale, several_threads = cases[0].scale, cases[0].threads
    seeds = range(FIRST_SEED, FIRST_SEED + (_POOL if cases[0].redrawn else _POOL // 2))
    before = after = measure_pool(network.layers, seeds)
    if scale != 1 or several_threads:
        after = measure_pool(network.layers, seeds, scale, (os.cpu_count() or 1) if several_threads else 1)
    return [
        _gate(before, after, network, case, limits, count, builds)
        for case in cases
        for limits in case.limits
        for count in SEEDS
    ]


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
    return dict(zip(measured.seeds, measured.flows, strict=True))


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


def _only(flow: GradientFlow, quantities: Collection[str]) -> GradientFlow:
    rows = (
        LayerGradient(
            name=x.name, state=x.state, **{name: getattr(x, name) for name in _QUANTITIES if name in quantities}
        )
        for x in flow.layers
    )
    return GradientFlow(layers=tuple(rows))


def _gate(
    before: Flows, after: Flows, network: Network, case: Case, texts: tuple[str, ...], seeds: int, builds: int
) -> Gate:
    limits, draw = [parse_limit(text) for text in texts], random.Random(seeds)
    limited = {limit.quantity for limit in limits}
    # Only what has a limit: the rest is not judged, and takes as long.
    before, after = ({seed: _only(flow, limited) for seed, flow in side.items()} for side in (before, after))
    red = 0
    for _ in range(builds):
        drawn = draw.sample(sorted(before), seeds * network.tests * (1 + case.redrawn))
        groups = [drawn[i : i + seeds] for i in range(0, len(drawn), seeds)]
        first, second = groups[: network.tests], groups[-network.tests :]
        labels = first if case.relabelled else second
        was = [_sample(test, own, own, before) for test, own in enumerate(first)]
        now = [_sample(test, own, of, after) for test, (own, of) in enumerate(zip(labels, second, strict=True))]
        red += bool(compare_samples(was, now, limits).regressions)
    return Gate(network=network.name, case=case.name, limits=texts, seeds=seeds, builds=builds, red=red)


def _sample(test: int, seeds: Sequence[int], of: Sequence[int], flows: Flows) -> Sample:
    """``of``: the seeds that its flows are of in truth."""
    return Sample(test=f"test_{test}", seeds=tuple(seeds), flows=tuple(flows[seed] for seed in of))
