"""Which seeds to measure next, until every limit of a comparison is decided."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from vgharness.gradflow.judging import SIGNIFICANCE, Decision, decisions_on, number_of_decisions
from vgharness.gradflow.limits import Limit
from vgharness.gradflow.matching import matched_layers
from vgharness.gradflow.pairs import FEWEST_SEEDS, pairs_of, shared_seeds
from vgharness.records import FIRST_SEED, Sample
from vgharness.statistics import CONFIDENCE

MOST_SEEDS_MEASURED: Final = 50
MOST_LOOKS: Final = 4
"""How often a test may be judged while seeds are added to it. Each look is a chance of a false alarm, so a build that
adds seeds makes that many times as many decisions."""


def further_seeds(
    now: Sample,
    baseline: Sample,
    limits: Sequence[Limit],
    decisions: int | None = None,
    most: int = MOST_SEEDS_MEASURED,
) -> tuple[int, ...]:
    """Which seeds to measure beside those of ``now``, so that every limit is decided if means and spreads stay as they
    are: either chance is ruled out for what is beyond it, or the 95 % interval of the change is within it.

    baseline: what ``now`` is compared with. Where they share seeds, only its own others tell more.
    decisions: how many the whole build makes, at each look; by default those on this sample, :data:`MOST_LOOKS` times.
    most: seeds of ``now`` in all.

    Returns none where every limit is decided, and where there are none to add.
    """
    decisions = MOST_LOOKS * number_of_decisions([baseline], limits) if decisions is None else decisions
    pairs = pairs_of(baseline, now, matched_layers(baseline.keys, now.keys), limits)
    undecided = [
        decision
        for pair in pairs
        if pair.is_finite and not pair.is_unchanged
        for decision in decisions_on(pair)
        if not _is_decided(decision, decisions)
    ]
    if not undecided:
        return ()
    paired = bool(shared_seeds(baseline.seeds, now.seeds))
    free = [seed for seed in baseline.seeds if seed not in now.seeds] if paired else list(_others(now.seeds, most))
    free = free[: max(most - len(now.seeds), 0)]
    there = len(undecided[0].after)
    needed = max(_needed(each, decisions, most) for each in undecided) - there
    return tuple(free[: max(needed, 1)])


def _is_decided(decision: Decision, decisions: int) -> bool:
    if min(len(decision.before), len(decision.after)) < FEWEST_SEEDS:
        return False
    return decision.p * max(decisions, 1) <= SIGNIFICANCE or decision.p >= (1 + CONFIDENCE) / 2


def _needed(decision: Decision, decisions: int, most: int) -> int:
    """How many seeds on each side would decide it; ``most`` where more would not do."""
    if decision.is_beyond:
        return decision.seeds_to_tell(SIGNIFICANCE / max(decisions, 1)) or most
    turned = decision._replace(before=-decision.before, after=-decision.after)
    return turned.seeds_to_tell((1 - CONFIDENCE) / 2) or most


def _others(seeds: Iterable[int], most: int) -> Iterator[int]:
    taken = set(seeds)
    return (seed for seed in range(FIRST_SEED, FIRST_SEED + most + len(taken)) if seed not in taken)
