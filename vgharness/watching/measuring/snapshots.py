"""Measures one model at one step of its training: what a snapshot holds, from a probe and from its parameters.

A snapshot is either full or brief. A brief one leaves out what takes another pass over what every layer puts out, over
all weights, or over all rows of their gradients: where a snapshot is taken at every step, a full one is taken at every
tenth at most.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import torch
from torch import nn
from torch.optim.optimizer import Optimizer

from vgharness.probe.layers import LayerChoice
from vgharness.probe.norms import FlatBuffer, norm
from vgharness.probe.passes import Row
from vgharness.probe.probe import GradientProbe
from vgharness.records import LayerKey, LogRow
from vgharness.watching.measuring.dead_units import DeadUnits
from vgharness.watching.measuring.gradients import GradientSizes, long_ones, portions
from vgharness.watching.measuring.idle import idle_rows
from vgharness.watching.measuring.numbers import Numbers
from vgharness.watching.measuring.values import Reading, Values
from vgharness.watching.measuring.weights import WeightSamples
from vgharness.watching.scaling import LossScale

FULL_EVERY: Final = 10  # steps, at least


class SnapshotReader:
    """Reads one model; ``layers`` as of :class:`~vgharness.GradientProbe`, ``parameters``: each of them by itself too.

    Raises ``ValueError`` as :class:`~vgharness.GradientProbe` does.
    """

    def __init__(self, model: nn.Module, layers: LayerChoice | None, scale: LossScale, *, parameters: bool) -> None:
        self._brief = GradientProbe(model, layers)
        self._full = GradientProbe(model, layers, saturation=True, outputs=True, feeds=True)
        self._probe: GradientProbe | None = None
        self._scale, self._each = scale, parameters
        self._parameters = dict(model.named_parameters())
        self._names = {id(parameter): name for name, parameter in self._parameters.items()}
        self._gradients = GradientSizes(self._parameters)
        self._samples = WeightSamples(self._parameters)
        self._dead = DeadUnits()
        self._buffer = FlatBuffer()
        self._feeds: dict[LayerKey, tuple[LayerKey, ...] | None] = {}  # as the last full snapshot had them
        self._last: list[tuple[LayerKey, tuple[LayerKey, ...] | None]] = []  # rows, and what they feed
        self._last_rows: tuple[LogRow, ...] = ()

    # --- while a step is measured --------------------------------------------------------------------

    def listen(self, *, full: bool) -> None:
        """Measures what comes from now on."""
        wanted = self._full if full else self._brief
        if self._probe is not wanted:
            self.rest()
            wanted.__enter__()
            self._probe = wanted
        self._gradients.listen()

    def rest(self) -> None:
        """Leaves the model alone."""
        if self._probe is not None:
            self._probe.take()
            self._probe.__exit__(None, None, None)
            self._probe = None
        self._gradients.rest()

    @property
    def listens(self) -> bool:
        """Whether it measured the passes since the last step."""
        return self._probe is not None

    def keep_weights(self) -> None:
        """Before the weights change, so that it can be seen by how much."""
        self._samples.keep()

    def read(self, optimizer: Optimizer | None, *, within_step: bool) -> Reading:
        """When gradients are complete and the weights not yet changed; waits for nothing."""
        assert self._probe is not None
        full = self._probe is self._full
        rows, spread = self._probe.take()
        reading = Reading(rows, full=full)
        numbers = reading.numbers
        sizes = self._gradients.take()
        reading.gradients = sizes.versions
        for names, l2, l1 in sizes.measured:
            numbers.put_all([("l2", name) for name in names], l2)
            numbers.put_all([("l1", name) for name in names], l1)
        self._read_changed(reading, optimizer, within_step=within_step)
        parameters = self._parameters.items()
        reading.without_gradient = tuple(name for name, p in parameters if p.requires_grad and p.grad is None)
        numbers.put("spread", spread)
        for at, row in enumerate(rows):
            numbers.put(("signal", at), row.signal())
            if full:
                self._read_outputs(at, row, numbers)
        if full:
            self._read_weights(rows, numbers)
        return reading

    def _read_changed(self, reading: Reading, optimizer: Optimizer | None, *, within_step: bool) -> None:
        """What has become of the gradients since the backward passes."""
        if not reading.gradients:
            return
        if self._scale.used or self._gradients.changed(reading.gradients):  # unscaling is not counted as a change
            norms = [torch.linalg.vector_norm(own) for own in self._gradients.now()]
            for at, norm in enumerate(norms):
                reading.numbers.put(("changed", at), norm)
            reading.changed = len(norms)
            reading.still_scaled = optimizer is not None and self._scale.is_on(optimizer, within_step=within_step)
        if self._scale.used:
            reading.numbers.put("scale", self._scale.tensor(self._parameters[next(iter(reading.gradients))].device))

    def _read_outputs(self, at: int, row: Row, numbers: Numbers) -> None:
        numbers.put(("saturated", at), row.saturation())
        numbers.put(("dead", at), self._dead.add(row))
        for place, size in enumerate(row.outputs):
            numbers.put(("length", at, place), size.length)
            numbers.put(("zeros", at, place), size.zeros)

    def _read_weights(self, rows: Sequence[Row], numbers: Numbers) -> None:
        layers = {row.layer for row in rows}
        wanted = {self._names[id(w)]: w for layer in layers for w in layer.weights if id(w) in self._names}
        wanted = self._parameters if self._each else wanted
        long = long_ones(wanted)
        for name in long:
            numbers.put(("norm", name), norm(wanted[name]))
        for names in portions({name: w for name, w in wanted.items() if name not in long}):
            norms = self._buffer.fill([[wanted[name]] for name in names]).norms()
            numbers.put_all([("norm", name) for name in names], norms)
        for name, parameter in wanted.items():
            if parameter.grad is not None and parameter.dim():
                numbers.put(("idle", name), idle_rows(parameter.grad))

    def read_updates(self, reading: Reading) -> None:
        """When the step has been taken."""
        for names, was, by in self._samples.moved():
            reading.numbers.put_all([("was", name) for name in names], was)
            reading.numbers.put_all([("by", name) for name in names], by)

    # --- as records ----------------------------------------------------------------------------------

    def fields(self, reading: Reading) -> tuple[dict[str, Any], tuple[LogRow, ...]]:
        """The fields of a snapshot that come from the device, and its rows; waits for the device."""
        values = Values(reading, self._names)
        reached = [row for row in reading.rows if row.reached]
        unseen = not reached and reading.gradients  # the modules ran where no hook sees them: compiled since, for one
        return {
            "states": values.states(),
            "values": values.columns(),
            "without_gradient": reading.without_gradient,
            "missed": () if unseen else tuple(x.layer.name for x in reading.rows if not (x.reached or x.layer.frozen)),
            "output_spread": values.spread,
            "parameters": values.parameters(self._parameters) if self._each else {},
            "total_norm": values.total_norm,
            "clipped_norm": values.clipped_norm,
            "loss_scale": values.loss_scale,
        }, self._rows(reading)

    def _rows(self, reading: Reading) -> tuple[LogRow, ...]:
        """A brief snapshot's layers feed each other as in the last full one, if they are the same."""
        keys = [LayerKey(x.layer.name, x.forward_pass, x.backward_pass) for x in reading.rows]
        if reading.full or set(keys) != set(self._feeds):
            self._feeds = {key: row.feeds for key, row in zip(keys, reading.rows, strict=True)}
        now = [(key, self._feeds[key]) for key in keys]
        if now != self._last:
            self._last = now
            self._last_rows = tuple(
                LogRow(**key._asdict(), aliases=row.layer.aliases, feeds=feeds)
                for (key, feeds), row in zip(now, reading.rows, strict=True)
            )
        return self._last_rows
