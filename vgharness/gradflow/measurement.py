"""Measures the gradient flow of anybody's model over seeds."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import torch
from pydantic import ConfigDict, TypeAdapter, ValidationError
from torch import Tensor, nn

from vgharness.errors import UsageError
from vgharness.formatting import escaped, in_one_line
from vgharness.gradflow.arguments import described, loss_value, new_model
from vgharness.gradflow.given_batch import Batch, draw_of, read_batch
from vgharness.gradflow.opening import flows_after_steps, worth_steps
from vgharness.gradflow.randomness import random_state_kept, seed_everything
from vgharness.gradflow.sample import FlowSample
from vgharness.gradflow.summary import FACTOR
from vgharness.probe.layers import LayerChoice, ProbedLayer, find_layers
from vgharness.probe.norms import tensors_in
from vgharness.probe.origin import find_origin
from vgharness.probe.probe import GradientProbe
from vgharness.records import FIRST_SEED, LAYER_QUANTITIES, GradientFlow, JsonObject, Sample, Steps

InputsAndTargets = tuple[Any, Any]
GradientQuantity = Callable[[Tensor], float | Tensor]
Loss = Callable[..., Tensor]
MoreSeeds = Callable[[Sample, int], Sequence[int]]

DEFAULT_SEEDS: Final = 5
_SEEDS_BELOW: Final = 2**32


def measure(
    model_factory: Callable[[], nn.Module],
    batch: Any,
    loss: Loss | None = None,
    *,
    seeds: int | Sequence[int] = DEFAULT_SEEDS,
    more: MoreSeeds | None = None,
    layers: LayerChoice | None = None,
    quantities: Mapping[str, GradientQuantity] | None = None,
    saturation: bool = False,
    test: str = "",
    name: str = "",
    extra_info: Mapping[str, Any] | None = None,
) -> FlowSample:
    """Measures one forward and backward pass of a fresh model for each seed.

    model_factory: makes a new model on each call; Python's, numpy's and torch's generators are seeded before.
    batch: (inputs, targets), or inputs alone; a DataLoader (per seed another batch) or a Dataset; or a callable that
        makes one of these, of a seed where it takes one. A tuple or a dict of inputs are arguments. Of a dict alone,
        what is named as labels are and is no argument of the model's is the target.
    loss: gives one number of the model's output and the targets, of the output alone, or of ``model``, an argument of
        that name, with any of output, inputs, targets and batch; by default the model's own, ``output.loss``.
    seeds: how many, from 42 on, or which.
    more: called with what is measured so far, and how often it was called before; gives the seeds to measure next, or
        none, where those are enough.
    layers: which layers, as :class:`~vgharness.GradientProbe` takes them; by default all with a parameter of their own.
    quantities: your own, by name, callables of a weight's gradient. saturation: measure the saturated units too.
    test, name, extra_info: of the sample, as it is saved; the last are JSON values by name.

    The random state is put back afterwards. Raises :class:`~vgharness.errors.UsageError` for bad input.
    """
    own, info = _checked_quantities(quantities), _json(extra_info)
    numbers = _checked_seeds(seeds)
    source = _Source(model_factory, batch, loss, layers)
    run = _Run(source, own, saturation)
    with random_state_kept():
        for seed in numbers:
            run.add(seed)
        record = run.record(test, name, info)
        looks = 0
        while more is not None and (further := more(record, looks)):
            for seed in further:
                run.add(seed)
            record, looks = run.record(test, name, info), looks + 1
    return FlowSample(record, source.make_inputs)


def _checked_quantities(quantities: Mapping[str, GradientQuantity] | None) -> dict[str, GradientQuantity]:
    if quantities is not None and not (isinstance(quantities, Mapping) and all(map(callable, quantities.values()))):
        raise UsageError(f"quantities is {described(quantities)}: give callables of a weight's gradient, by name")
    taken = {*LAYER_QUANTITIES, FACTOR} & set(quantities or ())
    if taken:
        raise UsageError(f"quantity {min(taken)!r} is measured already: give yours another name")
    return dict(quantities or {})


def _checked_seeds(seeds: int | Sequence[int]) -> tuple[int, ...]:
    """Lists the seeds: so many, from 42 on, or those given. Raises :class:`~vgharness.errors.UsageError` for what is no
    number or no list of different ones."""
    numbers: tuple[Any, ...] = (None,)
    if isinstance(seeds, int) and not isinstance(seeds, bool):
        numbers = tuple(range(FIRST_SEED, FIRST_SEED + seeds))
    elif isinstance(seeds, Sequence) and not isinstance(seeds, str):
        numbers = tuple(seeds)
    if not numbers:
        raise UsageError("seeds: give one or more")
    if not all(_is_seed(x) for x in numbers) or len(set(numbers)) < len(numbers):
        raise UsageError(f"seeds={seeds!r}: give how many, such as 5, or a list of different numbers from 0 on")
    return numbers


def _is_seed(number: Any) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and 0 <= number < _SEEDS_BELOW


def _json(extra_info: Mapping[str, Any] | None) -> dict[str, Any]:
    if extra_info is not None and not isinstance(extra_info, Mapping):
        raise UsageError(f"extra_info is {described(extra_info)}: give JSON values by name")
    try:
        return TypeAdapter(JsonObject, config=ConfigDict(allow_inf_nan=False)).validate_python(dict(extra_info or {}))
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(f"extra_info {first['loc'][0]!r}: {first['msg']}: give JSON values by name") from None
    except RecursionError:
        raise UsageError("extra_info is too deep: give JSON values by name") from None


class _Run:
    """What is measured of one model, seed by seed."""

    def __init__(self, source: _Source, own: Mapping[str, GradientQuantity], saturation: bool) -> None:
        self._source, self._own, self._saturation = source, own, saturation
        self.seeds: list[int] = []
        self._flows: list[GradientFlow] = []
        self._own_values: list[dict[str, tuple[float | None, ...]]] = []
        self._later: tuple[Steps, ...] = ()

    def add(self, seed: int) -> None:
        """Measures one seed more; call it where the random state is kept."""
        source = self._source
        model, batch = source.make(seed)
        flow = source.flow(model, batch, self._saturation)
        self.seeds.append(seed)
        self._flows.append(flow)
        self._own_values.append(_own_values(self._own, model, source.layers, flow))
        if worth_steps(flow, self._later):
            self._later = flows_after_steps(model, flow, partial(source.flow, model, batch), seed)

    def record(self, test: str, name: str, extra_info: dict[str, Any]) -> Sample:
        return Sample(
            test=test,
            name=name,
            seeds=tuple(self.seeds),
            flows=tuple(self._flows),
            custom={quantity: tuple(values[quantity] for values in self._own_values) for quantity in self._own},
            later=self._later,
            extra_info=extra_info,
        )


class _Source:
    """Makes a seed's model and batch, the same ones each time, and measures them."""

    def __init__(
        self, factory: Callable[[], nn.Module], batch: Any, loss: Loss | None, layers: LayerChoice | None
    ) -> None:
        self._factory, self._draw, self._loss, self.layers = factory, draw_of(batch, "batch"), loss, layers
        self._made: weakref.WeakSet[nn.Module] = weakref.WeakSet()

    def make(self, seed: int) -> tuple[nn.Module, Batch]:
        """Seeds all generators; call it where the random state is kept."""
        seed_everything(seed)
        model = new_model(self._factory, self._made)
        self._made.add(model)
        if self.layers is not None:
            try:
                find_layers(model, self.layers)
            except (TypeError, ValueError) as error:
                raise UsageError(f"layers: {escaped(str(error))}") from None
        return model, read_batch(self._draw(seed), model, "batch")

    def make_inputs(self, seed: int) -> tuple[nn.Module, Any]:
        """The model and the inputs alone."""
        with random_state_kept():
            model, batch = self.make(seed)
        return model, batch.inputs

    def flow(self, model: nn.Module, batch: Batch, saturation: bool = True) -> GradientFlow:
        """Of one forward and backward pass, after which the weights hold their gradients."""
        _check_devices(model, batch.inputs)
        model.zero_grad()
        with GradientProbe(
            model, self.layers, saturation=saturation, through_time=True, parameters=True, outputs=True
        ) as probe:
            probe.backward(self._loss_value(model, batch))
            flow = probe.flow()
        if all(layer.state != "nonfinite" for layer in flow.layers):
            return flow
        origin = find_origin(model, lambda: self._loss_value(model, batch))
        return flow if origin is None else flow.changed(origin=origin)

    def _loss_value(self, model: nn.Module, batch: Batch) -> Tensor:
        try:
            return loss_value(self._loss, model, batch.inputs, batch.targets, batch.whole)
        except UsageError:
            raise
        except Exception as error:  # whatever a stranger's code raises
            if batch.assumed:
                raised = f"the model or the loss raised {in_one_line(error)}"
                raise UsageError(f"batch: {batch.assumed}, and {raised}: give (inputs, targets)") from error
            raise


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
        quantity: tuple(_own_value(found[row.name], quantity, function) for row in flow.layers)
        for quantity, function in own.items()
    }


def _own_value(layer: ProbedLayer, name: str, function: GradientQuantity) -> float | None:
    """None where the layer has no gradient, or where the value is not finite."""
    grads = [weight.grad.detach() for weight in layer.weights if weight.grad is not None]
    if not grads:
        return None
    found = function(torch.cat([grad.flatten() for grad in grads]) if len(grads) > 1 else grads[0])
    try:
        value = float(found)
    except (TypeError, ValueError, RuntimeError):
        raise UsageError(
            f"quantity {name!r} is {described(found)}: give a callable from a weight's gradient to one number"
        ) from None
    return value if math.isfinite(value) else None
