"""Gradients of one network's layers, and by what they change from layer to layer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fnmatch import fnmatchcase
from itertools import pairwise
from typing import Final, NamedTuple, TypeVar

from pydantic import Field

from vgharness.records.base import FiniteRecord, Name, Quantity, Record, State, nan_if_none

# What is measured of a layer and can be compared, judged and shown; other quantities are a user's own.
LAYER_QUANTITIES: Final = ("signal_l2", "signal_rms", "weight_l2", "weight_mean_abs", "relative_update", "saturated")

_Value = TypeVar("_Value")


class LayerKey(NamedTuple):
    """Which row of a flow: a layer has several where it runs several times, or is gone back through several times."""

    name: str
    forward_pass: int = 0
    backward_pass: int = 0

    def __str__(self) -> str:
        forward = f"[{self.forward_pass}]" if self.forward_pass else ""
        backward = f" pass {self.backward_pass}" if self.backward_pass else ""
        return f"{self.name or 'model'}{forward}{backward}"


class LayerGradient(FiniteRecord):
    """One layer's gradient quantities; ``vgharness.probe`` defines them. ``None``: not measured, or not finite.

    name: the layer's name in ``model.named_modules()``.
    forward_pass: the how-manieth run of the layer this row is of, from 0; a layer that runs several times has a row
        for each, and the weight's gradient, which sums over all of them, stands in each.
    backward_pass: the how-manieth backward pass through that run, from 0.
    aliases: other names of the layer's weight.
    state: ``ok``; ``zero``, gradients came and are exactly zero; ``frozen``, the weight asks for none; ``unused``, it
        asks and none came; ``nonfinite``, NaN or infinity came.
    weight_mean_abs: mean |∂L/∂W|.
    weight_l2: ‖∂L/∂W‖₂.
    signal_l2: ‖∂L/∂h‖₂ over the whole batch, h the layer's output.
    signal_rms: ‖∂L/∂h‖₂ ÷ √(number of elements).
    relative_update: ‖ΔW‖₂ ÷ ‖W‖₂ of the optimizer's last step.
    saturated: share of the layer's units, 0 to 1, that pass almost no gradient on any sample.
    """

    name: Name
    forward_pass: int = Field(default=0, ge=0)
    backward_pass: int = Field(default=0, ge=0)
    aliases: tuple[Name, ...] = ()
    state: State
    weight_mean_abs: float | None = None
    weight_l2: float | None = None
    signal_l2: float | None = None
    signal_rms: float | None = None
    relative_update: float | None = None
    saturated: float | None = None

    @property
    def key(self) -> LayerKey:
        return LayerKey(self.name, self.forward_pass, self.backward_pass)


class GradientFlow(Record):
    """A probe's record of one network.

    layers: a row of quantities per layer and pass, from the input to the output.
    missed: names of the layers that no error signal reached.
    training: the model's own flag in the forward pass (a BatchNorm's backward pass differs); ``None``: there was none.
    """

    layers: tuple[LayerGradient, ...]
    missed: tuple[Name, ...] = ()
    training: bool | None = None

    def select(self, pattern: str) -> GradientFlow:
        """Only the layers whose name matches the glob ``pattern``, in the same order."""
        return GradientFlow(
            layers=tuple(x for x in self.layers if fnmatchcase(x.name, pattern)),
            missed=tuple(x for x in self.missed if fnmatchcase(x, pattern)),
            training=self.training,
        )

    def last_passes(self) -> tuple[LayerGradient, ...]:
        """One row per forward pass: of several backward passes through it the last, which is the loss's own."""
        return tuple(last_passes({layer.key: layer for layer in self.layers}).values())

    def factors(self, quantity: Quantity = "signal_l2") -> tuple[float, ...]:
        """The factors toward the input of ``quantity``: for n forward passes the n - 1 ratios of one's value to the
        next one's, in forward order. As :func:`factors_toward_input` says where a value is missing or 0."""
        values = {layer.key: nan_if_none(getattr(layer, quantity)) for layer in self.layers}
        return tuple(factors_toward_input(values).values())

    def factor(self, quantity: Quantity = "signal_l2") -> float:
        """Geometric mean of :meth:`factors`: below 1 the quantity shrinks toward the input. NaN where
        one of them is not finite.

        Raises ``ValueError`` with fewer than two layers.
        """
        factors = self.factors(quantity)
        if not factors:
            raise ValueError(f"a factor per layer needs two layers, this flow has {len(self.layers)}")
        if not all(map(math.isfinite, factors)):
            return math.nan
        return float(math.prod(factors) ** (1 / len(factors)))


def last_passes(rows: Mapping[LayerKey, _Value]) -> dict[LayerKey, _Value]:
    """Of several backward passes through one forward pass only the last, in the order of the forward passes."""
    last = {(key.name, key.forward_pass): key for key in rows}
    return {key: rows[key] for key in last.values()}


def factors_toward_input(values: Mapping[LayerKey, float]) -> dict[tuple[LayerKey, LayerKey], float]:
    """By what a quantity is multiplied from each layer to the one that feeds it.

    ``values`` are in forward order; of several backward passes the last counts. Returns, by (the layer nearer the
    input, the layer nearer the output), the ratio of their values: NaN where one was not measured or both are 0,
    infinity where only the one nearer the output is 0.
    """
    return {(a, b): _ratio(x, y) for (a, x), (b, y) in pairwise(last_passes(values).items())}


def _ratio(a: float, b: float) -> float:
    if b == 0:
        return math.inf if a > 0 else math.nan
    return a / b
