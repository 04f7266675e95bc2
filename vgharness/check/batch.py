"""Chooses a batch and a loss for a model that was never seen before.

Inputs are tried on the model until it takes one, those first that its layers' shapes make likely. They are unit noise
or random integers, and the targets are random too: enough to send gradients back through a network.
"""

from __future__ import annotations

import dataclasses
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn

from vgharness.check.input_shapes import Arguments, InputSpec, likely_inputs
from vgharness.check.loss import ChosenLoss, infer_loss, named_loss
from vgharness.check.model_source import Factory, load_callable
from vgharness.errors import UsageError
from vgharness.formatting import in_one_line
from vgharness.gradflow.measurement import InputsAndTargets, call_model, random_state_kept
from vgharness.probe.layers import uninitialised_parameters

InputNumbers = Literal["float", "int"]

_WHAT_TO_GIVE = "give --input SHAPE, such as 8,3,32,32, or --input MODULE:CALLABLE, which makes an input of a seed"


@dataclasses.dataclass(frozen=True)
class Batch:
    """A callable from a seed to (inputs, targets), with the loss that goes with them.

    draw: called with a seed; gives the inputs, and targets or None, for which the loss then makes some.
    inputs: the inputs in words.
    output: an example of what the model makes of them.
    shapes: of the inputs that are noise.
    targets: an example of what ``draw`` gives with them.
    named: the loss that was asked for; None: it is inferred.
    """

    draw: Callable[[int], InputsAndTargets]
    inputs: str
    output: Any
    shapes: tuple[tuple[int, ...], ...] = ()
    targets: Any = None
    named: ChosenLoss | None = None

    def __call__(self, seed: int) -> InputsAndTargets:
        inputs, targets = self.draw(seed)
        return inputs, self.loss.targets(seed) if targets is None else targets

    @property
    def loss(self) -> ChosenLoss:
        """The loss that was asked for, or the one inferred from the output.

        Raises :class:`~vgharness.errors.UsageError` where none can be inferred.
        """
        return self.named or infer_loss(self.output, self.targets, inputs=self.shapes)

    @property
    def text(self) -> str:
        """Inputs and loss in words."""
        return f"{self.inputs}; {self.loss.text}"

    def with_loss(self, name: str) -> Batch:
        """Returns the batch with another loss: one of ``LOSSES``, or MODULE:CALLABLE, which is called with the output
        and the targets."""
        return dataclasses.replace(self, named=named_loss(name, self.output, self.targets))


def choose_batch(factory: Factory, given: str | None = None, numbers: InputNumbers | None = None) -> Batch:
    """Chooses the batch for the models that ``factory`` makes.

    given: a shape, such as ``8,3,32,32``, or MODULE:CALLABLE; None: the batch is inferred.
    numbers: what fills a given shape, as in :func:`batch_of_shape`.

    Raises :class:`~vgharness.errors.UsageError` where the model does not take it, or takes nothing that was tried.
    """
    if given is None:
        return infer_batch(factory)
    if ":" in given:
        return batch_of_callable(factory, load_callable(given), given)
    return batch_of_shape(factory, given, numbers)


def infer_batch(factory: Factory) -> Batch:
    """Finds inputs of batch size 8 that the model takes, by trying the likely ones on one model.

    They are tried in the mode, training or evaluation, that the factory leaves the model in, as in the measurement: a
    model may take less in training.
    """
    with _without_traces():
        model = factory()
        _refuse_without_input(model)
        first_refusal: tuple[str, Exception] | None = None
        for arguments in dict.fromkeys(likely_inputs(model)):
            draw = _draw_function(model, arguments)
            try:
                output = call_model(model, draw(0)[0])
            except Exception as error:  # whatever a stranger's code raises: the next input is tried
                first_refusal = first_refusal or (_text(arguments), error)
            else:
                return _batch_of_arguments(draw, arguments, output)
    said = f" (of {first_refusal[0]} it says {in_one_line(first_refusal[1])})" if first_refusal else ""
    raise UsageError(f"no input was found that this model takes: {_WHAT_TO_GIVE}{said}")


