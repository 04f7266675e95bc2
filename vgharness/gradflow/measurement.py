"""Measures the gradient flow of anybody's model over seeds."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from vgharness.errors import UsageError
from vgharness.gradflow.arguments import inputs_and_targets, loss_value, new_model
from vgharness.gradflow.sample import FlowSample
from vgharness.gradflow.summary import FACTOR
from vgharness.probe.layers import LayerChoice, ProbedLayer, find_layers
from vgharness.probe.norms import tensors_in
from vgharness.probe.probe import GradientProbe
from vgharness.records import FIRST_SEED, LAYER_QUANTITIES, GradientFlow, Sample

InputsAndTargets = tuple[Any, Any]
GradientQuantity = Callable[[Tensor], float | Tensor]
Loss = Callable[..., Tensor]


def measure(
    model_factory: Callable[[], nn.Module],
    batch: InputsAndTargets | Callable[[int], InputsAndTargets],
    loss: Loss,
    *,
    seeds: int | Sequence[int] = 5,
    layers: LayerChoice | None = None,
    quantities: Mapping[str, GradientQuantity] | None = None,
    saturation: bool = False,
    test: str = "",
    name: str = "",
    extra_info: Mapping[str, Any] | None = None,
) -> FlowSample:
    """Measures one forward and backward pass of a fresh model for each seed.

    model_factory: makes a new model on each call; torch is seeded before.
    batch: inputs and targets, or a callable from a seed to them. A tuple or a dict of inputs are arguments.
    loss: gives one number of the model's output and the targets, of the output alone, or of ``model``, an argument of
        that name, with any of output, inputs and targets.
    seeds: how many, from 42 on, or which.
    layers: which layers, as :class:`~vgharness.GradientProbe` takes them; by default all with a matrix.
    quantities: your own, by name: each a callable from a weight's gradient to a number.
    saturation: measure the share of saturated units too.
    test, name, extra_info: of the sample, as it is saved; the last are JSON values by name.

    Torch's random state is put back afterwards. Raises :class:`~vgharness.errors.UsageError` for bad input.
    """
    numbers = tuple(range(FIRST_SEED, FIRST_SEED + seeds)) if isinstance(seeds, int) else tuple(seeds)
    _check(numbers, own := dict(quantities or {}))
    models: list[nn.Module] = []
    inputs: list[Any] = []
    flows: list[GradientFlow] = []
    own_values: list[dict[str, tuple[float | None, ...]]] = []
    with random_state_kept():
        for seed in numbers:
            torch.manual_seed(seed)
            models.append(new_model(model_factory, models))
            given, targets = inputs_and_targets(batch, seed)
            inputs.append(given)
            flows.append(_flow(models[-1], given, targets, loss, layers, saturation))
            own_values.append(_own_values(own, models[-1], layers, flows[-1]))
    record = Sample(
        test=test,
        name=name,
        seeds=numbers,
        flows=tuple(flows),
        custom={quantity: tuple(values[quantity] for values in own_values) for quantity in own},
        extra_info=dict(extra_info or {}),
    )
    return FlowSample(record, models, inputs)


def _check(seeds: Sequence[int], own: Mapping[str, GradientQuantity]) -> None:
    if not seeds:
        raise UsageError("seeds: give one or more")
    taken = {*LAYER_QUANTITIES, FACTOR} & set(own)
    if taken:
        raise UsageError(f"quantity {min(taken)!r} is measured already: give yours another name")


@contextmanager
def random_state_kept() -> Iterator[None]:
    """Puts torch's random state back afterwards, on the CPU and on every GPU."""
    devices = range(torch.cuda.device_count()) if torch.cuda.is_available() else ()
    with torch.random.fork_rng(devices=devices):
        yield


def _flow(
    model: nn.Module, inputs: Any, targets: Any, loss: Loss, layers: LayerChoice | None, saturation: bool
) -> GradientFlow:
    """Of one forward and backward pass, after which the weights hold their gradients."""
    _check_devices(model, inputs)
    model.zero_grad()
    with GradientProbe(model, layers, saturation=saturation) as probe:
        value = loss_value(loss, model, inputs, targets)
        value.backward()  # type: ignore[no-untyped-call]
        return probe.flow()


def _check_devices(model: nn.Module, inputs: Any) -> None:
    owned = {parameter.device for parameter in model.parameters()}
    given = {tensor.device for tensor in tensors_in(inputs)}
    if owned and given and not owned & given:
        has, wants = sorted(map(str, given)), sorted(map(str, owned))
        raise UsageError(
            f"the batch is on {', '.join(has)} and the model on {', '.join(wants)}: move one of them with .to(device)"
        )


def _own_values(
    own: Mapping[str, GradientQuantity], model: nn.Module, layers: LayerChoice | None, flow: GradientFlow
) -> dict[str, tuple[float | None, ...]]:
    """By name of the user's quantity, its value for each row of ``flow``."""
    found = {layer.name: layer for layer in find_layers(model, layers)} if own else {}
    return {
        quantity: tuple(_own_value(found[row.name], function) for row in flow.layers)
        for quantity, function in own.items()
    }


def _own_value(layer: ProbedLayer, function: GradientQuantity) -> float | None:
    """None where the layer has no gradient, or where the value is not finite."""
    grads = [weight.grad.detach() for weight in layer.weights if weight.grad is not None]
    if not grads:
        return None
    value = float(function(torch.cat([grad.flatten() for grad in grads]) if len(grads) > 1 else grads[0]))
    return value if math.isfinite(value) else None
