"""Which values of two samples of one test face each other: of each layer and quantity, those of the same seeds."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from vgharness.gradflow.limits import Limit
from vgharness.gradflow.quantities import has_factor, is_measured, measured_quantities, values_of
from vgharness.gradflow.summary import FACTOR
from vgharness.records import LayerKey, Sample

FEWEST_SEEDS: Final = 3  # of two values nobody can tell what their spread is
_DIGITS: Final = 6  # to which a baseline file keeps a value


class Pair(NamedTuple):
    """One quantity of one layer on both sides, one value per seed; NaN where there is none.

    layer: what it is called now; None: the quantity is of the whole flow.
    same_seeds: whether both sides are of the same seeds, in the same order.
    limits: those on the quantity.
    """

    layer: LayerKey | None
    quantity: str
    before: tuple[float, ...]
    after: tuple[float, ...]
    same_seeds: bool
    limits: Sequence[Limit]

    @property
    def is_finite(self) -> bool:
        return all(map(math.isfinite, (*self.before, *self.after)))

    @property
    def is_unchanged(self) -> bool:
        """Whether every seed has the same value, in the digits that a baseline file keeps."""
        return self.same_seeds and all(
            x == y or f"{x:.{_DIGITS}g}" == f"{y:.{_DIGITS}g}" for x, y in zip(self.before, self.after, strict=True)
        )

    @property
    def seeds(self) -> tuple[int, int]:
        return len(self.before), len(self.after)


def pairs_of(
    old: Sample, now: Sample, layers: Mapping[LayerKey, LayerKey | None], limits: Sequence[Limit]
) -> Iterator[Pair]:
    """The values that both samples have of a quantity, layer for layer as ``layers`` matches them.

    Where the samples share seeds enough, and no value is missing, only the values of those seeds.
    """
    shared = shared_seeds(old.seeds, now.seeds)
    for quantity in dict.fromkeys((FACTOR, *measured_quantities(old), *measured_quantities(now))):
        judging = [limit for limit in limits if limit.quantity == quantity]
        was, is_now = values_of(old, quantity), values_of(now, quantity)
        for key, before in was.items():
            key_now = layers[key] if key else None
            if key and not key_now:
                continue  # vanished
            whole = Pair(key_now, quantity, before, is_now[key_now], False, judging)
            if whole.is_finite and shared:
                yield whole._replace(
                    before=_of_seeds(shared, old.seeds, whole.before),
                    after=_of_seeds(shared, now.seeds, whole.after),
                    same_seeds=True,
                )
            elif whole.is_finite or _was_measured(old, key, quantity) or _was_measured(now, key_now, quantity):
                yield whole


def shared_seeds(before: Sequence[int], after: Sequence[int]) -> tuple[int, ...]:
    """The seeds to compare one by one: those of both sides, where they are enough, or all that a side has.

    None where a side has a seed twice: nobody knows then which values belong together.
    """
    if len(set(before)) < len(before) or len(set(after)) < len(after):
        return ()
    shared = tuple(seed for seed in before if seed in after)
    return shared if len(shared) >= min(FEWEST_SEEDS, len(before), len(after)) else ()


def _was_measured(sample: Sample, key: LayerKey | None, quantity: str) -> bool:
    return has_factor(sample) if key is None else is_measured(sample, quantity, key)


def _of_seeds(shared: Sequence[int], seeds: Sequence[int], values: Sequence[float]) -> tuple[float, ...]:
    by_seed = dict(zip(seeds, values, strict=True))
    return tuple(by_seed[seed] for seed in shared)
