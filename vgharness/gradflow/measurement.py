"""Measures the gradient flow of anybody's model over seeds."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from vgharness.errors import UsageError
from vgharness.gradflow.opening import flows_after_steps, may_open
from vgharness.gradflow.sample import FlowSample
from vgharness.gradflow.summary import FACTOR
from vgharness.probe.layers import LayerChoice, ProbedLayer, find_layers
from vgharness.probe.norms import tensors_in
from vgharness.probe.origin import find_origin
from vgharness.probe.probe import GradientProbe
from vgharness.records import FIRST_SEED, LAYER_QUANTITIES, GradientFlow, Sample, Steps

InputsAndTargets = tuple[Any, Any]
GradientQuantity = Callable[[Tensor], float | Tensor]
Loss = Callable[[Any, Any], Tensor]


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
    loss: called with the model's output and the targets; gives one number.
    seeds: how many, from 42 on, or which.
    layers: which layers, as :class:`~vgharness.GradientProbe` takes them; by default all with a matrix.
    quantities: your own, by name, callables of a weight's gradient. saturation: measure the saturated units too.
    test, name, extra_info: of the sample, as it is saved; the last are JSON values by name.

    Torch's random state is put back afterwards. Raises :class:`~vgharness.errors.UsageError` for a factory that gives
    the same model twice, for a batch on another device than the model, and for a loss without a graph.
    """
    numbers = tuple(range(FIRST_SEED, FIRST_SEED + seeds)) if isinstance(seeds, int) else tuple(seeds)
    _check(numbers, own := dict(quantities or {}))
    models: list[nn.Module] = []
    batches: list[InputsAndTargets] = []
    flows: list[GradientFlow] = []
    own_values: list[dict[str, tuple[float | None, ...]]] = []
    with random_state_kept():
        for seed in numbers:
            torch.manual_seed(seed)
            models.append(_new_model(model_factory, models))
            batches.append(_pair(batch(seed) if callable(batch) else batch))
            flows.append(_flow(models[-1], batches[-1], loss, layers, saturation))
            own_values.append(_own_values(own, models[-1], layers, flows[-1]))
        later = _later(models, batches, loss, layers, flows)
    record = Sample(
        test=test,
        name=name,
        seeds=numbers,
        flows=tuple(flows),
        custom={quantity: tuple(values[quantity] for values in own_values) for quantity in own},
        later=later,
        extra_info=dict(extra_info or {}),
    )
    return FlowSample(record, models, [inputs for inputs, _ in batches])


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


def call_model(model: nn.Module, inputs: Any) -> Any:
    """Calls ``model``: a dict or a tuple of inputs are its arguments, anything else is its one argument."""
    if isinstance(inputs, Mapping):
        return model(**inputs)
    return model(*inputs) if isinstance(inputs, tuple) else model(inputs)


def _new_model(factory: Callable[[], nn.Module], others: Sequence[nn.Module]) -> nn.Module:
    model = factory()
    if not isinstance(model, nn.Module):
        raise UsageError(f"the model factory gave {type(model).__name__}: give a callable that makes a module")
    if any(model is other for other in others):
        raise UsageError("the model factory gives the same model each time: let it make a new one, for the seeds")
    return model


def _flow(
    model: nn.Module, batch: InputsAndTargets, loss: Loss, layers: LayerChoice | None, saturation: bool
) -> GradientFlow:
    """Of one forward and backward pass, after which the weights hold their gradients."""
    inputs, targets = batch
    _check_devices(model, inputs)
    model.zero_grad()
    with GradientProbe(model, layers, saturation=saturation, through_time=True) as probe:
        value = loss(call_model(model, inputs), targets)
        if not isinstance(value, Tensor) or value.numel() != 1:
            raise UsageError("the loss is not one number: let it give a tensor of one element")
        if not value.requires_grad:
            raise UsageError("the loss does not depend on the model's weights: was something detached?")
        probe.backward(value)
        flow = probe.flow()
    if all(layer.state != "nonfinite" for layer in flow.layers):
        return flow
    origin = find_origin(model, lambda: loss(call_model(model, inputs), targets))
    return flow if origin is None else flow.model_copy(update={"origin": origin})


def _pair(batch: Any) -> InputsAndTargets:
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        raise UsageError(
            f"the batch is {type(batch).__name__}: give a pair, (inputs, targets), or a callable of a seed"
        )
    return batch[0], batch[1]


def _later(
    models: Sequence[nn.Module],
    batches: Sequence[InputsAndTargets],
    loss: Loss,
    layers: LayerChoice | None,
    flows: Sequence[GradientFlow],
) -> tuple[Steps, ...]:
    """The flows after a few steps, where something is closed at initialisation that they may open."""
    if not any(map(may_open, flows)):
        return ()

    def measure_one(model: nn.Module, index: int) -> GradientFlow:
        return _flow(model, batches[index], loss, layers, True)

    return flows_after_steps(models, measure_one)


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
