"""Chooses a batch and a loss for a model that was never seen before.

Inputs are tried on the model until it takes one, those first that its layers' shapes make likely. They are unit noise
or random integers, and the targets are random too: enough to send gradients back through a network.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn

from vgharness.check.input_shapes import Arguments, InputSpec, likely_inputs
from vgharness.check.loss import ChosenLoss, infer_loss, named_loss
from vgharness.check.model_source import Factory
from vgharness.check.outputs import Output, describe_output
from vgharness.check.stated_inputs import bind, is_stated, parse_inputs, with_types
from vgharness.check.trial import MOST_KEPT, TooLargeError, Trial, UndecidedError
from vgharness.errors import UsageError
from vgharness.formatting import in_one_line, number
from vgharness.gradflow.arguments import check_weights
from vgharness.gradflow.given_batch import BATCH_SIZE, Draw, draw_of, readings
from vgharness.gradflow.measurement import InputsAndTargets
from vgharness.gradflow.randomness import random_state_kept, seed_everything
from vgharness.probe.layers import uninitialised_parameters
from vgharness.system.user_code import load_object

InputNumbers = Literal["float", "int"]

_WHAT_TO_GIVE = "give --input SHAPE, such as 8,3,32,32, or --input MODULE:CALLABLE, which makes an input of a seed"
_SMALLER_BATCHES = (2, 1)


@dataclasses.dataclass(frozen=True)
class Batch:
    """A callable from a seed to (inputs, targets), with the loss that goes with them.

    draw: called with a seed; gives the inputs, and targets or None, for which the loss then makes some.
    inputs: the inputs in words, with what was assumed of them.
    output: what the model makes of them, without the values.
    shapes: of the inputs that are noise.
    targets: an example of what ``draw`` gives with them.
    named: the loss that was asked for; None: it is inferred.
    """

    draw: Callable[[int], InputsAndTargets]
    inputs: str
    output: Output
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
        """Returns the batch with another loss, named as :func:`~vgharness.check.loss.named_loss` takes it."""
        return dataclasses.replace(self, named=named_loss(name, self.output, self.targets))


def choose_batch(factory: Factory, given: str | None = None, numbers: InputNumbers | None = None) -> Batch:
    """Chooses the batch for the models that ``factory`` makes.

    given: shapes, such as ``8,3,32,32`` or ``x=8,3,32,32 t=8:int64:1000``; or MODULE:NAME of a callable, a DataLoader
        or a Dataset; None: the batch is inferred.
    numbers: what fills a given shape, as in :func:`batch_of_shape`.

    Raises :class:`~vgharness.errors.UsageError` where the model does not take it, or takes nothing that was tried, and
    for what would not fit into memory, which is not run.
    """
    if given is None:
        return infer_batch(factory)
    if is_stated(given):
        return batch_of_shape(factory, given, numbers)
    return batch_of_callable(factory, load_object(given), given)


def infer_batch(factory: Factory) -> Batch:
    """Finds inputs that the model takes, by trying the likely ones on one model: of batch size 8, or of 2 or 1 where a
    pass over 8 would keep more than 4 GB, or more than half of the free memory.

    They are tried in the mode, training or evaluation, that the factory leaves the model in, as in the measurement: a
    model may take less in training.
    """
    with _without_traces():
        model = factory()
        _refuse_without_input(model)
        trial = Trial(model, MOST_KEPT)
        refusal = ""
        needed: list[tuple[Arguments, TooLargeError]] = []
        for arguments in dict.fromkeys(likely_inputs(model)):
            try:
                return _largest_that_fits(trial, arguments)
            except TooLargeError as error:
                needed.append((arguments, error))
            except Exception as error:  # whatever a stranger's code raises: the next input is tried
                refusal = refusal or f" (of {_text(arguments)} it says {in_one_line(error)})"
    if needed:
        raise UsageError(_too_large(f"inputs of one sample, {_text(needed[0][0])},", needed[0][1], trial))
    raise UsageError(f"no input was found that this model takes: {_WHAT_TO_GIVE}{refusal}")


def batch_of_shape(factory: Factory, shape: str, numbers: InputNumbers | None = None) -> Batch:
    """Makes a batch of inputs of the given shapes, ``8,3,32,32``, ``8x3x32x32`` or ``x=8,3,32,32 t=8:int64:1000``.

    numbers: what fills shapes without a type: ``float``: unit noise; ``int``: tokens; None: tokens where the model's
        first weights are an embedding's, or where the model takes nothing else.
    """
    stated = parse_inputs(shape)
    with _without_traces():
        model = factory()
        _refuse_without_input(model)
        trial = Trial(model)
        refusal: Exception | None = None
        for arguments in with_types(bind(stated, model, shape), model, numbers):
            try:
                return _batch_of_arguments(trial, arguments)
            except TooLargeError as error:
                raise UsageError(_too_large(f"--input {shape}", error, trial)) from error
            except Exception as error:  # whatever a stranger's code raises
                refusal = refusal or error
        sizes = " and ".join(str(list(spec.shape)) for spec in stated)
        assert refusal is not None
        said = in_one_line(refusal)
        noun = "this input" if len(stated) == 1 else "these inputs"
        raise UsageError(f"--input {shape}: of {noun} {sizes} the model says {said}") from refusal


def batch_of_callable(factory: Factory, source: Any, name: str) -> Batch:
    """Makes a batch of what ``source`` gives: a callable from a seed to an input or to a pair of input and target, a
    DataLoader, a Dataset, or a callable that makes one of those.

    An input that is a tuple or a dict holds several arguments. ``name``: the source's, for messages.
    """
    drawn_by = draw_of(source, f"--input {name}")
    with _without_traces():
        model = factory()
        check_weights(model, "the model's factory")
        trial = Trial(model)
        drawn = drawn_by(0)
        first: tuple[Any, Exception] | None = None
        for reading in readings(drawn, model):
            inputs, targets = reading.split(drawn)
            try:
                output = _run(trial, lambda inputs=inputs: inputs, lambda inputs=inputs: inputs)  # type: ignore[misc]
            except TooLargeError as error:
                raise UsageError(_too_large(f"--input {name}", error, trial)) from error
            except Exception as error:  # whatever a stranger's code raises: it may be read in another way
                first = first or (inputs, error)
            else:
                assumed = f" ({reading.text})" if reading.text else ""
                return Batch(_split(drawn_by, reading.split), f"inputs of {name}{assumed}", output, targets=targets)
    if first is None:
        raise UsageError(f"--input {name} gives an empty batch: give inputs, or (inputs, targets)")
    shape = f" {list(first[0].shape)}" if isinstance(first[0], Tensor) else ""
    raise UsageError(f"--input {name}: of this input{shape} the model says {in_one_line(first[1])}") from first[1]


def _split(draw: Draw, split: Callable[[Any], InputsAndTargets]) -> Callable[[int], InputsAndTargets]:
    return lambda seed: split(draw(seed))


@contextmanager
def _without_traces() -> Iterator[None]:
    """Seeds all generators, and puts their states back afterwards; hides warnings, as those of inputs that
    were only tried mean nothing."""
    with random_state_kept(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        seed_everything(0)
        yield


def _refuse_without_input(model: nn.Module) -> None:
    """Raises for models whose input cannot be made here."""
    check_weights(model, "the model's factory")
    if uninitialised_parameters(model):
        raise UsageError("this model's lazy layers have no shape yet: let what makes it call it on a batch once")
    if type(model).__module__.startswith("torchvision.models.detection"):
        raise UsageError(
            "a detection model takes images together with boxes: give --input MODULE:CALLABLE, which makes "
            "((images, targets), None) of a seed, and a --loss MODULE:CALLABLE of the losses that it puts out"
        )


def _largest_that_fits(trial: Trial, arguments: Arguments) -> Batch:
    """Makes a batch of 8 samples of the arguments, or of 2 or 1 where more would not fit.

    A model that fake tensors cannot run is run with 2 samples first.

    Raises what the model raises of 8 samples, and :class:`TooLargeError` where one sample is too large.
    """
    try:
        return _batch_of_arguments(trial, arguments)
    except TooLargeError as error:
        too_large = error
    for size in _SMALLER_BATCHES:
        smaller = tuple(spec.of_batch(size) for spec in arguments)
        try:
            batch = _batch_of_arguments(trial, smaller)
        except TooLargeError as error:
            too_large = error
        except Exception:  # a batch norm may not take one sample: what was too large is said
            continue
        else:
            why = f"a batch of {size}, as {BATCH_SIZE} would keep {_gigabytes(too_large.need)}"
            return dataclasses.replace(batch, inputs=f"{batch.inputs} ({why})")
    raise too_large


def _batch_of_arguments(trial: Trial, arguments: Arguments) -> Batch:
    draw = _draw_function(trial.model, arguments)
    axis, size = arguments[0].batch_axis, arguments[0].shape[arguments[0].batch_axis]
    few = None
    if size > _SMALLER_BATCHES[0] and all(len(s.shape) > axis and s.shape[s.batch_axis] == size for s in arguments):
        smaller = tuple(spec.of_batch(_SMALLER_BATCHES[0]) for spec in arguments)
        few = (size / _SMALLER_BATCHES[0], lambda: _draw_function(trial.model, smaller)(0)[0])
    output = _run(trial, lambda: draw(None)[0], lambda: draw(0)[0], few)
    noise = tuple(spec.shape for spec in arguments if not spec.below)
    return Batch(draw, _text(arguments), output, noise)


def _run(
    trial: Trial,
    without_values: Callable[[], Any],
    inputs: Callable[[], Any],
    few: tuple[float, Callable[[], Any]] | None = None,
) -> Output:
    """Runs the model on inputs, once they are known to fit into memory, and describes the output.

    without_values: makes the inputs while tensors are fake.
    few: fewer samples, with how many times more there are in ``inputs``. They are run instead, where fake tensors tell
        of all samples what is kept and put out: a few show as well whether the model takes such values. Elsewhere they
        are run first, and tell what is kept.
    """
    predicted = _predicted(trial, without_values)
    if few is not None:
        times, make = few
        try:
            _, kept = trial.run(make())
        except TooLargeError as error:
            raise TooLargeError(int(times * error.need)) from error
        except Exception:  # the model may want the whole batch
            pass
        else:
            if predicted is not None:
                return predicted
            trial.check(times * kept)
    output, _ = trial.run(inputs())
    return describe_output(output, of_training=True)


def _predicted(trial: Trial, without_values: Callable[[], Any]) -> Output | None:
    """What the model puts out, as fake tensors tell; None where they do not."""
    try:
        output, kept = trial.predict(without_values)
    except UndecidedError:
        return None
    trial.check(kept)
    return describe_output(output, of_training=True)


def _too_large(inputs: str, error: TooLargeError, trial: Trial) -> str:
    return (
        f"{inputs} would keep {_gigabytes(error.need)} in memory for the backward pass, of which "
        f"{_gigabytes(trial.most)} are allowed here: give a smaller --input, such as fewer samples or pixels"
    )


def _gigabytes(size: float) -> str:
    return f"{number(max(size, 0) / 1e9)} GB"


def _text(arguments: Arguments) -> str:
    return " and ".join(map(str, arguments))


def _draw_function(model: nn.Module, arguments: Arguments) -> Callable[[int | None], InputsAndTargets]:
    """Makes a function that draws ``arguments``, which depend on its seed alone, on the device and in the precision of
    the model's weights; without a seed they have no values."""
    weight = next((p for p in model.parameters() if p.is_floating_point()), torch.empty(0))
    device, dtype = weight.device, weight.dtype

    def tensor(spec: InputSpec, generator: torch.Generator | None) -> Tensor:
        kind = getattr(torch, spec.dtype) if spec.dtype else (torch.int64 if spec.below else dtype)
        if generator is None:
            return torch.empty(spec.shape, dtype=kind, device=device)
        if kind is torch.bool:
            return torch.randint(2, spec.shape, generator=generator).to(device, kind)
        if kind.is_floating_point and spec.below:
            return (torch.rand(spec.shape, generator=generator) * spec.below).to(device, kind)
        if spec.below:
            return torch.randint(spec.below, spec.shape, generator=generator).to(device, kind)
        return torch.randn(spec.shape, generator=generator).to(device, kind)

    def draw(seed: int | None) -> InputsAndTargets:
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        tensors = [tensor(spec, generator) for spec in arguments]
        if arguments[0].keyword:
            return {spec.keyword: drawn for spec, drawn in zip(arguments, tensors, strict=True)}, None
        return tuple(tensors) if len(tensors) > 1 else tensors[0], None

    return draw
