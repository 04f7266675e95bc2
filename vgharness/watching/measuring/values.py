"""What was read at one step, and the values that a snapshot holds of it."""

from __future__ import annotations

import math
from collections.abc import Collection, Hashable, Iterable, Mapping
from functools import cached_property
from typing import Final

from torch import nn

from vgharness.probe.passes import LayerState, Row
from vgharness.records import SNAPSHOT_QUANTITIES, ParameterSnapshot, SnapshotQuantity, State
from vgharness.watching.measuring.numbers import Numbers, finite
from vgharness.watching.measuring.weights import sampled_share

_GRADIENTS: Final[tuple[SnapshotQuantity, ...]] = ("signal_l2", "signal_rms", "weight_l2", "weight_mean_abs")
_BRIEF: Final[tuple[SnapshotQuantity, ...]] = (*_GRADIENTS, "relative_update")
_OF_WEIGHTS: Final[tuple[SnapshotQuantity, ...]] = ("weight_l2", "weight_mean_abs", "relative_update")
_OF_WEIGHTS_FULL: Final[tuple[SnapshotQuantity, ...]] = (*_OF_WEIGHTS, "weight_norm", "idle_rows")


class Reading:
    """What was read at one step, still on its device.

    full: whether all was measured.
    rows: of the layers.
    numbers: what is on the device, by key.
    gradients: versions of the gradients that were measured as backward passes left them, by name of the parameter.
    changed: how many norms make up that of all gradients as the optimizer got them; 0: nothing was done to them since.
    still_scaled: whether they were divided by the loss's scale then no more than before.
    without_gradient: names of parameters that ask for one and have none.
    optimized: names of parameters that an optimizer has.
    """

    def __init__(self, rows: list[Row], *, full: bool) -> None:
        self.rows, self.full = rows, full
        self.numbers = Numbers()
        self.gradients: dict[str, int] = {}
        self.changed = 0
        self.still_scaled = False
        self.without_gradient: tuple[str, ...] = ()
        self.optimized: Collection[str] = ()


