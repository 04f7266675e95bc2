"""The way of the error signal through one network: which layer's signal goes on to which others."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from vgharness.records import GradientFlow, LayerGradient, LayerKey, Sample, quotient

# From so many forward passes on a layer is taken for recurrent, its passes for a path; fewer are towers (siamese,
# triplet).
RECURRENT: Final = 4


class Signal(NamedTuple):
    """‖∂L/∂h‖₂ of one forward pass.

    row: its place among the flow's last passes.
    """

    row: int
    layer: LayerGradient
    size: float

    @property
    def key(self) -> LayerKey:
        return self.layer.key

    @property
    def label(self) -> str:
        return str(self.key)


class SignalPath:
    """Signals in forward order, and by place among them those that each goes into.

    rows: all that the signals are of, with those that have none.
    """

    def __init__(
        self, rows: Sequence[LayerGradient], signals: Sequence[Signal], after: Sequence[Sequence[int]]
    ) -> None:
        self.rows, self.signals, self.after = rows, signals, after
        self.feeders: list[list[int]] = [[] for _ in signals]
        for i, fed in enumerate(after):
            for j in fed:
                self.feeders[j].append(i)

    @classmethod
    def of(cls, flow: GradientFlow) -> SignalPath:
        """The path of a whole flow. What feeds a layer whose signal is not finite has no place on it: where NaN is
        multiplied by zero, or cut off, zero says nothing."""
        rows, links = flow.last_passes(), flow.links()
        spoiled = _all_that_feed({x.of_forward_pass for x in rows if "signal_l2" in x.nonfinite}, links)
        signals = [
            Signal(i, x, x.signal_l2)
            for i, x in enumerate(rows)
            if x.signal_l2 is not None and x.of_forward_pass not in spoiled
        ]
        if not any(x.layer.feeds is not None for x in signals):  # nothing was followed: one after the other
            return cls(rows, signals, _one_after_the_other(len(signals)))
        place = {signal.layer.of_forward_pass: i for i, signal in enumerate(signals)}
        after = [[place[k] for k in links.get(s.layer.of_forward_pass, ()) if k in place] for s in signals]
        return cls(rows, signals, after)

    def recurrent(self) -> list[SignalPath]:
        """The passes of each layer that runs at every step of a sequence, as a path of their own: an embedding that ran
        before them gets the last step's signal directly, and hides what the steps lose."""
        passes: dict[str, list[Signal]] = {}
        for signal in self.signals:
            passes.setdefault(signal.layer.name, []).append(signal)
        return [
            SignalPath(self.rows, own, _one_after_the_other(len(own)))
            for own in passes.values()
            if len(own) >= RECURRENT
        ]

    def steps(self) -> list[int]:
        """Per signal, how many forward passes its layer has."""
        passes = Counter(signal.layer.name for signal in self.signals)
        return [passes[signal.layer.name] for signal in self.signals]

    def up_to(self, better: Callable[[list[float]], float]) -> list[float]:
        """Per signal, the greatest (or least) among it and everything that feeds it."""
        found: list[float] = []
        for i, signal in enumerate(self.signals):
            found.append(better([signal.size, *(found[j] for j in self.feeders[i] if j < i)]))
        return found

    def firsts(self) -> list[int]:
        """Per signal, the first in forward order among it and everything that feeds it."""
        found: list[int] = []
        for i in range(len(self.signals)):
            found.append(min([i, *(found[j] for j in self.feeders[i] if j < i)]))
        return found

    def trained(self) -> list[bool]:
        """Per signal, whether it or anything that feeds it is trained."""
        found: list[bool] = []
        for i, signal in enumerate(self.signals):
            found.append(signal.layer.state != "frozen" or any(found[j] for j in self.feeders[i] if j < i))
        return found

    def ends(self) -> list[int]:
        """Per signal, the last layer that it leads to, of several the one with the greatest signal."""
        found = list(range(len(self.signals)))
        for i in reversed(range(len(self.signals))):
            later = [found[j] for j in self.after[i] if j > i]
            if later:
                found[i] = max(later, key=lambda j: self.signals[j].size)
        return found

    def whole(self) -> list[tuple[int, int]]:
        """Each way from one end to the other: the first trained layer on it, that no other trained one leads to, and
        the last layer that it leads to. A layer that leads nowhere is no way."""
        led: list[bool] = []
        for i, feeders in enumerate(self.feeders):
            led.append(any(led[j] or self.signals[j].layer.state != "frozen" for j in feeders if j < i))
        first = (i for i, signal in enumerate(self.signals) if signal.layer.state != "frozen" and not led[i])
        ends = self.ends()
        return [(i, ends[i]) for i in first if ends[i] != i]


def totals_toward_input(sample: Sample, quantity: str = "signal_l2") -> dict[LayerKey, tuple[float, ...]]:
    """By what ``quantity`` is multiplied over the whole path, from the output to the input.

    By the first layer of each way (:meth:`SignalPath.whole`): its value ÷ that of the last layer, one per seed. NaN
    where a value was not measured or both are 0, infinity where only the last one is 0.
    """
    values = sample.values(quantity)
    by_seed: list[dict[LayerKey, float]] = []
    for index, flow in enumerate(sample.flows):
        path = SignalPath.of(flow)
        ways = [(path.signals[i].key, path.signals[j].key) for i, j in path.whole()]
        by_seed.append({first: quotient(values[first][index], values[last][index]) for first, last in ways})
    firsts = dict.fromkeys(first for totals in by_seed for first in totals)
    return {first: tuple(totals.get(first, math.nan) for totals in by_seed) for first in firsts}


def _one_after_the_other(length: int) -> list[list[int]]:
    return [[i + 1] if i + 1 < length else [] for i in range(length)]


def _all_that_feed(keys: set[LayerKey], links: dict[LayerKey, tuple[LayerKey, ...]]) -> set[LayerKey]:
    """``keys``, and all from which a way leads to one of them."""
    found = set(keys)
    for key in reversed(list(links)):  # those nearer the output first
        if found.intersection(links[key]):
            found.add(key)
    return found
