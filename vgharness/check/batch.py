"""A batch and a loss for a model that was never seen before.

What a model takes is tried on it, what the shapes of its layers speak for first. Inputs are unit noise or random
integers, and targets are random too: they send gradients back through a network, and teach it nothing.
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
from torch.nn.parameter import UninitializedParameter

from vgharness.check.input_shapes import Arguments, Drawn, likely_inputs
from vgharness.check.loss import Loss, infer_loss, named_loss
from vgharness.check.model_source import Factory, load_callable, one_line
from vgharness.errors import UsageError

Kind = Literal["float", "int"]

_GIVE = "give --input SHAPE, such as 8,3,32,32, or --input MODULE:CALLABLE, which makes an input of a seed"


@dataclasses.dataclass(frozen=True)
class Batch:
    """A callable from a seed to (inputs, targets), with the ``loss`` that goes with them.

    ``draw`` gives the inputs, and targets or None, for which the loss then makes some. ``output`` and ``targets`` are
    examples: what one model made of its inputs, and what came with them.
    """

    draw: Callable[[int], tuple[Any, Any]]
    inputs: str  # in words
    output: Any
    shapes: tuple[tuple[int, ...], ...] = ()  # of inputs that are noise
    targets: Any = None
    named: Loss | None = None

    def __call__(self, seed: int) -> tuple[Any, Any]:
        inputs, targets = self.draw(seed)
        return inputs, self.loss.targets(seed) if targets is None else targets

    @property
    def loss(self) -> Loss:
        """The named one, or what the output speaks for; :class:`~vgharness.errors.UsageError` where that is none."""
        return self.named or infer_loss(self.output, self.targets, inputs=self.shapes)

    @property
    def text(self) -> str:
        return f"{self.inputs}; {self.loss.text}"

    def with_loss(self, name: str) -> Batch:
        """With one of ``LOSSES``, or MODULE:CALLABLE, which is called with the output and the targets."""
        return dataclasses.replace(self, named=named_loss(name, self.output, self.targets))


def choose_batch(factory: Factory, given: str | None = None, kind: Kind | None = None) -> Batch:
    """The batch that ``given`` stands for: a shape, MODULE:CALLABLE, or None for one that is inferred."""
    if given is None:
        return infer_batch(factory)
    if ":" in given:
        return batch_of_callable(factory, load_callable(given), given)
    return batch_of_shape(factory, given, kind)


def infer_batch(factory: Factory) -> Batch:
    """A batch of 8 that the model takes, found by trying on one model.

    It is tried in the mode that the factory leaves the model in, as it will be measured: in training some take less.
    """
    with _apart():
        model = factory()
        _refuse(model)
        first: tuple[str, Exception] | None = None
        for arguments in dict.fromkeys(likely_inputs(model)):
            draw = _drawer(model, arguments)
            try:
                output = call_model(model, draw(0)[0])
            except Exception as error:  # whatever a stranger's code raises: the next guess, then
                first = first or (" and ".join(map(str, arguments)), error)
            else:
                return _batch(draw, arguments, output)
    said = f" (of {first[0]} it says {one_line(first[1])})" if first else ""
    raise UsageError(f"no input was found that this model takes: {_GIVE}{said}")


def batch_of_shape(factory: Factory, shape: str, kind: Kind | None = None) -> Batch:
    """``8,3,32,32`` or ``8x3x32x32``: unit noise; tokens where ``kind`` is int, or by default where the model's
    first weights are an embedding's."""
    numbers = "".join(shape.split())
    if not re.fullmatch(r"[1-9]\d*([,x][1-9]\d*)*", numbers, re.ASCII):
        raise UsageError(f"--input {numbers}: give a shape such as 8,3,32,32 or 8x3x32x32, or MODULE:CALLABLE")
    with _apart():
        model = factory()
        _refuse(model)
        embeddings = [m for m in model.modules() if isinstance(m, nn.Embedding | nn.EmbeddingBag)]
        first = next((m for m in model.modules() if next(m.parameters(recurse=False), None) is not None), None)
        tokens = kind == "int" or (kind is None and first in embeddings)
        below = (embeddings[0].num_embeddings if embeddings else 2) if tokens else 0
        sizes = tuple(int(size) for size in re.split("[,x]", numbers))
        arguments = (Drawn("tokens" if tokens else "input", sizes, below),)
        draw = _drawer(model, arguments)
        return _batch(draw, arguments, _called(model, draw(0)[0], shape))


def batch_of_callable(factory: Factory, function: Callable[[int], Any], name: str) -> Batch:
    """``function`` makes an input of a seed, or a pair of input and target. An input that is a tuple or a dict is
    several arguments."""

    def draw(seed: int) -> tuple[Any, Any]:
        given = function(seed)
        return given if isinstance(given, tuple) and len(given) == 2 else (given, None)

    with _apart():
        model = factory()
        try:
            inputs, targets = draw(0)
        except Exception as error:
            raise UsageError(f"--input {name}: called with a seed it raised {one_line(error)}") from error
        output = _called(model, inputs, name)
        return Batch(draw, f"inputs of {name}", output, targets=targets)


@contextmanager
def _apart() -> Iterator[None]:
    """Random numbers are drawn that nobody misses, no graph is kept, and what a wrong guess warns of is not shown."""
    devices = range(torch.cuda.device_count()) if torch.cuda.is_available() else ()
    with torch.random.fork_rng(devices=devices), torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        yield


def _refuse(model: nn.Module) -> None:
    if any(isinstance(parameter, UninitializedParameter) for parameter in model.parameters()):
        raise UsageError("this model's lazy layers have no shape yet: let what makes it call it on a batch once")
    if type(model).__module__.startswith("torchvision.models.detection"):
        raise UsageError(
            "a detection model takes images together with boxes: give --input MODULE:CALLABLE, which makes "
            "((images, targets), None) of a seed, and a --loss MODULE:CALLABLE of the losses that it puts out"
        )


def _called(model: nn.Module, inputs: Any, given: str) -> Any:
    try:
        return call_model(model, inputs)
    except Exception as error:
        shape = f" {list(inputs.shape)}" if isinstance(inputs, Tensor) else ""
        raise UsageError(f"--input {given}: of this input{shape} the model says {one_line(error)}") from error


def _batch(draw: Callable[[int], tuple[Any, Any]], arguments: Arguments, output: Any) -> Batch:
    shapes = tuple(drawn.shape for drawn in arguments if not drawn.below)
    return Batch(draw, " and ".join(map(str, arguments)), output, shapes)


def _drawer(model: nn.Module, arguments: Arguments) -> Callable[[int], tuple[Any, Any]]:
    """Draws ``arguments`` of a seed alone, in the device and the precision of the model's weights."""
    weight = next((p for p in model.parameters() if p.is_floating_point()), torch.empty(0))
    device, dtype = weight.device, weight.dtype

    def one(drawn: Drawn, generator: torch.Generator) -> Tensor:
        if drawn.below:
            return torch.randint(drawn.below, drawn.shape, generator=generator).to(device)
        return torch.randn(drawn.shape, generator=generator).to(device, dtype)

    def draw(seed: int) -> tuple[Any, Any]:
        generator = torch.Generator().manual_seed(seed)
        tensors = [one(drawn, generator) for drawn in arguments]
        if arguments[0].keyword:
            return {drawn.keyword: tensor for drawn, tensor in zip(arguments, tensors, strict=True)}, None
        return tuple(tensors) if len(tensors) > 1 else tensors[0], None

    return draw