class Values:
    """The numbers of a reading on the host; ``names``: of the parameters, by ``id``. Waits for the device."""

    def __init__(self, reading: Reading, names: Mapping[int, str]) -> None:
        self._reading, self._names = reading, names
        self._found = reading.numbers.fetch()
        self._scale = self._found.get("scale", 1.0)

    # --- of the whole model --------------------------------------------------------------------------

    @property
    def spread(self) -> float | None:
        return self._found.get("spread")

    @property
    def loss_scale(self) -> float | None:
        return self._found.get("scale")

    @property
    def total_norm(self) -> float | None:
        """As backward passes left it."""
        return self._length(("l2", name) for name in self._reading.gradients)

    @property
    def clipped_norm(self) -> float | None:
        """As the optimizer got it."""
        if not self._reading.changed:
            return self.total_norm
        norm = math.hypot(*(self._found["changed", at] for at in range(self._reading.changed)))
        return norm / self._scale if self._reading.still_scaled else norm

    # --- of each row ---------------------------------------------------------------------------------

    def columns(self) -> dict[SnapshotQuantity, tuple[float | None, ...]]:
        """By quantity, a value for each row; without what a brief snapshot leaves out."""
        return {name: tuple(map(finite, column)) for name, column in self._columns.items()}

    def states(self) -> tuple[State, ...]:
        gradients = zip(*(self._columns[name] for name in _GRADIENTS), strict=True)
        rows = zip(self._reading.rows, gradients, strict=True)
        return tuple(row.state([x for x in own if x is not None]) for row, own in rows)

    @cached_property
    def _columns(self) -> dict[SnapshotQuantity, list[float | None]]:
        rows = self._reading.rows
        signals = [self._divided(("signal", at)) for at in range(len(rows))]
        means = [x if x is None else x / row.root_numel for x, row in zip(signals, rows, strict=True)]
        columns: dict[SnapshotQuantity, list[float | None]] = {"signal_l2": signals, "signal_rms": means}
        for name in _OF_WEIGHTS_FULL if self._reading.full else _OF_WEIGHTS:
            columns[name] = [self._of_weights[row.layer][name] for row in rows]
        if self._reading.full:
            columns["saturated"] = [self._found.get(("saturated", at)) for at in range(len(rows))]
            columns["dead_units"] = [self._found.get(("dead", at)) for at in range(len(rows))]
            columns["output_rms"], columns["output_zeros"] = map(
                list, zip(*(self._of_outputs(at, row) for at, row in enumerate(rows)), strict=True)
            )
        return {name: columns[name] for name in (SNAPSHOT_QUANTITIES if self._reading.full else _BRIEF)}

    def _of_outputs(self, at: int, row: Row) -> tuple[float | None, float | None]:
        """Their root mean square, and their share of zeros."""
        numel = sum(size.numel for size in row.outputs)
        if not numel:
            return None, None
        places = range(len(row.outputs))
        zeros = sum(self._found["zeros", at, place] for place in places)
        return math.hypot(*(self._found["length", at, place] for place in places)) / math.sqrt(numel), zeros / numel

    @cached_property
    def _of_weights(self) -> dict[LayerState, dict[SnapshotQuantity, float | None]]:
        return {layer: self._weights_of(layer) for layer in {row.layer for row in self._reading.rows}}

    def _weights_of(self, layer: LayerState) -> dict[SnapshotQuantity, float | None]:
        weights = {self._names[id(w)]: w for w in layer.weights if id(w) in self._names}
        graded = {name: w for name, w in weights.items() if name in self._reading.gradients}
        sums = [self._found["l1", name] for name in graded]
        numel = sum(w.numel() for w in graded.values())
        rows = {name: len(w) for name, w in weights.items() if ("idle", name) in self._found}
        return {
            "weight_l2": self._length(("l2", name) for name in graded),
            "weight_mean_abs": sum(sums) / numel / self._scale if numel else None,
            "relative_update": self._update(weights),
            "weight_norm": self._norm(weights),
            "idle_rows": sum(self._found["idle", name] for name in rows) / sum(rows.values()) if rows else None,
        }

    # --- of each parameter ---------------------------------------------------------------------------

    def parameters(self, parameters: Mapping[str, nn.Parameter]) -> dict[str, ParameterSnapshot]:
        return {name: self._parameter(name, parameter) for name, parameter in parameters.items()}

    def _parameter(self, name: str, parameter: nn.Parameter) -> ParameterSnapshot:
        idle = self._found.get(("idle", name))
        return ParameterSnapshot(
            grad_l2=self._divided(("l2", name)) if name in self._reading.gradients else None,
            norm=self._found.get(("norm", name)),
            relative_update=self._update({name: parameter}),
            idle_rows=None if idle is None else idle / len(parameter),
        )

    # --- arithmetic ----------------------------------------------------------------------------------

    def _divided(self, key: Hashable) -> float | None:
        """Of a gradient, without the loss's scale."""
        return self._found[key] / self._scale if key in self._found else None

    def _length(self, keys: Iterable[Hashable]) -> float | None:
        """Of several gradients together."""
        lengths = [self._found[key] for key in keys]
        return math.hypot(*lengths) / self._scale if lengths else None

    def _norm(self, weights: Iterable[str]) -> float | None:
        norms = [self._found[key] for key in (("norm", name) for name in weights) if key in self._found]
        return math.hypot(*norms) if norms else None

    def _update(self, weights: Mapping[str, nn.Parameter]) -> float | None:
        """Of those that an optimizer has."""
        moved = [name for name in weights if ("by", name) in self._found and name in self._reading.optimized]
        if not moved:
            return None
        roots = [math.sqrt(sampled_share(weights[name].numel())) for name in moved]
        was = math.hypot(*(self._found["was", name] / root for name, root in zip(moved, roots, strict=True)))
        by = math.hypot(*(self._found["by", name] / root for name, root in zip(moved, roots, strict=True)))
        return by / was if was else None
