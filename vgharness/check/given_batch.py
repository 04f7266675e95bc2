"""Batches of the user's own: what a callable, a DataLoader or a Dataset gives, split into inputs and targets."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset

from vgharness.check.input_shapes import BATCH_SIZE
from vgharness.errors import UsageError
from vgharness.formatting import in_one_line

Draw = Callable[[int], Any]

_TARGET_NAMES = ("labels", "label", "targets", "target", "y")
_FORMS = (
    "give a callable from a seed to inputs or to (inputs, targets), a DataLoader, a Dataset, or what makes one of them"
)


class Reading(NamedTuple):
    """One way to read what a batch holds.

    split: makes (inputs, targets) of it.
    text: what is assumed, for where it could be something else; empty where there is one way only.
    """

    split: Callable[[Any], tuple[Any, Any]]
    text: str = ""


def draw_of(source: Any, name: str) -> Draw:
    """Returns a function from a seed to what ``source`` gives for it.

    source: a DataLoader (its first batch), a Dataset (samples drawn by the seed), a callable that makes one of them or
        that makes a batch, of a seed where it takes one, or a batch itself.
    name: the source's, for messages. Raises :class:`~vgharness.errors.UsageError` for anything else.
    """
    if callable(source) and not isinstance(source, Dataset | DataLoader | nn.Module):
        if _takes_seed(source, name):
            return lambda seed: _first(_called(lambda: source(seed), name, "called with a seed "), name, seed)
        made: list[Any] = []  # a data set is made once

        def draw(seed: int) -> Any:
            if made:
                return _first(made[0], name, seed)
            found = _called(source, name, "called ")
            if _is_source(found):
                made.append(found)
            return _first(found, name, seed)

        return draw
    if not (_is_source(source) or isinstance(source, Tensor | tuple | list | Mapping)):
        raise UsageError(f"--input {name} is a {type(source).__name__}: {_FORMS}")
    return lambda seed: _first(source, name, seed)


def readings(drawn: Any, model: nn.Module) -> Iterator[Reading]:
    """Yields the ways to read a batch as inputs and targets, the likeliest first.

    A pair is input and target, or two inputs; of three and more all are inputs, or the last is the target; of a dict,
    what is named as labels are and is no argument of the model's is the target.
    """
    if isinstance(drawn, Mapping):
        yield from _readings_of_dict(drawn, model)
        return
    if isinstance(drawn, list):  # an input of its own, such as the images of a detection model
        yield Reading(lambda x: (x, None))
    if not isinstance(drawn, tuple | list):
        yield Reading(lambda x: (x, None))
    elif len(drawn) == 1:
        yield Reading(lambda x: (x[0], None))
    elif len(drawn) == 2:
        clear = drawn[1] is None or isinstance(drawn[0], tuple | dict)
        yield Reading(lambda x: (x[0], x[1]), "" if clear else "a pair, taken for input and target")
        if drawn[1] is not None:
            yield Reading(lambda x: (tuple(x), None), "a pair, taken for two inputs, as the first alone does not do")
    elif drawn:
        some = f"{len(drawn)} of them"
        both = [
            Reading(lambda x: (tuple(x), None), f"{some}, all taken for inputs"),
            Reading(lambda x: (tuple(x[:-1]), x[-1]), f"{some}, the last taken for the target"),
        ]
        yield from reversed(both) if _required(model) == len(drawn) - 1 else both
        yield Reading(lambda x: (x[0], tuple(x[1:])), f"{some}, all but the first taken for targets")


def _readings_of_dict(drawn: Mapping[Any, Any], model: nn.Module) -> Iterator[Reading]:
    parameters = inspect.signature(model.forward).parameters
    anything = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    target = next((name for name in _TARGET_NAMES if name in drawn and name not in parameters), None)
    rest = [name for name in drawn if name != target]

    def named(x: Mapping[Any, Any]) -> Any:
        return {name: x[name] for name in rest}

    def its_target(x: Mapping[Any, Any]) -> Any:
        return None if target is None else x[target]

    assumed = f"its {target!r} taken for the target" if target else ""
    if target and anything:
        yield Reading(lambda x: (dict(x), None))
    yield Reading(lambda x: (named(x), its_target(x)), assumed)
    if len(rest) == 1:
        yield Reading(lambda x: (x[rest[0]], its_target(x)), f"its {rest[0]!r} taken for the input" + (
            f" and {assumed}" if assumed else ""))  # fmt: skip
    known = [name for name in rest if name in parameters]
    if known and len(known) < len(rest):
        left = ", ".join(repr(name) for name in rest if name not in known)
        text = "; ".join(filter(None, [assumed, f"{left} left out, which the model does not take"]))
        yield Reading(lambda x: ({name: x[name] for name in known}, its_target(x)), text)


def _required(model: nn.Module) -> int:
    parameters = inspect.signature(model.forward).parameters.values()
    return sum(p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters)


def _is_source(thing: Any) -> bool:
    """Says whether batches or samples come out of ``thing``, rather than its being a batch."""
    if isinstance(thing, Tensor | tuple | list | Mapping | str):
        return False
    return hasattr(thing, "__iter__") or (hasattr(thing, "__getitem__") and hasattr(thing, "__len__"))


def _takes_seed(function: Callable[..., Any], name: str) -> bool:
    """Says whether ``function`` is to be called with a seed: it has an argument without a default, or one called so."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # some functions written in C
        return True
    required = [p for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    if len(required) > 1 or (required and isinstance(function, type)):
        raise UsageError(f"--input {name} takes {', '.join(p.name for p in required)}: {_FORMS}")
    if required or isinstance(function, type):
        return bool(required)
    return bool(parameters) and (parameters[0].kind is parameters[0].VAR_POSITIONAL or "seed" in parameters[0].name)


def _called(function: Callable[[], Any], name: str, how: str) -> Any:
    try:
        return function()
    except Exception as error:  # whatever a stranger's code raises
        raise UsageError(f"--input {name}: {how}it raised {in_one_line(error)}") from error


def _first(source: Any, name: str, seed: int) -> Any:
    """Draws a batch from what gives batches or samples; what is a batch stays as it is."""
    if source is None:
        raise UsageError(f"--input {name} gave None: {_FORMS}")
    if not _is_source(source):
        return source
    with torch.random.fork_rng(devices=()):  # what shuffles with torch's generator does so by the seed
        torch.manual_seed(seed)
        if isinstance(source, Dataset):
            source = _loader(source, name, seed)
        iterated = (source[i] for i in range(len(source))) if not hasattr(source, "__iter__") else source
        batch = _called(lambda: next(iter(iterated), None), name, "iterated ")
    if batch is None:
        raise UsageError(f"--input {name} holds no batch: {_FORMS}")
    return tuple(batch) if isinstance(batch, list) else batch  # a DataLoader makes a list of a pair


def _loader(dataset: Dataset[Any], name: str, seed: int) -> DataLoader[Any]:
    generator = torch.Generator().manual_seed(seed)
    if isinstance(dataset, IterableDataset):
        return DataLoader(dataset, BATCH_SIZE)
    return _called(lambda: DataLoader(dataset, BATCH_SIZE, shuffle=True, generator=generator), name, "loaded ")  # type: ignore[no-any-return]
