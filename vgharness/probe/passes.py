"""What backward passes leave at each call of each site, and how it becomes rows of figures."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from vgharness.probe.layers import Site
from vgharness.probe.norms import Packed, constant, norm_of
from vgharness.records import QUANTITIES, LayerGradient, State

COLUMNS: Final = (*QUANTITIES, "relative_update", "saturated")
_PACK = 2**20


class Watched:
    """A site and what is known of its weights."""

    def __init__(self, site: Site) -> None:
        self.name, self.weights, self.aliases = site.name, site.weights, site.aliases
        self.update: Tensor | None = None  # ‖ΔW‖₂ / ‖W‖₂ of the last step

    @property
    def frozen(self) -> bool:
        return not any(weight.requires_grad for weight in self.weights)

    def grads(self) -> list[Tensor]:
        return [weight.grad for weight in self.weights if weight.grad is not None]


class Call:
    """One call of a site's module: norm and number of elements of each signal, by backward pass through it.

    ``repeated``: one that checkpointing has made again, whose place among the others is not yet known.
    """

    def __init__(self, site: Watched, *, repeated: bool = False) -> None:
        self.site, self.repeated = site, repeated
        self.signals: dict[int, list[tuple[Tensor, int]]] = {}
        self.saturated: list[tuple[Tensor, int]] = []


class Round:
    """The forward calls between one filling of the gradients and the next, in their order."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.graphless: list[Call] = []  # those of ``calls`` made without a graph: to be repeated, perhaps
        self.latest: Call | None = None

    def add(self, call: Call, *, graph: bool) -> None:
        self.calls.append(call)
        if not graph:
            self.graphless.append(call)

    def place(self, call: Call) -> None:
        """Puts a repeated call, when its signal comes, where the call stands that it repeats. Signals come in the
        opposite order to the calls', so that is the last one of that site that is left."""
        if not call.repeated:
            return
        call.repeated = False
        left = next((other for other in reversed(self.graphless) if other.site is call.site), None)
        if left is None:
            self.calls.insert(0, call)
        else:
            self.graphless.remove(left)
            self.calls[self.calls.index(left)] = call


class Row:
    """What one reading holds of one backward pass through one call."""

    def __init__(self, site: Watched, call: int, backward: int) -> None:
        self.site, self.call, self.backward = site, call, backward
        self.signals: list[tuple[Tensor, int]] = []
        self.saturated: list[tuple[Tensor, int]] = []
        self.came: frozenset[str] = frozenset()

    def figures(self, gradient: tuple[Tensor, Tensor] | None) -> list[Tensor | None]:
        """As in ``COLUMNS``, but ``signal_rms`` is still to be divided by :attr:`root_numel`. Which there are is kept:
        the host knows without a sync."""
        signal = self._signal()
        figures = [*(gradient or (None, None)), signal, signal, self.site.update, self._saturation()]
        self.came = frozenset(column for column, x in zip(COLUMNS, figures, strict=True) if x is not None)
        return figures

    def record(self, figures: Sequence[float]) -> LayerGradient:
        kept = {column: x for column, x in zip(COLUMNS, figures, strict=True) if column in self.came}
        return LayerGradient(
            name=self.site.name,
            call=self.call,
            backward=self.backward,
            aliases=self.site.aliases,
            state=self._state([x for column, x in kept.items() if column in QUANTITIES]),
            **kept,  # type: ignore[arg-type]
        )

    @property
    def root_numel(self) -> float:
        """Of the signals that came; 1 where none did."""
        return math.sqrt(sum(numel for _, numel in self.signals) or 1)

    def _signal(self) -> Tensor | None:
        if not self.signals:
            return None
        lengths = [length for length, _ in self.signals]
        return lengths[0] if len(lengths) == 1 else norm_of([length[None] for length in lengths])

    def _saturation(self) -> Tensor | None:
        """The mean over the units of all activations that follow this call."""
        if not self.saturated:
            return None
        units = sum(numel for _, numel in self.saturated)
        return torch.stack([share * (numel / units) for share, numel in self.saturated]).sum()

    def _state(self, gradients: Sequence[float]) -> State:
        if self.site.frozen:
            return "frozen"
        if "weight_l2" not in self.came:
            return "unused"
        if not all(map(math.isfinite, gradients)):
            return "nonfinite"
        return "zero" if not any(gradients) else "ok"


def packs(sites: Sequence[Watched]) -> list[list[Watched]]:
    """The sites by portions of at most ``_PACK`` weights, or one site where it has more."""
    found: list[list[Watched]] = []
    room = 0
    for site in sites:
        size = sum(weight.numel() for weight in site.weights)
        if size > room:
            found.append([])
            room = _PACK
        found[-1].append(site)
        room -= size
    return found


def gradients_of(pack: Sequence[Watched], buffer: Packed) -> dict[Watched, tuple[Tensor, Tensor]]:
    """``weight_mean_abs`` and ``weight_l2`` of sites that all have gradients."""
    packed = buffer.fill([site.grads() for site in pack])
    lengths, sums = packed.norms(), packed.norms(1)
    # Elements that a sparse gradient leaves out are zeros of the weight all the same.
    numels = tuple(sum(weight.numel() for weight in site.weights if weight.grad is not None) for site in pack)
    means = sums / constant(numels, sums.device)
    return dict(zip(pack, zip(means.unbind(), lengths.unbind(), strict=True), strict=True))


def rows_of(rounds: Sequence[Round], sites: Sequence[Watched]) -> list[Row]:
    """A row for each backward pass through each call that one reached, calls numbered among those; for a site that
    none reached, one row without signals.

    Rounds add up call by call. In the order of the calls, of several rounds in that of the longest; sites that
    were not called come last, in the order of ``sites``.
    """
    reached = {call.site for round_ in rounds for call in round_.calls if call.signals}
    rows: dict[tuple[Watched, int, int], Row] = {}
    for round_ in sorted(rounds, key=lambda r: len(r.calls), reverse=True):
        numbers: Counter[Watched] = Counter()
        for call in round_.calls:
            site = call.site
            if not call.signals and (site in reached or numbers[site]):
                continue
            for backward in sorted(call.signals) or [0]:
                row = rows.setdefault((site, numbers[site], backward), Row(site, numbers[site], backward))
                row.signals += call.signals.get(backward, [])
                row.saturated += call.saturated
            numbers[site] += 1
    called = {site for site, _, _ in rows}
    return [*rows.values(), *(Row(site, 0, 0) for site in sites if site not in called)]
