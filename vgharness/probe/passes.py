"""What backward passes leave at each forward pass of each layer, and how it becomes rows of values.

A :class:`Window` is the forward passes between one filling of the gradients and the next; one :class:`ForwardPass` per
run of a layer collects the norms of its error signals. A reading turns the windows into :class:`Row` objects and
forgets them; a :class:`LayerState` lasts as long as the probe.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node

from vgharness.probe.layers import ProbedLayer
from vgharness.probe.norms import FlatBuffer, constant, norm_of
from vgharness.probe.outputs import OutputSize
from vgharness.probe.through_time import RecurrentPass
from vgharness.records import QUANTITIES, LayerGradient, LayerKey, State

COLUMNS: Final = (*QUANTITIES, "relative_update", "saturated")
# Of a portion: what a CPU's cache holds. A GPU takes as long for one portion as for each of several.
_MOST_WEIGHTS, _MOST_WEIGHTS_ON_A_GPU = 2**20, 2**24


class LayerState:
    """A layer, and what is known of its weights."""

    def __init__(self, layer: ProbedLayer) -> None:
        self.layer = layer
        self.name, self.aliases, self.parameters = layer.name, layer.aliases, layer.parameters
        self.update: Tensor | None = None  # ‖ΔW‖₂ / ‖W‖₂ of the last step

    @property
    def weights(self) -> tuple[nn.Parameter, ...]:
        return self.layer.weights

    @property
    def frozen(self) -> bool:
        return not any(weight.requires_grad for weight in self.weights)

    @property
    def unused(self) -> bool:
        """Whether no parameter has a gradient."""
        return all(p.grad is None for p in self.parameters.values())

    @property
    def without_gradient(self) -> tuple[str, ...]:
        """Names of the parameters that ask for a gradient and have none."""
        return tuple(name for name, p in self.parameters.items() if p.requires_grad and p.grad is None)

    def grads(self) -> list[Tensor]:
        return [weight.grad for weight in self.weights if weight.grad is not None]


class SaturatedUnits(NamedTuple):
    """Of one activation that follows a forward pass.

    place: the how-manieth such activation it is.
    mask: which units are saturated on every sample, bool.
    share: of them, a scalar.
    numel: how many elements the batch has.
    """

    place: int
    mask: Tensor
    share: Tensor
    numel: int


class ForwardPass:
    """One run of a layer: by number of the backward pass through it, :func:`norm_parts` and number of elements of each
    signal.

    ``repeated``: one that checkpointing has run again, whose place among the others is not yet known. ``feeds``: what
    its output goes into, where that was followed.
    """

    __slots__ = ("feeds", "layer", "nodes", "outputs", "recurrent", "repeated", "saturated", "signals")

    def __init__(self, layer: LayerState, *, repeated: bool = False) -> None:
        self.layer, self.repeated = layer, repeated
        self.nodes: list[Node] = []  # of its outputs in the autograd graph
        self.feeds: tuple[ForwardPass, ...] | None = None
        self.recurrent: RecurrentPass | None = None  # where the signal through time is asked for
        self.signals: dict[int, list[tuple[Tensor, int]]] = {}
        self.saturated: list[SaturatedUnits] = []
        self.outputs: list[OutputSize] = []  # where they are asked for


class Window:
    """The forward passes between one filling of the gradients and the next, in their order."""

    def __init__(self) -> None:
        self.passes: list[ForwardPass] = []
        self.graphless: list[ForwardPass] = []  # those of ``passes`` made without a graph: to be repeated, perhaps
        self.latest: ForwardPass | None = None

    def add(self, forward: ForwardPass, *, graph: bool) -> None:
        self.passes.append(forward)
        if not graph:
            self.graphless.append(forward)

    def place(self, forward: ForwardPass) -> None:
        """Puts a repeated pass, when its signal comes, where the pass stands that it repeats. Signals come in the
        opposite order to the passes', so that is the last one of that layer that is left."""
        if not forward.repeated:
            return
        forward.repeated = False
        left = next((other for other in reversed(self.graphless) if other.layer is forward.layer), None)
        if left is None:
            self.passes.insert(0, forward)
        else:
            self.graphless.remove(left)
            self.passes[self.passes.index(left)] = forward


class WeightNorms(NamedTuple):
    """Of one layer's weight gradient, scalars on its device."""

    mean_abs: Tensor
    l2: Tensor


