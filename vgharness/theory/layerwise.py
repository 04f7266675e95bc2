"""What theory says of a model, layer by layer, and why not where it says nothing."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final, NamedTuple

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from vgharness.records import Activation, LayerTheory, ModelTheory
from vgharness.theory.activations import FUNCTIONS
from vgharness.theory.bounds import lipschitz_bound, operator_norm_bound
from vgharness.theory.mean_field import mean_squares
from vgharness.theory.trace import Operation, Trace, leaves, traced

_POOLS: Final = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool1d)


class _Step(NamedTuple):
    """The way from one layer with weights to the next one.

    between: what runs there.
    reason: why it is not the only way, or none; empty: it is.
    """

    between: tuple[Operation, ...]
    reason: str = ""


class _Factor(NamedTuple):
    """√χ, and the mean square of what comes into the next layer by theory; NaN where that is to be measured."""

    value: float
    mean_square: float
    activation: Activation


def of(model: nn.Module, inputs: Any) -> ModelTheory:
    """Says what theory says of the model with the weights that it has.

    Mean field's √χ and the bound of the factor toward the input, and from them the error signal relative to the last
    layer's. Both hold where one layer's output goes to the next one and nowhere else, which one forward pass shows:
    after a skip connection, a max-pool or a recurrent layer the reason stands in place of the value.

    model: any module; it is left as it was.
    inputs: a batch, for its mean square; several arguments as a tuple or a mapping.

    >>> print(vgharness.theory.of(model, images))
    """
    trace = traced(model, inputs)
    rows = [at for at, each in enumerate(trace.operations) if _has_weights(each.module)]
    runs = Counter(trace.operations[at].name for at in rows)
    never = [name for name, module in leaves(model) if _has_weights(module) and name not in runs]
    rows = [at for at in rows if runs[trace.operations[at].name] == 1 or not _seen_before(trace, rows, at)]
    steps = [_step(trace, a, b, runs) for a, b in pairwise(rows)]
    layers, activations = _layers(trace, rows, steps)
    layers += [LayerTheory(name=name, reason=x, no_bound=x) for name in never for x in ("it did not run",)]
    return ModelTheory(
        layers=_with_signals(layers, len(rows)), activation=activations.pop() if len(activations) == 1 else ""
    )


def _has_weights(module: nn.Module | None) -> bool:
    """Whether the module is a row of the table. A batch norm and a PReLU are parts of the way between two."""
    if module is None or isinstance(module, _BatchNorm | nn.PReLU):
        return False
    return next(module.parameters(), None) is not None


def _seen_before(trace: Trace, rows: Sequence[int], at: int) -> bool:
    return any(trace.operations[x].name == trace.operations[at].name for x in rows if x < at)


def _step(trace: Trace, a: int, b: int, runs: Counter[str]) -> _Step:
    """Walks back from layer ``b`` to layer ``a``."""
    above, below = trace.operations[b], trace.operations[a]
    for layer in (below, above):
        if runs[layer.name] > 1:
            return _Step((), f"{layer.name} runs {runs[layer.name]} times")
    between: list[Operation] = []
    at, takes = b, above
    while at != a:
        if len(takes.inputs) != 1:
            return _Step((), _several(takes))
        number = takes.inputs[0]
        if trace.uses[number] > 1:
            return _Step((), f"what comes into {_called(takes)} goes elsewhere too (a skip connection or a branch)")
        maker = trace.made_by.get(number)
        if maker is None:
            return _Step((), f"{above.name} does not follow on {below.name}: it takes the model's input")
        at, takes = maker, trace.operations[maker]
        if at != a:
            if _has_weights(takes.module):
                return _Step((), f"{above.name} follows on {takes.name}, not on {below.name}")
            between.append(takes)
    return _Step(tuple(reversed(between)))


def _several(operation: Operation) -> str:
    if operation.module is None:
        return f"{operation.name} joins {len(operation.inputs)} values (a skip connection, a branch or a mask)"
    return f"{_called(operation)} takes {len(operation.inputs)} values"


def _called(operation: Operation) -> str:
    return operation.name or type(operation.module).__name__


def _layers(trace: Trace, rows: Sequence[int], steps: Sequence[_Step]) -> tuple[list[LayerTheory], set[str]]:
    found: list[LayerTheory] = []
    activations: set[str] = set()
    mean_square = math.nan
    for at, a in enumerate(rows):
        below = trace.operations[a]
        if at == len(rows) - 1:
            reason = _no_factor_of(below)
            found.append(LayerTheory(name=below.name, reason=reason, no_bound=reason))
            break
        above, step = trace.operations[rows[at + 1]], steps[at]
        coming = below.mean_square if math.isnan(mean_square) else mean_square
        factor = step.reason or _factor(below, step.between, above, coming)
        limit = step.reason or _bound(step.between, above)
        said = factor if isinstance(factor, _Factor) else None
        mean_square = said.mean_square if said else math.nan
        activations |= {said.activation} if said else set()
        found.append(
            LayerTheory(
                name=below.name,
                above=above.name,
                factor=said.value if said else None,
                bound=limit if isinstance(limit, float) else None,
                reason=factor if isinstance(factor, str) else "",
                no_bound=limit if isinstance(limit, str) else "",
            )
        )
    return found, activations


def _no_factor_of(operation: Operation) -> str:
    """Why mean field says nothing of such a layer; empty: it does."""
    module = operation.module
    if isinstance(module, nn.Linear):
        return ""
    if isinstance(module, _ConvNd) and not isinstance(module, _ConvTransposeNd):
        return "" if module.padding_mode == "zeros" else f"mean field is not known for {module.padding_mode} padding"
    return f"mean field says nothing of {type(module).__name__}"


def _factor(below: Operation, between: Sequence[Operation], above: Operation, coming: float) -> _Factor | str:
    """√χ from ``above`` to ``below``, or why there is none. ``coming``: the mean square of what ``below`` takes."""
    if reason := _no_factor_of(below) or _no_factor_of(above):
        return reason
    acts: list[Activation] = []
    shrinks, pooled = 1.0, False
    norm: Operation | None = None
    for each in between:
        if each.activation not in (None, "identity"):
            acts.append(each.activation)
        elif isinstance(each.module, _BatchNorm) and norm is None and not acts:
            norm = each
        elif isinstance(each.module, nn.AvgPool2d) and acts and _halves(each.module):
            shrinks, pooled = shrinks / _halves(each.module), True
        elif isinstance(each.module, _POOLS) or "max_pool" in each.name:
            return f"a max-pool ({_called(each)}) hands on the greatest units, not typical ones"
        elif not (each.reshapes or each.activation == "identity" or _passes(each.module)):
            return f"mean field says nothing of {_kind(each)}"
    if len(acts) > 1:
        return f"{len(acts)} activations, one after the other"
    activation: Activation = acts[0] if acts else "identity"
    weights, biases = _variances(below.module)
    weights_above, _ = _variances(above.module)
    if norm is not None:
        if not _as_it_begins(norm.module):
            return f"mean field is known of a batch norm that trains, with weight 1 and bias 0: {norm.name} is another"
        assert norm.variances is not None
        slope, _ = mean_squares(activation, 1.0)
        chi = weights_above * slope * float((1 / (norm.variances + norm.module.eps)).mean())  # type: ignore[union-attr, operator]
        return _Factor(math.sqrt(chi) * shrinks, math.nan, activation)
    if math.isnan(coming):
        return "the mean square of its input is not known"
    slope, following = mean_squares(activation, weights * coming + biases)
    return _Factor(math.sqrt(weights_above * slope) * shrinks, math.nan if pooled else following, activation)


def _bound(between: Sequence[Operation], above: Operation) -> float | str:
    """What the factor is at the most, or why that is not known."""
    module = above.module
    if not isinstance(module, nn.Linear | nn.Conv2d):
        return f"no bound is known for {type(module).__name__}"
    try:
        limit = operator_norm_bound(module)
        for each in between:
            if each.activation is not None:
                limit *= FUNCTIONS[each.activation].steepest
            elif not each.reshapes:
                if each.module is None:
                    return f"no bound is known for {_kind(each)}"
                limit *= lipschitz_bound(each.name, each.module)
    except ValueError as error:
        return str(error)
    return limit if math.isfinite(limit) else "the weights are not finite"


def _kind(operation: Operation) -> str:
    return type(operation.module).__name__ if operation.module is not None else f"the function {operation.name}"


def _passes(module: nn.Module | None) -> bool:
    """Whether it hands on what it is given."""
    return type(module) is nn.Identity or (isinstance(module, nn.Dropout) and (not module.training or not module.p))


def _halves(pool: nn.AvgPool2d) -> float:
    """By what an average pool whose windows do not overlap divides ‖∂L/∂h‖₂; 0 of any other."""
    kernel = pool.kernel_size if isinstance(pool.kernel_size, tuple) else (pool.kernel_size, pool.kernel_size)
    stride = pool.stride if isinstance(pool.stride, tuple) else (pool.stride, pool.stride)
    apart = kernel == stride and pool.padding in (0, (0, 0)) and pool.divisor_override is None
    return math.sqrt(kernel[0] * kernel[1]) if apart else 0.0


def _as_it_begins(norm: nn.Module | None) -> bool:
    assert isinstance(norm, _BatchNorm)
    if not norm.training:
        return False
    return norm.weight is None or bool((norm.weight == 1).all() and (norm.bias == 0).all())


def _variances(module: nn.Module | None) -> tuple[float, float]:
    """σ_w² (times fan-in) and σ_b² that the weights really have."""
    assert isinstance(module, nn.Linear | _ConvNd)
    weight = module.weight.detach().double()
    bias = 0.0 if module.bias is None else float(module.bias.detach().double().square().mean())
    return float(weight.square().mean()) * weight[0].numel(), bias


def _with_signals(layers: Sequence[LayerTheory], ran: int) -> tuple[LayerTheory, ...]:
    """With the signals relative to the last layer that ran, as far as the way to it is known."""
    signal: float | None = 1.0
    greatest: float | None = 1.0
    found: list[LayerTheory] = list(layers[ran:])
    for place in reversed(range(ran)):
        layer = layers[place]
        if place < ran - 1:
            signal = None if signal is None or layer.factor is None else signal * layer.factor
            greatest = None if greatest is None or layer.bound is None else greatest * layer.bound
        found.insert(0, layer.changed(signal=_finite(signal), greatest_signal=_finite(greatest)))
    return tuple(found)


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
