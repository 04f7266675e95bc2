"""What a measurement is given, model factory and loss, checked: each fault is one line that names the argument and
shows the right form."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from vgharness.errors import UsageError
from vgharness.formatting import in_one_line, listing

_OUTPUT = ("output", "outputs", "out", "prediction", "predictions", "pred", "logits", "y_hat")
_TARGETS = ("target", "targets", "label", "labels", "y", "y_true")
_INPUTS = ("input", "inputs", "x")
_LOSS_FORMS = "give a callable of the output, of output and targets, or with an argument called model"


def call_model(model: nn.Module, inputs: Any) -> Any:
    """Calls ``model``: a dict or a tuple of inputs are its arguments, anything else is its one argument."""
    if isinstance(inputs, Mapping):
        return model(**inputs)
    return model(*inputs) if isinstance(inputs, tuple) and not isinstance(inputs, PackedSequence) else model(inputs)


def new_model(factory: Callable[[], nn.Module], others: Iterable[nn.Module]) -> nn.Module:
    """Makes a model with ``factory``, which must be none of ``others``.

    Raises :class:`~vgharness.errors.UsageError` for a factory that is a model itself, that raises, that gives no
    module, one of the others, or one without weights, on the device called meta.
    """
    if isinstance(factory, nn.Module) or not callable(factory):
        raise UsageError(
            f"the model factory is {described(factory)}: give a callable that makes a new model on each call, such as "
            "lambda: Net()"
        )
    try:
        model = factory()
    except UsageError:
        raise
    except Exception as error:  # whatever a stranger's code raises
        raise UsageError(
            f"the model factory raised {in_one_line(error)}: give a callable without arguments, such as lambda: Net()"
        ) from error
    if not isinstance(model, nn.Module):
        raise UsageError(f"the model factory gave {described(model)}: give a callable that makes a module")
    if any(model is other for other in others):
        raise UsageError("the model factory gives the same model each time: let it make a new one, for the seeds")
    check_weights(model, "the model factory")
    return model


def check_weights(model: nn.Module, name: str) -> None:
    """Raises :class:`~vgharness.errors.UsageError` for a model on the device called meta, whose weights have no
    values. ``name``: of what made it, for the message."""
    if any(tensor.is_meta for tensor in (*model.parameters(), *model.buffers())):
        raise UsageError(
            f"{name} gives a model on meta, whose weights have no values: make it outside of torch.device('meta'), or "
            "call its to_empty(device='cpu') and initialise its weights"
        )


def loss_value(
    loss: Callable[..., Any] | None, model: nn.Module, inputs: Any, targets: Any, whole: Any = None
) -> Tensor:
    """Calls the model and the loss, and returns the loss: a tensor of one element with a graph.

    loss: takes the output; or output and targets; or ``model``, an argument of that name, with any of output, inputs,
        targets and batch by their names. Where it takes neither the output nor one without a name, it calls the model
        itself. None: the output is the loss, or has it as ``output.loss`` or ``output["loss"]``.
    whole: what a loss gets as ``batch``: by default the inputs, or with targets the pair.

    Raises :class:`~vgharness.errors.UsageError` for a loss of another form, and for a value of another kind.
    """
    return checked_loss(loss_caller(loss)(model, inputs, targets, whole), "the loss")


def loss_caller(loss: Callable[..., Any] | None, name: str = "the loss") -> Callable[..., Any]:
    """Returns a function of model, inputs, targets and, where that is another thing, the whole batch, that calls
    ``loss`` in its own form, as :func:`loss_value`.

    ``name``: the loss's, for messages. Raises :class:`~vgharness.errors.UsageError` for a loss of another form.
    """
    if loss is None:
        return lambda model, inputs, targets, whole=None: _own_loss(call_model(model, inputs), name)
    if not callable(loss):
        raise UsageError(f"{name} is {described(loss)}: {_LOSS_FORMS}")
    if isinstance(loss, type):
        raise UsageError(f"{name} is {described(loss)}: give one of it, {loss.__name__}()")
    parameters = _parameters(loss)
    if takes_model(loss):
        return _caller_of_names(loss, parameters, name)
    required = [p for p in parameters.values() if p.default is p.empty and p.kind is not p.VAR_POSITIONAL]
    if len(required) > 2 or any(p.kind is p.KEYWORD_ONLY for p in required):
        raise UsageError(f"{name} takes {listing(p.name for p in required)}: {_LOSS_FORMS}")
    if takes_targets(loss):
        return lambda model, inputs, targets, whole=None: _of_targets(loss, call_model(model, inputs), targets, name)
    return lambda model, inputs, targets, whole=None: loss(call_model(model, inputs))


def models_loss(output: Any) -> Tensor | None:
    """Finds the loss in an output that has one, ``output.loss`` or ``output["loss"]``; None elsewhere."""
    found = output.get("loss") if isinstance(output, Mapping) else getattr(output, "loss", None)
    return found if isinstance(found, Tensor) and found.numel() == 1 else None


def takes_model(loss: Callable[..., Any]) -> bool:
    """Says whether ``loss`` has an argument called ``model``."""
    return "model" in _parameters(loss)


def takes_targets(loss: Callable[..., Any]) -> bool:
    """Says whether ``loss`` is to be called with targets after the output: not where it has one argument, or a second
    one whose default and name are not those of targets."""
    positional = [p for p in _parameters(loss).values() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if len(positional) > 1:
        second = positional[1]
        return second.default is second.empty or second.default is None or second.name in _TARGETS
    return not positional or any(p.kind is p.VAR_POSITIONAL for p in _parameters(loss).values())


def checked_loss(value: Any, name: str) -> Tensor:
    """Returns ``value`` where it is a loss, a tensor of one element with a graph.

    ``name``: the loss's, for the message. Raises :class:`~vgharness.errors.UsageError` elsewhere.
    """
    if value is None:
        raise UsageError(f"{name} is not one number but None: does its function end with return?")
    if isinstance(value, int | float):
        raise UsageError(
            f"{name} is not one number with a graph but the float {value}: give the tensor, without .item() or float()"
        )
    if not isinstance(value, Tensor):
        form = "its .loss" if models_loss(value) is not None else "a tensor of one element"
        raise UsageError(f"{name} is not one number but {described(value)}: let it give {form}")
    if value.numel() != 1:
        raise UsageError(
            f"{name} is not one number but {described(value)}: let it give a tensor of one element, such as .mean()"
        )
    if not value.requires_grad:
        raise UsageError(
            f"{name} does not depend on the model's weights: was something detached, or made anew with torch.tensor()?"
        )
    return value


def _own_loss(output: Any, name: str) -> Tensor:
    found = models_loss(output)
    if found is None and isinstance(output, Tensor) and output.numel() == 1:
        found = output
    if found is None:
        raise UsageError(
            f"{name} is None, and the output, {described(output)}, has no .loss: give a loss, such as "
            "torch.nn.functional.cross_entropy"
        )
    return found


def _of_targets(loss: Callable[..., Any], output: Any, targets: Any, name: str) -> Any:
    if targets is not None:
        return loss(output, targets)
    try:
        return loss(output, None)
    except UsageError:
        raise
    except Exception as error:  # whatever a stranger's code raises of None
        raise UsageError(
            f"{name} takes targets and the batch has none ({in_one_line(error)}): give (inputs, targets), or a loss of "
            "the output alone, such as lambda output: output.loss"
        ) from error


def _caller_of_names(
    loss: Callable[..., Any], parameters: Mapping[str, inspect.Parameter], name: str
) -> Callable[..., Any]:
    kinds = {"model": "model", "batch": "batch"} | dict.fromkeys(_OUTPUT, "output")
    kinds |= dict.fromkeys(_INPUTS, "inputs") | dict.fromkeys(_TARGETS, "targets")
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    required = [p.name for p in parameters.values() if p.default is p.empty and p.kind not in variable]
    unknown = [each for each in required if each not in kinds]
    if unknown:
        raise UsageError(f"{name} takes {listing(unknown)}: beside model it can take output, inputs, targets and batch")
    wanted = {p: kinds[p] for p in parameters if p in kinds}

    def call(model: nn.Module, inputs: Any, targets: Any, whole: Any = None) -> Any:
        values = {"model": model, "inputs": inputs, "targets": targets, "batch": whole}
        if whole is None:
            values["batch"] = inputs if targets is None else (inputs, targets)
        if "output" in wanted.values():
            values["output"] = call_model(model, inputs)
        return loss(**{parameter: values[kind] for parameter, kind in wanted.items()})

    return call


def _parameters(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """Lists what ``function`` takes; a function without a signature takes output and targets."""
    try:
        return inspect.signature(function.forward if isinstance(function, nn.Module) else function).parameters
    except (TypeError, ValueError):  # some functions written in C
        kind = inspect.Parameter.POSITIONAL_ONLY
        return {name: inspect.Parameter(name, kind) for name in ("output", "target")}


def described(thing: Any) -> str:
    """Names what ``thing`` is: ``a Tensor [8, 3]``, ``a tuple of 3``, ``None``, ``the class Net``."""
    if thing is None:
        return "None"
    if isinstance(thing, type):
        return f"the class {thing.__name__}"
    kind = type(thing).__name__
    article = "an" if kind[0] in "aeiouAEIOU" else "a"
    if isinstance(thing, Tensor):
        return f"{article} {kind} {list(thing.shape)}"
    return f"{article} {kind} of {len(thing)}" if isinstance(thing, tuple | list | dict) else f"{article} {kind}"
