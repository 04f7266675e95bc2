"""What captures gradients during a backward pass.

A site is a module with weights of its own. For each, in forward order, with h the module's output (the
pre-activation), L the loss and δ = ∂L/∂h the error signal:

``weight_mean_abs``  mean of |∂L/∂W|, the studied README's quantity; depends on the layer's size
``weight_l2``        ‖∂L/∂W‖₂
``signal_l2``        ‖δ‖₂ over the whole batch, the quantity that theory speaks of
``signal_rms``       ‖δ‖₂ / √numel
``state``            ``ok``; ``zero``: gradients came and are exactly zero; ``frozen``: the weight asks
                     for none; ``unused``: it asks and none came; ``nonfinite``: NaN or infinity

δ is read by a hook on the output *tensor*, set in a forward hook. Full-backward hooks raise where
an in-place activation follows, and ``retain_grad`` then returns the gradient after it. Where a module
puts out several tensors (an LSTM's, a dict) or has several weights, they count as one long vector.
``nn.MultiheadAttention`` is one site: its inner projections are never called as modules.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from types import TracebackType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook
from torch.utils.hooks import RemovableHandle

from vgharness.records import QUANTITIES, GradientFlow, LayerGradient, Quantity, State

_ROW = 2**12

Layers = str | type[nn.Module] | Sequence[str | type[nn.Module]]


class GradientProbe:
    """Context manager that measures gradient flow through ``model``; changes nothing in it.

    >>> with GradientProbe(model) as probe:
    ...     loss(model(inputs), targets).backward()
    >>> probe.flow().factor()

    ``layers`` picks sites: names as in ``named_modules()``, globs of them (``"encoder.*"``), module
    types, or several of these; a type or a glob passes over modules without weights. Without it every
    module with a weight of two or more dimensions is one. ``scaler`` is the ``GradScaler`` that scales
    the loss, if one does: its scale is divided out, so read before it unscales or updates.

    Signals add up as ``.grad`` does: over the backward passes since the gradients were last set to
    None, and over a site's calls within a pass.

    Raises ``ValueError`` for a name or a pattern that fits nothing, for a model without sites, and for
    one that is compiled or replicated, whose modules' hooks would silently not run.
    """

    def __init__(
        self, model: nn.Module, layers: Layers | None = None, *, scaler: torch.amp.GradScaler | None = None
    ) -> None:
        _refuse_what_bypasses_hooks(model)
        self._scaler = scaler
        self._sites = {site.module: site for site in _find_sites(model, layers)}
        self._called: list[_Site] = []
        self._read: list[_Site] = []  # in the order of the last reading's rows
        self._handle: RemovableHandle | None = None
        self._entered = 0

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the sites in the order of the forward pass; those not called yet come last."""
        return tuple(site.name for site in self._in_order())

    def __enter__(self) -> GradientProbe:
        # On all modules rather than on each of ours: nothing hangs on the model, so that a copy made
        # or a file saved meanwhile carries no hook.
        if self._handle is None:
            self._handle = register_module_forward_hook(self._forward)
        self._entered += 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._entered -= 1
        if self._handle is not None and not self._entered:
            self._handle.remove()
            self._handle = None

    def _forward(self, module: nn.Module, inputs: Any, output: Any) -> None:
        site = self._sites.get(module)
        if site is None:
            return
        if site not in self._called:
            self._called.append(site)
        if site.grads() == []:  # cleared since the last pass, so that pass counts no more
            site.signals.clear()
        for tensor in _tensors(output):
            if tensor.requires_grad:
                tensor.register_hook(site.receive)  # type: ignore[no-untyped-call]

    def _in_order(self) -> list[_Site]:
        return [*self._called, *(site for site in self._sites.values() if site not in self._called)]

    def read(self) -> Tensor:
        """What came since the last reading as one tensor [layers, 4] on the model's device, columns as in
        ``QUANTITIES``, NaN where nothing came; then forgets it. Waits for nothing: no host sync.

        Call it after ``backward()`` and before the optimizer clears the gradients.
        """
        self._read = self._in_order()
        rows = torch.stack([site.read() for site in self._read])
        if self._scaler is not None:  # as a tensor: its `get_scale` would wait for the device
            rows = rows / self._scaler.scale(torch.ones((), device=rows.device))
        return rows

    def flow(self) -> GradientFlow:
        """What came since the last reading as a record; then forgets it. Transfers once to the host."""
        return self.record(self.read().tolist())

    def record(self, rows: Sequence[Sequence[float]]) -> GradientFlow:
        """``rows`` as the last :meth:`read` gave, or averages of several such readings → a flow."""
        layers = [site.record(row) for site, row in zip(self._read, rows, strict=True)]
        missed = [site.name for site in self._read if not site.came.signal and not site.frozen]
        return GradientFlow(layers=tuple(layers), missed=tuple(missed))


