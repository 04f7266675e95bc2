"""Measures the gradient flow of anybody's model over seeds."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from vgharness.errors import UsageError
from vgharness.gradflow.arguments import inputs_and_targets, loss_value, new_model
from vgharness.gradflow.opening import closed_seed, flows_after_steps
from vgharness.gradflow.sample import FlowSample
from vgharness.gradflow.summary import FACTOR
from vgharness.probe.layers import LayerChoice, ProbedLayer, find_layers
from vgharness.probe.norms import tensors_in
from vgharness.probe.origin import find_origin
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
    layers: which layers, as :class:`~vgharness.GradientProbe` takes them; by default all with a parameter of their own.
    quantities: your own, by name, callables of a weight's gradient. saturation: measure the saturated units too.
    test, name, extra_info: of the sample, as it is saved; the last are JSON values by name.

    Torch's random state is put back afterwards. Raises :class:`~vgharness.errors.UsageError` for bad input.
    """
    numbers = tuple(range(FIRST_SEED, FIRST_SEED + seeds)) if isinstance(seeds, int) else tuple(seeds)
    _check(numbers, own := dict(quantities or {}))
    source = _Source(model_factory, batch, loss, layers)
    flows: list[GradientFlow] = []
    own_values: list[dict[str, tuple[float | None, ...]]] = []
    with random_state_kept():
        for seed in numbers:
            model, given = source.make(seed)
            flows.append(source.flow(model, given, saturation))
            own_values.append(_own_values(own, model, layers, flows[-1]))
            del model, given  # before the next one is made
        closed = closed_seed(numbers, flows)
        later = () if closed is None else flows_after_steps(closed, source.make, source.flow)
    record = Sample(
        test=test,
        name=name,
        seeds=numbers,
        flows=tuple(flows),
        custom={quantity: tuple(values[quantity] for values in own_values) for quantity in own},
        later=later,
        extra_info=dict(extra_info or {}),
    )
    return FlowSample(record, source.make_inputs)


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


class _Source:
    """Makes a seed's model and batch, the same ones each time, and measures them."""

    def __init__(
        self,
        factory: Callable[[], nn.Module],
        batch: InputsAndTargets | Callable[[int], InputsAndTargets],
        loss: Loss,
        layers: LayerChoice | None,
    ) -> None:
        self._factory, self._batch, self._loss, self._layers = factory, batch, loss, layers
        self._made: weakref.WeakSet[nn.Module] = weakref.WeakSet()

    def make(self, seed: int) -> tuple[nn.Module, InputsAndTargets]:
        """Seeds torch; call it where the random state is kept."""
        torch.manual_seed(seed)
        model = new_model(self._factory, self._made)
        self._made.add(model)
        return model, inputs_and_targets(self._batch, seed)

    def make_inputs(self, seed: int) -> tuple[nn.Module, Any]:
        """The model and the inputs alone."""
        with random_state_kept():
            model, (inputs, _) = self.make(seed)
        return model, inputs

    def flow(self, model: nn.Module, batch: InputsAndTargets, saturation: bool = True) -> GradientFlow:
        """Of one forward and backward pass, after which the weights hold their gradients."""
        inputs, targets = batch
        _check_devices(model, inputs)
        model.zero_grad()
        with GradientProbe(
            model, self._layers, saturation=saturation, through_time=True, parameters=True, outputs=True
        ) as probe:
            value = loss_value(self._loss, model, inputs, targets)
            probe.backward(value)
            flow = probe.flow()
        if all(layer.state != "nonfinite" for layer in flow.layers):
            return flow
        origin = find_origin(model, lambda: loss_value(self._loss, model, inputs, targets))
        return flow if origin is None else GradientFlow(**{**dict(flow), "origin": origin})


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
