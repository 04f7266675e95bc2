"""What captures gradients during a backward pass.

A site is a module with a weight. For each, in forward order, with h the module's output (the
pre-activation), L the loss and δ = ∂L/∂h the error signal:

``weight_mean_abs``  mean of |∂L/∂W|, the studied README's quantity; depends on the layer's size
``weight_l2``        ‖∂L/∂W‖₂
``signal_l2``        ‖δ‖₂ over the whole batch, the quantity that theory speaks of
``signal_rms``       ‖δ‖₂ / √numel
``state``            ``ok``; ``zero``: gradients came and are exactly zero; ``frozen``: the weight asks
                     for none; ``unused``: it asks and none came; ``nonfinite``: NaN or infinity

δ is read by a hook on the output *tensor*, set in a forward hook. Full-backward hooks raise where
an in-place activation follows, and ``retain_grad`` then returns the gradient after it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import TracebackType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook
from torch.nn.utils import get_total_norm
from torch.utils.hooks import RemovableHandle

from vgharness.records import QUANTITIES, GradientFlow, LayerGradient, Quantity, State


class GradientProbe:
    """Context manager that measures gradient flow through ``model``; changes nothing in it.

    >>> with GradientProbe(model) as probe:
    ...     loss(model(inputs), targets).backward()
    >>> probe.flow().factor()

    ``layers`` picks sites by name (as in ``named_modules()``); without it every module whose own
    ``weight`` has two or more dimensions is one. Signals add up as ``.grad`` does: over the backward
    passes since the gradients were last set to None, and over a site's calls within a pass.

    Raises ``ValueError`` for a name that the model does not have and for a model without sites.
    """

    def __init__(self, model: nn.Module, layers: Sequence[str] | None = None) -> None:
        modules = dict(model.named_modules())
        if layers is None:
            layers = [name for name, m in modules.items() if (w := _weight(m)) is not None and w.dim() >= 2]
        for name in layers:
            if name not in modules:
                raise ValueError(f"no layer named {name!r}: the model has {', '.join(filter(None, modules))}")
            if _weight(modules[name]) is None:
                raise ValueError(f"layer {name!r} has no weight of its own: name the layers inside it")
        if not layers:
            raise ValueError("nothing to probe: no module of this model has a weight of two or more dimensions")
        self._sites = {
            modules[name]: _Site(name, weight) for name in layers if (weight := _weight(modules[name])) is not None
        }
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
        if site.weight.grad is None:  # cleared since the last pass, so that pass counts no more
            site.signals.clear()
        if isinstance(output, Tensor) and output.requires_grad:
            output.register_hook(site.receive)  # type: ignore[no-untyped-call]

    def _in_order(self) -> list[_Site]:
        return [*self._called, *(site for site in self._sites.values() if site not in self._called)]

    def read(self) -> Tensor:
        """What came since the last reading as one tensor [layers, 4] on the model's device, columns as in
        ``QUANTITIES``, NaN where nothing came; then forgets it. Waits for nothing: no host sync.

        Call it after ``backward()`` and before the optimizer clears the gradients.
        """
        self._read = self._in_order()
        return torch.stack([site.read() for site in self._read])

    def flow(self) -> GradientFlow:
        """What came since the last reading as a record; then forgets it. Transfers once to the host."""
        return self.record(self.read().tolist())

    def record(self, rows: Sequence[Sequence[float]]) -> GradientFlow:
        """``rows`` as the last :meth:`read` gave, or averages of several such readings → a flow."""
        layers = [site.record(row) for site, row in zip(self._read, rows, strict=True)]
        missed = [site.name for site in self._read if not site.came.signal and site.weight.requires_grad]
        return GradientFlow(layers=tuple(layers), missed=tuple(missed))


class _Site:
    """One place where gradients are measured."""

    def __init__(self, name: str, weight: nn.Parameter) -> None:
        self.name, self.weight = name, weight
        self.signals: list[tuple[Tensor, int]] = []  # norm and number of elements of each
        self.came = _Came(weight=False, signal=False)

    def receive(self, signal: Tensor) -> None:
        """The hook on the output tensor. Returns None, always: anything else would replace the gradient."""
        self.signals.append((_norm(signal.detach()), signal.numel()))

    def read(self) -> Tensor:
        grad = self.weight.grad
        self.came = _Came(weight=grad is not None, signal=bool(self.signals))
        mean_abs = l2 = signal_l2 = signal_rms = torch.full((), math.nan, device=self.weight.device)
        if grad is not None:
            mean_abs, l2 = grad.to(_wide(grad)).abs().mean(), _norm(grad)
        if self.signals:
            signal_l2 = torch.linalg.vector_norm(torch.stack([norm for norm, _ in self.signals]))
            signal_rms = signal_l2 / math.sqrt(sum(numel for _, numel in self.signals))
        self.signals.clear()
        return torch.stack([mean_abs, l2, signal_l2, signal_rms])

    def record(self, row: Sequence[float]) -> LayerGradient:
        measured = {q: x for q, x in zip(QUANTITIES, row, strict=True) if self.came.of(q)}
        state = _state(self.weight, self.came, list(measured.values()))
        return LayerGradient(name=self.name, state=state, **measured)  # type: ignore[arg-type]


class _Came(NamedTuple):
    """Which of a site's two gradients came in the last pass: known on the host without a sync."""

    weight: bool
    signal: bool

    def of(self, quantity: Quantity) -> bool:
        return self.signal if quantity.startswith("signal") else self.weight


def _state(weight: Tensor, came: _Came, measured: Sequence[float]) -> State:
    if not weight.requires_grad:
        return "frozen"
    if not came.weight:
        return "unused"
    if not all(map(math.isfinite, measured)):
        return "nonfinite"
    return "zero" if not any(measured) else "ok"


def _weight(module: nn.Module) -> nn.Parameter | None:
    weight = module._parameters.get("weight")
    return weight if isinstance(weight, nn.Parameter) else None


def _norm(tensor: Tensor) -> Tensor:
    """‖tensor‖₂ as a scalar of at least float32."""
    wide = tensor.to(_wide(tensor))
    if wide.device.type == "cpu" and wide.dim() > 1:
        # On a CPU `vector_norm` adds millions of squares one after the other and loses four digits.
        return get_total_norm(wide.unbind(0))
    norm: Tensor = torch.linalg.vector_norm(wide)
    return norm


def _wide(tensor: Tensor) -> torch.dtype:
    """At least float32: the squares of a float16 gradient underflow and its norm overflows."""
    return torch.promote_types(tensor.dtype, torch.float32)
