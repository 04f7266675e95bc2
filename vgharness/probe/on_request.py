"""What a flow holds on request: each parameter's gradient, the outputs' scale, the signals through time.

All of it waits for the device.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from vgharness.probe.norms import FlatBuffer
from vgharness.probe.outputs import OutputSize
from vgharness.probe.passes import ForwardPass, LayerState
from vgharness.records import ParameterGradient, TimePath


def parameter_gradients(layers: Iterable[LayerState], scale: float = 1.0) -> dict[str, tuple[ParameterGradient, ...]]:
    """By name of the layer, a record for each of its parameters; ``scale``: by what the loss was multiplied."""
    found = {}
    for layer in layers:
        grads = {name: p.grad for name, p in layer.parameters.items() if p.grad is not None}
        sizes = _sums_and_lengths(grads)
        found[layer.name] = tuple(
            ParameterGradient(
                name=name,
                frozen=not parameter.requires_grad,
                mean_abs=sizes[name][0] / parameter.numel() / scale if name in grads else None,
                l2=sizes[name][1] / scale if name in grads else None,
            )
            for name, parameter in layer.parameters.items()
        )
    return found


def _sums_and_lengths(grads: dict[str, Tensor]) -> dict[str, tuple[float, float]]:
    """By name, the sum of absolute values and the norm."""
    if not grads:
        return {}
    filled = FlatBuffer().fill([[grad] for grad in grads.values()])
    lengths: list[float] = filled.norms().tolist()
    return dict(zip(grads, zip(filled.norms(1).tolist(), lengths, strict=True), strict=True))


def output_scales(outputs: Sequence[Sequence[OutputSize]]) -> list[dict[str, float | None]]:
    """For each group of tensors, together, root mean square and share of zeros; ``None`` for a group of none."""
    sizes = [size for group in outputs for size in group]
    numbers = [x.to("cpu", torch.float64) for size in sizes for x in (size.length, size.zeros)]
    values = iter(torch.stack(numbers).tolist() if numbers else [])
    found: list[dict[str, float | None]] = []
    for group in outputs:
        pairs = [(next(values), next(values)) for _ in group]
        numel = sum(size.numel for size in group)
        rms = math.hypot(*(length for length, _ in pairs)) / math.sqrt(numel) if numel else None
        found.append({"output_rms": rms, "output_zeros": sum(zeros for _, zeros in pairs) / numel if numel else None})
    return found


def through_time(passes: Sequence[ForwardPass]) -> dict[str, Any]:
    """The fields of a flow that say what came through time, and what of it was not judged."""
    found = [(forward.layer.name, forward.recurrent) for forward in passes if forward.recurrent is not None]
    paths = [
        TimePath(layer=name, part=path.part, signals=path.signals, direct=path.direct)
        for name, recurrent in found
        for path in recurrent.paths()
    ]
    unjudged = [f"{name} ({part})".strip() for name, recurrent in found for part in recurrent.not_judged]
    return {"through_time": tuple(paths), "not_judged_through_time": tuple(dict.fromkeys(unjudged))}
