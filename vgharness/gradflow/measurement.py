"""Measures the gradient flow of anybody's model over seeds."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vgharness.errors import UsageError
from vgharness.gradflow.sample import FlowSample
from vgharness.probe.layers import Layers, Site, find_sites
from vgharness.probe.norms import tensors_in
from vgharness.probe.probe import GradientProbe
from vgharness.records import GradientFlow
from vgharness.records.session import FIGURES, Sample, Session
from vgharness.system.device import commit_of, describe

FIRST_SEED = 42

Batch = tuple[Any, Any]
Quantity = Callable[[Tensor], float | Tensor]


def measure(
    model_factory: Callable[[], nn.Module],
    batch: Batch | Callable[[int], Batch],
    loss: Callable[[Any, Any], Tensor],
    *,
    seeds: int | Sequence[int] = 5,
    layers: Layers | None = None,
    quantities: Mapping[str, Quantity] | None = None,
    saturation: bool = False,
    test: str = "",
    name: str = "",
    extra_info: Mapping[str, Any] | None = None,
) -> FlowSample:
    """One forward and backward pass of a fresh model for each of the ``seeds``.

    ``seeds`` are that many from 42 on, or a list. Each seeds torch, makes a model, takes the batch (a pair of input
    and target, or a callable from a seed to one) and calls ``loss(model(input), target).backward()``; where the
    input is a tuple or a dict the model gets it as arguments. Torch's random state is put back afterwards.
    ``quantities``: your own figures per layer, by name, each a callable of the weight's gradient.

    Raises :class:`~vgharness.errors.UsageError` for a factory that gives the same model twice, for a batch on another
    device than the model, and for a loss without a graph.
    """
    numbers = tuple(range(FIRST_SEED, FIRST_SEED + seeds)) if isinstance(seeds, int) else tuple(seeds)
    if not numbers:
        raise UsageError("seeds: give one or more")
    taken = {*FIGURES, "factor"} & set(quantities or {})
    if taken:
        raise UsageError(f"quantity {min(taken)!r} is measured already: give yours another name")
    flows: list[GradientFlow] = []
    custom: dict[str, list[tuple[float | None, ...]]] = {name: [] for name in quantities or {}}
    models: list[nn.Module] = []
    batches: list[Any] = []
    devices = range(torch.cuda.device_count()) if torch.cuda.is_available() else ()
    with torch.random.fork_rng(devices=devices):
        for seed in numbers:
            torch.manual_seed(seed)
            model = model_factory()
            if not isinstance(model, nn.Module):
                raise UsageError(f"the model factory gave {type(model).__name__}: give a callable that makes a module")
            if any(model is other for other in models):
                raise UsageError(
                    "the model factory gives the same model each time: let it make a new one, for the seeds"
                )
            models.append(model)
            inputs, targets = batch(seed) if callable(batch) else batch
            batches.append(inputs)
            _check_devices(model, inputs)
            model.zero_grad()
            with GradientProbe(model, layers, saturation=saturation) as probe:
                value = loss(call(model, inputs), targets)
                if not isinstance(value, Tensor) or value.numel() != 1:
                    raise UsageError("the loss is not one number: let it give a tensor of one element")
                if not value.requires_grad:
                    raise UsageError("the loss does not depend on the model's weights: was something detached?")
                value.backward()  # type: ignore[no-untyped-call]
                flow = probe.flow()
            flows.append(flow)
            sites = {site.name: site for site in find_sites(model, layers)} if quantities else {}
            for own, function in (quantities or {}).items():
                custom[own].append(tuple(_own(sites[row.name], function) for row in flow.layers))
    sample = Sample(
        test=test,
        name=name,
        seeds=numbers,
        flows=tuple(flows),
        custom={own: tuple(values) for own, values in custom.items()},
        extra_info=dict(extra_info or {}),
    )
    return FlowSample(sample, models, batches)


def as_session(samples: Sequence[Sample], *, command: str, folder: Path, extra: Mapping[str, Any]) -> Session:
    """What was measured just now, on this machine and on the commit that ``folder`` is at."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return Session(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        command=command,
        commit=commit_of(folder),
        machine=describe(device),
        samples=tuple(samples),
        extra={"precision": f"float32 at {torch.get_float32_matmul_precision()}", **extra},
    )


def call(model: nn.Module, inputs: Any) -> Any:
    """A dict or a tuple of inputs are arguments, anything else is the one argument."""
    if isinstance(inputs, Mapping):
        return model(**inputs)
    return model(*inputs) if isinstance(inputs, tuple) else model(inputs)


def _check_devices(model: nn.Module, inputs: Any) -> None:
    owned = {parameter.device for parameter in model.parameters()}
    given = {tensor.device for tensor in tensors_in(inputs)}
    if owned and given and not owned & given:
        has, wants = sorted(map(str, given)), sorted(map(str, owned))
        raise UsageError(
            f"the batch is on {', '.join(has)} and the model on {', '.join(wants)}: move one of them with .to(device)"
        )


def _own(site: Site, function: Quantity) -> float | None:
    """None where the layer has no gradient, or where the figure is not finite."""
    grads = [weight.grad.detach() for weight in site.weights if weight.grad is not None]
    if not grads:
        return None
    value = float(function(torch.cat([grad.flatten() for grad in grads]) if len(grads) > 1 else grads[0]))
    return value if math.isfinite(value) else None
