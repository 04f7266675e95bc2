"""What a measurement is given, model factory, batch and loss, checked: each fault is one line that names the argument
and shows the right form."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import Tensor, nn

from vgharness.errors import UsageError
from vgharness.formatting import in_one_line, listing

_OUTPUT = ("output", "outputs", "out", "prediction", "predictions", "pred", "logits", "y_hat")
_TARGETS = ("target", "targets", "label", "labels", "y", "y_true")
_INPUTS = ("input", "inputs", "x", "batch")
_LOSS_FORMS = "give a callable of the output, of output and targets, or with an argument called model"


def call_model(model: nn.Module, inputs: Any) -> Any:
    """Calls ``model``: a dict or a tuple of inputs are its arguments, anything else is its one argument."""
    if isinstance(inputs, Mapping):
        return model(**inputs)
    return model(*inputs) if isinstance(inputs, tuple) else model(inputs)


def new_model(factory: Callable[[], nn.Module], others: Iterable[nn.Module]) -> nn.Module:
    """Makes a model with ``factory``, which must be none of ``others``.

    Raises :class:`~vgharness.errors.UsageError` for a factory that is a model itself, that raises, that gives no
    module, one of the others, or one without weights, on the device called meta.
    """
    if isinstance(factory, nn.Module) or not callable(factory):
        raise UsageError(
            f"the model factory is {_described(factory)}: give a callable that makes a new model on each call, such as "
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
        raise UsageError(f"the model factory gave {_described(model)}: give a callable that makes a module")
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


def inputs_and_targets(batch: Any, seed: int) -> tuple[Any, Any]:
    """Returns the inputs and targets that ``batch`` holds, or gives when it is called with ``seed``.

    Raises :class:`~vgharness.errors.UsageError` for a callable that raises, and for what is no pair.
    """
    pair = batch
    if callable(batch):
        try:
            pair = batch(seed)
        except UsageError:
            raise
        except Exception as error:
            raise UsageError(
                f"batch, called with a seed, raised {in_one_line(error)}: give (inputs, targets), or a callable from a "
                "seed to them"
            ) from error
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise UsageError(
            f"batch is {_described(pair)}: give the pair (inputs, targets), or (inputs, None) where the loss takes no "
            "targets; several inputs are a tuple, ((x, t), targets)"
        )
    return pair[0], pair[1]


def loss_value(loss: Callable[..., Any], model: nn.Module, inputs: Any, targets: Any) -> Tensor:
    """Calls the model and the loss, and returns the loss: a tensor of one element with a graph.

    loss: takes the output; or output and targets; or ``model``, an argument of that name, with any of output, inputs
    and targets by their names. Where it takes neither the output nor one without a name, it calls the model itself.

    Raises :class:`~vgharness.errors.UsageError` for a loss of another form, and for a value of another kind.
    """
    return checked_loss(loss_caller(loss)(model, inputs, targets), "the loss")


def loss_caller(loss: Callable[..., Any], name: str = "the loss") -> Callable[[nn.Module, Any, Any], Any]:
    """Returns a function of model, inputs and targets that calls ``loss`` in its own form, as :func:`loss_value`.

    ``name``: the loss's, for messages. Raises :class:`~vgharness.errors.UsageError` for a loss of another form.
    """
    if not callable(loss):
        raise UsageError(f"{name} is {_described(loss)}: {_LOSS_FORMS}")
    parameters = _parameters(loss)
    if takes_model(loss):
        return _caller_of_names(loss, parameters, name)
    required = [p for p in parameters.values() if p.default is p.empty and p.kind is not p.VAR_POSITIONAL]
    if len(required) > 2 or any(p.kind is p.KEYWORD_ONLY for p in required):
        raise UsageError(f"{name} takes {listing(p.name for p in required)}: {_LOSS_FORMS}")
    if takes_targets(loss):
        return lambda model, inputs, targets: loss(call_model(model, inputs), targets)
    return lambda model, inputs, targets: loss(call_model(model, inputs))


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
        raise UsageError(f"{name} is not one number but {_described(value)}: let it give a tensor of one element")
    if value.numel() != 1:
        raise UsageError(
            f"{name} is not one number but {_described(value)}: let it give a tensor of one element, such as .mean()"
        )
    if not value.requires_grad:
        raise UsageError(
            f"{name} does not depend on the model's weights: was something detached, or made anew with torch.tensor()?"
        )
    return value


def _caller_of_names(
    loss: Callable[..., Any], parameters: Mapping[str, inspect.Parameter], name: str
) -> Callable[[nn.Module, Any, Any], Any]:
    kinds = {"model": "model"} | dict.fromkeys(_OUTPUT, "output") | dict.fromkeys(_INPUTS, "inputs")
    kinds |= dict.fromkeys(_TARGETS, "targets")
    unknown = [p.name for p in parameters.values() if p.default is p.empty and p.name not in kinds]
    if unknown:
        raise UsageError(f"{name} takes {listing(unknown)}: beside model it can take output, inputs and targets")
    wanted = {p: kinds[p] for p in parameters if p in kinds}

    def call(model: nn.Module, inputs: Any, targets: Any) -> Any:
        values = {"model": model, "inputs": inputs, "targets": targets}
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


def _described(thing: Any) -> str:
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
