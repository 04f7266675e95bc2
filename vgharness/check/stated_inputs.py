"""Inputs as ``--input`` states them: names, shapes and types, ``x=8,3,32,32 t=8:int64:1000 mask=8,16:bool``."""

from __future__ import annotations

import difflib
import inspect
import itertools
import re
from collections.abc import Iterator

import torch
from torch import nn

from vgharness.check.input_shapes import Arguments, InputSpec
from vgharness.errors import UsageError
from vgharness.formatting import listing

EXAMPLE = "x=8,3,32,32 t=8:int64:1000 mask=8,16:bool"
_FORM = f"give a shape such as 8,3,32,32 or 8x3x32x32, several as [NAME=]SHAPE[:TYPE[:BELOW]], such as {EXAMPLE}"
_SIZES = r"\d+(?:[,x]\d+)*"
_ONE = re.compile(rf"(?:([A-Za-z_]\w*)=)?({_SIZES})(?::([a-z]\w*)(?::(\d+))?)?", re.ASCII)
_DTYPES = {"float": "float32", "double": "float64", "half": "float16", "long": "int64", "int": "int64"}
_MOST_UNTYPED = 4


def is_stated(given: str) -> bool:
    """Says whether ``--input`` states shapes, rather than naming a callable or an object."""
    start = re.sub(r"\s*([,=:])\s*", r"\1", given.strip())
    if ":" not in start or re.match(rf"{_SIZES}(:|\s|$)", start, re.ASCII):
        return True
    return ".py:" not in start and re.match(r"[A-Za-z_]\w*=", start, re.ASCII) is not None


def parse_inputs(given: str) -> Arguments:
    """Reads the inputs that are stated; of those without a type, ``below`` is 0 and ``dtype`` empty.

    Raises :class:`~vgharness.errors.UsageError` for another form.
    """
    shown = "".join(given.split()) if len(given.split()) == 1 else " ".join(given.split())
    parts = re.sub(r"\s*([,=:])\s*", r"\1", given.strip()).split()
    if not parts:
        raise UsageError(f"--input {shown}: {_FORM}, or MODULE:CALLABLE")
    return tuple(_spec(part, shown, index, len(parts)) for index, part in enumerate(parts))


def _spec(part: str, given: str, index: int, of: int) -> InputSpec:
    found = _ONE.fullmatch(part)
    sizes = tuple(map(int, re.split("[,x]", found[2]))) if found else ()
    if found is None or 0 in sizes:
        raise UsageError(f"--input {given}: {_FORM}, or MODULE:CALLABLE")
    name, typed, below = found[1] or "", found[3] or "", int(found[4] or 0)
    dtype = _DTYPES.get(typed, typed)
    if dtype and not isinstance(getattr(torch, dtype, None), torch.dtype):
        raise UsageError(f"--input {given}: {typed} is no type of torch; use float32, float64, int64, int32, bool, …")
    if found[4] == "0" or (found[4] and dtype == "bool"):
        raise UsageError(f"--input {given}: {part} leaves no number; the last is what they are below, as in 8:int64:10")
    noun = name or ("input" if of == 1 else f"input {index + 1}")
    return InputSpec(noun, sizes, below, name, dtype)


def bind(arguments: Arguments, model: nn.Module, given: str) -> Arguments:
    """Returns the arguments with the names that the model's ``forward`` gives them, where any of them has one.

    Raises :class:`~vgharness.errors.UsageError` for a name that it does not take, or one that is stated twice.
    """
    if not any(spec.keyword for spec in arguments):
        return arguments
    parameters = inspect.signature(model.forward).parameters.values()
    takes = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    anything = any(p.kind is p.VAR_KEYWORD for p in parameters)
    named = [spec.keyword for spec in arguments if spec.keyword]
    for name in named:
        if name not in takes and not anything:
            near = difflib.get_close_matches(name, takes, n=1)
            fix = f": did you mean {near[0]}?" if near else ""
            raise UsageError(f"--input {given}: the model's forward takes {listing(takes)}, no {name}{fix}")
        if named.count(name) > 1:
            raise UsageError(f"--input {given}: {name} is stated twice")
    free = [name for name in takes if name not in named]
    if len(arguments) - len(named) > len(free):
        raise UsageError(f"--input {given}: the model's forward takes only {listing(takes)}")
    rest = iter(free)
    return tuple([spec if spec.keyword else spec._replace(keyword=next(rest)) for spec in arguments])


def with_types(arguments: Arguments, model: nn.Module, numbers: str | None = None) -> Iterator[Arguments]:
    """Yields the arguments with types for those that state none, the likeliest first.

    numbers: ``float``: they are unit noise; ``int``: tokens; None: tokens where the model's first weights are an
        embedding's, then the other ways, as only the model knows which of them it takes.
    """
    embeddings = [m for m in model.modules() if isinstance(m, nn.Embedding | nn.EmbeddingBag)]
    first = next((m for m in model.modules() if next(m.parameters(recurse=False), None) is not None), None)
    sizes = [embedding.num_embeddings for embedding in embeddings] or [2]
    below = min(sizes) if len(arguments) > 1 else sizes[0]  # which of several inputs is for which table is not known
    untyped = [i for i, spec in enumerate(arguments) if not spec.dtype]
    tokens = numbers == "int" or (numbers is None and first in embeddings)
    likely = (tokens,) * len(untyped)
    others = itertools.product((False, True), repeat=len(untyped)) if numbers is None else ()
    if len(untyped) > _MOST_UNTYPED:
        others = ()
    for ints in dict.fromkeys([likely, *others]):
        chosen = dict(zip(untyped, ints, strict=True))
        yield tuple(_typed(spec, chosen.get(i, False), below) for i, spec in enumerate(arguments))


def _typed(spec: InputSpec, tokens: bool, below: int) -> InputSpec:
    if not spec.dtype:
        noun = "tokens" if tokens and spec.noun == "input" else spec.noun
        return spec._replace(noun=noun, below=below if tokens else 0)
    integers = not getattr(torch, spec.dtype).is_floating_point and not getattr(torch, spec.dtype).is_complex
    return spec._replace(below=spec.below or below) if integers else spec