class _Site:
    """One place where gradients are measured."""

    def __init__(self, name: str, module: nn.Module, weights: Sequence[nn.Parameter]) -> None:
        self.name, self.module, self.weights = name, module, tuple(weights)
        self.signals: list[tuple[Tensor, int]] = []  # norm and number of elements of each
        self.came = _Came(weight=False, signal=False)

    @property
    def frozen(self) -> bool:
        return not any(weight.requires_grad for weight in self.weights)

    def grads(self) -> list[Tensor]:
        return [weight.grad for weight in self.weights if weight.grad is not None]

    def receive(self, signal: Tensor | None) -> None:
        """The hook on the output tensor. Returns None, always: anything else would replace the gradient."""
        if signal is not None:  # what autograd passes for one of several outputs that the loss does not use
            self.signals.append((_norm(signal.detach()), signal.numel()))

    def read(self) -> Tensor:
        grads = [_values(grad) for grad in self.grads()]
        self.came = _Came(weight=bool(grads), signal=bool(self.signals))
        mean_abs = l2 = signal_l2 = signal_rms = torch.full((), math.nan, device=self.weights[0].device)
        if grads:
            # Elements that a sparse gradient leaves out are zeros of the weight all the same.
            count = sum(weight.numel() for weight in self.weights if weight.grad is not None)
            mean_abs = torch.stack([grad.abs().sum() for grad in grads]).sum() / count
            l2 = _norm_of_norms([_norm(grad) for grad in grads])
        if self.signals:
            signal_l2 = _norm_of_norms([norm for norm, _ in self.signals])
            signal_rms = signal_l2 / math.sqrt(sum(numel for _, numel in self.signals))
        self.signals.clear()
        return torch.stack([mean_abs, l2, signal_l2, signal_rms])

    def record(self, row: Sequence[float]) -> LayerGradient:
        measured = {q: x for q, x in zip(QUANTITIES, row, strict=True) if self.came.of(q)}
        return LayerGradient(name=self.name, state=self._state(list(measured.values())), **measured)  # type: ignore[arg-type]

    def _state(self, measured: Sequence[float]) -> State:
        if self.frozen:
            return "frozen"
        if not self.came.weight:
            return "unused"
        if not all(map(math.isfinite, measured)):
            return "nonfinite"
        return "zero" if not any(measured) else "ok"


class _Came(NamedTuple):
    """Which of a site's two gradients came in the last pass: known on the host without a sync."""

    weight: bool
    signal: bool

    def of(self, quantity: Quantity) -> bool:
        return self.signal if quantity.startswith("signal") else self.weight


# --- sites -----------------------------------------------------------------------------------------


def _find_sites(model: nn.Module, layers: Layers | None) -> list[_Site]:
    modules = dict(model.named_modules())
    if layers is None:
        inner = {child for m in modules.values() if isinstance(m, nn.MultiheadAttention) for child in m.children()}
        sites = [_Site(name, m, weights) for name, m in modules.items() if m not in inner and (weights := _matrices(m))]
        if not sites:
            raise ValueError("nothing to probe: no module of this model has a weight of two or more dimensions")
        return sites
    wanted = [layers] if isinstance(layers, str | type) else layers
    if not wanted:
        raise ValueError("nothing to probe: no layers were named")
    chosen: dict[str, _Site] = {}
    for which in wanted:
        for name in _matching(modules, which):
            chosen.setdefault(name, _Site(name, modules[name], _weights(modules[name])))
    return list(chosen.values())