def batch_of_shape(factory: Factory, shape: str, numbers: InputNumbers | None = None) -> Batch:
    """Makes a batch of one input of the given shape, ``8,3,32,32`` or ``8x3x32x32``.

    numbers: ``float``: unit noise; ``int``: tokens; None: tokens where the model's first weights are an embedding's.
    """
    sizes = "".join(shape.split())
    if not re.fullmatch(r"[1-9]\d*([,x][1-9]\d*)*", sizes, re.ASCII):
        raise UsageError(f"--input {sizes}: give a shape such as 8,3,32,32 or 8x3x32x32, or MODULE:CALLABLE")
    with _without_traces():
        model = factory()
        _refuse_without_input(model)
        embeddings = [m for m in model.modules() if isinstance(m, nn.Embedding | nn.EmbeddingBag)]
        first = next((m for m in model.modules() if next(m.parameters(recurse=False), None) is not None), None)
        tokens = numbers == "int" or (numbers is None and first in embeddings)
        below = (embeddings[0].num_embeddings if embeddings else 2) if tokens else 0
        arguments = (InputSpec("tokens" if tokens else "input", tuple(map(int, re.split("[,x]", sizes))), below),)
        draw = _draw_function(model, arguments)
        return _batch_of_arguments(draw, arguments, _output(model, draw(0)[0], shape))


def batch_of_callable(factory: Factory, function: Callable[[int], Any], name: str) -> Batch:
    """Makes a batch of what ``function`` gives for a seed: an input, or a pair of input and target.

    An input that is a tuple or a dict holds several arguments. ``name``: the function's, for messages.
    """

    def draw(seed: int) -> InputsAndTargets:
        given = function(seed)
        return given if isinstance(given, tuple) and len(given) == 2 else (given, None)

    with _without_traces():
        model = factory()
        try:
            inputs, targets = draw(0)
        except Exception as error:
            raise UsageError(f"--input {name}: called with a seed it raised {in_one_line(error)}") from error
        output = _output(model, inputs, name)
        return Batch(draw, f"inputs of {name}", output, targets=targets)


@contextmanager
def _without_traces() -> Iterator[None]:
    """Seeds torch, and puts its random state back afterwards; keeps no graph; hides warnings, as those of inputs that
    were only tried mean nothing."""
    with random_state_kept(), torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        yield


def _refuse_without_input(model: nn.Module) -> None:
    """Raises for models whose input cannot be made here."""
    if uninitialised_parameters(model):
        raise UsageError("this model's lazy layers have no shape yet: let what makes it call it on a batch once")
    if type(model).__module__.startswith("torchvision.models.detection"):
        raise UsageError(
            "a detection model takes images together with boxes: give --input MODULE:CALLABLE, which makes "
            "((images, targets), None) of a seed, and a --loss MODULE:CALLABLE of the losses that it puts out"
        )


def _output(model: nn.Module, inputs: Any, given: str) -> Any:
    """Calls the model on the inputs that ``--input`` asked for."""
    try:
        return call_model(model, inputs)
    except Exception as error:
        shape = f" {list(inputs.shape)}" if isinstance(inputs, Tensor) else ""
        raise UsageError(f"--input {given}: of this input{shape} the model says {in_one_line(error)}") from error


def _batch_of_arguments(draw: Callable[[int], InputsAndTargets], arguments: Arguments, output: Any) -> Batch:
    return Batch(draw, _text(arguments), output, tuple(spec.shape for spec in arguments if not spec.below))


def _text(arguments: Arguments) -> str:
    return " and ".join(map(str, arguments))


def _draw_function(model: nn.Module, arguments: Arguments) -> Callable[[int], InputsAndTargets]:
    """Makes a function that draws ``arguments``, which depend on its seed alone, on the device and in the precision of
    the model's weights."""
    weight = next((p for p in model.parameters() if p.is_floating_point()), torch.empty(0))
    device, dtype = weight.device, weight.dtype

    def tensor(spec: InputSpec, generator: torch.Generator) -> Tensor:
        if spec.below:
            return torch.randint(spec.below, spec.shape, generator=generator).to(device)
        return torch.randn(spec.shape, generator=generator).to(device, dtype)

    def draw(seed: int) -> InputsAndTargets:
        generator = torch.Generator().manual_seed(seed)
        tensors = [tensor(spec, generator) for spec in arguments]
        if arguments[0].keyword:
            return {spec.keyword: drawn for spec, drawn in zip(arguments, tensors, strict=True)}, None
        return tuple(tensors) if len(tensors) > 1 else tensors[0], None

    return draw
