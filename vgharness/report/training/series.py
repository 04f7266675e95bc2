"""One model of a training log, quantity by quantity over its snapshots, and which of those a page shows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Final

from vgharness.records import (
    LayerKey,
    LogRow,
    Snapshot,
    SnapshotQuantity,
    TrainingLog,
    TrainingProblem,
    factors_toward_input,
    last_passes,
    links_of,
    nan_if_none,
)

SIGNAL: Final[SnapshotQuantity] = "signal_l2"
UPDATE: Final[SnapshotQuantity] = "relative_update"
# Between these an optimizer's steps usually are: a layer that changes by less hardly learns, by more it jumps.
USUAL_UPDATES: Final = (1e-4, 1e-2)


class ModelSeries:
    """What was measured of one model, at each of its snapshots; NaN: not measured, or not finite.

    steps: of the snapshots.
    layers: labels of all its layers and passes, in forward order.
    """

    def __init__(self, log: TrainingLog, name: str) -> None:
        self.log, self.name = log, name
        self.snapshots = log.of_model(name)
        self.steps = [snapshot.step for snapshot in self.snapshots]
        self.problems = log.problems_of(name)
        self.first, self.last = log.first_step, log.last_step(name)
        self._keys = {at: _keys(rows) for at, rows in enumerate(log.rows)}
        used = dict.fromkeys(snapshot.rows for snapshot in self.snapshots)
        self.layers = tuple(
            dict.fromkeys(label(key) for at in used for key in last_passes(dict.fromkeys(self._keys[at])))
        )
        self._links: dict[int, dict[LayerKey, tuple[LayerKey, ...]]] = {}

    def of_layers(self, quantity: SnapshotQuantity) -> dict[str, list[float]]:
        """By layer, its values; without the layers that have none."""
        found = {name: [math.nan] * len(self.steps) for name in self.layers}
        for place, snapshot in enumerate(self.snapshots):
            if quantity == UPDATE and snapshot.skipped:
                continue  # the optimizer was not to step
            for key, value in zip(self._keys[snapshot.rows], snapshot.values.get(quantity, ()), strict=False):
                found[label(key)][place] = nan_if_none(value)
        return {name: values for name, values in found.items() if not all(map(math.isnan, values))}

    def states(self) -> dict[str, list[str]]:
        """By layer, the state of its gradients; empty where it is not among the rows."""
        found = {name: [""] * len(self.steps) for name in self.layers}
        for place, snapshot in enumerate(self.snapshots):
            for key, state in zip(self._keys[snapshot.rows], snapshot.states, strict=True):
                found[label(key)][place] = state
        return found

    def relative_signal(self) -> dict[str, list[float]]:
        """By layer, the error signal ÷ that of the last layer that has one."""
        found = self.of_layers(SIGNAL)
        for place in range(len(self.steps)):
            last = next(
                (x[place] for x in reversed(found.values()) if math.isfinite(x[place]) and x[place] > 0), math.nan
            )
            for values in found.values():
                values[place] /= last
        return found

    def factors(self) -> list[float]:
        """The factor toward the input of the error signal: geometric mean over the layers between which there is one;
        between two that no gradient reached there is none."""
        return [self._factor(snapshot) for snapshot in self.snapshots]

    def scalars(self, field: str) -> list[float]:
        """What a snapshot holds one value of, by the field's name; of learning rates the greatest."""
        if field == "learning_rates":
            return [max(snapshot.learning_rates, default=math.nan) for snapshot in self.snapshots]
        return [nan_if_none(getattr(snapshot, field)) for snapshot in self.snapshots]

    def _factor(self, snapshot: Snapshot) -> float:
        keys = self._keys[snapshot.rows]
        values = dict(zip(keys, map(nan_if_none, snapshot.values.get(SIGNAL, (None,) * len(keys))), strict=True))
        factors = list(factors_toward_input(values, self._links_of(snapshot.rows)).values())
        factors = [factor for factor in factors if not math.isnan(factor)]
        if not factors or "nonfinite" in snapshot.states or math.inf in factors:
            return math.nan
        return 0.0 if min(factors) == 0 else math.exp(math.fsum(map(math.log, factors)) / len(factors))

    def _links_of(self, rows: int) -> dict[LayerKey, tuple[LayerKey, ...]]:
        if rows not in self._links:
            own = self.log.rows[rows]
            self._links[rows] = links_of(own)
        return self._links[rows]


def label(key: LayerKey) -> str:
    """A layer and which pass, in words; of several backward passes the last counts."""
    return str(key._replace(backward_pass=0))


def middle(values: Iterable[float]) -> float:
    """The geometric mean of the known values; where one is zero the arithmetic one; NaN: there are none."""
    known = [value for value in values if math.isfinite(value)]
    if not known:
        return math.nan
    if min(known) <= 0:
        return math.fsum(known) / len(known)
    return math.exp(math.fsum(map(math.log, known)) / len(known))


def chosen(steps: Sequence[int], marked: Iterable[int], most: int) -> list[int]:
    """Places of at most ``most`` of ``steps``, which are in order: the first, the last, those at which or after which
    something in ``marked`` is, as long as they are no more than half of it, and others as evenly as can be."""
    if len(steps) <= most:
        return list(range(len(steps)))
    kept = {0, len(steps) - 1}
    for step in marked:
        if len(kept) >= most // 2:
            break
        kept.add(next((place for place, own in enumerate(steps) if own >= step), len(steps) - 1))
    rest = [place for place in range(len(steps)) if place not in kept]
    left = most - len(kept)
    kept |= {rest[round(place * (len(rest) - 1) / max(left - 1, 1))] for place in range(left)}
    return sorted(kept)


def beginnings(problems: Iterable[TrainingProblem]) -> list[int]:
    """The steps at which problems begin, those of the most serious first."""
    ordered = sorted(problems, key=lambda problem: (problem.severity != "problem", problem.began))
    return list(dict.fromkeys(problem.began for problem in ordered))


def _keys(rows: tuple[LogRow, ...]) -> list[LayerKey]:
    return [LayerKey(row.name, row.forward_pass, row.backward_pass) for row in rows]