def _matching(modules: Mapping[str, nn.Module], which: str | type[nn.Module]) -> list[str]:
    """Names of the modules that ``which`` stands for."""
    if isinstance(which, str) and which in modules:
        if not _weights(modules[which]):
            raise ValueError(f"layer {which!r} has no weight of its own: name the layers inside it")
        return [which]
    if isinstance(which, str):
        found = [name for name in modules if fnmatchcase(name, which)]
    else:
        found = [name for name, module in modules.items() if isinstance(module, which)]
    if not found:
        said = f"no layer named {which!r}" if isinstance(which, str) else f"no layer of type {which.__name__}"
        raise ValueError(f"{said}: the model has {', '.join(filter(None, modules))}")
    with_weights = [name for name in found if _weights(modules[name])]
    if not with_weights:
        raise ValueError(f"{which!r} fits only layers without weights of their own: name the layers inside them")
    return with_weights


def _weights(module: nn.Module) -> list[nn.Parameter]:
    """What a site's gradient is of: its matrices, or its one-dimensional weight (a norm's) where it has
    none. Biases and other parameters do not count."""
    weight = module._parameters.get("weight")
    return _matrices(module) or ([weight] if weight is not None else [])


def _matrices(module: nn.Module) -> list[nn.Parameter]:
    owners = [module, module.out_proj] if isinstance(module, nn.MultiheadAttention) else [module]
    named = (item for owner in owners for item in owner._parameters.items())
    return [p for name, p in named if p is not None and "weight" in name and p.dim() >= 2]


def _refuse_what_bypasses_hooks(model: nn.Module) -> None:
    if hasattr(model, "_orig_mod"):
        raise ValueError(
            "this model is compiled, and hooks added after compiling never run: probe the module that was "
            "given to torch.compile (model._orig_mod), uncompiled"
        )
    if isinstance(model, nn.DataParallel):
        raise ValueError(
            "DataParallel runs copies of the model, which carry no gradients of their own: probe model.module "
            "on one device, or use DistributedDataParallel"
        )


# --- tensors ---------------------------------------------------------------------------------------


def _tensors(output: Any) -> Iterator[Tensor]:
    """The tensors in whatever a module puts out."""
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, Mapping):
        for value in output.values():
            yield from _tensors(value)
    elif isinstance(output, tuple | list):
        for value in output:
            yield from _tensors(value)


def _values(grad: Tensor) -> Tensor:
    """The elements of a gradient, of a sparse one those that it holds, at least in float32."""
    dense = grad.coalesce().values() if grad.is_sparse else grad
    return dense.to(_wide(dense))


def _norm_of_norms(norms: Sequence[Tensor]) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(torch.stack(list(norms)))
    return norm


def _norm(tensor: Tensor) -> Tensor:
    """‖tensor‖₂ as a scalar of at least float32."""
    wide = tensor.to(_wide(tensor))
    if wide.device.type == "cpu" and wide.numel() > _ROW:
        # On a CPU `vector_norm` adds millions of squares one after the other and loses four digits; by rows
        # it keeps them at the same speed. In the order in which they lie in memory they need no copy.
        flat = wide.permute(sorted(range(wide.dim()), key=wide.stride, reverse=True)).reshape(-1)
        whole = flat.numel() // _ROW * _ROW
        rows = torch.linalg.vector_norm(flat[:whole].view(-1, _ROW), dim=1)
        wide = torch.cat([rows, flat[whole:]])
    norm: Tensor = torch.linalg.vector_norm(wide)
    return norm


def _wide(tensor: Tensor) -> torch.dtype:
    """At least float32: the squares of a float16 gradient underflow and its norm overflows."""
    return torch.promote_types(tensor.dtype, torch.float32)
