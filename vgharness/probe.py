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
from torch.utils.hooks import RemovableHandle

from vgharness.records import QUANTITIES, GradientFlow, LayerGradient, Quantity, State


class GradientProbe:
    """Context manager that measures gradient flow through ``model``; changes nothing in it.

    >>> with GradientProbe(model) as probe:
    ...     loss(model(inputs), targets).backward()
    >>> probe.flow().factor()

    ``layers`` picks sites by name (as in ``named_modules()``); without it every module whose own
    ``weight`` has two or more dimensions is one. Quantities are those of the last backward pass; a
    site called several times in one pass has its calls' signals pooled into one norm.

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
        self.layers = tuple(layers)
        self._modules = [modules[name] for name in self.layers]
        self._weights = [weight for m in self._modules if (weight := _weight(m)) is not None]
        self._handles: list[RemovableHandle] = []
        self._signals: list[list[tuple[Tensor, int]]] = [[] for _ in self.layers]
        self._came: list[_Came] = [_Came(weight=False, signal=False) for _ in self.layers]

    def __enter__(self) -> GradientProbe:
        for index, module in enumerate(self._modules):
            self._handles.append(module.register_forward_hook(self._forward_hook(index)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._handles:
            self._handles.pop().remove()

    def _forward_hook(self, index: int) -> Any:
        def forward(module: nn.Module, inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor) and output.requires_grad:
                output.register_hook(backward)  # type: ignore[no-untyped-call]

        def backward(signal: Tensor) -> None:
            norm = torch.linalg.vector_norm(signal, dtype=_wide(signal))
            self._signals[index].append((norm, signal.numel()))

        return forward

    def read(self) -> Tensor:
        """The last backward pass as one tensor [layers, 4] on the model's device, columns as in
        ``QUANTITIES``, NaN where nothing came; then forgets it. Waits for nothing: no host sync.

        Call it after ``backward()`` and before the optimizer clears the gradients.
        """
        rows = []
        for index, (weight, signals) in enumerate(zip(self._weights, self._signals, strict=True)):
            self._came[index] = _Came(weight=weight.grad is not None, signal=bool(signals))
            mean_abs = l2 = signal_l2 = signal_rms = torch.full((), math.nan, device=weight.device)
            if weight.grad is not None:
                grad = weight.grad.to(_wide(weight.grad))
                mean_abs, l2 = grad.abs().mean(), torch.linalg.vector_norm(grad)
            if signals:
                signal_l2 = torch.linalg.vector_norm(torch.stack([norm for norm, _ in signals]))
                signal_rms = signal_l2 / math.sqrt(sum(numel for _, numel in signals))
            rows.append(torch.stack([mean_abs, l2, signal_l2, signal_rms]))
            signals.clear()
        return torch.stack(rows)

    def flow(self) -> GradientFlow:
        """The last backward pass as a record; then forgets it. Transfers once to the host."""
        return self.record(self.read().tolist())

    def record(self, rows: Sequence[Sequence[float]]) -> GradientFlow:
        """``rows`` as from :meth:`read`, or averages of several such readings → a flow."""
        layers = []
        for name, weight, came, row in zip(self.layers, self._weights, self._came, rows, strict=True):
            measured = {q: x for q, x in zip(QUANTITIES, row, strict=True) if came.of(q)}
            state = _state(weight, came, list(measured.values()))
            layers.append(LayerGradient(name=name, state=state, **measured))  # type: ignore[arg-type]
        missed = [x.name for x, came in zip(layers, self._came, strict=True) if not came.signal and x.state != "frozen"]
        return GradientFlow(layers=tuple(layers), missed=tuple(missed))


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


def _wide(tensor: Tensor) -> torch.dtype:
    """At least float32: the squares of a float16 gradient underflow and its norm overflows."""
    return torch.promote_types(tensor.dtype, torch.float32)
