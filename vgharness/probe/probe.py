"""What captures gradients during a backward pass.

A layer is a module with weights of its own. For each, in forward order, with h the module's output (the
pre-activation), L the loss and δ = ∂L/∂h the error signal:

``weight_mean_abs``  mean of |∂L/∂W|, the studied README's quantity; depends on the layer's size
``weight_l2``        ‖∂L/∂W‖₂
``signal_l2``        ‖δ‖₂ over the whole batch, the quantity that theory speaks of
``signal_rms``       ‖δ‖₂ / √numel
``relative_update``  ‖ΔW‖₂ / ‖W‖₂ of the optimizer's last step; on request, where one was seen
``saturated``        share of the units of h whose |φ'(h)| is under 1 % of its supremum on every sample of the
                     batch (dead, for ReLU); on request, where an activation module follows the layer
``state``            ``ok``; ``zero``: gradients came and are exactly zero; ``frozen``: the weight asks
                     for none; ``unused``: it asks and none came; ``nonfinite``: NaN or infinity

δ is read by a hook on the output *tensor*, set in a forward hook. Full-backward hooks raise where
an in-place activation follows, and ``retain_grad`` then returns the gradient after it. Where a module
puts out several tensors (an LSTM's, a dict) or has several weights, they count as one long vector; of complex
numbers the absolute values count. ``nn.MultiheadAttention`` is one layer: its inner projections never run as
modules.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import count
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node
from torch.optim.optimizer import Optimizer
from torch.utils.hooks import RemovableHandle

from vgharness.probe.graph import links, nodes_of
from vgharness.probe.hooks import subscribe, unsubscribe, weakly
from vgharness.probe.layers import LayerChoice, find_layers
from vgharness.probe.norms import FlatBuffer, constant, norm_parts, stacked, tensors_in
from vgharness.probe.on_request import output_scales, parameter_gradients, through_time
from vgharness.probe.outputs import output_sizes, output_spread
from vgharness.probe.passes import (
    COLUMNS,
    ForwardPass,
    LayerState,
    Row,
    SaturatedUnits,
    WeightNorms,
    Window,
    portions,
    rows_of,
    unreached,
    weight_norms,
)
from vgharness.probe.saturation import greatest_slope, is_activation, saturated_units
from vgharness.probe.through_time import RecurrentPass
from vgharness.records import QUANTITIES, GradientFlow


class GradientProbe:
    """Context manager that measures gradient flow through ``model``; changes nothing in it.

    >>> with GradientProbe(model) as probe:
    ...     loss(model(inputs), targets).backward()
    >>> probe.flow().factor()

    ``layers`` picks layers: names as in ``named_modules()``, globs of them (``"encoder.*"``), module
    types, or several of these; a type or a glob passes over modules without weights. Without it every
    module with a parameter of its own is one. ``scaler`` is the ``GradScaler`` that scales
    the loss, if one does: its scale is divided out, so read before it unscales or updates.
    ``saturation`` measures ``saturated`` too, at the cost of a pass of its own through every activation.
    ``through_time`` measures the signal at every step inside ``nn.RNN``, ``nn.LSTM`` and ``nn.GRU`` for
    :meth:`flow`, which computes them again step by step. ``parameters`` gives :meth:`flow` the gradient of each
    parameter, ``outputs`` the scale of what each layer puts out and how much the model's own output differs from sample
    to sample. ``updates`` measures an optimizer's step inside the ``with`` as ``relative_update``, for which it keeps a
    copy of the weights. ``feeds`` follows which layer's output goes into which at each forward pass of the model, back
    from what it puts out; :meth:`backward` does it from the loss.

    A layer that runs several times gives a row per forward pass; passes that no gradient reached give none, and are
    not counted, where others were reached. Micro-batches add up as ``.grad`` does, pass by pass, over the backward
    passes since the gradients were last set to None. Several backward passes through *one* graph (``retain_graph``, a
    gradient penalty) are numbered and have rows of their own. In DistributedDataParallel signals are the process's
    own and weight gradients, read after ``backward()``, the mean over all.

    Raises ``ValueError`` for a name or a pattern that fits nothing, for a model without layers to measure, and for
    one that is compiled, replicated or not initialised, whose modules' hooks would silently not run.
    """

    def __init__(
        self,
        model: nn.Module,
        layers: LayerChoice | None = None,
        *,
        scaler: torch.amp.GradScaler | None = None,
        saturation: bool = False,
        through_time: bool = False,
        parameters: bool = False,
        outputs: bool = False,
        updates: bool = False,
        feeds: bool = False,
    ) -> None:
        self._through_time, self._parameters, self._outputs = through_time, parameters, outputs
        self._updates, self._feeds = updates, feeds
        self._model, self._scaler = model, scaler
        self._layers = {layer.module: LayerState(layer) for layer in find_layers(model, layers)}
        activations = {m for m in model.modules() if is_activation(m)} if saturation else set()
        self._slopes = {activation: greatest_slope(activation) for activation in activations}
        self._training: bool | None = None
        self._spread: Tensor | None = None  # of the model's last output over its samples
        self._windows: list[Window] = []  # with signals that were not read yet
        self._window = Window()  # what forward passes are added to
        self._stale = False  # whether the next forward pass begins another window
        self._order: list[LayerState] = []  # in which layers ran before that
        self._rows: list[Row] = []  # of the last reading
        self._unreached: dict[str, int] = {}  # by layer, passes that no gradient reached, of the last reading
        self._copies: dict[tuple[Optimizer, int], FlatBuffer] = {}  # of its weights before its step
        self._stepping: dict[Optimizer, list[tuple[list[LayerState], FlatBuffer]]] = {}
        self._scratch = FlatBuffer()
        self._handles: list[RemovableHandle] = []
        self._entered = 0

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers in the order of the forward pass; those that did not run yet come last."""
        return tuple(layer.name for layer in self._in_order())

    def __enter__(self) -> GradientProbe:
        # On all modules rather than on each of ours: nothing hangs on the model, so that a copy made
        # or a file saved meanwhile carries no hook. Those on parameters are neither copied nor saved.
        if not self._entered:
            self._stale = True
            subscribe(self, steps=self._updates)
            grown = weakly(self._on_accumulate)
            for weight in {id(w): w for layer in self._layers.values() for w in layer.weights}.values():
                if weight.requires_grad:
                    self._handles.append(weight.register_post_accumulate_grad_hook(grown))  # type: ignore[no-untyped-call]
        self._entered += 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._entered -= 1
        if not self._entered:
            unsubscribe(self)
            while self._handles:
                self._handles.pop().remove()
            self._copies.clear()
            self._stepping.clear()

    # --- hooks -------------------------------------------------------------------------------------

    def after_forward(self, module: nn.Module, inputs: tuple[Any, ...], keywords: dict[str, Any], output: Any) -> None:
        layer = self._layers.get(module)
        if layer is not None:
            self._add_pass(layer, module, inputs, keywords, output)
        if module is not self._model or not torch.is_grad_enabled():
            return
        if self._outputs:
            self._spread = output_spread(output)
        # What checkpointing keeps no graph of would look like a gap between the layers around it.
        if self._feeds and not self._window.graphless:
            self._follow_from(tensors_in(output), self._window.passes)

    def _add_pass(
        self, layer: LayerState, module: nn.Module, inputs: tuple[Any, ...], keywords: dict[str, Any], output: Any
    ) -> None:
        # Inside a backward pass only checkpointing calls modules: to compute again what it did not keep.
        repeated = torch._C._current_graph_task_id() != -1
        graph = torch.is_grad_enabled()
        if not graph and (repeated or not module.training):
            return  # evaluation; what is checkpointed runs without a graph too at first, but in training
        if not repeated:
            if self._stale:
                self._begin_window()
            self._training = self._model.training
        forward = ForwardPass(layer, repeated=repeated)
        if not repeated:
            self._window.add(forward, graph=graph)
        if graph:
            self._window.latest = forward
        if self._through_time and graph and isinstance(module, nn.RNNBase):
            forward.recurrent = RecurrentPass(module, inputs, keywords, output)
        if self._outputs:
            forward.outputs = output_sizes(output)
        for tensor in (output,) if type(output) is Tensor else tensors_in(output):
            if tensor.requires_grad:
                self._receive_signal_of(self._window, forward, tensor)
                forward.nodes += nodes_of(tensor)

    def _receive_signal_of(self, window: Window, forward: ForwardPass, tensor: Tensor) -> None:
        passes = count()

        def receive(signal: Tensor | None) -> None:
            """Returns None, always: anything else would replace the gradient."""
            backward = next(passes)
            if signal is None:  # what autograd passes for one of several outputs that the loss does not use
                return
            if window not in self._windows:
                self._windows.append(window)
            window.place(forward)
            forward.signals.setdefault(backward, []).append((norm_parts(signal), signal.numel()))

        tensor.register_hook(receive)  # type: ignore[no-untyped-call]

    def _on_accumulate(self, weight: Tensor) -> None:
        """``weight.grad`` has grown, so the next forward pass is the next micro-batch. One after a mere
        ``torch.autograd.grad`` belongs to the same graph as before: a gradient penalty's, for one."""
        self._stale = True

    def _begin_window(self) -> None:
        trained = [layer for layer in self._layers.values() if not layer.frozen]
        cleared = {layer for layer in trained if not layer.grads()}
        if len(cleared) == len(trained):
            cleared.update(self._layers.values())
        for window in self._windows:
            for forward in window.passes:
                if forward.layer in cleared:  # cleared since the last pass, so that pass counts no more
                    forward.signals.clear()
        self._windows = [window for window in self._windows if any(forward.signals for forward in window.passes)]
        self._order = self._in_order()
        self._window, self._stale = Window(), False

    def before_forward(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        if module in self._slopes and self._window.latest is not None and torch.is_grad_enabled() and inputs:
            mask = saturated_units(module, inputs[0], self._slopes[module])
            found = self._window.latest.saturated
            found.append(SaturatedUnits(len(found), mask, mask.float().mean(), inputs[0].numel()))

    def before_step(self, optimizer: Optimizer, *, closure: bool) -> None:
        self._stepping.pop(optimizer, None)  # a step that raised
        stepped = {id(weight) for group in optimizer.param_groups for weight in group["params"]}
        layers = [layer for layer in self._layers.values() if any(id(weight) in stepped for weight in layer.weights)]
        for number, portion in enumerate(portions(layers)):
            copy = self._copies.setdefault((optimizer, number), FlatBuffer())
            self._stepping.setdefault(optimizer, []).append((portion, copy.fill([layer.weights for layer in portion])))

    def after_step(self, optimizer: Optimizer) -> None:
        for portion, before in self._stepping.pop(optimizer, []):
            was = before.norms()
            changed = self._scratch.fill([layer.weights for layer in portion]).subtract(before).norms()
            for layer, update in zip(portion, changed / was, strict=True):
                layer.update = update

    # --- the judged backward pass ------------------------------------------------------------------

    def backward(self, loss: Tensor) -> None:
        """Runs ``loss.backward()``, and makes what it sends the signals that are read: those of backward passes before
        it, such as an inner ``torch.autograd.grad``, are dropped. Follows in the graph which layer's output goes into
        which, so that factors stand between layers that are connected."""
        passes = [forward for window in [*self._windows, self._window] for forward in window.passes]
        for forward in passes:
            forward.signals.clear()
        self._follow_from([loss], passes)
        loss.backward()  # type: ignore[no-untyped-call]

    def _follow_from(self, ends: Iterable[Tensor], passes: Iterable[ForwardPass]) -> None:
        outputs: dict[Node, list[ForwardPass]] = {}
        for forward in dict.fromkeys(passes):
            for node in forward.nodes:
                if forward not in outputs.setdefault(node, []):
                    outputs[node].append(forward)
        for forward, feeds in links(ends, outputs).items():
            forward.feeds = feeds

    # --- what came ---------------------------------------------------------------------------------

    def read(self) -> Tensor:
        """What came since the last reading as one tensor [rows, 6] on the model's device, columns as in
        ``COLUMNS``, NaN where nothing came; then forgets it. Waits for nothing: no host sync.

        Call it after ``backward()``, and before gradients are clipped or cleared; ``relative_update`` is of the
        last step before it.
        """
        self._gather()
        norms: dict[LayerState, WeightNorms] = {}
        for portion in portions([layer for layer in self._layers.values() if layer.grads()]):
            norms |= weight_norms(portion, self._scratch)
        values = [value for row in self._rows for value in row.values(norms.get(row.layer))]
        nothing = torch.full((), math.nan, device=self._rows[0].layer.weights[0].device)
        read = stacked([nothing if value is None else value.to(nothing.device) for value in values])
        read = read.view(-1, len(COLUMNS))
        read[:, COLUMNS.index("signal_rms")] /= constant(tuple(row.root_numel for row in self._rows), read.device)
        if self._scaler is not None:  # as a tensor: its `get_scale` would wait for the device
            scale = self._scaler.scale(torch.ones((), device=read.device))
            read = torch.cat([read[:, : len(QUANTITIES)] / scale, read[:, len(QUANTITIES) :]], dim=1)
        self._forget()
        return read

    def take(self) -> tuple[list[Row], Tensor | None]:
        """What came since the last reading, not yet put together, but for the weights' gradients: the rows, and how
        much the model's last output differed from sample to sample where that was asked for; then forgets it."""
        spread, self._spread = self._spread, None
        self._gather()
        rows, self._rows = self._rows, []
        self._forget()
        return rows, spread

    def _gather(self) -> None:
        self._rows = rows_of([*(w for w in self._windows if w is not self._window), self._window], self._in_order())
        self._unreached = unreached([*self._windows, self._window])
        for row in self._rows:
            row.without_gradient, row.unused = row.layer.without_gradient, row.layer.unused

    def flow(self) -> GradientFlow:
        """What came since the last reading as a record; then forgets it. Waits for the device."""
        recurrent = [
            forward
            for window in dict.fromkeys([*self._windows, self._window])
            for forward in window.passes
            if forward.recurrent is not None
        ]
        spread = None if self._spread is None or not math.isfinite(self._spread) else float(self._spread)
        self._spread = None
        flow = self.record(self.read().tolist())
        more: list[dict[str, Any]] = [{} for _ in self._rows]
        if self._outputs:
            more = output_scales([row.outputs for row in self._rows])
        if self._parameters:
            scale = 1.0 if self._scaler is None else self._scaler.get_scale()
            own = parameter_gradients(self._layers.values(), scale)
            more = [{**fields, "parameters": own[row.layer.name]} for fields, row in zip(more, self._rows, strict=True)]
        layers = tuple(x.changed(**y) for x, y in zip(flow.layers, more, strict=True))
        return flow.changed(**through_time(recurrent), layers=layers, output_spread=spread)

    def record(self, rows: Sequence[Sequence[float]]) -> GradientFlow:
        """``rows`` as the last :meth:`read` gave, or averages of several such readings → a flow."""
        layers = [row.record(values) for row, values in zip(self._rows, rows, strict=True)]
        missed = [row.layer.name for row in self._rows if "signal_l2" not in row.measured and not row.layer.frozen]
        return GradientFlow(
            layers=tuple(layers), missed=tuple(missed), training=self._training, unreached=self._unreached
        )

    def _in_order(self) -> list[LayerState]:
        ran = [forward.layer for forward in self._window.passes]
        return list(dict.fromkeys([*ran, *self._order, *self._layers.values()]))

    def _forget(self) -> None:
        for window in [*self._windows, self._window]:
            for forward in window.passes:
                forward.signals.clear()
                forward.saturated.clear()
                forward.outputs = []
                forward.nodes.clear()
        for row in self._rows:
            row.signals, row.saturated = [], []
        for layer in self._layers.values():
            layer.update = None
        self._windows, self._stale = [], True
