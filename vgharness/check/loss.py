"""Chooses a loss, with random targets, for the output of a model that was never seen before."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from vgharness.check.outputs import Output, OutputPart, describe_output, floating_tensors, tensor_at
from vgharness.errors import UsageError
from vgharness.formatting import in_one_line, listing
from vgharness.gradflow.arguments import checked_loss, loss_caller, models_loss, takes_model, takes_targets
from vgharness.system.user_code import load_callable

LOSSES = ("cross_entropy", "mse", "mean_square")
FORMS = f"{', '.join(LOSSES)}, output.NAME or MODULE:CALLABLE, called with output and target, or with the output"

# Added to a seed for its targets, which must not be the numbers of its inputs. The CPU's generator reads 32 bits only.
_SEED_OFFSET = 0x9E3779B9
_MOST_NAMED = 4  # parts of an output, in a text
_NO_TENSOR = "the model's output has no floating tensor: give --loss MODULE:CALLABLE, called with the output"


class ChosenLoss(NamedTuple):
    """A loss with what makes targets for it.

    function: called with the model's output and the targets; gives one number. A loss that takes the model has an
        argument of that name.
    targets: called with a seed; gives targets, or None for a loss without any.
    text: the loss in words.
    """

    function: Callable[..., Tensor]
    targets: Callable[[int], Any]
    text: str


class _Term(NamedTuple):
    """What one part of an output adds to the loss.

    part: of the output.
    kind: the loss taken of it; ``itself`` for a part that is a loss already.
    given: where its targets are in those of the batch: ``()`` if they are the batch's, a key for one of several; None:
        they are random.
    """

    part: OutputPart
    kind: Literal["cross_entropy", "mse", "mean_square", "itself"]
    given: tuple[Any, ...] | None = None


def infer_loss(output: Any, targets: Any = None, *, inputs: Sequence[tuple[int, ...]] = ()) -> ChosenLoss:
    """Chooses the loss that suits an ``output``, and the batch's own ``targets`` where it has some.

    The model's own loss where the output has one; an output of single numbers only is the loss itself, their sum.
    Elsewhere the sum of a loss of each floating tensor in it: cross-entropy where that looks like scores of classes,
    [B, C], or [B, T, C] or [B, C, H, W] with scores at each position; mean square error otherwise, and for hidden
    states and for tensors of more than two dimensions that have the shape of one of the ``inputs``. Given targets go
    with the tensors that they fit; the others have random ones.

    Raises :class:`~vgharness.errors.UsageError` where there is no floating tensor, or targets fit none.
    """
    known = describe_output(output)
    if known.own_loss:
        return ChosenLoss(_of_the_model, _no_targets, "the loss that the model gives")
    if not known.parts:
        raise UsageError(_NO_TENSOR)
    parts = [part for part in known.parts if part.graph is not False]
    left_out = [part for part in known.parts if part.graph is False]
    if not parts:
        raise UsageError("nothing that the model puts out depends on its weights: was something detached?")
    if not any(part.shape for part in parts):
        return _sum_of([_Term(part, "itself") for part in parts], None, left_out)
    terms = [_term(part, given, value, inputs) for part, given, value in _with_targets(parts, targets)]
    if targets is not None and all(term.given is None for term in terms):
        outputs = listing((f"{p.name} {list(p.shape)}" for p in parts), _MOST_NAMED)
        raise UsageError(
            f"targets {_shapes(targets)} fit none of {outputs}: give --loss MODULE:CALLABLE, which takes output and "
            "target"
        )
    return _sum_of(terms, targets, left_out)


def named_loss(name: str, output: Any, targets: Any = None) -> ChosenLoss:
    """Makes the loss called ``name``, for outputs like ``output``.

    name: one of :data:`LOSSES`, summed over all floating tensors of the output that it can be taken of; ``output.NAME``
        or ``output[KEY]``, a loss that the model puts out; or MODULE:CALLABLE.
    targets: the batch's own, if it has some.

    Raises :class:`~vgharness.errors.UsageError` for another name, and for an output that it cannot be taken of.
    """
    known = describe_output(output)
    if re.fullmatch(r"output\b[^:]*", name):
        return _loss_in_output(name)
    if ":" in name:
        return _loss_of_callable(name, known)
    if name not in LOSSES:
        raise UsageError(f"--loss {name}: use {FORMS}")
    if not known.parts:
        raise UsageError(_NO_TENSOR)
    fitting = [p for p in known.parts if p.graph is not False and (name != "cross_entropy" or _classes(p) > 1)]
    left_out = [p for p in known.parts if p not in fitting]
    if not fitting:
        raise UsageError(
            f"--loss {name}: {known.parts[0].name} {list(known.parts[0].shape)} has no classes or no graph; use mse or "
            "mean_square"
        )
    terms = [_Term(part, name, given) for part, given, _ in _with_targets(fitting, targets)]  # type: ignore[arg-type]
    if name != "mean_square" and targets is not None and all(term.given is None for term in terms):
        terms[0] = terms[0]._replace(given=())  # as asked: what is wrong with it the loss says itself
    return _sum_of(terms, targets, left_out)


# --- losses that are given ---------------------------------------------------------------------------------


def _of_the_model(output: Any, _: Any) -> Any:
    return models_loss(output)


def _loss_in_output(name: str) -> ChosenLoss:
    """Makes the loss that is a part of the output: ``output``, ``output.loss``, ``output['loss'][0]``."""
    steps = re.findall(r"\.([A-Za-z_]\w*)|\[(?:'([^']*)'|\"([^\"]*)\"|(-?\d+)|(\w+))\]", name)
    written = re.sub(r"\.([A-Za-z_]\w*)|\[(?:'([^']*)'|\"([^\"]*)\"|(-?\d+)|(\w+))\]", "", name)
    if written != "output":
        raise UsageError(f"--loss {name}: name a part of the output as output.loss, output['loss'] or output[1]")

    def function(output: Any, _: Any) -> Tensor:
        found = output
        for attribute, *keys, index, bare in steps:
            key = attribute or next(filter(None, (*keys, bare)), "")
            try:
                if attribute and not isinstance(found, Mapping):
                    found = getattr(found, attribute)
                else:
                    found = found[int(index) if index else key]
            except (AttributeError, KeyError, IndexError, TypeError) as error:
                has = listing((f"output{where}" for where, _ in floating_tensors(output)), _MOST_NAMED)
                raise UsageError(f"--loss {name}: the output has no such part, but {has or 'no tensor'}") from error
        return checked_loss(found, f"--loss {name}")

    return ChosenLoss(function, _no_targets, f"{name}, which the model gives")


def _loss_of_callable(name: str, output: Output) -> ChosenLoss:
    loss = loaded = load_callable(name)
    if isinstance(loaded, type) and issubclass(loaded, nn.Module):  # such as torch.nn:CrossEntropyLoss
        try:
            loss = loaded()
        except Exception as error:
            raise UsageError(f"--loss {name}: making one raised {in_one_line(error)}") from error
    call = loss_caller(loss, argument := f"--loss {name}")

    def checked(take: Callable[[], Any]) -> Tensor:
        try:
            found = take()
        except UsageError:
            raise
        except Exception as error:  # whatever a stranger's code raises
            raise UsageError(f"{argument} raised {in_one_line(error)}") from error
        return checked_loss(found, argument)

    def of_model(model: nn.Module, inputs: Any, targets: Any) -> Tensor:
        return checked(lambda: call(model, inputs, targets))

    def of_output(output: Any, target: Any) -> Tensor:
        return checked(lambda: loss(output, target) if takes_targets(loss) else loss(output))

    if takes_model(loss):
        return ChosenLoss(of_model, _no_targets, f"{name} of the model")
    try:
        targets = infer_loss(output).targets if takes_targets(loss) else _no_targets
    except UsageError:  # the callable may well take an output without a tensor, but then there is no shape of targets
        targets = _no_targets
    return ChosenLoss(of_output, targets, f"{name} of the output")


# --- losses that are inferred ------------------------------------------------------------------------------


def _with_targets(parts: Sequence[OutputPart], targets: Any) -> list[tuple[OutputPart, tuple[Any, ...] | None, Any]]:
    """Pairs each part of an output with the targets that fit it: where they are in ``targets``, and their value.

    One tensor goes with each part that it fits; of several, each part takes its own by name, or by position.
    """
    several: dict[Any, Any] = {}
    if isinstance(targets, Mapping):
        several = dict(targets)
    elif isinstance(targets, tuple | list):
        several = dict(enumerate(targets))
    found: list[tuple[OutputPart, tuple[Any, ...] | None, Any]] = []
    scores: tuple[int, ...] | None = None  # the shape of the first part that fits: classes of others are other ones
    for index, part in enumerate(parts):
        last = re.sub(r"\W", "", re.split(r"[.\[]", part.where)[-1])
        key = last if last in several else index
        value = several.get(key) if several else targets
        if isinstance(value, Tensor) and _fits(part, value) and (several or scores in (None, part.shape)):
            scores = part.shape
            found.append((part, (key,) if several else (), value))
        else:
            found.append((part, None, None))
    return found


def _fits(part: OutputPart, target: Tensor) -> bool:
    """Says whether a loss of the part can be taken against ``target``: numbers, or classes, of which there are as many
    as the part has at each position."""
    if target.numel() == torch.Size(part.shape).numel():
        return True
    if target.is_floating_point() or len(part.shape) < 2 or target.numel() == 0:
        return False
    second, last = part.shape[:1] + part.shape[2:], part.shape[:-1]  # the shapes without the classes
    classes = part.shape[-1] if len(part.shape) > 2 and tuple(target.shape) == last else part.shape[1]
    return tuple(target.shape) in (second, last) and int(target.max()) < classes


def _term(part: OutputPart, given: tuple[Any, ...] | None, target: Any, inputs: Sequence[tuple[int, ...]]) -> _Term:
    if given is not None:
        classes = not target.is_floating_point() and target.numel() != torch.Size(part.shape).numel()
    elif not part.shape and "loss" in part.where:
        return _Term(part, "itself")
    else:
        hidden = re.search("hidden|pooler|embed", part.where)
        like_input = len(part.shape) > 2 and part.shape in inputs
        classes = len(part.shape) in (2, 3, 4) and _classes(part) > 1 and not hidden and not like_input
    return _Term(part, "cross_entropy" if classes else "mse", given)


def _sum_of(terms: Sequence[_Term], targets: Any, left_out: Sequence[OutputPart]) -> ChosenLoss:
    """Makes the loss that is the sum of the terms. Parts of one shape have the same random targets, as an auxiliary
    head has those of the head."""

    def target_of(index: int, target: Any) -> Any:
        term = terms[index]
        if targets is None:  # drawn below
            return target if len(terms) == 1 or target is None else target[index]
        if term.given is None:
            return _random_target(term, 0)
        return target[term.given[0]] if term.given else target

    def function(output: Any, target: Any) -> Tensor:
        values = [_value(t, tensor_at(output, t.part.where), target_of(i, target)) for i, t in enumerate(terms)]
        return values[0] if len(values) == 1 else torch.stack([value.float() for value in values]).sum()

    def draw(seed: int) -> Any:
        drawn = [_random_target(term, seed) for term in terms]
        if all(target is None for target in drawn):
            return None
        return drawn[0] if len(drawn) == 1 else tuple(drawn)

    text = " plus ".join(_texts(terms))
    if left_out:
        text += f" (left out: {listing((part.name for part in left_out), _MOST_NAMED)})"
    return ChosenLoss(function, draw, text)


def _random_target(term: _Term, seed: int) -> Tensor | None:
    part = term.part
    generator = torch.Generator().manual_seed(seed + _SEED_OFFSET)
    if term.kind == "mse":
        return torch.randn(part.shape, generator=generator).to(part.device, part.dtype)
    if term.kind == "cross_entropy":
        axis = _class_axis(len(part.shape)) % len(part.shape)
        shape = [side for i, side in enumerate(part.shape) if i != axis]
        return torch.randint(_classes(part), shape, generator=generator).to(part.device)
    return None


def _value(term: _Term, found: Tensor, target: Any) -> Tensor:
    if term.kind == "mse":
        return functional.mse_loss(found, target.to(found.dtype).reshape(found.shape))
    if term.kind == "mean_square":
        return found.square().mean()
    if term.kind == "itself":
        return found
    if found.dim() > 2 and target.shape == found.shape[:-1]:
        found = found.movedim(-1, 1)
    return functional.cross_entropy(found, target.long())


def _texts(terms: Sequence[_Term]) -> Iterable[str]:
    """Says each loss once, with the parts that it is taken of."""
    groups: dict[tuple[str, str], list[str]] = {}
    for term in terms:
        against = "noise"
        if term.kind in ("itself", "mean_square"):
            against = ""
        elif term.given is not None:
            against = "the given targets"
        elif term.kind == "cross_entropy":
            positions = " at each position" if len(term.part.shape) > 2 else ""
            against = f"random targets of {_classes(term.part)} classes{positions}"
        groups.setdefault((term.kind, against), []).append(term.part.name)
    names = {"mse": "mean square error of ", "mean_square": "mean square of ", "cross_entropy": "cross-entropy of "}
    for (kind, against), parts in groups.items():
        of = listing(parts, _MOST_NAMED) + (" (summed)" if len(parts) > 1 else "")
        yield f"{names.get(kind, '')}{of}{', taken for the loss' if kind == 'itself' else ''}" + (
            f" against {against}" if against else ""
        )


def _class_axis(dims: int) -> int:
    """Says which axis holds the classes: the last of [B, T, C], the second of [B, C] and [B, C, H, W]."""
    return -1 if dims == 3 else 1


def _classes(part: OutputPart) -> int:
    return part.shape[_class_axis(len(part.shape))] if len(part.shape) > 1 else 1


def _shapes(targets: Any) -> str:
    tensors = targets.values() if isinstance(targets, Mapping) else targets
    several = tensors if isinstance(targets, Mapping | tuple | list) else [targets]
    return listing((list(t.shape) if isinstance(t, Tensor) else type(t).__name__ for t in several), _MOST_NAMED)


def _no_targets(seed: int) -> None:
    return None
