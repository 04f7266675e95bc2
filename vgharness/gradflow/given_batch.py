"""Batches of the user's own: what a callable, a DataLoader or a Dataset gives, split into inputs and targets."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence
from torch.utils.data import BatchSampler, DataLoader, Dataset, IterableDataset, SequentialSampler

from vgharness.errors import UsageError
from vgharness.formatting import in_one_line, listing
from vgharness.gradflow.arguments import described
from vgharness.gradflow.randomness import random_state_kept, seed_everything
from vgharness.records import FIRST_SEED

Draw = Callable[[int], Any]

BATCH_SIZE: Final = 8  # of a Dataset's samples; batch norm needs more than one
_SEED_OFFSET: Final = 0x85EBCA6B  # added to a seed for its batch, which must not be the numbers of its model
_TARGET_NAMES = ("labels", "label", "targets", "target", "y")
_FORMS = (
    "give a callable from a seed to inputs or to (inputs, targets), a DataLoader, a Dataset, or what makes one of them"
)
_NO_BATCH = (str, bytes, bool, int, float, set, frozenset, np.ndarray, type, nn.Module)


class Batch(NamedTuple):
    """One seed's batch.

    inputs: of the model: a dict or a tuple of them are arguments.
    targets: None where the batch has none.
    whole: the batch as it was given, for a loss with an argument called batch.
    assumed: how it was read, where it could be read in another way.
    """

    inputs: Any
    targets: Any
    whole: Any
    assumed: str = ""


class Reading(NamedTuple):
    """One way to read what a batch holds.

    split: makes (inputs, targets) of it.
    text: what is assumed, for where it could be something else; empty where there is one way only.
    """

    split: Callable[[Any], tuple[Any, Any]]
    text: str = ""


def draw_of(source: Any, name: str) -> Draw:
    """Returns a function from a seed to what ``source`` gives for it.

    source: a DataLoader (per seed another of its batches), a Dataset (samples drawn by the seed), a callable that makes
        one of them or that makes a batch, of a seed where it takes one, or a batch itself.
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
            if _is_source(found) and not isinstance(found, Iterator):
                made.append(found)
            return _first(found, name, seed)

        return draw
    if source is None or isinstance(source, _NO_BATCH):
        raise UsageError(f"{name} is {described(source)}: {_FORMS}")
    if isinstance(source, Iterator):
        raise UsageError(f"{name} is {described(source)}, which gives each batch once: give what it was made of")
    return lambda seed: _first(source, name, seed)


def read_batch(drawn: Any, model: nn.Module, name: str) -> Batch:
    """Reads what a batch holds by its form and the arguments of ``model``, which is not run.

    A pair is inputs and targets. Of three things and more the last is the target where the model takes the others, and
    none where it takes all. Of a dict, what is named as labels are and is no argument of the model's is the target; the
    others are its arguments by name, or where it does not know the names, the one argument that it takes. Anything
    else is the model's one input.

    ``name``: the batch's, for messages. Raises :class:`~vgharness.errors.UsageError` for what cannot be a batch.
    """
    if isinstance(drawn, Mapping):
        return _read_dict(drawn, model, name)
    if isinstance(drawn, _NO_BATCH) or not _holds_something(drawn):
        raise UsageError(
            f"{name} is {described(drawn)}: give (inputs, targets), or the inputs alone as a tensor or a dict"
        )
    if isinstance(drawn, PackedSequence) or not isinstance(drawn, tuple | list):
        return Batch(drawn, None, drawn)
    if len(drawn) == 1 or (len(drawn) == 2 and drawn[1] is None):
        return Batch(drawn[0], None, drawn[0])
    if len(drawn) == 2:
        return Batch(drawn[0], drawn[1], drawn)
    if _required(model) == len(drawn):
        return Batch(tuple(drawn), None, drawn, f"of {len(drawn)} things all are taken for inputs")
    if _required(model) == len(drawn) - 1:
        return Batch(tuple(drawn[:-1]), drawn[-1], drawn, f"of {len(drawn)} things the last is taken for the target")
    raise UsageError(
        f"{name} is {described(drawn)}, and the model takes {_required(model)}: give ((x, t), targets), several inputs "
        "as a tuple"
    )


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


def _read_dict(drawn: Mapping[Any, Any], model: nn.Module, name: str) -> Batch:
    for reading in _readings_of_dict(drawn, model):
        inputs, targets = reading.split(drawn)
        if not isinstance(inputs, Mapping) or _takes(model, inputs):
            return Batch(inputs, targets, drawn, reading.text)
    if _required(model) == 1:
        return Batch((drawn,), None, drawn, f"its dict of {listing(map(repr, drawn), most=4)} is taken for one input")
    raise UsageError(
        f"{name} is a dict of {listing(map(repr, drawn), most=4)}, and the model takes "
        f"{listing(inspect.signature(model.forward).parameters)}: give (inputs, targets), the inputs by those names"
    )


