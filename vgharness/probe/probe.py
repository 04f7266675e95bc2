"""What captures gradients during a backward pass.

A site is a module with weights of its own. For each, in forward order, with h the module's output (the
pre-activation), L the loss and δ = ∂L/∂h the error signal:

``weight_mean_abs``  mean of |∂L/∂W|, the studied README's quantity; depends on the layer's size
``weight_l2``        ‖∂L/∂W‖₂
``signal_l2``        ‖δ‖₂ over the whole batch, the quantity that theory speaks of
``signal_rms``       ‖δ‖₂ / √numel
``relative_update``  ‖ΔW‖₂ / ‖W‖₂ of the optimizer's last step, where one was seen
``saturated``        share of the units of h whose |φ'(h)| is under 1 % of its supremum on every sample of the
                     batch (dead, for ReLU); on request, where an activation module follows the site
``state``            ``ok``; ``zero``: gradients came and are exactly zero; ``frozen``: the weight asks
                     for none; ``unused``: it asks and none came; ``nonfinite``: NaN or infinity

δ is read by a hook on the output *tensor*, set in a forward hook. Full-backward hooks raise where
an in-place activation follows, and ``retain_grad`` then returns the gradient after it. Where a module
puts out several tensors (an LSTM's, a dict) or has several weights, they count as one long vector; of complex
numbers the absolute values count. ``nn.MultiheadAttention`` is one site: its inner projections are never called as
modules.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import count
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.optimizer import Optimizer
from torch.utils.hooks import RemovableHandle

from vgharness.probe.hooks import leave, listen
from vgharness.probe.layers import Layers, find_sites
from vgharness.probe.norms import Packed, constant, norm, tensors_in
from vgharness.probe.passes import COLUMNS, Call, Round, Row, Watched, gradients_of, packs, rows_of
from vgharness.probe.saturation import greatest_slope, is_activation, saturated_share
from vgharness.records import QUANTITIES, GradientFlow


class GradientProbe:
    """Context manager that measures gradient flow through ``model``; changes nothing in it.

    >>> with GradientProbe(model) as probe:
    ...     loss(model(inputs), targets).backward()
    >>> probe.flow().factor()

    ``layers`` picks sites: names as in ``named_modules()``, globs of them (``"encoder.*"``), module
    types, or several of these; a type or a glob passes over modules without weights. Without it every
    module with a weight of two or more dimensions is one. ``scaler`` is the ``GradScaler`` that scales
    the loss, if one does: its scale is divided out, so read before it unscales or updates.
    ``saturation`` measures ``saturated`` too, at the cost of a pass of its own through every activation.
    An optimizer's step inside the ``with`` is measured as ``relative_update``, for which it keeps a copy of the
    weights.

    A module called several times gives a row per call; calls that no gradient reached give none, and are not
    counted, where others were reached. Micro-batches add up as ``.grad`` does, call by call, over the backward
    passes since the gradients were last set to None. Several passes through *one* graph (``retain_graph``, a
    gradient penalty) are numbered and have rows of their own. In DistributedDataParallel signals are the process's
    own and weight gradients, read after ``backward()``, the mean over all.

    Raises ``ValueError`` for a name or a pattern that fits nothing, for a model without sites, and for
    one that is compiled, replicated or not initialised, whose modules' hooks would silently not run.
    """

    def __init__(
        self,
        model: nn.Module,
        layers: Layers | None = None,
        *,
        scaler: torch.amp.GradScaler | None = None,
        saturation: bool = False,
    ) -> None:
        self._model, self._scaler = model, scaler
        self._sites = {site.module: Watched(site) for site in find_sites(model, layers)}
        activations = {m for m in model.modules() if is_activation(m)} if saturation else set()
        self._slopes = {activation: greatest_slope(activation) for activation in activations}
        self._training: bool | None = None
        self._rounds: list[Round] = []  # with signals that were not read yet
        self._round = Round()  # what forward calls are added to
        self._stale = False  # whether the next forward call begins another round
        self._order: list[Watched] = []  # in which sites were called before that
        self._rows: list[Row] = []  # of the last reading
        self._copies: dict[tuple[Optimizer, int], Packed] = {}  # of its weights before its step
        self._stepping: dict[Optimizer, list[tuple[list[Watched], Packed]]] = {}
        self._scratch = Packed()
        self._handles: list[RemovableHandle] = []
        self._entered = 0

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the sites in the order of the forward pass; those not called yet come last."""
        return tuple(site.name for site in self._in_order())

    def __enter__(self) -> GradientProbe:
        # On all modules rather than on each of ours: nothing hangs on the model, so that a copy made
        # or a file saved meanwhile carries no hook. Those on parameters are neither copied nor saved.
        if not self._entered:
            self._stale = True
            listen(self)
            for weight in {id(w): w for site in self._sites.values() for w in site.weights}.values():
                if weight.requires_grad:
                    self._handles.append(weight.register_post_accumulate_grad_hook(self._on_accumulate))  # type: ignore[no-untyped-call]
        self._entered += 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._entered -= 1
        if not self._entered:
            leave(self)
            while self._handles:
                self._handles.pop().remove()
            self._copies.clear()
            self._stepping.clear()

    # --- hooks -------------------------------------------------------------------------------------

    def after_forward(self, module: nn.Module, output: Any) -> None:
        site = self._sites.get(module)
        if site is None:
            return
        # Inside a backward pass only checkpointing calls modules: to compute again what it did not keep.
        repeated = torch._C._current_graph_task_id() != -1
        graph = torch.is_grad_enabled()
        if not graph and (repeated or not module.training):
            return  # evaluation; what is checkpointed runs without a graph too at first, but in training
        if not repeated:
            if self._stale:
                self._begin_round()
            self._training = self._model.training
        call = Call(site, repeated=repeated)
        if not repeated:
            self._round.add(call, graph=graph)
        if graph:
            self._round.latest = call
        for tensor in tensors_in(output):
            if tensor.requires_grad:
                self._listen(self._round, call, tensor)

    def _listen(self, round_: Round, call: Call, tensor: Tensor) -> None:
        passes = count()

        def receive(signal: Tensor | None) -> None:
            """Returns None, always: anything else would replace the gradient."""
            backward = next(passes)
            if signal is None:  # what autograd passes for one of several outputs that the loss does not use
                return
            if round_ not in self._rounds:
                self._rounds.append(round_)
            round_.place(call)
            call.signals.setdefault(backward, []).append((norm(signal), signal.numel()))

        tensor.register_hook(receive)  # type: ignore[no-untyped-call]

    def _on_accumulate(self, weight: Tensor) -> None:
        """``weight.grad`` has grown, so the next forward pass is the next micro-batch. One after a mere
        ``torch.autograd.grad`` belongs to the same graph as before: a gradient penalty's, for one."""
        self._stale = True

    def _begin_round(self) -> None:
        trained = [site for site in self._sites.values() if not site.frozen]
        cleared = {site for site in trained if not site.grads()}
        if len(cleared) == len(trained):
            cleared.update(self._sites.values())
        for round_ in self._rounds:
            for call in round_.calls:
                if call.site in cleared:  # cleared since the last pass, so that pass counts no more
                    call.signals.clear()
        self._rounds = [round_ for round_ in self._rounds if any(call.signals for call in round_.calls)]
        self._order = self._in_order()
        self._round, self._stale = Round(), False

    def before_forward(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        if module in self._slopes and self._round.latest is not None and torch.is_grad_enabled() and inputs:
            share = saturated_share(module, inputs[0], self._slopes[module])
            self._round.latest.saturated.append((share, inputs[0].numel()))

    def before_step(self, optimizer: Optimizer) -> None:
        self._stepping.pop(optimizer, None)  # a step that raised
        stepped = {id(weight) for group in optimizer.param_groups for weight in group["params"]}
        sites = [site for site in self._sites.values() if any(id(weight) in stepped for weight in site.weights)]
        for number, pack in enumerate(packs(sites)):
            copy = self._copies.setdefault((optimizer, number), Packed())
            self._stepping.setdefault(optimizer, []).append((pack, copy.fill([site.weights for site in pack])))

    def after_step(self, optimizer: Optimizer) -> None:
        for pack, before in self._stepping.pop(optimizer, []):
            was = before.norms()
            changed = self._scratch.fill([site.weights for site in pack]).subtract(before).norms()
            for site, update in zip(pack, changed / was, strict=True):
                site.update = update

    # --- what came ---------------------------------------------------------------------------------

    def read(self) -> Tensor:
        """What came since the last reading as one tensor [rows, 6] on the model's device, columns as in
        ``COLUMNS``, NaN where nothing came; then forgets it. Waits for nothing: no host sync.

        Call it after ``backward()``, and before gradients are clipped or cleared; ``relative_update`` is of the
        last step before it.
        """
        self._rows = rows_of([*(r for r in self._rounds if r is not self._round), self._round], self._in_order())
        gradients: dict[Watched, tuple[Tensor, Tensor]] = {}
        for pack in packs([site for site in self._sites.values() if site.grads()]):
            gradients |= gradients_of(pack, self._scratch)
        figures = [figure for row in self._rows for figure in row.figures(gradients.get(row.site))]
        nothing = torch.full((), math.nan, device=self._rows[0].site.weights[0].device)
        read = torch.stack([nothing if figure is None else figure.to(nothing.device) for figure in figures])
        read = read.view(-1, len(COLUMNS))
        read[:, COLUMNS.index("signal_rms")] /= constant(tuple(row.root_numel for row in self._rows), read.device)
        if self._scaler is not None:  # as a tensor: its `get_scale` would wait for the device
            scale = self._scaler.scale(torch.ones((), device=read.device))
            read = torch.cat([read[:, : len(QUANTITIES)] / scale, read[:, len(QUANTITIES) :]], dim=1)
        self._forget()
        return read

    def flow(self) -> GradientFlow:
        """What came since the last reading as a record; then forgets it. Transfers once to the host."""
        return self.record(self.read().tolist())

    def record(self, rows: Sequence[Sequence[float]]) -> GradientFlow:
        """``rows`` as the last :meth:`read` gave, or averages of several such readings → a flow."""
        layers = [row.record(figures) for row, figures in zip(self._rows, rows, strict=True)]
        missed = [row.site.name for row in self._rows if "signal_l2" not in row.came and not row.site.frozen]
        return GradientFlow(layers=tuple(layers), missed=tuple(missed), training=self._training)

    def _in_order(self) -> list[Watched]:
        called = [call.site for call in self._round.calls]
        return list(dict.fromkeys([*called, *self._order, *self._sites.values()]))

    def _forget(self) -> None:
        for round_ in [*self._rounds, self._round]:
            for call in round_.calls:
                call.signals.clear()
                call.saturated.clear()
        for row in self._rows:
            row.signals, row.saturated = [], []
        for site in self._sites.values():
            site.update = None
        self._rounds, self._stale = [], True