class Row:
    """What one reading holds of one backward pass through one forward pass of a layer."""

    def __init__(self, layer: LayerState, forward_pass: int, backward_pass: int) -> None:
        self.layer, self.forward_pass, self.backward_pass = layer, forward_pass, backward_pass
        self.feeds: tuple[LayerKey, ...] | None = None
        self.without_gradient: tuple[str, ...] = ()
        self.unused = False
        self.signals: list[tuple[Tensor, int]] = []
        self.saturated: list[SaturatedUnits] = []
        self.outputs: list[OutputSize] = []
        self.measured: frozenset[str] = frozenset()  # names of the columns that have a value

    def values(self, weight: WeightNorms | None) -> list[Tensor | None]:
        """Scalars in the order of ``COLUMNS``, None for what was not measured.

        ``signal_rms`` is still to be divided by :attr:`root_numel`. Remembers in :attr:`measured` which there are, so
        that the host knows it without waiting for the device.
        """
        signal = self.signal()
        values = [*(weight or (None, None)), signal, signal, self.layer.update, self.saturation()]
        self.measured = frozenset(column for column, x in zip(COLUMNS, values, strict=True) if x is not None)
        return values

    def record(self, values: Sequence[float]) -> LayerGradient:
        kept = {column: x for column, x in zip(COLUMNS, values, strict=True) if column in self.measured}
        return LayerGradient(
            name=self.layer.name,
            forward_pass=self.forward_pass,
            backward_pass=self.backward_pass,
            aliases=self.layer.aliases,
            feeds=self.feeds,
            without_gradient=self.without_gradient,
            state=self.state([x for column, x in kept.items() if column in QUANTITIES]),
            **kept,  # type: ignore[arg-type]
        )

    @property
    def root_numel(self) -> float:
        """√(number of elements) of the signals that came; 1 where none did."""
        return math.sqrt(sum(numel for _, numel in self.signals) or 1)

    @property
    def reached(self) -> bool:
        """Whether an error signal came."""
        return bool(self.signals)

    def signal(self) -> Tensor | None:
        """‖∂L/∂h‖₂, a scalar on its device."""
        if not self.signals:
            return None
        parts = [part for part, _ in self.signals]
        return parts[0] if len(parts) == 1 and not parts[0].dim() else norm_of([part.reshape(-1) for part in parts])

    def saturation(self) -> Tensor | None:
        """The mean over the units of all activations that follow this forward pass."""
        if not self.saturated:
            return None
        units = sum(x.numel for x in self.saturated)
        return torch.stack([x.share * (x.numel / units) for x in self.saturated]).sum()

    def state(self, gradients: Sequence[float]) -> State:
        """Of the layer, of which these values of its gradients were measured."""
        if self.layer.frozen:
            return "frozen"
        if self.unused:
            return "unused"
        if not all(map(math.isfinite, gradients)):
            return "nonfinite"
        return "zero" if not any(gradients) else "ok"


def portions(layers: Sequence[LayerState]) -> list[list[LayerState]]:
    """The layers by portions of at most ``_MOST_WEIGHTS`` weights, on a GPU more, or one layer where it has more."""
    found: list[list[LayerState]] = []
    room = 0
    for layer in layers:
        size = sum(weight.numel() for weight in layer.weights)
        if size > room:
            found.append([])
            room = _MOST_WEIGHTS if layer.weights[0].device.type == "cpu" else _MOST_WEIGHTS_ON_A_GPU
        found[-1].append(layer)
        room -= size
    return found


def weight_norms(layers: Sequence[LayerState], buffer: FlatBuffer) -> dict[LayerState, WeightNorms]:
    """Of layers that all have gradients; ``buffer`` is overwritten."""
    filled = buffer.fill([layer.grads() for layer in layers])
    lengths, sums = filled.norms(), filled.norms(1)
    # Elements that a sparse gradient leaves out are zeros of the weight all the same.
    numels = tuple(sum(weight.numel() for weight in layer.weights if weight.grad is not None) for layer in layers)
    means = sums / constant(numels, sums.device)
    return dict(zip(layers, map(WeightNorms, means.unbind(), lengths.unbind()), strict=True))


def rows_of(windows: Sequence[Window], layers: Sequence[LayerState]) -> list[Row]:
    """A row for each backward pass through each forward pass that one reached, forward passes numbered among those; for
    a layer that none reached, one row without signals.

    Windows add up pass by pass. In the order of the forward passes, of several windows in that of the longest; layers
    that did not run come last, in the order of ``layers``.
    """
    reached = {forward.layer for window in windows for forward in window.passes if forward.signals}
    rows: dict[tuple[LayerState, int, int], Row] = {}
    keys: dict[ForwardPass, LayerKey] = {}
    followed: dict[tuple[LayerState, int], ForwardPass] = {}
    for window in sorted(windows, key=lambda w: len(w.passes), reverse=True):
        numbers: Counter[LayerState] = Counter()
        for forward in window.passes:
            layer = forward.layer
            if not forward.signals and (layer in reached or numbers[layer]):
                continue
            number = numbers[layer]
            keys[forward] = LayerKey(layer.name, number)
            if forward.feeds is not None:
                followed[layer, number] = forward
            for backward in sorted(forward.signals) or [0]:
                row = rows.setdefault((layer, number, backward), Row(layer, number, backward))
                row.signals += forward.signals.get(backward, [])
                row.saturated += forward.saturated
                row.outputs += forward.outputs
            numbers[layer] += 1
    for (layer, number, _), row in rows.items():
        if (layer, number) in followed:
            feeds = followed[layer, number].feeds or ()
            row.feeds = tuple(dict.fromkeys(keys[after] for after in feeds if after in keys))
    ran = {layer for layer, _, _ in rows}
    return [*rows.values(), *(Row(layer, 0, 0) for layer in layers if layer not in ran)]


def unreached(windows: Sequence[Window]) -> dict[str, int]:
    """By name of a layer, how many of its forward passes no gradient reached, where some of them were reached."""
    passes = dict.fromkeys(forward for window in windows for forward in window.passes if forward.nodes)
    missed = Counter(forward.layer.name for forward in passes if not forward.signals)
    reached = {forward.layer.name for forward in passes if forward.signals}
    return {name: count for name, count in missed.items() if name in reached}