def _takes(model: nn.Module, inputs: Mapping[Any, Any]) -> bool:
    """Says whether ``model`` can be called with ``inputs`` by name."""
    try:
        inspect.signature(model.forward).bind(**inputs)
    except TypeError:
        return False
    return bool(inputs)


def _holds_something(drawn: Any) -> bool:
    return drawn is not None and not (isinstance(drawn, tuple | list) and len(drawn) == 0)


def _required(model: nn.Module) -> int:
    parameters = inspect.signature(model.forward).parameters.values()
    return sum(p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters)


def _is_source(thing: Any) -> bool:
    """Says whether batches or samples come out of ``thing``, rather than its being a batch, which can often be moved
    to a device."""
    if isinstance(thing, Dataset | DataLoader):
        return True
    if isinstance(thing, tuple | list | Mapping | str | np.ndarray) or callable(getattr(thing, "to", None)):
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
        raise UsageError(f"{name} takes {', '.join(p.name for p in required)}: {_FORMS}")
    if required or isinstance(function, type):
        return bool(required)
    return bool(parameters) and (parameters[0].kind is parameters[0].VAR_POSITIONAL or "seed" in parameters[0].name)


def _called(function: Callable[[], Any], name: str, how: str) -> Any:
    try:
        return function()
    except UsageError:
        raise
    except Exception as error:  # whatever a stranger's code raises
        raise UsageError(f"{name}: {how}it raised {in_one_line(error)}: {_FORMS}") from error


def _first(source: Any, name: str, seed: int) -> Any:
    """Draws a batch from what gives batches or samples; what is a batch stays as it is."""
    if source is None:
        raise UsageError(f"{name} gave None: {_FORMS}")
    if not _is_source(source):
        return source
    with random_state_kept():  # what shuffles does so by the seed
        seed_everything(seed + _SEED_OFFSET)
        if isinstance(source, Dataset):
            source = _loader(source, name)
        if isinstance(source, DataLoader) and not isinstance(source.dataset, IterableDataset):
            batch = _called(lambda: _batch_of(source, seed), name, "iterated ")
        else:
            iterated = (source[i] for i in range(len(source))) if not hasattr(source, "__iter__") else source
            batch = _called(lambda: next(iter(iterated), None), name, "iterated ")
    if batch is None:
        raise UsageError(f"{name} holds no batch: {_FORMS}")
    return tuple(batch) if isinstance(batch, list) else batch  # a DataLoader makes a list of a pair


def _loader(dataset: Dataset[Any], name: str) -> DataLoader[Any]:
    if isinstance(dataset, IterableDataset):
        return DataLoader(dataset, BATCH_SIZE)
    return _called(lambda: DataLoader(dataset, BATCH_SIZE, shuffle=True), name, "loaded ")  # type: ignore[no-any-return]


def _batch_of(loader: DataLoader[Any], seed: int) -> Any:
    """The first batch in the order that ``seed`` gives; where the loader has one order only, the first batch for the
    first seed and the next ones for the next. Made here, without the loader's worker processes."""
    if loader.batch_sampler is None:  # samples are batches
        indices: Any = next(iter(loader.sampler), None)
        return None if indices is None else loader.collate_fn(loader.dataset[indices])
    place = 0
    if isinstance(loader.batch_sampler, BatchSampler) and isinstance(loader.sampler, SequentialSampler):
        whole = len(loader) - (0 if loader.drop_last else 1)  # the last may be of one sample
        place = (seed - FIRST_SEED) % max(whole, 1)
    with _seeded([loader.generator, getattr(loader.sampler, "generator", None)], seed):
        indices = next(islice(iter(loader.batch_sampler), place, None), None)
        if indices is None:
            return None
        several = getattr(loader.dataset, "__getitems__", None)
        return loader.collate_fn(several(indices) if several else [loader.dataset[i] for i in indices])


@contextmanager
def _seeded(generators: list[torch.Generator | None], seed: int) -> Iterator[None]:
    """Seeds a loader's own generators, and puts their states back afterwards."""
    kept = [(each, each.get_state()) for each in generators if each is not None]
    for each, _ in kept:
        each.manual_seed(seed)
    try:
        yield
    finally:
        for each, state in kept:
            each.set_state(state)
